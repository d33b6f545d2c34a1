"""Suspected misalignments of a parallel corpus, found from lengths of lines alone.

Equal counts of lines do not show that the lines belong together. Where one side lost a
line and gained another further down, every pair in between is wrong (fairseq issue
4146: two shifts that cancel, 72 wrong pairs). A sentence and its translation have
lengths that go together, so such a stretch fits better a line or two further up or
down than where it stands.

    shift s    target line n belongs to source line n + s

The letters of the axes: N lines, D shifts, S states (the shifts, then "unrelated"),
K windows of T lines each.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

MIN_LINES = 50  # fewer cannot show both what is usual and what is not

# A change of shift must pay this many nats. A stretch has two ends, so it must fit
# exp(26) times better than the shift around it; over ten million lines with six shifts
# each, noise does that 6e7 / exp(26) = 0.0003 times, were the model true.
SWITCH_NATS = 13.0
# What a stretch must gain over lines that have nothing to do with each other. Less
# than the two ends' cost, because "unrelated" would have to pay those as well.
MIN_NATS = 10.0
# The share of pairs that are not translations of each other's length at all. It bounds
# what one bad pair can say against a shift; MOST_NATS bounds what one pair says for it.
UNRELATED = 0.02
MOST_NATS = 4.0

# Noise against the spread of the lengths, both by medians: 0.45 and 0.49 in the two
# real corpora of the tests, 0.94 and more once their sides are unrelated. Above this,
# lengths say too little, and what they seem to say comes from the order of the lines
# (long and short ones in turn, for example).
MOST_NOISE = 0.7

NUM_DECOYS = 6  # on each side
WINDOW, OVERLAP = 2048, 512  # lines; the overlap is many times what a decision needs
LINES_AT_ONCE = 500 * WINDOW  # about 0.5 GB at the peak
FIT_LINES, FIT_PIECES = 200_000, 20


class Block(NamedTuple):
    """Lines that fit better elsewhere: target line n beside source line n + shift."""

    first: int  # from 1
    last: int  # inclusive
    shift: int


class _Fit(NamedTuple):
    """The usual relation: root of target = slope * root of source + offset, +- noise.

    The root of a length, because the variance of a translation's length grows with the
    length itself (Gale and Church 1993, figure 5), and so its root's does not.
    """

    slope: float
    offset: float
    noise: float
    mean: float  # of all target roots, and their spread
    spread: float
    noise_share: float  # of the spread; near 1, the sides say nothing of each other


def suspected_shifts(
    src_lengths: np.ndarray, tgt_lengths: np.ndarray, *, max_shift: int = 3
) -> list[Block]:
    """Return the stretches of lines that fit clearly better at another shift.

    A hidden Markov model reads the lines: its states are the shifts and "unrelated",
    its evidence is how well the two lengths go together at a shift (Gale and Church
    1993, "A program for aligning sentences in bilingual corpora"), its answer the most
    likely path (Viterbi). Evidence is counted against unrelated lines of the same
    neighbourhood, so that a passage of long sentences is not taken for a match, and a
    corpus whose sides have nothing in common has no shift. Where all lines are about
    equally long there is no evidence, and nothing is reported.

    An end of a stretch is exact to a few lines. Short stretches, of less than about
    thirty lines, can escape.

    Args:
        src_lengths, tgt_lengths: characters of each line, [N]; 0 for an empty line,
            which says nothing.
        max_shift: the farthest shift that is looked for, in lines.

    Raises:
        ValueError: the sides have unequally many lines.
    """
    src_roots, tgt_roots = _roots(src_lengths, tgt_lengths)
    fit = _fit_with_shifts(src_roots, tgt_roots, max_shift)
    if fit is None:
        return []
    blocks: list[Block] = []
    gains: list[np.ndarray] = []
    num_lines = len(src_roots)
    for begin in range(0, num_lines, LINES_AT_ONCE):
        end = min(begin + LINES_AT_ONCE, num_lines)
        low, high = max(begin - OVERLAP, 0), min(end + OVERLAP, num_lines)
        evidence = _evidence(src_roots, tgt_roots, fit, max_shift, low, high)
        path = _best_path(evidence)
        for first, last, state in _runs(path[begin - low : end - low]):
            shift = state - max_shift
            if shift == 0 or shift > max_shift:  # in place, or unrelated
                continue
            part = evidence[begin - low + first : begin - low + last + 1]
            own, in_place = part[:, state].sum(), part[:, max_shift].sum()
            block = Block(begin + first + 1, begin + last + 1, shift)
            gain = np.array([own, own - in_place])
            if blocks and blocks[-1][1:] == (block.first - 1, shift):
                # The same stretch, cut where the work was.
                blocks[-1] = Block(blocks[-1].first, block.last, shift)
                gains[-1] = gains[-1] + gain
            else:
                blocks.append(block)
                gains.append(gain)
    # At an end of the corpus one switch is enough for the path, not for a report.
    enough = np.array([MIN_NATS, 2 * SWITCH_NATS])
    pairs = zip(blocks, gains, strict=True)
    return [block for block, gain in pairs if np.all(gain >= enough)]


def length_outliers(
    src_lengths: np.ndarray, tgt_lengths: np.ndarray, count: int = 10
) -> np.ndarray:
    """Return the indices, from 0, of the pairs whose lengths fit least, worst first.

    The misfit is the distance from the usual relation of the roots of the lengths, in
    both directions, so that a long sentence is not an outlier for being long. Pairs
    with an empty side are left out; where all pairs fit alike, the array is empty.

    Args:
        src_lengths, tgt_lengths: characters of each line, [N].
        count: the most indices to return.

    Raises:
        ValueError: the sides have unequally many lines.
    """
    src_roots, tgt_roots = _roots(src_lengths, tgt_lengths)
    misfit = np.full(len(src_roots), np.inf, np.float32)
    for given, other in ((src_roots, tgt_roots), (tgt_roots, src_roots)):
        fit = _fit(given, other)
        if fit is None:
            return np.zeros(0, np.int64)
        away = np.abs(other - fit.slope * given - fit.offset) / fit.noise
        # One direction alone leans to the mean and blames what is long.
        np.minimum(misfit, away, out=misfit)
    misfit[np.isnan(misfit)] = -1  # an empty side
    worst = np.argsort(-misfit, kind="stable")[: max(count, 0)]
    return worst[misfit[worst] > 0]


def _roots(src: np.ndarray, tgt: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the square roots of the lengths, [N] each; NaN for an empty line."""
    src, tgt = np.asarray(src), np.asarray(tgt)
    if src.ndim != 1 or src.shape != tgt.shape:
        raise ValueError(
            f"expected two arrays of one length each line, got shapes {src.shape} and "
            f"{tgt.shape}: bring both sides to the same number of lines first."
        )
    roots = []
    for lengths in (src, tgt):
        root = np.sqrt(lengths.astype(np.float32))
        root[lengths <= 0] = np.nan
        roots.append(root)
    return roots[0], roots[1]


def _fit(src: np.ndarray, tgt: np.ndarray) -> _Fit | None:
    """Return the usual relation of paired roots, or None where there is none to see.

    Least squares, three times; pairs further off than three times the noise of the
    round before are left out, so that bad pairs do not set the standard.
    """
    both = ~(np.isnan(src) | np.isnan(tgt))
    x, y = src[both].astype(np.float64), tgt[both].astype(np.float64)
    # Half a character of spread is rounding, no signal.
    if len(x) < MIN_LINES or x.std() < 0.05 or y.std() < 0.05:
        return None
    mean, spread = y.mean(), y.std()
    # The ratio's median is a start that no number of absurd pairs below half can move.
    ratio = y / x
    from_usual = np.abs(ratio - np.median(ratio))
    near = from_usual <= 4 * max(float(np.median(from_usual)), 1e-6)
    for _ in range(3):
        variance = x[near].var()
        if near.sum() < MIN_LINES // 2 or variance < 1e-4:
            return None
        slope = np.cov(x[near], y[near], bias=True)[0, 1] / variance
        offset = y[near].mean() - slope * x[near].mean()
        away = np.abs(y - slope * x - offset)
        # The median, scaled to a normal distribution's deviation; never sharper than
        # whole characters allow.
        noise = max(1.4826 * float(np.median(away)), 0.1)
        near = away < 3 * noise
    middle = max(1.4826 * float(np.median(np.abs(y - np.median(y)))), 1e-6)
    return _Fit(
        float(slope), float(offset), noise, float(mean), float(spread), noise / middle
    )


def _fit_with_shifts(src: np.ndarray, tgt: np.ndarray, max_shift: int) -> _Fit | None:
    """Return the usual relation of the lines that belong together, wherever they stand.

    Pairs that are shifted would blur the standard by which they are to be found. So
    the first fit is at the shift with the closest relation, and the next two go over
    the paths found (hard EM). Large corpora are fitted on pieces.
    """
    num_lines = len(src)
    if num_lines < MIN_LINES:
        return None
    pieces = [(0, num_lines)]
    if num_lines > FIT_LINES:
        size, step = FIT_LINES // FIT_PIECES, num_lines // FIT_PIECES
        pieces = [(i * step, i * step + size) for i in range(FIT_PIECES)]

    def fit_along(shifts: list[np.ndarray | int]) -> _Fit | None:
        """Fits target lines with the source lines `shifts` away."""
        x, y = [], []
        for (low, high), shift in zip(pieces, shifts, strict=True):
            lines = np.arange(low, high)
            from_ = lines + shift
            inside = (from_ >= 0) & (from_ < num_lines)
            x.append(src[from_[inside]])
            y.append(tgt[lines[inside]])
        return _fit(np.concatenate(x), np.concatenate(y))

    fits = [fit_along([s] * len(pieces)) for s in range(-max_shift, max_shift + 1)]
    found = [f for f in fits if f is not None and f.slope > 0]
    fit = min(found, key=lambda f: f.noise_share, default=None)
    for _ in range(2):
        if fit is None:
            return None
        shifts = []
        for low, high in pieces:
            path = _best_path(_evidence(src, tgt, fit, max_shift, low, high))
            unrelated = path > 2 * max_shift
            # So far outside that `fit_along` leaves them out. The path is int8, which
            # has no room for that.
            shifts.append(np.where(unrelated, num_lines, path.astype(int) - max_shift))
        fit = fit_along(shifts)
    clear = fit is not None and fit.slope > 0 and fit.noise_share < MOST_NOISE
    return fit if clear else None


def _evidence(
    src: np.ndarray, tgt: np.ndarray, fit: _Fit, max_shift: int, low: int, high: int
) -> np.ndarray:
    """Return what each line says for each state, in nats against "unrelated", [N, S].

    Unrelated lines are described by decoys, source lines a little further away than
    any shift looked for, and by the spread of all target lines. An empty line, or one
    that would stand outside the corpus, says nothing: 0.
    """
    reach = max_shift + NUM_DECOYS
    padded = np.full(high - low + 2 * reach, np.nan, np.float32)
    begin, end = max(low - reach, 0), min(high + reach, len(src))
    padded[begin - low + reach : end - low + reach] = src[begin:end]
    expected = (fit.slope * padded + fit.offset) / fit.noise
    tgt = tgt[low:high]
    scaled = tgt / np.float32(fit.noise)

    def density(shift: int) -> np.ndarray:
        """Of each target root, given the source root `shift` lines on, times noise."""
        away = scaled - expected[reach + shift : reach + shift + len(tgt)]
        return np.exp(-0.5 * away * away)

    decoys = np.zeros(len(tgt), np.float32)
    seen = np.zeros(len(tgt), np.float32)
    for shift in range(max_shift + 1, reach + 1):
        for one in (density(shift), density(-shift)):
            real = ~np.isnan(one)
            decoys += np.where(real, one, 0)
            seen += real
    width = max(fit.spread, fit.noise)
    away = (tgt - np.float32(fit.mean)) / np.float32(width)
    anywhere = np.exp(-0.5 * away * away) * np.float32(fit.noise / width)
    unrelated = 0.5 * decoys / np.maximum(seen, 1) + 0.5 * anywhere
    unrelated = np.maximum(unrelated, 1e-9)

    evidence = np.zeros((len(tgt), 2 * max_shift + 2), np.float32)  # [N, S]
    for shift in range(-max_shift, max_shift + 1):
        ratio = (1 - UNRELATED) * density(shift) / unrelated + UNRELATED
        nats = np.minimum(np.log(ratio), MOST_NATS)
        evidence[:, shift + max_shift] = np.nan_to_num(nats)
    return evidence


def _best_path(evidence: np.ndarray) -> np.ndarray:
    """Return the most likely state of each line, [N] int8 (Viterbi).

    The lines go through in windows of T = WINDOW + 2 * OVERLAP, all K of them abreast,
    so that the loop in Python has T steps however many lines there are. What lies
    further off than the overlap has no say in a state.
    """
    num_lines, num_states = evidence.shape
    num_windows = -(-num_lines // WINDOW)
    steps = min(WINDOW, num_lines) + 2 * OVERLAP
    lines = (np.arange(num_windows) * WINDOW - OVERLAP)[None] + np.arange(steps)[
        :, None
    ]
    inside = (lines >= 0) & (lines < num_lines)  # [T, K]
    lines = np.clip(lines, 0, num_lines - 1)
    before = np.empty((steps, num_windows, num_states), np.int8)  # where one came from
    same = np.arange(num_states, dtype=np.int8)
    score = np.zeros((num_windows, num_states), np.float32)
    rows = np.arange(num_windows)
    for t in range(steps):
        best = score.argmax(axis=1)
        top = score[rows, best][:, None]
        stay = score >= top - SWITCH_NATS
        before[t] = np.where(stay, same, best[:, None])
        # Less the top, so that 32 bits stay exact over any number of lines.
        score = np.maximum(score - top, -SWITCH_NATS)
        score += evidence[lines[t]] * inside[t][:, None]
    path = np.empty((steps, num_windows), np.int8)
    state = score.argmax(axis=1)
    for t in reversed(range(steps)):
        path[t] = state
        state = before[t, rows, state]
    return path[OVERLAP : OVERLAP + WINDOW].T.reshape(-1)[:num_lines]


def _runs(path: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """Yield (first, last, state) for each run of equal states, indices from 0."""
    ends = [*np.flatnonzero(np.diff(path)).tolist(), len(path) - 1]
    first = 0
    for last in ends:
        yield first, last, int(path[last])
        first = last + 1
