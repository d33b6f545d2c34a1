"""What was done to a corpus, in numbers and examples, for `report.json`.

`report_page.py` draws it. Everything is computed from what a `Preparation` has at hand
when it is done; texts are looked up for the few examples alone.
"""

import dataclasses
import datetime
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from flaxformer_mt import __version__
from flaxformer_mt.text import filters
from flaxformer_mt.text.alignment import length_outliers, suspected_shifts
from flaxformer_mt.text.batching import EpochBatches, choose_shapes
from flaxformer_mt.text.encoded import EncodedPairs, EncodedSide
from flaxformer_mt.text.preparation import LEFT_OUT, Preparation
from flaxformer_mt.text.prepared import Prepared
from flaxformer_mt.text.scripts import count_scripts
from flaxformer_mt.text.split import PARTS, TRAIN

REPORT_FORMAT = 1
SIDES = ("src", "tgt")
SIDE_NAMES = {"src": "Source", "tgt": "Target"}
NUM_BARS = 60  # of a histogram, at most
MOST_CHARACTERS, MOST_RARE = 100, 50
NUM_OUTLIERS = 10
# The numbers of shapes that the curve of padding shows.
CURVE = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16)
PAIRS_AT_ONCE = 1_000_000
# Pairs among which the worst are looked for, evenly spread over a larger corpus.
PAIRS_FOR_OUTLIERS = 1_000_000
# Pairs that the shapes are chosen by, drawn at random from a larger corpus.
PAIRS_FOR_SHAPES = 200_000


Report = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class BatchSize:
    """The batches that the report is about: what `train` would be given."""

    sentences: int
    tokens: int
    max_shapes: int


def make_report(
    preparation: Preparation,
    prepared: Prepared,
    size: BatchSize,
    *,
    command: str,
) -> dict[str, Any]:
    """The report on a preparation that is done, as plain data for JSON.

    Args:
      command: that trains on it.
    """
    p = preparation
    return {
        "format": REPORT_FORMAT,
        "made": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "version": __version__,
        "command": command,
        "corpora": _corpora(p),
        "normalization": {
            **{s: n.rule for s, n in zip(SIDES, p.normalizers, strict=True)},
            "marks_removed": p.num_marks,
        },
        "read": p.tally.read,
        "rules": _rules(p),
        "kept": p.tally.kept,
        "parts": {
            part: {"pairs": count}
            for part, count in zip(
                PARTS,
                (
                    len(prepared.train),
                    len(prepared.validation),
                    len(prepared.test_texts),
                ),
                strict=True,
            )
        },
        "groups": {
            "count": p.selected.num_groups,
            "largest": p.selected.largest_group,
        },
        "overlap": _overlap(p),
        "repeated": _repeated(p),
        "lengths": _lengths(p, prepared),
        "ratio": _ratio(p),
        "scripts": {
            side: count_scripts(counts)
            for side, counts in zip(SIDES, p.counts, strict=True)
        },
        "characters": {
            side: counts.most_common(MOST_CHARACTERS)
            for side, counts in zip(SIDES, p.counts, strict=True)
        },
        "rare_characters": {
            side: _rarest(counts) for side, counts in zip(SIDES, p.counts, strict=True)
        },
        "tokens": _tokens(p, prepared),
        "misalignments": _misalignments(p),
        "batches": _batches(prepared, size),
        "notes": prepared.notes,
    }


def _corpora(p: Preparation) -> list[dict[str, Any]]:
    kept = np.bincount(
        p.all_corpora[p.selected.parts != LEFT_OUT], minlength=len(p.corpora)
    )
    weights = [*p.data.weights]
    weights += [1.0] * (len(p.corpora) - len(weights))  # those that are not trained on
    return [
        {"src": c.src, "tgt": c.tgt, "weight": weight, "read": read, "kept": int(n)}
        for c, weight, read, n in zip(p.corpora, weights, p.num_read, kept, strict=True)
    ]


def _rules(p: Preparation) -> list[dict[str, Any]]:
    """Every rule with what it met and what it left."""
    rows, left = [], p.tally.read
    for rule in filters.rules(p.data.filter, p.max_length, p.data.limit_pairs):
        dropped = p.tally.dropped.get(rule.reason, 0)
        examples = p.tally.examples.get(rule.reason, [])
        rows.append(
            {
                "name": rule.reason,
                "description": rule.description,
                "setting": rule.setting,
                "before": left,
                "dropped": dropped,
                "after": left - dropped,
                # A pair past data.limit_pairs is counted and not looked at.
                "examples": [e._asdict() for e in examples if e.src or e.tgt],
            }
        )
        left -= dropped
    return rows


def _stretches(p: Preparation) -> Iterator[slice]:
    """All pairs that were cleaned, a million at a time: memory stays bounded."""
    for start in range(0, len(p.selected.parts), PAIRS_AT_ONCE):
        yield slice(start, start + PAIRS_AT_ONCE)


def _overlap(p: Preparation) -> dict[str, int]:
    """Held-out sentences that training has as well, counted again from the texts'
    hashes, whatever the split believes."""
    parts, counts = p.selected.parts, {}
    for i, side in enumerate(SIDES):
        held_out = np.unique(p.all_hashes[(parts != LEFT_OUT) & (parts != TRAIN), i])
        found = np.zeros(len(held_out), bool)
        for rows in _stretches(p) if len(held_out) else ():
            trained = p.all_hashes[rows, i][parts[rows] == TRAIN]
            places = np.searchsorted(held_out, trained) % len(held_out)
            found[places[held_out[places] == trained]] = True
        counts[side] = int(found.sum())
    return counts


def _repeated(p: Preparation) -> dict[str, int]:
    """Pairs in use whose text on a side another pair in use has too."""
    counts = {}
    for i, side in enumerate(SIDES):
        texts = p.all_hashes[p.selected.parts != LEFT_OUT, i]
        texts.sort()
        same = texts[1:] == texts[:-1]
        # A text is repeated where it equals the one before it or the one after it.
        repeated = np.zeros(len(texts), bool)
        repeated[1:] |= same
        repeated[:-1] |= same
        counts[side] = int(repeated.sum())
    return counts


def _histogram(times: np.ndarray) -> dict[str, Any]:
    """A histogram in few bars; times[n]: how many texts have the length n."""
    width = max(-(-len(times) // NUM_BARS), 1)
    bars = np.pad(times, (0, -len(times) % width)).reshape(-1, width).sum(axis=1)
    reached = np.cumsum(times) / max(times.sum(), 1)
    median, p95, p99 = (int(np.searchsorted(reached, q)) for q in (0.5, 0.95, 0.99))
    return {
        "counts": bars.tolist(),
        "width": width,
        "median": median,
        "p95": p95,
        "p99": p99,
        "max": len(times) - 1,
    }


def _count_lengths(stretches: Iterable[np.ndarray]) -> np.ndarray:
    """times[n]: how many texts have the length n."""
    times = np.zeros(1, np.int64)
    for lengths in stretches:
        more = np.bincount(lengths, minlength=len(times))
        more[: len(times)] += times
        times = more
    return times


def _lengths(p: Preparation, prepared: Prepared) -> dict[str, Any]:
    """Histograms of characters and tokens, a side each."""
    tokens = prepared.lengths - 1
    rows = {}
    for i, side in enumerate(SIDES):
        characters = (
            p.lengths[rows, i][p.selected.parts[rows] != LEFT_OUT]
            for rows in _stretches(p)
        )
        rows[f"{side}_characters"] = _histogram(_count_lengths(characters))
        rows[f"{side}_tokens"] = _histogram(_count_lengths([tokens[:, i]]))
    return rows


def _ratio(p: Preparation) -> dict[str, Any]:
    """Histogram of log2(source / target characters) of the pairs in use."""
    edges = np.linspace(-4, 4, 65)
    counts = np.zeros(len(edges) - 1, np.int64)
    for rows in _stretches(p):
        used = np.maximum(p.lengths[rows][p.selected.parts[rows] != LEFT_OUT], 1)
        ratios = np.clip(np.log2(used[:, 0] / used[:, 1]), -4, 4)
        counts += np.histogram(ratios, edges)[0]
    return {"edges": edges.tolist(), "counts": counts.tolist()}


def _rarest(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (item[1], item[0]))[:MOST_RARE]


def _tokens(p: Preparation, prepared: Prepared) -> dict[str, Any]:
    """What a token is on each side, and how much of the text it covers."""
    rows = {}
    tokenizers = prepared.src_tokenizer, prepared.tgt_tokenizer
    used = p.selected.parts != LEFT_OUT
    for i, (side, tokenizer) in enumerate(zip(SIDES, tokenizers, strict=True)):
        tokens, in_bytes, unknown = p.fallback[:, i].sum(axis=0).tolist()
        characters = int(p.lengths[:, i] @ used.astype(np.int64))
        rows[side] = {
            "kind": p.data.tokenizer,
            "vocabulary": len(tokenizer.vocabulary),
            "tokens": tokens,
            "bytes": in_bytes,
            "unknown": unknown,
            "characters_per_token": round(characters / max(tokens, 1), 3),
        }
    return rows


def _misalignments(p: Preparation) -> dict[str, Any]:
    blocks = [
        {"corpus": number, **block._asdict()}
        for number, lengths in enumerate(p.raw_lengths)
        for block in suspected_shifts(lengths[:, 0], lengths[:, 1])
    ]
    used = np.flatnonzero(p.selected.parts != LEFT_OUT)
    if len(used) > PAIRS_FOR_OUTLIERS:
        used = used[:: -(-len(used) // PAIRS_FOR_OUTLIERS)]
    lengths = p.lengths[used]
    rows = used[length_outliers(lengths[:, 0], lengths[:, 1], count=NUM_OUTLIERS)]
    outliers = []
    for row, (src, tgt) in zip(rows, p.texts_of(rows), strict=True):
        long, short = max(len(src), len(tgt)), min(len(src), len(tgt))
        outliers.append(
            {
                "corpus": int(p.all_corpora[row]),
                "line": int(p.all_lines[row]),
                "src": src,
                "tgt": tgt,
                "ratio": round(long / max(short, 1), 1),
            }
        )
    return {"blocks": blocks, "outliers": outliers}


def _batches(prepared: Prepared, size: BatchSize) -> dict[str, Any]:
    """The shapes that training would choose, and the padding of other numbers."""
    pairs = _sample(prepared.lengths)
    longest = int(prepared.lengths.max())

    def padded(max_shapes: int) -> EpochBatches:
        shapes = choose_shapes(
            pairs.lengths,
            batch_sentences=size.sentences,
            batch_tokens=size.tokens,
            max_length=longest,
            max_shapes=max_shapes,
        )
        return EpochBatches(pairs, shapes, prepared.specials, seed=0)

    curve = {}
    for number in CURVE:
        batches = padded(number)
        curve.setdefault(len(batches.shapes), batches.padding())
    chosen = padded(size.max_shapes)
    src, tgt = chosen.padding()
    return {
        "batch_sentences": size.sentences,
        "batch_tokens": size.tokens,
        "shapes": [list(shape) for shape in chosen.shapes],
        "padding": {"src": round(src, 4), "tgt": round(tgt, 4)},
        "curve": [
            {"shapes": number, "src": round(src, 4), "tgt": round(tgt, 4)}
            for number, (src, tgt) in curve.items()
        ],
    }


def _sample(lengths: np.ndarray) -> EncodedPairs:
    """Pairs of these lengths without ids, of a large corpus some, the longest too."""
    if len(lengths) > PAIRS_FOR_SHAPES:
        rng = np.random.default_rng(0)
        some = rng.choice(len(lengths), PAIRS_FOR_SHAPES, replace=False)
        lengths = lengths[np.concatenate([some, lengths.argmax(axis=0)])]
    nothing = np.zeros(0, np.uint16)
    src, tgt = (EncodedSide(nothing, lengths[:, i] - 1) for i in (0, 1))
    return EncodedPairs(src, tgt)


# ---- reading one -------------------------------------------------------------------


def part_of(report: Report, *keys: str, default: Any = None) -> Any:
    """Return report[key][key]..., or the default where a part is missing."""
    value: Any = report
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return default if value is None else value


def count_of(report: Report, *keys: str) -> int | float:
    """Return a count to compute with; 0 where it is missing."""
    value = part_of(report, *keys, default=0)
    return value if isinstance(value, (int, float)) and math.isfinite(value) else 0
