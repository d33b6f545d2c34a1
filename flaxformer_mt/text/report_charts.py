"""The charts of a data report, as SVG without a script."""

import hashlib
import math
from collections.abc import Callable, Sequence

from flaxformer_mt.text.hypertext import as_count, as_number, as_percent
from flaxformer_mt.text.report import SIDE_NAMES, Report, count_of, part_of

MOST_BARS = 160  # of one chart; neighbours are added up beyond


# The drawing area of a chart, in its own units; a phone shows it at about this size.
_WIDTH, _HEIGHT = 420, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 10, 24, 42


def _chart(title: str, description: str, body: str, x_label: str, y_label: str) -> str:
    """Return a chart with its axes named, and words for those who cannot see it."""
    key = hashlib.sha256((title + description).encode("utf-8", "replace")).hexdigest()
    ids = f"t{key[:10]}", f"d{key[:10]}"
    middle_x = (_LEFT + _WIDTH - _RIGHT) / 2
    base = _HEIGHT - _BOTTOM
    return (
        f'<figure><figcaption>{title}</figcaption><svg class="chart" role="img" '
        f'viewBox="0 0 {_WIDTH} {_HEIGHT}" aria-labelledby="{ids[0]} {ids[1]}">'
        f'<title id="{ids[0]}">{title}</title><desc id="{ids[1]}">{description}</desc>'
        f"{body}"
        f'<line class="axis" x1="{_LEFT}" y1="{base}" x2="{_WIDTH - _RIGHT}" '
        f'y2="{base}"/>'
        f'<text class="label" x="{middle_x:.0f}" y="{_HEIGHT - 6}" '
        f'text-anchor="middle">{x_label}</text>'
        f'<text class="label" x="2" y="12">{y_label}</text></svg></figure>'
    )


def _ticks(top: float) -> list[float]:
    """Return three to six round numbers from 0 to at least `top`."""
    if top <= 0:
        return [0, 1]
    step = 10.0 ** math.floor(math.log10(top))
    step = next(s for s in (step / 5, step / 2, step, 2 * step) if top / s <= 5)
    return [i * step for i in range(math.ceil(top / step - 1e-9) + 1)]


def _short(tick: float) -> str:
    """Return a number beside an axis, where room is scarce: "500", "20k", "1.5M"."""
    if tick >= 1e6:
        return f"{tick / 1e6:,g}M"
    return f"{tick / 1e3:g}k" if tick >= 1e4 else f"{tick:,.0f}"


def _y_axis(ticks: Sequence[float], name: Callable[[float], str]) -> str:
    """Return lines across the chart, each with its number."""
    parts = []
    for tick in ticks:
        y = _y(tick, ticks[-1])
        parts.append(
            f'<line class="grid" x1="{_LEFT}" y1="{y:.1f}" x2="{_WIDTH - _RIGHT}" '
            f'y2="{y:.1f}"/><text class="tick" x="{_LEFT - 5}" y="{y + 3.5:.1f}" '
            f'text-anchor="end">{name(tick)}</text>'
        )
    return "".join(parts)


def _y(value: float, top: float) -> float:
    inner = _HEIGHT - _TOP - _BOTTOM
    return _HEIGHT - _BOTTOM - inner * min(value / top, 1.0)


def _x_tick(x: float, name: str) -> str:
    base = _HEIGHT - _BOTTOM
    return (
        f'<line class="axis" x1="{x:.1f}" y1="{base}" x2="{x:.1f}" y2="{base + 4}"/>'
        f'<text class="tick" x="{x:.1f}" y="{base + 15}" text-anchor="middle">{name}'
        "</text>"
    )


def _histogram_bars(
    counts: Sequence[float], titles: Sequence[str], x_of: Callable[[float], float]
) -> tuple[str, list[float]]:
    """Return the bars, each with its count for who points at it, and the y ticks."""
    ticks = _ticks(max([*counts, 1]))
    if ticks[1] < 1:  # there is no half pair
        ticks = [0.0, 1.0]
    bars = []
    for i, (count, title) in enumerate(zip(counts, titles, strict=True)):
        left, right = x_of(i), x_of(i + 1)
        # A single pair among thousands must not vanish: a bar is a unit high.
        high = max(_HEIGHT - _BOTTOM - _y(count, ticks[-1]), 1.0) if count else 0.0
        gap = min(1.0, (right - left) / 5)
        bars.append(
            f'<rect class="bar" x="{left + gap / 2:.2f}" '
            f'y="{_HEIGHT - _BOTTOM - high:.2f}" width="{right - left - gap:.2f}" '
            f'height="{high:.2f}"><title>{title}</title></rect>'
        )
    return "".join(bars), ticks


def lengths_chart(side: str, unit: str, lengths: Report) -> str:
    """Return a histogram of lengths with its median and percentiles marked."""
    counts = list(part_of(lengths, "counts", default=[]))
    width = max(count_of(lengths, "width"), 1)
    if not counts or not any(counts):
        return f'<p class="quiet">{side}, in {unit}: nothing to draw.</p>'
    together = math.ceil(len(counts) / MOST_BARS)
    counts = [sum(counts[i : i + together]) for i in range(0, len(counts), together)]
    width *= together
    end = len(counts) * width

    def x_of(bar: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * bar / len(counts)

    def titled(i: int) -> str:
        low, high = i * width, (i + 1) * width - 1
        span = f"{low:,}" if low == high else f"{low:,} to {high:,}"
        return f"{span} {unit}: {as_count(counts[i], 'pair')}"

    bars, ticks = _histogram_bars(counts, [titled(i) for i in range(len(counts))], x_of)
    marks, words = [], []
    for row, (key, name) in enumerate(
        (("median", "median"), ("p95", "95%"), ("p99", "99%"))
    ):
        if not isinstance(value := part_of(lengths, key), (int, float)):
            continue
        x = x_of(min(value / width, len(counts)))
        y = _TOP + 8 + 12 * row
        # The words of 95% stand before their line, those of 99% behind theirs where
        # there is room, so that they keep apart when the lines are close.
        before = x > _WIDTH - 70 or (key == "p95" and x > _LEFT + 70)
        marks.append(
            f'<line class="mark-line" x1="{x:.1f}" y1="{_TOP}" x2="{x:.1f}" '
            f'y2="{_HEIGHT - _BOTTOM}"/><text class="note" '
            f'x="{x - 4 if before else x + 4:.1f}" y="{y}" '
            f'text-anchor="{"end" if before else "start"}">{name} {as_number(value)}'
            "</text>"
        )
        words.append(f"{name} {as_number(value)}")
    if "max" in lengths:
        words.append(f"longest {as_number(lengths['max'])}")
    x_ticks = "".join(
        _x_tick(x_of(t / width), _short(t)) for t in _ticks(end) if t <= end
    )
    return _chart(
        f"{side} length in {unit}",
        f"Histogram of {as_number(sum(counts))} lengths: {', '.join(words)}.",
        _y_axis(ticks, _short) + bars + "".join(marks) + x_ticks,
        f"{unit} in a sentence",
        "pairs",
    )


def _power_of_two(exponent: float) -> str:
    """Return 2 ** exponent as people say it: "1/4", "1", "2.8"."""
    value = 2.0 ** abs(exponent)
    name = f"{value:.0f}" if abs(value - round(value)) < 1e-6 else f"{value:.2g}"
    return f"1/{name}" if exponent < 0 else name


def ratio_chart(ratio: Report) -> str:
    """Return a histogram of source length over target length, on a log scale."""
    edges = part_of(ratio, "edges", default=[])
    counts = part_of(ratio, "counts", default=[])
    if len(edges) != len(counts) + 1 or not any(counts):
        return ""
    low, high = edges[0], edges[-1]

    def at(exponent: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (exponent - low) / (high - low)

    titles = [
        f"ratio {2**a:.2f} to {2**b:.2f}: {as_count(count, 'pair')}"
        for a, b, count in zip(edges, edges[1:], counts, strict=False)
    ]
    bars, ticks = _histogram_bars(counts, titles, lambda i: at(edges[int(i)]))
    x_ticks = "".join(
        _x_tick(at(e), _power_of_two(e))
        for e in range(math.ceil(low), math.floor(high) + 1)
    )
    equal = ""
    if low < 0 < high:
        equal = (
            f'<line class="mark-line" x1="{at(0):.1f}" y1="{_TOP}" x2="{at(0):.1f}" '
            f'y2="{_HEIGHT - _BOTTOM}"/>'
        )
    return _chart(
        "Source length over target length",
        f"Histogram of {as_number(sum(counts))} ratios, from {_power_of_two(low)} to "
        f"{_power_of_two(high)}; at 1 both sides are equally long.",
        _y_axis(ticks, _short) + bars + equal + x_ticks,
        "source characters / target characters",
        "pairs",
    )


def padding_chart(curve: Sequence[Report]) -> str:
    """Return how padding falls with the number of shapes, a line a side."""
    points = [p for p in curve if count_of(p, "shapes") > 0]
    if len(points) < 2:
        return ""
    most = max(count_of(p, "shapes") for p in points)
    top = max(*(count_of(p, side) for p in points for side in SIDE_NAMES), 0.01)
    ticks = _ticks(top)

    def x_of(shapes: float) -> float:
        inner = _WIDTH - _LEFT - _RIGHT - 16
        return _LEFT + 8 + inner * math.log(shapes) / max(math.log(most), 1e-9)

    lines = []
    for row, (side, name) in enumerate(SIDE_NAMES.items()):
        places = [
            (x_of(count_of(p, "shapes")), _y(count_of(p, side), ticks[-1]))
            for p in points
        ]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        lines.append(f'<polyline class="line {side}" points="{path}"/>')
        for (x, y), point in zip(places, points, strict=True):
            title = (
                f"{name}, {as_count(point['shapes'], 'shape')}: "
                f"{as_percent(count_of(point, side), 1)} padding"
            )
            # A ring and a dot can be told apart without colours.
            lines.append(
                f'<circle class="dot {side}" cx="{x:.1f}" cy="{y:.1f}" r="3.5">'
                f"<title>{title}</title></circle>"
            )
        y = _TOP + 10 + 15 * row
        x = _WIDTH - _RIGHT - 78
        lines.append(
            f'<circle class="dot {side}" cx="{x}" cy="{y - 4}" r="3.5"/>'
            f'<text class="note" x="{x + 9}" y="{y}">{name.lower()}</text>'
        )
    # Numbers too near to the one before would overlap.
    x_ticks, last = "", -math.inf
    for shapes in sorted({count_of(p, "shapes") for p in points}):
        if x_of(shapes) - last >= 22:
            last = x_of(shapes)
            x_ticks += _x_tick(last, f"{shapes:,}")
    said = "; ".join(
        f"{as_count(p['shapes'], 'shape')}: "
        f"source {as_percent(count_of(p, 'src'), 1)}, "
        f"target {as_percent(count_of(p, 'tgt'), 1)}"
        for p in points
    )
    return _chart(
        "Padding by number of shapes",
        f"Share of a batch that is padding. {said}.",
        _y_axis(ticks, lambda t: f"{100 * t:.0f}%") + x_ticks + "".join(lines),
        "shapes that batches may have",
        "padding",
    )
