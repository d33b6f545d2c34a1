"""Token ids of many pairs, flat: they can be memory-mapped, and any pair is at hand.

Axes: N pairs.
"""

import functools
import hashlib
from collections.abc import Sequence

import numpy as np

EncodedPair = tuple[Sequence[int], Sequence[int]]  # (src ids, tgt ids), no specials


class EncodedSide:
    """The ids of one side: those of pair i are `ids[starts[i] : starts[i + 1]]`."""

    def __init__(self, ids: np.ndarray, lengths: np.ndarray) -> None:
        self.ids, self.lengths = ids, lengths
        self.starts = np.zeros(len(lengths) + 1, np.int64)
        np.cumsum(lengths, out=self.starts[1:])

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, i: int) -> np.ndarray:
        return self.ids[self.starts[i] : self.starts[i + 1]]


class EncodedPairs(Sequence[EncodedPair]):
    """Pairs as ids, without specials, and where each was read."""

    def __init__(
        self,
        src: EncodedSide,
        tgt: EncodedSide,
        lines: np.ndarray | None = None,
        corpora: np.ndarray | None = None,
    ) -> None:
        self.src, self.tgt = src, tgt
        # [N], from 1, in the corpus with the number corpora[i], from 0.
        self.lines = np.arange(1, len(src) + 1) if lines is None else lines
        self.corpora = np.zeros(len(src), np.uint8) if corpora is None else corpora
        self.known_digests: dict[str, str] = {}

    @classmethod
    def of(cls, pairs: Sequence[EncodedPair]) -> "EncodedPairs":
        """Pairs out of lists of ids; such pairs as they are."""
        if isinstance(pairs, cls):
            return pairs
        sides = []
        for side in (0, 1):
            ids = [np.asarray(pair[side], np.int32) for pair in pairs]
            flat = np.concatenate([*ids, np.zeros(0, np.int32)])
            sides.append(EncodedSide(flat, np.array([*map(len, ids)], np.int32)))
        return cls(*sides)

    def __len__(self) -> int:
        return len(self.src)

    def __getitem__(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        if not 0 <= i < len(self):
            raise IndexError(f"there is no pair {i}, only {len(self)} from 0 on")
        return self.src[i], self.tgt[i]

    @functools.cached_property
    def lengths(self) -> np.ndarray:
        """[N, 2] int32, tokens a side with the one special that each carries."""
        lengths = np.empty((len(self), 2), np.int32)
        np.add(self.src.lengths, 1, out=lengths[:, 0], casting="unsafe")
        np.add(self.tgt.lengths, 1, out=lengths[:, 1], casting="unsafe")
        return lengths

    def columns(self) -> dict[str, np.ndarray]:
        """The arrays that hold everything, by name."""
        return {
            "src.ids": self.src.ids,
            "src.lengths": self.src.lengths,
            "tgt.ids": self.tgt.ids,
            "tgt.lengths": self.tgt.lengths,
            "lines": self.lines,
            "corpora": self.corpora,
        }

    def digests(self) -> dict[str, str]:
        """SHA-256 of each column, computed once: a large one takes a while."""
        if not self.known_digests:
            self.known_digests = {
                name: digest(column) for name, column in self.columns().items()
            }
        return self.known_digests

    def fingerprint(self) -> str:
        """SHA-256 of what a model would see of the pairs, and of their corpora."""
        digests = self.digests()
        seen = (digests[name] for name in sorted(digests) if name != "lines")
        return hashlib.sha256("".join(seen).encode()).hexdigest()


def digest(column: np.ndarray) -> str:
    """SHA-256 of the bytes of an array."""
    return hashlib.sha256(np.ascontiguousarray(column).data).hexdigest()
