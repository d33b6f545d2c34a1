"""Scores a run on sentences it has never seen: `python -m flaxformer_mt.evaluate`."""

import dataclasses
import json
from typing import Any, Literal

import rich.console
import rich.markup
import rich.table

from flaxformer_mt.command_line import parse, run_door
from flaxformer_mt.decoding.translator import Translator
from flaxformer_mt.errors import InputError
from flaxformer_mt.evaluation.metrics import Scores, score
from flaxformer_mt.starter import model_folder
from flaxformer_mt.terminal import say, say_translation
from flaxformer_mt.text.corpus import read_pairs
from flaxformer_mt.text.lines import read_lines
from flaxformer_mt.text.prepared import TextPair
from flaxformer_mt.training.devices import choose_device
from flaxformer_mt.training.run_folder import RunFolder

FEW_SENTENCES = 100  # below it a score is mostly chance


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """Translates sentences greedily and compares them with their references."""

    # Folder of a trained run. Empty: the starter model.
    run: str = ""
    # Sentences and their references, PATH[:PART] as in training. Empty: the pairs that
    # the run kept out of training.
    src: str = ""
    ref: str = ""
    # A label for each sentence, PATH[:PART]; each label is also scored apart.
    group: str = ""
    # Which of the kept pairs: choose on validation, report test.
    part: Literal["test", "validation"] = "test"
    # Translations shown below the scores.
    show_sentences: int = 5
    # Print one JSON object instead of a table, translations included.
    json: bool = False
    # Where to compute; auto takes a GPU where there is one.
    device: Literal["auto", "cpu", "gpu"] = "auto"

    def __post_init__(self) -> None:
        if bool(self.src) != bool(self.ref) or (self.group and not self.src):
            raise InputError(
                "--src and --ref must be given together (and --group only with them); "
                f"got src={self.src!r}, ref={self.ref!r}, group={self.group!r}."
            )
        if self.show_sentences < 0:
            raise InputError(
                f"--show-sentences must be 0 or more; got {self.show_sentences}."
            )


def read_test(options: EvaluateOptions, folder: RunFolder) -> list[TextPair]:
    """The pairs to score on.

    Raises:
      InputError: none is given and the run kept none, or the files do not fit.
    """
    if not options.src:
        pairs = folder.held_out(options.part)
        if not pairs:
            raise InputError(
                f"{folder.path} kept no pairs for {options.part}: give some with --src "
                "and --ref."
            )
        return pairs
    pairs = list(read_pairs(options.src, options.ref, note=say))
    groups = list(read_lines(options.group)) if options.group else [""] * len(pairs)
    if len(groups) != len(pairs):
        raise InputError(
            f"--group must have a line for each sentence; got {len(groups):,} lines "
            f"for {len(pairs):,} sentences."
        )
    return [
        TextPair(src, ref, line, group)
        for line, ((src, ref), group) in enumerate(
            zip(pairs, groups, strict=True), start=1
        )
    ]


def evaluate_pairs(
    translator: Translator, pairs: list[TextPair]
) -> tuple[dict[str, Scores], list[str], list[str]]:
    """(scores of all and of each group, translations, what to tell the person).

    References are brought into the spelling that the run was trained on, by its own
    normaliser, before they are compared.
    """
    normalize = translator.tgt_tokenizer.normalizer
    references = [normalize(pair.tgt) for pair in pairs]
    translations, report = translator.decode([pair.src for pair in pairs])
    scores = {"all": score(translations, references)}
    groups = sorted({pair.group for pair in pairs} - {""})
    if "all" in groups:
        raise InputError("a group cannot be called 'all', the name of all sentences.")
    for group in groups if len(groups) > 1 else ():
        rows = [i for i, pair in enumerate(pairs) if pair.group == group]
        scores[group] = score(
            [translations[i] for i in rows], [references[i] for i in rows]
        )
    return scores, translations, report.sentences()


def print_table(scores: dict[str, Scores]) -> None:
    """Prints the scores for a person, the signatures below."""
    table = rich.table.Table("", "sentences", "chrF++", "BLEU", "exact", "length")
    for name, s in scores.items():
        table.add_row(
            rich.markup.escape(name),
            f"{s.num_sentences:,}",
            f"{s.chrf:.1f}",
            f"{s.bleu:.1f}",
            f"{s.exact_match:.1f}%",
            f"{s.length_ratio:.2f}",
        )
    rich.console.Console().print(table)
    for name, signature in scores["all"].signatures.items():
        print(f"{name}: {signature}")


def evaluate(arguments: list[str]) -> None:
    """The door: options from the command line, scores on standard output."""
    options = parse(EvaluateOptions, arguments, prog="evaluate")
    folder = RunFolder.of(options.run or model_folder())
    folder.config()  # a wrong folder is told before anything is read
    pairs = read_test(options, folder)
    choose_device(options.device)
    translator = Translator.load(folder.path, note=say)
    scores, translations, told = evaluate_pairs(translator, pairs)
    for sentence in told:
        say(sentence)
    if len(pairs) < FEW_SENTENCES:
        say(f"{len(pairs)} sentences are too few for a score that means much")
    if options.json:
        rows = [
            {"src": p.src, "ref": p.tgt, "translation": t, "group": p.group}
            for p, t in zip(pairs, translations, strict=True)
        ]
        result: dict[str, Any] = {
            "scores": {name: dataclasses.asdict(s) for name, s in scores.items()},
            "normalization": translator.tgt_tokenizer.normalizer.rule,
            "sentences": rows,
        }
        print(json.dumps(result, ensure_ascii=True, indent=1))
        return
    print_table(scores)
    for pair, translation in list(zip(pairs, translations, strict=True))[
        : options.show_sentences
    ]:
        say_translation(pair.src, pair.tgt, translation)
        say()


def main() -> None:
    """python -m flaxformer_mt.evaluate"""
    run_door(evaluate)


if __name__ == "__main__":
    main()
