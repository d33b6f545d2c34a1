"""Train, validation and test with nothing shared between them.

Pairs that share a source or a target sentence, directly or over others, are one group;
a group goes whole to one part. Which part is a hash of the group's first pair: the same
on every machine, and unmoved by lines that are appended later, with two exceptions:
where they join two groups, the older one decides; and where there are more pairs than
may be held out, groups of higher hash go from there into training, never the other way.

Texts are known here by a hash of 64 bits each, so that ten million pairs fit. Where two
texts have the same hash, by a chance of one in a million for ten million pairs, their
groups are joined: nothing can leak by it.
"""

import hashlib
from collections.abc import Sequence
from typing import Literal

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")
TRAIN, VALIDATION, TEST = range(3)  # places in PARTS, as arrays hold them

# In a large corpus of short sentences a good part of all pairs is one group, over
# sentences like "Yes." It trains: as a test it would be no sample of the corpus.
MAX_HELD_OUT_GROUP = 200


def hash_text(text: str) -> bytes:
    """Eight bytes that stand for a text (BLAKE2b)."""
    return hashlib.blake2b(text.encode("utf-8"), digest_size=8).digest()


def hash_pair(src: str, tgt: str) -> bytes:
    """Eight bytes, big-endian, that say where a pair goes (SHA-256)."""
    return hashlib.sha256(f"{src}\t{tgt}".encode()).digest()[:8]


def hash_fraction(text: str) -> float:
    """A number in [0, 1) that depends on the text alone (SHA-256)."""
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _nodes(hashes: np.ndarray) -> tuple[np.ndarray, int]:
    """(for each text, the number of its hash, from 0; how many hashes there are)."""
    unique, nodes = np.unique(hashes, return_inverse=True)
    return nodes.astype(np.int32), len(unique)


def group_hashes(hashes: np.ndarray) -> np.ndarray:
    """For each pair, the index of the first pair of its group.

    Args:
      hashes: [N, 2] uint64, of the source's and the target's text.
    """
    num_pairs = len(hashes)
    if not num_pairs:
        return np.zeros(0, np.int64)
    # Texts are the nodes of a graph, pairs its edges; groups are what hangs together.
    src, num_src = _nodes(hashes[:, 0])
    tgt, num_tgt = _nodes(hashes[:, 1])
    size = num_src + num_tgt
    edges = coo_array(
        (np.ones(num_pairs, np.int8), (src, tgt + np.int32(num_src))),
        shape=(size, size),
    )
    _, labels = connected_components(edges, directed=False)
    label_of_pair = labels[src]
    _, first, inverse = np.unique(label_of_pair, return_index=True, return_inverse=True)
    return first[inverse]


def first_occurrences(hashes: np.ndarray) -> np.ndarray:
    """[N] bool, True where the very pair was not there before.

    Args:
      hashes: as in `group_hashes`; both of two pairs agree only if the pairs do.
    """
    src, _ = _nodes(hashes[:, 0])
    tgt, num_tgt = _nodes(hashes[:, 1])
    _, first = np.unique(src.astype(np.int64) * num_tgt + tgt, return_index=True)
    is_first = np.zeros(len(hashes), bool)
    is_first[first] = True
    return is_first


def split_groups(
    groups: np.ndarray,
    pair_hashes: np.ndarray,
    *,
    validation: float,
    test: float,
    max_validation: int = 0,
    max_test: int = 0,
) -> np.ndarray:
    """The part of each pair, [N] int8, as places in `PARTS`.

    A group whose first pair hashes to the lowest `test` of all values is the test's,
    to the next `validation` the validation's; where that is more than `max_test` or
    `max_validation` pairs (0: no limit), the groups of lowest hash within the limit
    stay and the others train. Groups of over `MAX_HELD_OUT_GROUP` pairs train.

    Args:
      groups: from `group_hashes`.
      pair_hashes: [N] uint64, from `hash_pair`.
    """
    first, sizes = np.unique(groups, return_counts=True)
    fractions = pair_hashes[first] / 2.0**64
    parts = np.full(len(first), TRAIN, np.int8)
    small = sizes <= MAX_HELD_OUT_GROUP
    wanted = {
        TEST: (small & (fractions < test), max_test),
        VALIDATION: (
            small & (fractions >= test) & (fractions < test + validation),
            max_validation,
        ),
    }
    for part, (members, limit) in wanted.items():
        chosen = np.flatnonzero(members)
        if limit:
            chosen = chosen[np.argsort(fractions[chosen], kind="stable")]
            chosen = chosen[_within(sizes[chosen], limit)]
        parts[chosen] = part
    return parts[np.searchsorted(first, groups)]


def _within(sizes: np.ndarray, limit: int) -> list[int]:
    """The places of the sizes that fit into a limit, taken in their order.

    The first that finds no room ends it. A smaller one behind it could go in, but would
    have to go out again, or in only then, when lines are added to the corpus.
    """
    taken, left = [], limit
    for place, size in enumerate(sizes.tolist()):
        if size > limit:
            continue  # it has never any room
        if size > left:
            break
        taken.append(place)
        left -= size
    return taken


def _hashes(pairs: Sequence[tuple[str, str]]) -> np.ndarray:
    both = b"".join(hash_text(text) for pair in pairs for text in pair)
    return np.frombuffer(both, "<u8").reshape(-1, 2)


def group_pairs(pairs: Sequence[tuple[str, str]]) -> list[int]:
    """`group_hashes` of texts."""
    return group_hashes(_hashes(pairs)).tolist()


def split_pairs(
    pairs: Sequence[tuple[str, str]], *, validation: float, test: float
) -> list[Part]:
    """`split_groups` of texts, without a limit."""
    if not pairs:
        return []
    hashes = np.frombuffer(b"".join(hash_pair(*pair[:2]) for pair in pairs), ">u8")
    parts = split_groups(
        group_hashes(_hashes(pairs)),
        hashes.astype(np.uint64),
        validation=validation,
        test=test,
    )
    return [PARTS[part] for part in parts]
