"""Train, validation and test with nothing shared between them.

Pairs that share a source or a target sentence, directly or over others, are one group;
a group goes whole to one part. Which part is a hash of the group's first pair: the same
on every machine, and unmoved by lines that are appended later.
"""

import hashlib
from collections.abc import Sequence
from typing import Literal

Part = Literal["train", "validation", "test"]


def group_pairs(pairs: Sequence[tuple[str, str]]) -> list[int]:
    """For each pair, the index of the first pair of its group (union-find)."""
    parents = list(range(len(pairs)))

    def find(i: int) -> int:
        while parents[i] != i:
            parents[i] = parents[parents[i]]  # halves the path for the next visit
            i = parents[i]
        return i

    first_seen: dict[tuple[int, str], int] = {}
    for i, pair in enumerate(pairs):
        for side, text in enumerate(pair):
            j = first_seen.setdefault((side, text), i)
            a, b = sorted((find(i), find(j)))
            parents[b] = a  # the smaller index stays the root: the group's first pair
    return [find(i) for i in range(len(pairs))]


def hash_fraction(text: str) -> float:
    """A number in [0, 1) that depends on the text alone (SHA-256)."""
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def split_pairs(
    pairs: Sequence[tuple[str, str]], *, validation: float, test: float
) -> list[Part]:
    """The part of each pair; `validation` and `test` are shares of the groups."""

    def part(group: int) -> Part:
        src, tgt = pairs[group]
        fraction = hash_fraction(f"{src}\t{tgt}")
        if fraction < test:
            return "test"
        return "validation" if fraction < test + validation else "train"

    return [part(group) for group in group_pairs(pairs)]
