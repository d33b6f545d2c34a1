"""What `--help` shows of each door: one screen, the everyday options first. Every
option with its default is what `--help-all` shows."""

SCREENS: dict[str, tuple[str, tuple[tuple[str, str], ...], str]] = {
    "train": (
        "Trains a translator on sentence pairs, or goes on with a run.",
        (
            ("--run FOLDER", "where the run lives; the same command goes on with it"),
            ("--data.src PATH[:PART]", "source sentences: text, .gz, zip, TSV, JSONL"),
            ("--data.tgt PATH[:PART]", "target sentences, in step with the source"),
            ("--data.prepared FOLDER", "instead of both: what `prepare` has written"),
            ("--data.tokenizer KIND", "characters, unigram or bpe"),
            ("--data.vocab-size N", "pieces to learn, for unigram and bpe"),
            ("--preset NAME", "starter, tutorial, tiny, small, base or big"),
            ("--train.epochs N", "when it ends; or --train.steps, --train.minutes"),
            ("--train.batch-tokens N", "or --train.batch-sentences: size of a batch"),
            ("--train.learning-rate X", "at its highest"),
            ("--model.dropout-rate X", "more for a small corpus"),
            ("--init-from RUN", "fine-tune another run"),
            ("--device DEVICE", "auto, cpu or gpu"),
            ("--check", "try all that the run will need, and end"),
            ("--show-config", "print every option's value as JSON, and end"),
        ),
        "Without --data, it trains on the corpus that comes with it.",
    ),
    "translate": (
        "Translates standard input, a line for each line; at a terminal it asks.",
        (
            ("--run FOLDER", "a trained run; without it, the starter model"),
            ("--beam 5", "beam search: slower, mostly a little better"),
            ("--n-best 3", "with --beam: so many translations of each line"),
            ("--sample", "draw at random; with --temperature, --top-k, --seed"),
            ("--scores", "how sure the model is, before each translation"),
            ("--json", "a JSON object for each line"),
            ("--prefix TEXT", "how every translation begins; or --prefixes FILE"),
            ("--alternatives 5", "instead: the likeliest next words"),
            ("--explain PAGE.html", "a page that shows how lines came about"),
            ("--max-tokens N", "longest translation"),
            ("--too-long refuse", "an error, where a long line would be split"),
            ("--device DEVICE", "auto, cpu or gpu"),
        ),
        "python -m flaxformer_mt.translate < input.txt > output.txt",
    ),
    "serve": (
        "Serves a page to translate in, an API, and a live view of a training.",
        (
            ("--run FOLDER", "a run, or one in training; without it, the starter"),
            ("--port 8000", "http://localhost:PORT; 0 takes one that is free"),
            ("--host 127.0.0.1", "any other lets other machines in, without password"),
            ("--name NAME", "another name that browsers call it by"),
            ("--max-characters 1000", "of a text"),
            ("--max-sentences 64", "of a request"),
            (
                "--max-waiting 64",
                "requests in line; those beyond come again",
            ),
            ("--deadline 30", "seconds that a request may take"),
            ("--device DEVICE", "auto, cpu or gpu"),
        ),
        "Takes the extra: pip install 'flaxformer-mt[serve]'.",
    ),
    "evaluate": (
        "Translates sentences and compares them with their references.",
        (
            ("--run FOLDER", "a trained run; without it, the starter model"),
            ("--compare A B", "two runs instead: which is better, or is it chance"),
            ("--src, --ref PATH", "sentences of your own; else those the run kept"),
            ("--part validation", "of the kept ones; choose on it, report the test"),
            ("--beam 5", "beam search"),
            ("--bleu-tokenizer NAME", "intl; most published figures are 13a"),
            ("--show-sentences 5", "translations below the scores"),
            ("--json", "one JSON object instead of tables"),
            ("--device DEVICE", "auto, cpu or gpu"),
        ),
        "",
    ),
    "score": (
        "Tells how probable given translations are: nats, a number for each pair.",
        (
            ("--run FOLDER", "a trained run; without it, the starter model"),
            ("--src, --tgt PATH", "sentences and translations; else TABs in stdin"),
            ("--per-token", "divided by the number of tokens"),
            ("--json", "an object for each pair, with every token"),
            ("--device DEVICE", "auto, cpu or gpu"),
        ),
        "",
    ),
    "prepare": (
        "Cleans, splits and tokenizes a corpus, and reports what it did.",
        (
            ("--data.src PATH[:PART]", "source sentences: text, .gz, zip, TSV, JSONL"),
            ("--data.tgt PATH[:PART]", "target sentences, in step with the source"),
            ("--prepared FOLDER", "to write; appears when it is whole"),
            ("--data.src-lang CODE", "with --data.tgt-lang: how text is normalised"),
            ("--data.tokenizer KIND", "characters, unigram or bpe"),
            ("--data.vocab-size N", "pieces to learn, for unigram and bpe"),
            ("--data.shared-vocab", "one vocabulary for both sides"),
            ("--max-length N", "longest sentence, in tokens"),
            ("--replace", "a folder that is there already"),
        ),
        "Then: python -m flaxformer_mt.train --data.prepared FOLDER",
    ),
    "average": (
        "Averages the parameters of several checkpoints of a run.",
        (
            ("--run FOLDER", "a run that kept several (train.keep_last)"),
            ("--out FOLDER", "where the averaged model goes"),
            ("--last 5", "of the last so many"),
            ("--best 5", "or of the best so many"),
            ("--device DEVICE", "auto, cpu or gpu"),
        ),
        "",
    ),
    "download": (
        "Fetches sentence pairs from the web and says how to train on them.",
        (
            ("CORPUS FROM TO", "as in: tatoeba en fa"),
            ("--list", "what there is"),
            ("--folder FOLDER", "where archives are kept: data/downloads"),
            ("--release NAME", "of a corpus of OPUS: opus:NAME"),
            ("--url ADDRESS", "where it has moved"),
        ),
        "",
    ),
}


def screen(door: str) -> str | None:
    """The help of a door, at most 24 lines of 80 columns; None where its options all
    fit on a screen."""
    if door not in SCREENS:
        return None
    what, options, more = SCREENS[door]
    rows = [*options, ("--help-all", "every option, with its default")]
    return "\n".join(
        [
            f"usage: python -m flaxformer_mt.{door} [OPTIONS]",
            *("", what, ""),
            *(f"  {name:<23} {meaning}" for name, meaning in rows),
            *(["", more] if more else []),
        ]
    )
