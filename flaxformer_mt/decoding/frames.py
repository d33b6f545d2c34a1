"""The few sizes of a decoding batch that programs are compiled for.

A frame is a number of rows, and of positions that each side of a row has room for. A
program is compiled for each frame that is used, one to read the sources and one for the
step, so there are four frames at most: for many short sentences, for fewer long ones,
and for a single one. Rows that are left when most of a batch has ended, and those that
grow out of their frame, move to another.

Axes: B rows, S source places, L target places, V target vocabulary.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from flaxformer_mt.text.batching import pad

MOST_FRAMES = 4  # two programs each
SHORTEST, GROWTH = 32, 4  # positions: 32, 128, 512 ... up to the model's own
# What a step costs, in rows of 64 positions: something by itself, and by its rows.
COST_OF_STEP = 8.0
# To move a single sentence takes as long as ten of its tokens, so it begins where a
# translation fits that is so many times as long as the source.
USUAL_GROWTH = 1.25


class Frame(NamedTuple):
    """Rows, and positions a side."""

    rows: int
    length: int

    @property
    def cost(self) -> float:
        """Of one step, in arbitrary units."""
        return COST_OF_STEP + self.rows * (1 + self.length / 64)


class Source(NamedTuple):
    """One sentence to be translated."""

    src_ids: list[int]  # EOS included
    key: tuple[int, int] = (0, 0)  # the words of its random key
    prefix: list[int] = []  # noqa: RUF012  target tokens that are given
    opening: np.ndarray | None = None  # [V] bool: what may follow the prefix; None: all
    boundary: np.ndarray | None = None  # [V] bool: what ends a word, to find words

    @property
    def places(self) -> int:
        """Positions that it needs from the start."""
        return max(len(self.src_ids), len(self.prefix) + 1)


class Rows(NamedTuple):
    """Sources as arrays. The last three are None where no source of a call has any."""

    src_ids: np.ndarray  # [B, S] int32
    src_mask: np.ndarray  # [B, S] bool; a row without a source has no True
    keys: np.ndarray  # [B, 2] uint32
    prefix: np.ndarray | None  # [B, L] int32, the given token + 1; 0 where none is
    opening: np.ndarray | None  # [B, V] bool
    boundary: np.ndarray | None  # [B, V] bool


def ladder(max_length: int, tokens: int, *, hypotheses: int = 1) -> tuple[Frame, ...]:
    """The frames of a model, at most four.

    Args:
      max_length: positions that the model has.
      tokens: places that a frame of many rows may have.
      hypotheses: of each row; they cost time as rows do, but share their source.
    """
    lengths = []
    length = SHORTEST
    while length * 3 // 2 < max_length and len(lengths) < MOST_FRAMES - 2:
        lengths.append(length)
        length *= GROWTH
    lengths.append(max_length)
    # Measured with 5: 32 rows of them are faster than 16 or 64.
    share = max(hypotheses**0.5 / 2, 1)
    many = [Frame(_power_of_two(tokens / length / share), length) for length in lengths]
    # A single sentence has frames of its own as long as there are no more than four.
    left = max(MOST_FRAMES - len(many), 1)
    single = [Frame(1, length) for length in lengths[-left:]]
    return tuple(dict.fromkeys([*many, *single]))


def _power_of_two(number: float) -> int:
    """The largest that is not above the number, but at least 1."""
    return 1 << max(int(number), 1).bit_length() - 1


def cheapest(frames: Sequence[Frame], *, count: int, places: int) -> Frame:
    """The frame for `count` rows that need so many places."""
    fit = [frame for frame in frames if frame.length >= places]
    return min(fit, key=lambda frame: -(-count // frame.rows) * frame.cost)


def plan(
    sources: Sequence[Source], frames: Sequence[Frame]
) -> list[tuple[Frame, list[int]]]:
    """Which sources are decoded together, and in which frame: those of like length.

    Every source must fit into the longest frame.
    """
    order = sorted(range(len(sources)), key=lambda i: sources[i].places)
    batches = []
    while order:
        # As many as the shortest frame holds of those that fit into it.
        places = sources[order[0]].places
        length = min(f.length for f in frames if f.length >= places)
        fit = sum(sources[i].places <= length for i in order)
        count = min(fit, max(f.rows for f in frames if f.length == length))
        longest = sources[order[count - 1]].places
        if count == 1:
            most = max(frame.length for frame in frames)
            longest = max(longest, min(int(longest * USUAL_GROWTH), most))
        frame = cheapest(frames, count=count, places=longest)
        taken = min(count, frame.rows)
        batches.append((frame, order[:taken]))
        order = order[taken:]
    return batches


def make_rows(
    sources: Sequence[Source],
    frame: Frame,
    *,
    pad_id: int,
    vocab_size: int,
    has: frozenset[str],
) -> Rows:
    """The arrays of some sources, filled up with rows that have no source.

    has: what any source planned with them has, of "prefix", which brings "opening" with
    it, and "boundary": a program of its own for each kind.
    """
    num_empty = frame.rows - len(sources)
    ids = [source.src_ids for source in sources] + [[]] * num_empty
    src_ids, src_mask = pad(ids, frame.length, pad_id)
    keys = np.zeros((frame.rows, 2), np.uint32)
    prefix = np.zeros((frame.rows, frame.length), np.int32)
    opening = np.ones((frame.rows, vocab_size if has else 0), bool)
    boundary = np.zeros_like(opening)
    for row, source in enumerate(sources):
        keys[row] = source.key
        prefix[row, : len(source.prefix)] = np.asarray(source.prefix, np.int32) + 1
        for array, given in ((opening, source.opening), (boundary, source.boundary)):
            if given is not None:
                array[row] = given
    return Rows(
        *(src_ids, src_mask, keys),
        prefix if has else None,
        opening if has else None,
        boundary if "boundary" in has else None,
    )


def special(sources: Sequence[Source]) -> frozenset[str]:
    """What any of the sources has beside its tokens; see make_rows."""
    has = set()
    if any(source.prefix or source.opening is not None for source in sources):
        has.add("prefix")
    if any(source.boundary is not None for source in sources):
        has |= {"prefix", "boundary"}
    return frozenset(has)


def move(state: Any, rows: Sequence[int], like: Any) -> Any:
    """A state with some of its rows alone, in the shapes of another frame.

    On the host, where it takes no program. What is new is zero or False, so a row that
    is filled up is not alive.

    Args:
      state: arrays of NumPy, rows first.
      like: the same tree of shapes, those of the other frame.
    """

    def move_array(array: np.ndarray, wanted: jax.ShapeDtypeStruct) -> np.ndarray:
        moved = np.zeros(wanted.shape, wanted.dtype)
        taken = array[list(rows)]
        corner = tuple(map(slice, np.minimum(taken.shape, moved.shape)))
        moved[corner] = taken[corner]
        return moved

    return jax.tree.map(move_array, state, like)
