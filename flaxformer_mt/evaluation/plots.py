"""A run's curves as one picture. The only room that imports matplotlib.

matplotlib is an extra: it is imported when a picture is drawn, never before, and
without pyplot, whose figures and backend belong to the whole process.
"""

import contextlib
import importlib.util
import io
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flaxformer_mt.training.storage import Folder, one_sentence, replace_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Entry = Mapping[str, Any]

WIDTH, HEIGHT, DOTS_PER_INCH = 12.0, 8.0, 100  # inches; 1,200 x 800 dots
# Lines that share a panel: key of the history, label, colour. The colours are told
# apart by most colour-blind eyes too (Okabe and Ito 2008).
LOSSES = (
    ("train_loss", "training", "#0072B2"),
    ("validation_loss", "validation", "#D55E00"),
)
SCORES = (("chrf", "chrF++", "#009E73"), ("bleu", "BLEU", "#AA4499"))
RATE = (("learning_rate", "learning rate", "#555555"),)
BEST_COLOUR = "#888888"
MANY_POINTS = 60  # from here on a point is no longer marked, the line is enough
# matplotlib's own arithmetic of limits overflows before a float does.
LARGEST_DRAWN = 1e15
# An axis over more than this factor is logarithmic, or all but its start is flat.
WIDE = 10.0
ROUND = (1, 2, 5, 10)  # numbers on an axis are these times a power of ten


def plots_available() -> bool:
    """Whether matplotlib is installed, found out without importing it."""
    return importlib.util.find_spec("matplotlib") is not None


def draw_curves(
    history: Sequence[Entry], path: Folder, *, best_step: int | None = None
) -> None:
    """Returns once `path` holds the curves of a run as a PNG of 1,200 x 800.

    Losses (nats a token), chrF++ and BLEU (0 to 100) where there are any, and the
    learning rate, against steps, with the time along the top and the best step marked.
    Killed before, `path` holds what it held.

    Args:
      history: an entry for each validation in order, as in metrics.jsonl. What is
        missing is left out; where a value is None or not finite, its line has a gap.
      best_step: the step to mark. None: the one with the lowest finite `loss`.

    Raises:
      StorageError: it cannot be written.
      ModuleNotFoundError: matplotlib is not installed; see `plots_available`.
    """
    entries = [e for e in history if not math.isnan(number(e.get("step")))]
    picture = io.BytesIO()
    with _quiet():
        # A person's matplotlibrc may ask for LaTeX or for white on black.
        import matplotlib

        with matplotlib.rc_context():
            matplotlib.rcdefaults()
            figure = _draw(entries, _best(entries, best_step))
            figure.savefig(picture, format="png", dpi=DOTS_PER_INCH)
    with one_sentence(f"cannot write {path}"):
        replace_bytes(Path(path), picture.getvalue())


def number(value: Any) -> float:
    """The value if it can be drawn, else NaN."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)):
        return math.nan
    return float(value) if abs(value) < LARGEST_DRAWN else math.nan


# ---- what is drawn ---------------------------------------------------------------


def _points(entries: Sequence[Entry], key: str) -> tuple[list[float], list[float]]:
    """(steps, values) of the entries that have the key; NaN makes a gap."""
    having = [entry for entry in entries if key in entry]
    return [e["step"] for e in having], [number(e[key]) for e in having]


def _has_points(entries: Sequence[Entry], key: str) -> bool:
    return not all(map(math.isnan, _points(entries, key)[1]))


def _best(entries: Sequence[Entry], best_step: int | None) -> Entry | None:
    """The entry to mark, None where there is none."""
    if best_step is not None:
        return next((e for e in entries if e["step"] == best_step), None)
    scored = [e for e in entries if not math.isnan(number(e.get("loss")))]
    return min(scored, key=lambda e: e["loss"], default=None)


def _draw(entries: Sequence[Entry], best: Entry | None) -> "Figure":
    """The whole picture: panels one below the other, that share the axis of steps."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = [("loss, nats a token", LOSSES, 3.0)]
    if any(_has_points(entries, key) for key, *_ in SCORES):
        panels.append(("score, 0 to 100", SCORES, 2.2))
    panels.append(("learning rate", RATE, 1.1))

    figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(_title(entries, best), fontsize=14)
    rows = figure.subplots(
        len(panels),
        sharex=True,
        squeeze=False,
        gridspec_kw={"height_ratios": [height for *_, height in panels]},
    )[:, 0]
    for axes, (label, lines, _) in zip(rows, panels, strict=True):
        _draw_panel(axes, label, lines, entries, best)
    _draw_steps(rows[-1], entries)
    _draw_time(rows[0], entries)
    figure.align_ylabels(list(rows))
    return figure


def _title(entries: Sequence[Entry], best: Entry | None) -> str:
    """The run in a line."""
    if not entries:
        return "no validation yet"
    last = entries[-1]
    parts = [f"{last['step']:,} steps"]
    if not math.isnan(epoch := number(last.get("epoch"))):
        parts.append(f"{epoch:,.1f} epochs")
    if not math.isnan(seconds := number(last.get("seconds"))):
        unit, length = _unit(seconds)
        parts.append(f"{seconds / length:,.1f} {unit}")
    if best is None:
        return ", ".join(parts)
    figures = [
        f"{name} {number(best[key]):.{places}f}"
        for key, name, places in (
            ("validation_loss", "validation loss", 3),
            ("chrf", "chrF++", 1),
            ("bleu", "BLEU", 1),
        )
        if not math.isnan(number(best.get(key)))
    ]
    at_best = ", ".join(figures) or f"training loss {number(best.get('loss')):.3f}"
    return f"{', '.join(parts)}  ·  best at step {best['step']:,}: {at_best}"


def _draw_panel(
    axes: "Axes",
    label: str,
    lines: Sequence[tuple[str, str, str]],
    entries: Sequence[Entry],
    best: Entry | None,
) -> None:
    """One panel: its lines, and where the best step is on each of them."""
    drawn: list[float] = []
    for key, name, colour in lines:
        if not _has_points(entries, key):
            continue
        steps, values = _points(entries, key)
        drawn += [v for v in values if not math.isnan(v)]
        marker = "o" if len(steps) <= MANY_POINTS else ""
        axes.plot(
            *(steps, values),
            color=colour,
            label=name,
            marker=marker,
            markersize=4,
            linewidth=1.8,
        )
        if best is not None and not math.isnan(number(best.get(key))):
            axes.plot(
                *([best["step"]], [number(best[key])]),
                color=colour,
                marker="o",
                markersize=10,
                markerfacecolor="white",
                markeredgewidth=2,
                zorder=5,
            )
    if best is not None:
        axes.axvline(best["step"], color=BEST_COLOUR, linestyle="--", linewidth=1.2)
        if lines is LOSSES:
            axes.plot([], [], color=BEST_COLOUR, linestyle="--", label="best step")
    _dress(axes, label, drawn)
    if drawn and lines is not RATE:
        axes.legend(loc="best", fontsize=11, framealpha=0.9)


def _dress(axes: "Axes", label: str, drawn: Sequence[float]) -> None:
    """Label, scale, grid and numbers of a panel's own axis."""
    axes.set_ylabel(label, fontsize=12)
    axes.tick_params(labelsize=11)
    axes.grid(True, color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    if not drawn:
        axes.set_yticks([])
    elif not label.startswith("loss"):
        _start_at_zero(axes, max(drawn))
    elif min(drawn) > 0 and max(drawn) > WIDE * min(drawn):
        axes.set_ylabel(f"{label} (log scale)", fontsize=12)
        _make_logarithmic(axes, max(drawn) / min(drawn))


def _start_at_zero(axes: "Axes", highest: float) -> None:
    """An axis from 0 on, with room above for the ring of the best step."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.set_ylim(0, 1.18 * highest if highest > 0 else 1)
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=ROUND))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))


def _make_logarithmic(axes: "Axes", factor: float) -> None:
    """An axis of 1, 2, 5, 10; of powers of ten alone where it spans many."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    def plain(value: float, _: int) -> str:
        return f"{value:,.10g}" if 1e-4 <= value < 1e6 else f"{value:.0e}"

    axes.set_yscale("log")
    subs = (1, 2, 5) if factor < 500 else (1,)
    axes.yaxis.set_major_locator(LogLocator(subs=subs, numticks=10))
    axes.yaxis.set_major_formatter(FuncFormatter(plain))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _draw_steps(axes: "Axes", entries: Sequence[Entry]) -> None:
    """The axis along the bottom, from step 0 on."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    last = max((e["step"] for e in entries), default=0)
    axes.set_xlim(0, 1.03 * max(last, 1))
    axes.set_xlabel("step", fontsize=12)
    if not entries:
        axes.set_xticks([])
        return
    axes.xaxis.set_major_locator(MaxNLocator(12, integer=True, steps=ROUND))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def _draw_time(axes: "Axes", entries: Sequence[Entry]) -> None:
    """The axis along the top: round times, each at the step that it fell on.

    Speed changes in a run, so times do not lie evenly.
    """
    from matplotlib.ticker import MaxNLocator

    steps, seconds = _points(entries, "seconds")
    known = [(s, t) for s, t in zip(steps, seconds, strict=True) if t > 0]
    if not known:
        return
    unit, length = _unit(max(t for _, t in known))
    at_steps = np.array([0.0, *(s for s, _ in known)])
    at_times = np.maximum.accumulate([0.0, *(t / length for _, t in known)])
    ticks = MaxNLocator(12, steps=ROUND).tick_values(0, at_times[-1])
    ticks = ticks[(ticks >= 0) & (ticks <= at_times[-1])]
    places = np.interp(ticks, at_times, at_steps)
    top = axes.twiny()
    top.set_xlim(axes.get_xlim())
    apart = _apart(places, 0.05 * axes.get_xlim()[1])
    top.set_xticks(places[apart], [f"{ticks[i]:,g}" for i in apart])
    top.set_xlabel(unit, fontsize=12)
    top.tick_params(labelsize=11)
    for side in ("right", "left", "bottom"):
        top.spines[side].set_visible(False)


def _apart(places: np.ndarray, distance: float) -> list[int]:
    """Which of the rising places to keep so that none is nearer to the one before: a
    run may begin with minutes of compiling."""
    kept = [0]
    for i, place in enumerate(places):
        if place - places[kept[-1]] >= distance:
            kept.append(i)
    return kept


def _unit(seconds: float) -> tuple[str, float]:
    """(the unit in which a time is best read, its seconds)."""
    if seconds < 3 * 60:
        return "seconds", 1.0
    return ("minutes", 60.0) if seconds < 10 * 3600 else ("hours", 3600.0)


# ---- around it -------------------------------------------------------------------


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Holds back what matplotlib logs, as that it builds its cache of fonts."""
    log = logging.getLogger("matplotlib")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)
