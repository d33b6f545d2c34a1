"""Learning curves on Tatoeba en-fa: chrF++ on the test pairs against minutes.

    python -m experiments.benchmark_tatoeba --tatoeba Tatoeba.zip --only characters
    python -m experiments.benchmark_tatoeba --tatoeba Tatoeba.zip --only pieces

The zip holds en.txt and fa.txt, line by line (tatoeba.org, CC BY 2.0 FR). The corpus is
split by `train` itself, so that no test sentence, on either side, was seen in training.
Each kind of token has the options below, chosen on validation; every checkpoint is
kept, and its greedy translations of the test pairs are scored afterwards. The score of
a kind is that of its checkpoint of lowest validation loss. A run that was cut off goes
on with the same command. Results go to experiments/results/tatoeba.json.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import jax

from experiments.benchmark_multi30k import KEPT, ROOT, call, facts
from flaxformer_mt.decoding.translator import Translator
from flaxformer_mt.evaluation.metrics import score
from flaxformer_mt.training.checkpoints import load_params, saved_steps
from flaxformer_mt.training.run_folder import RunFolder

RESULT = ROOT / "experiments" / "results" / "tatoeba.json"
OPTIONS = {
    "characters": (
        *("--data.tokenizer", "characters", "--model.dropout-rate", "0.1"),
        *("--model.d-model", "128", "--train.batch-sentences", "16"),
        *("--train.epochs", "30", "--train.validate-steps", "1000"),
    ),
    "pieces": (
        *("--preset", "tiny", "--data.tokenizer", "unigram"),
        *("--data.vocab-size", "3000", "--model.dropout-rate", "0.3"),
        *("--train.batch-tokens", "768", "--train.learning-rate", "2e-3"),
        *("--train.warmup-steps", "400", "--train.epochs", "40"),
        *("--train.validate-steps", "500"),
    ),
}
ALWAYS = (
    *("--data.src-lang", "en", "--data.tgt-lang", "fa"),
    *("--train.keep-last", "1000", "--train.show-sentences", "1"),
)


def test_scores(run: Path) -> list[dict[str, Any]]:
    """The history of the run, each entry with chrF++ and BLEU of its parameters on the
    test pairs."""
    folder = RunFolder.of(str(run))
    pairs = folder.held_out("test")
    translator = Translator.load(str(run))
    kept, entries = set(saved_steps(run)), []
    for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        row = {name: entry[name] for name in KEPT if name in entry}
        if entry["step"] in kept:
            params = load_params(run, entry["step"]).params
            translator.params = jax.device_put(params)
            translations, _ = translator.decode([pair.src for pair in pairs])
            scores = score(translations, [pair.tgt for pair in pairs])
            row |= {
                "test_chrf": round(scores.chrf, 2),
                "test_bleu": round(scores.bleu, 2),
                "test_pairs": len(pairs),
                "signatures": scores.signatures,
            }
        entries.append(row)
        print(json.dumps(row), flush=True)
    return entries


def measure(kind: str, corpus: Path, folder: Path) -> dict[str, Any]:
    """Trains with one kind of tokens, and its curve."""
    run = folder / f"tatoeba-{kind}"
    asked = [*OPTIONS[kind], *ALWAYS]
    source = ("--data.src", f"{corpus}:en.txt", "--data.tgt", f"{corpus}:fa.txt")
    call("train", *source, "--run", str(run), *asked)
    curve = test_scores(run)
    best = min(
        (row for row in curve if "test_chrf" in row),
        key=lambda row: row["validation_loss"],
    )
    signatures = best["signatures"]
    for row in curve:
        row.pop("signatures", None)
    return {
        **facts(),
        "command": "python -m flaxformer_mt.train " + " ".join(asked),
        "minutes": round(curve[-1]["seconds"] / 60, 2),
        "best": best,
        "signatures": signatures,
        "curve": curve,
    }


def main() -> None:
    """python -m experiments.benchmark_tatoeba"""
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmark_tatoeba")
    parser.add_argument("--tatoeba", type=Path, required=True, help="the zip")
    parser.add_argument("--only", choices=OPTIONS, help="one kind of tokens")
    parser.add_argument("--folder", type=Path, default=ROOT / "weights")
    options = parser.parse_args()
    for kind in [options.only] if options.only else OPTIONS:
        corpus, folder = options.tatoeba.absolute(), options.folder.absolute()
        result = measure(kind, corpus, folder)
        results = {}
        if RESULT.is_file():  # read late: the other kind may have run meanwhile
            results = json.loads(RESULT.read_text(encoding="utf-8"))
        results[kind] = result
        RESULT.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
