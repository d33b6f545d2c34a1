"""Scores a run on sentences it has never seen, or two runs against each other:
`python -m flaxformer_mt.evaluate`."""

import dataclasses
import json
from typing import Any, Literal

import rich.console
import rich.markup
import rich.table

from flaxformer_mt.command_line import parse, run_door
from flaxformer_mt.decoding.beam_search import BeamOptions
from flaxformer_mt.decoding.call import SearchOptions
from flaxformer_mt.decoding.sampling import GREEDY
from flaxformer_mt.decoding.translator import Translator
from flaxformer_mt.errors import InputError
from flaxformer_mt.evaluation.comparison import (
    ComparedSentence,
    Comparison,
    common_pairs,
    compare,
    differing_rules,
)
from flaxformer_mt.evaluation.metrics import (
    BleuTokenizer,
    Scores,
    check_memory,
    score,
)
from flaxformer_mt.starter import model_folder
from flaxformer_mt.terminal import isolate, say, say_translation
from flaxformer_mt.text.corpus import read_pairs
from flaxformer_mt.text.lines import read_lines
from flaxformer_mt.text.normalize import Normalizer
from flaxformer_mt.text.prepared import TextPair
from flaxformer_mt.training.devices import choose_device
from flaxformer_mt.training.programs import enable_compilation_cache
from flaxformer_mt.training.run_folder import RunFolder

FEW_SENTENCES = 100  # below it a score is mostly chance
RESAMPLES = 1000


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """Translates sentences and compares them with their references."""

    # Folder of a trained run. Empty: the starter model.
    run: str = ""
    # Two runs instead, RUN_A RUN_B: the scores of both, whether the difference may be
    # chance (sacreBLEU's paired bootstrap), and the sentences that differ most.
    compare: tuple[str, ...] = ()
    # Sentences and their references, PATH[:PART] as in training. Empty: the pairs that
    # the run kept out of training; with --compare those that both kept.
    src: str = ""
    ref: str = ""
    # A label for each sentence, PATH[:PART]; each label is also scored apart.
    group: str = ""
    # Which of the kept pairs: choose on validation, report test.
    part: Literal["test", "validation"] = "test"
    # Beam search over so many hypotheses, 1 to 64; 0 is greedy.
    beam: int = 0
    # With --beam: above 0 favours longer translations, 0 does not; 1.0 if not given.
    length_penalty: float | None = None
    # With --beam: scores are divided by ((5 + n) / 6)**penalty (gnmt, if not given) or
    # by n**penalty (plain), n tokens.
    length_norm: Literal["gnmt", "plain"] | None = None
    # Translations shown below the scores.
    show_sentences: int = 5
    # What BLEU counts as a word: sacreBLEU's tokenizers. intl knows the punctuation of
    # every script; most published figures are 13a.
    bleu_tokenizer: BleuTokenizer = "intl"
    # With --compare: how often other sentences are drawn.
    resamples: int = RESAMPLES
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
        self.search()
        self._check_comparison()

    def search(self) -> SearchOptions:
        """How sentences are translated."""
        given = {
            name: getattr(self, name)
            for name in ("length_penalty", "length_norm")
            if getattr(self, name) is not None
        }
        if self.beam:
            return BeamOptions(beam_size=self.beam, **given)
        for name in given:
            raise InputError(f"--{name.replace('_', '-')} needs --beam: add it.")
        return GREEDY

    def _check_comparison(self) -> None:
        if self.resamples < 100:
            raise InputError(
                "--resamples must be 100 or more, for a p-value that means something; "
                f"got {self.resamples}."
            )
        if not self.compare:
            if self.resamples != RESAMPLES:
                raise InputError("--resamples needs --compare RUN_A RUN_B.")
            return
        if len(self.compare) != 2:
            raise InputError(
                f"--compare takes two runs, RUN_A RUN_B; got {len(self.compare)}."
            )
        for name in ("run", "group"):
            if getattr(self, name):
                raise InputError(
                    f"--compare takes two runs and scores all sentences as one group: "
                    f"leave --{name} out."
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
    if "all" in groups:
        raise InputError("a group cannot be called 'all', the name of all sentences.")
    return [
        TextPair(src, ref, line, group)
        for line, ((src, ref), group) in enumerate(
            zip(pairs, groups, strict=True), start=1
        )
    ]


def evaluate_pairs(
    translator: Translator,
    pairs: list[TextPair],
    *,
    search: SearchOptions = GREEDY,
    bleu_tokenizer: BleuTokenizer = "intl",
) -> tuple[dict[str, Scores], list[str], list[str]]:
    """(scores of all and of each group, translations, what to tell the person).

    References are brought into the spelling that the run was trained on, by its own
    normaliser, before they are compared.
    """
    normalize = translator.tgt_tokenizer.normalizer
    references = [normalize(pair.tgt) for pair in pairs]
    translations, report = translator.decode([pair.src for pair in pairs], search)
    scores = {"all": score(translations, references, bleu_tokenizer=bleu_tokenizer)}
    groups = sorted({pair.group for pair in pairs} - {""})
    covers_all = len({pair.group for pair in pairs}) == 1
    for group in groups if not covers_all else ():
        rows = [i for i, pair in enumerate(pairs) if pair.group == group]
        scores[group] = score(
            [translations[i] for i in rows],
            [references[i] for i in rows],
            bleu_tokenizer=bleu_tokenizer,
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


# ---- two runs ------------------------------------------------------------------


def read_common_test(
    options: EvaluateOptions, a: RunFolder, b: RunFolder
) -> tuple[list[TextPair], list[TextPair], list[str]]:
    """(the pairs as A reads them, the same as B reads them, what to tell the person).

    They differ where the runs keep their pairs in different spellings.

    Raises:
      InputError: none is given, and there is none that both runs kept.
    """
    if options.src:
        pairs = read_test(options, a)
        return pairs, pairs, []
    kept_a, kept_b = read_test(options, a), read_test(options, b)
    rules_a, rules_b = (
        tuple(tokenizer.normalizer for tokenizer in folder.tokenizers())
        for folder in (a, b)
    )
    pairs_a, pairs_b = common_pairs(kept_a, kept_b, rules_a, rules_b)
    if not pairs_a:
        raise InputError(
            f"no pair of {a.path}'s {options.part} part is in {b.path}'s, so one of "
            "the two may have been trained on any of them: give pairs that are new to "
            "both with --src and --ref."
        )
    if len(pairs_a) == len(kept_a) == len(kept_b):
        return pairs_a, pairs_b, []
    return (
        *(pairs_a, pairs_b),
        [
            f"the runs kept different pairs for {options.part} (A {len(kept_a):,}, "
            f"B {len(kept_b):,}): scored on the {len(pairs_a):,} that both kept, on "
            "which neither was trained"
        ],
    )


def translate_with(
    folder: RunFolder, name: str, pairs: list[TextPair], search: SearchOptions
) -> tuple[list[str], Normalizer, list[str]]:
    """(a translation for each pair, how the run writes its target, what to tell)."""
    translator = Translator.load(folder.path, note=say)
    translations, report = translator.decode([pair.src for pair in pairs], search)
    told = [f"{name}: {sentence}" for sentence in report.sentences()]
    return translations, translator.tgt_tokenizer.normalizer, told


def print_comparison(comparison: Comparison, runs: dict[str, str]) -> None:
    """Prints both scores, the test and the verdict for a person."""
    tests = comparison.tests
    table = rich.table.Table(
        "", "chrF++", "mean ± 95%", "BLEU", "mean ± 95%", "exact", "length"
    )
    for name, s in (("A", comparison.a), ("B", comparison.b)):
        chrf, bleu = (getattr(tests[metric], name.lower()) for metric in tests)
        table.add_row(
            name,
            f"{s.chrf:.1f}",
            f"{chrf.mean:.1f} ± {chrf.margin:.1f}",
            f"{s.bleu:.1f}",
            f"{bleu.mean:.1f} ± {bleu.margin:.1f}",
            f"{s.exact_match:.1f}%",
            f"{s.length_ratio:.2f}",
        )
    for name, run in runs.items():
        print(f"{name}: {run}")
    rich.console.Console().print(table)
    print(f"{comparison.a.num_sentences:,} sentences: {comparison.verdict}")
    for name, test in tests.items():
        print(f"{name}: {test.signature}")


def say_difference(sentence: ComparedSentence) -> None:
    """Shows one sentence in both translations, each text on a line of its own."""
    say()
    say(f"    source       {isolate(sentence.src)}")
    say(f"    reference    {isolate(sentence.ref)}")
    say(f"    A {sentence.chrf_a:9.1f}  {isolate(sentence.translation_a)}")
    say(f"    B {sentence.chrf_b:9.1f}  {isolate(sentence.translation_b)}")


def translate_and_compare(
    options: EvaluateOptions, a: RunFolder, b: RunFolder
) -> tuple[Comparison, dict[str, Any]]:
    """(what sets two runs apart, how it was come to: a part of the JSON)."""
    pairs_a, pairs_b, told = read_common_test(options, a, b)
    check_memory(len(pairs_a), options.resamples)
    enable_compilation_cache(choose_device(options.device), note=say)
    translations_a, rule_a, told_a = translate_with(a, "A", pairs_a, options.search())
    translations_b, rule_b, told_b = translate_with(b, "B", pairs_b, options.search())
    told += told_a + told_b
    if differing := differing_rules(rule_a, rule_b):
        told.append(
            f"the runs normalise their targets differently ({differing}): references "
            "and the translations of both are scored as A normalises them"
        )
    if len(pairs_a) < FEW_SENTENCES:
        told.append(f"{len(pairs_a)} sentences are too few for a score that means much")
    comparison = compare(
        *(pairs_a, translations_a, translations_b, rule_a, rule_b),
        bleu_tokenizer=options.bleu_tokenizer,
        num_resamples=options.resamples,
    )
    how = {
        "runs": {"A": str(a.path), "B": str(b.path)},
        "part": "" if options.src else options.part,
        "told": told,
        "normalization": rule_a.rule,
        "resamples": options.resamples,
    }
    return comparison, how


def compare_runs(options: EvaluateOptions) -> None:
    """Translates with both runs, and prints what sets them apart."""
    folders = [RunFolder.of(run or model_folder()) for run in options.compare]
    for folder in folders:
        folder.config()  # a wrong folder is told before anything is read
    comparison, how = translate_and_compare(options, *folders)
    for sentence in how["told"]:
        say(sentence)
    if options.json:
        result = {**how, **dataclasses.asdict(comparison)}
        print(json.dumps(result, ensure_ascii=True, indent=1))
        return
    print_comparison(comparison, how["runs"])
    if different := comparison.most_different(options.show_sentences):
        say("the sentences that differ most, with the chrF++ of each translation:")
    for sentence in different:
        say_difference(sentence)


# ---- the door ------------------------------------------------------------------


def evaluate(arguments: list[str]) -> None:
    """The door: options from the command line, scores on standard output."""
    options = parse(EvaluateOptions, arguments, prog="evaluate")
    if options.compare:
        compare_runs(options)
        return
    folder = RunFolder.of(options.run or model_folder())
    folder.config()  # a wrong folder is told before anything is read
    pairs = read_test(options, folder)
    enable_compilation_cache(choose_device(options.device), note=say)
    translator = Translator.load(folder.path, note=say)
    scores, translations, told = evaluate_pairs(
        translator,
        pairs,
        search=options.search(),
        bleu_tokenizer=options.bleu_tokenizer,
    )
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
