"""Widths of batches: few, so that few programs are compiled, and tight, so that little
is padding.

A width is a pair (S, T); a sentence pair goes into the cheapest that holds it, where
S + T is the cost of a row.
"""

import numpy as np

# Lengths beyond it are told apart in steps of two, four ...: the search is then no
# slower, and a width no looser in proportion.
MAX_CELLS = 128
NUM_SEARCHES = 3  # at random, of which the best counts
NUM_TRIALS = 3000  # of a search for eight widths, of about 0.1 ms each; fewer for fewer
LARGEST_MOVE = 3  # of a width in one trial, in cells
# What a difference between the sides costs: of the positions a real token has on the
# source side less that on the target side, times this, times the source's tokens.
UNEVENNESS = 0.2


def choose_widths(
    lengths: np.ndarray, *, num_shapes: int, max_length: int, seed: int = 0
) -> list[tuple[int, int]]:
    """At most `num_shapes` widths (S, T) that hold every pair, the cheapest first.

    Starts from the best widths along the longer side (dynamic programming), then moves
    them about, at first also uphill (Kirkpatrick et al. 1983, simulated annealing), to
    make the padded positions of both sides together as few as it can, with about the
    same share of each side.

    Args:
      lengths: [N, 2] int, tokens a side with the one special that each side carries.
      max_length: no width is above it: the model has no more positions.
      seed: of the search; the same lengths and seed give the same widths.
    """
    cell = max(-(-int(lengths.max()) // MAX_CELLS), 1)
    cells = -(-lengths // cell)
    size = cells.max(axis=0)
    places = np.ravel_multi_index(tuple(cells.T), tuple(size + 1))
    counts = np.bincount(places, minlength=np.prod(size + 1)).reshape(size + 1)
    search = _Search(counts, np.random.default_rng(seed))
    begin = _along_the_longer_side(counts, num_shapes)
    found = [search.descend(search.anneal(begin)) for _ in range(NUM_SEARCHES)]
    widths = min(found, key=search.cost)
    top = np.minimum(np.array(widths) * cell, max_length)
    # Nothing is wider than the longest sentence needs.
    top = np.minimum(top, lengths.max(axis=0))
    return sorted({(int(s), int(t)) for s, t in top}, key=lambda w: (sum(w), w))


def _along_the_longer_side(table: np.ndarray, num_shapes: int) -> list[tuple[int, int]]:
    """Nested widths: pairs in the order of their longer side, cut into runs so that the
    padded positions are as few as possible. table[s, t]: pairs of those lengths."""
    cells = np.argwhere(table)  # the lengths that occur
    longer = cells.max(axis=1)
    cuts, places = np.unique(longer, return_inverse=True)  # a run ends at one of these
    counts = np.bincount(places, weights=table[tuple(cells.T)])
    widths = np.zeros((len(cuts), 2), np.int64)
    np.maximum.at(widths, places, cells)

    def cost(start: int, stop: int) -> int:
        return int(counts[start:stop].sum() * widths[start:stop].max(axis=0).sum())

    # best[j]: (padded positions, cut indices) of the first j lengths in at most k runs
    best = {j: (cost(0, j), (j,)) for j in range(1, len(cuts) + 1)}
    for _ in range(num_shapes - 1):
        best = {
            j: min(
                [best[j]]
                + [(best[i][0] + cost(i, j), (*best[i][1], j)) for i in range(1, j)]
            )
            for j in best
        }
    stops = best[len(cuts)][1]
    return [tuple(int(w) for w in widths[:stop].max(axis=0)) for stop in stops]


class _Search:
    """Sets of widths over a table of how many pairs have which lengths."""

    def __init__(self, counts: np.ndarray, rng: np.random.Generator) -> None:
        self.counts, self.rng = counts, rng
        self.widest = tuple(int(n) - 1 for n in counts.shape)
        src, tgt = (np.arange(size) for size in counts.shape)
        self.tokens = int(counts.sum(1) @ src), int(counts.sum(0) @ tgt)

    def cost(self, widths: list[tuple[int, int]]) -> float:
        """Positions in all, padded ones too, and what their unevenness costs; the
        widest is always among the widths."""
        left, src, tgt = self.counts.copy(), 0, 0
        for s, t in sorted({*widths, self.widest}, key=lambda w: (sum(w), w)):
            held = left[: s + 1, : t + 1]
            number = int(held.sum())
            src += number * s
            tgt += number * t
            held[:] = 0
        difference = abs(src / self.tokens[0] - tgt / self.tokens[1])
        return src + tgt + UNEVENNESS * self.tokens[0] * difference

    def _moved(
        self, widths: list[tuple[int, int]], i: int, by: tuple[int, int]
    ) -> list[tuple[int, int]]:
        moved = tuple(
            min(max(width + step, 1), widest)
            for width, step, widest in zip(widths[i], by, self.widest, strict=True)
        )
        return [*widths[:i], moved, *widths[i + 1 :]]

    def anneal(self, widths: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """The best widths seen while moving them about at random."""
        cost = best_cost = self.cost(widths)
        best, start = widths, cost
        # The widest, which is last, has to stay.
        num_trials = NUM_TRIALS * (len(widths) - 1) // 7
        for trial in range(num_trials):
            warmth = 4e-4 * start * (1 - trial / num_trials) ** 2
            i = int(self.rng.integers(len(widths) - 1))
            by = self.rng.integers(-LARGEST_MOVE, LARGEST_MOVE + 1, 2).tolist()
            other = self._moved(widths, i, tuple(by))
            other_cost = self.cost(other)
            uphill = self.rng.random() < np.exp(min((cost - other_cost) / warmth, 0))
            if other_cost <= cost or uphill:
                widths, cost = other, other_cost
                if cost < best_cost:
                    best, best_cost = widths, cost
        return best

    def descend(self, widths: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """The widths moved by one for as long as that helps."""
        cost, steps = self.cost(widths), (-1, 0, 1)
        improved = True
        while improved:
            improved = False
            for i in range(len(widths) - 1):
                for by in ((s, t) for s in steps for t in steps):
                    other = self._moved(widths, i, by)
                    if (other_cost := self.cost(other)) < cost:
                        widths, cost, improved = other, other_cost, True
        return widths
