"""Writes the starter corpus: python -m experiments.starter_corpus [--check]

The pairs written singly (written.tsv) and those of the grammar (grammar.py) become
data/en-fa/train.tsv, validation.tsv and test.tsv: English, Persian, origin (written or
grammar) and pattern, byte for byte the same each time. --check compares instead of
writing and ends in exit code 1 where a file differs.

A tenth goes to validation and a tenth to test, of either origin. Pairs that share a
sentence, on either side, stay together, so that no sentence is in two parts.
"""

import argparse
import collections
import re
import sys
from pathlib import Path
from typing import NamedTuple

from experiments.starter_corpus.grammar import generate
from flaxformer_mt.text.split import group_pairs, hash_fraction

HERE = Path(__file__).resolve().parent
OUTPUT = HERE.parent.parent / "data" / "en-fa"
PARTS = ("train", "validation", "test")
HELD_OUT_SHARE = 0.1  # each of validation and test


class Row(NamedTuple):
    """A line of the corpus."""

    english: str
    persian: str
    origin: str  # "written" or "grammar"
    pattern: str  # of the grammar; "written" for the others


def read_written() -> list[Row]:
    """The pairs that were written singly."""
    lines = (HERE / "written.tsv").read_text(encoding="utf-8").rstrip("\n").split("\n")
    return [Row(*line.split("\t"), "written", "written") for line in lines]


def all_rows() -> list[Row]:
    """Every pair; a sentence of the grammar that is also written singly is left out."""
    written = read_written()
    english = {row.english for row in written}
    persian = {row.persian for row in written}
    generated = (Row(s.english, s.persian, "grammar", s.pattern) for s in generate())
    return written + [
        row
        for row in generated
        if row.english not in english and row.persian not in persian
    ]


def assign_parts(rows: list[Row]) -> list[str]:
    """The part of each row: of each origin, a tenth of its groups in hash order goes
    to test and the next tenth to validation."""
    groups = group_pairs([row[:2] for row in rows])
    parts = {}
    for origin in ("written", "grammar"):
        roots = sorted({g for g in groups if rows[g].origin == origin})
        roots.sort(key=lambda g: hash_fraction(f"{rows[g].english}\t{rows[g].persian}"))
        held_out = round(HELD_OUT_SHARE * len(roots))
        for place, root in enumerate(roots):
            number = place // held_out if held_out else 2
            parts[root] = ("test", "validation", "train")[min(number, 2)]
    return [parts[group] for group in groups]


def build() -> dict[str, str]:
    """The text of each part's file."""
    rows = all_rows()
    texts = dict.fromkeys(PARTS, "")
    for row, part in zip(rows, assign_parts(rows), strict=True):
        texts[part] += "\t".join(row) + "\n"
    return texts


def word_forms(texts: list[str]) -> set[str]:
    """The different English words, lower-cased."""
    return {word for text in texts for word in re.findall("[a-z']+", text.lower())}


def describe(texts: dict[str, str]) -> str:
    """The figures that data/README.md quotes."""
    rows = {
        part: [Row(*line.split("\t")) for line in text.rstrip("\n").split("\n")]
        for part, text in texts.items()
    }
    whole = [row for part in rows.values() for row in part]
    patterns = collections.Counter(r.pattern for r in whole if r.origin == "grammar")
    lines = [f"{len(whole):,} pairs"]
    for part, members in rows.items():
        written = sum(row.origin == "written" for row in members)
        lines.append(f"  {part:10} {len(members):,} pairs, {written} written singly")
    top, count = patterns.most_common(1)[0]
    lines.append(
        f"{len(patterns)} sentence patterns; the most frequent, {top}, gives "
        f"{count / patterns.total():.1%} of the grammar's sentences"
    )
    forms = word_forms([row.english for row in whole])
    lines.append(f"{len(forms):,} different English word forms")
    return "\n".join(lines)


def main() -> None:
    """Writes or checks the three files."""
    parser = argparse.ArgumentParser(description="Writes the starter corpus.")
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    check = parser.parse_args().check
    texts = build()
    print(describe(texts))
    OUTPUT.mkdir(parents=True, exist_ok=True)
    differing = []
    for part, text in texts.items():
        path, content = OUTPUT / f"{part}.tsv", text.encode("utf-8")
        if check and not (path.is_file() and path.read_bytes() == content):
            differing.append(path.name)
        elif not check:
            path.write_bytes(content)
    if differing:
        sys.exit(f"differs from what the sources give: {', '.join(differing)}")


if __name__ == "__main__":
    main()
