"""Pictures of a run, of attention and of measurements.

Every function gives a `Picture`, which a notebook shows by itself and which saves
itself as PNG and SVG; all have one style (`pictures`). They need the extra `plots`.

L layers, H heads, T target tokens, S source tokens.
"""

import dataclasses
import math
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flaxformer_mt.decoding.explanation import Explanation
from flaxformer_mt.errors import InputError
from flaxformer_mt.evaluation.pictures import (
    HEIGHT,
    LARGEST_DRAWN,
    MARKS,
    ROUND,
    WIDTH,
    Mark,
    Picture,
    blank_figure,
    house_style,
    make_logarithmic,
    number,
    write_thousands,
)
from flaxformer_mt.text.hypertext import is_invisible, short_name
from flaxformer_mt.training.storage import Folder, one_sentence, replace_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Entry = Mapping[str, Any]


# Lines that share a panel: key of the history, label, looks.
LOSSES = (
    ("train_loss", "training", MARKS[0]),
    ("validation_loss", "validation", MARKS[1]),
)
SCORES = (("chrf", "chrF++", MARKS[2]), ("bleu", "BLEU", MARKS[3]))
RATE = (("learning_rate", "learning rate", MARKS[5]._replace(line="-")),)
BEST_COLOUR = "#777777"
MANY_POINTS = 60  # from here on a point is no longer marked, the line is enough
# An axis over more than this factor is logarithmic, or all but its start is flat.
WIDE = 10.0
SHADES = "Blues"  # from white to dark without a turn, so that grey says the same
MOST_NUMBERED = 160  # cells of a map into which their values are written
MOST_BARS = 60  # of a histogram

# SentencePiece writes a space as U+2581; both are shown as one sign.
_SPACES, _SPACE_SIGN = " \u2581", "\u2423"
_JOINERS = "\u200c\u200d"  # they leave no ink, and shape the letters beside them


# ---- the curves of a run ---------------------------------------------------------


def curves(history: Sequence[Entry], *, best_step: int | None = None) -> Picture:
    """Losses (nats a token), chrF++ and BLEU (0 to 100) where there are any, and the
    learning rate, against steps, with the time along the top and the best step marked.

    Args:
      history: an entry for each validation in order, as in metrics.jsonl. What is
        missing is left out; where a value is None or not finite, its line has a gap.
      best_step: the step to mark. None: the one with the lowest finite `loss`.

    Raises:
      ModuleNotFoundError: matplotlib is not installed; see `plots_available`. So do
        all functions here.
    """
    entries = [e for e in history if not math.isnan(number(e.get("step")))]
    best = _best(entries, best_step)
    with house_style():
        return Picture(_draw(entries, best), _title(entries, best))


def draw_curves(
    history: Sequence[Entry], path: Folder, *, best_step: int | None = None
) -> None:
    """Returns once `path` holds the `curves` of a run: as an SVG where it ends in .svg,
    else as a PNG of 1,200 x 800. Killed before, `path` holds what it held.

    Raises:
      StorageError: it cannot be written.
    """
    kind = "svg" if Path(path).suffix.lower() == ".svg" else "png"
    content = curves(history, best_step=best_step).render(kind)
    with one_sentence(f"cannot write {path}"):
        replace_bytes(Path(path), content)


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
    panels = [("loss, nats a token", LOSSES, 3.0)]
    if any(_has_points(entries, key) for key, *_ in SCORES):
        panels.append(("score, 0 to 100", SCORES, 2.2))
    if _has_points(entries, "learning_rate") or not entries:
        panels.append(("learning rate", RATE, 1.1))

    figure = blank_figure(WIDTH, HEIGHT)
    figure.suptitle(_title(entries, best))
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
    lines: Sequence[tuple[str, str, Mark]],
    entries: Sequence[Entry],
    best: Entry | None,
) -> None:
    """One panel: its lines, and where the best step is on each of them."""
    drawn: list[float] = []
    for key, name, mark in lines:
        if not _has_points(entries, key):
            continue
        steps, values = _points(entries, key)
        drawn += [v for v in values if not math.isnan(v)]
        marker = mark.marker if len(steps) <= MANY_POINTS else ""
        looks = {"color": mark.colour, "linestyle": mark.line, "marker": marker}
        axes.plot(steps, values, label=name, **looks)
        if best is not None and not math.isnan(number(best.get(key))):
            axes.plot(
                *([best["step"]], [number(best[key])]),
                color=mark.colour,
                marker=mark.marker,
                markersize=10,
                markerfacecolor="white",
                markeredgewidth=2,
                zorder=5,
            )
    if best is not None:
        axes.axvline(best["step"], color=BEST_COLOUR, linestyle=":", linewidth=1.4)
        if lines is LOSSES:
            axes.plot([], [], color=BEST_COLOUR, linestyle=":", label="best step")
    _dress(axes, label, drawn)
    if drawn and lines is not RATE:
        axes.legend(loc="best", handlelength=3.5)


def _dress(axes: "Axes", label: str, drawn: Sequence[float]) -> None:
    """Label, scale and numbers of a panel's own axis."""
    axes.set_ylabel(label)
    if not drawn:
        axes.set_yticks([])
    elif not label.startswith("loss"):
        _start_at_zero(axes, max(drawn))
    elif min(drawn) > 0 and max(drawn) > WIDE * min(drawn):
        axes.set_ylabel(f"{label} (log scale)")
        make_logarithmic(axes.yaxis, max(drawn) / min(drawn))


def _start_at_zero(axes: "Axes", highest: float) -> None:
    """An axis from 0 on, with room above for the ring of the best step."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.set_ylim(0, 1.18 * highest if highest > 0 else 1)
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=ROUND))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))


def _draw_steps(axes: "Axes", entries: Sequence[Entry]) -> None:
    """The axis along the bottom, from step 0 on."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    last = max((e["step"] for e in entries), default=0)
    axes.set_xlim(0, 1.03 * max(last, 1))
    axes.set_xlabel("step")
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
    top.set_xlabel(unit)
    top.grid(False)
    top.spines[:].set_visible(False)
    top.spines["top"].set_visible(True)


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


# ---- maps of numbers -------------------------------------------------------------


def heat_map(
    values: Any,
    *,
    title: str = "",
    x_label: str = "",
    y_label: str = "",
    columns: Sequence[str] | None = None,
    rows: Sequence[str] | None = None,
) -> Picture:
    """A matrix as shades, dark where a value is high: a mask, positions, weights.

    Args:
      values: [rows, columns], numbers or booleans, all finite.
      columns, rows: what stands at them, as tokens; None: their numbers, from 0.
        Columns that are read from right to left are drawn from right to left.

    Raises:
      InputError: `values` is no such matrix, or the names are not as many.
    """
    matrix = _checked_matrix(values, rows=rows, columns=columns)
    with house_style():
        height, width = _map_size(matrix.shape, rows, columns)
        figure = blank_figure(width, height)
        axes = figure.subplots()
        image = _draw_map(axes, matrix, rows=rows, columns=columns)
        axes.set(xlabel=x_label, ylabel=y_label)
        axes.set_title(title)
        bar = figure.colorbar(image, ax=axes, pad=0.02, fraction=0.05, aspect=25)
        if matrix.dtype == bool:
            bar.set_ticks([0.25, 0.75], labels=["False", "True"])
            bar.ax.tick_params(length=0)
        return Picture(figure, title or f"{y_label} against {x_label}")


def attention_map(
    explanation: Explanation,
    *,
    layer: int | None = None,
    head: int | None = None,
    words: bool = False,
) -> Picture:
    """Where the decoder looked in the source while it wrote each token of the target:
    a row for each target token, whose shades sum to 1.

    Args:
      layer, head: one of them, from 0; None: the mean of all.
      words: tokens joined into words, which is easier to read where they are letters:
        the weights of a source word added, the mean over a target word's tokens.

    Raises:
      InputError: there is no such layer or head.
    """
    what = _name_of(explanation, layer, head)
    rows, columns, weights = _for_map(explanation, words)
    weights = _mean_over(weights, layer=layer, head=head)
    picture = heat_map(
        weights,
        **{"columns": columns, "rows": rows},
        title=f"attention, {what}",
        x_label="source",
        y_label="translation",
    )
    about = f"{picture.title}: {explanation.src_text} / {explanation.tgt_text}"
    return dataclasses.replace(picture, title=about)


def attention_heads(explanation: Explanation, *, words: bool = True) -> Picture:
    """The `attention_map` of each head, small, a row of them for each layer."""
    rows, columns, weights = _for_map(explanation, words)
    layers, heads = weights.shape[:2]
    with house_style():
        width = min(16.0, 1.2 + 2.3 * heads)
        shape = weights.shape[2] / weights.shape[3]
        height = 0.9 + layers * min(6.0, 0.5 + shape * (width - 1.2) / heads)
        figure = blank_figure(width, height)
        figure.suptitle("attention, head by head")
        grid = figure.subplots(layers, heads, squeeze=False, sharex=True, sharey=True)
        for (layer, head), axes in np.ndenumerate(grid):
            one, names = weights[layer, head], {"rows": rows, "columns": columns}
            image = _draw_map(axes, one, **names, size=8, limits=_limits(weights))
            axes.set_title(f"layer {layer}, head {head}", fontsize=10)
        figure.colorbar(image, ax=grid, pad=0.02, fraction=0.02, aspect=40)
        about = f"attention: {explanation.src_text} / {explanation.tgt_text}"
        return Picture(figure, about)


def _checked_matrix(
    values: Any, *, rows: Sequence[str] | None, columns: Sequence[str] | None
) -> np.ndarray:
    matrix = np.asarray(values)
    matrix = matrix if matrix.dtype == bool else matrix.astype(np.float64)
    if matrix.ndim != 2 or not matrix.size or not np.isfinite(matrix).all():
        raise InputError(
            "a map takes finite numbers [rows, columns], at least one of each; got "
            f"shape {list(matrix.shape)}."
        )
    for name, tokens, count in zip(
        ("rows", "columns"), (rows, columns), matrix.shape, strict=True
    ):
        if tokens is not None and len(tokens) != count:
            raise InputError(
                f"a map of {count} {name} needs as many names; got {len(tokens)}."
            )
    return matrix


def _map_size(
    shape: tuple[int, ...],
    rows: Sequence[str] | None,
    columns: Sequence[str] | None,
) -> tuple[float, float]:
    """(height, width) in inches: room for the names, where there are any."""
    down, across = (min(0.34 * count, 16.0) for count in shape)
    longest = max((len(name) for name in rows or ()), default=3)
    if columns and max(map(len, columns)) > 3:  # beside each other they need more room
        across = max(across, min(0.62 * len(columns), 16.0))
    if rows is None:
        down = min(down, 4.5)
    if columns is None:
        across = min(across, 7.0)
    return max(down, 1.5) + 1.5, max(across, 2.5) + 1.8 + 0.09 * longest


def _draw_map(
    axes: "Axes",
    matrix: np.ndarray,
    *,
    rows: Sequence[str] | None,
    columns: Sequence[str] | None,
    size: float = 11,
    limits: tuple[float, float] | None = None,
) -> Any:
    """The shades of a matrix with the names of its rows and columns."""
    low, high = limits or _limits(matrix)
    image = axes.imshow(
        matrix,
        **{"cmap": _shades(matrix), "vmin": low, "vmax": high},
        **{"aspect": "auto", "interpolation": "none"},
    )
    axes.grid(False)
    axes.spines[:].set_visible(True)
    axes.spines[:].set_color("#aaaaaa")
    if columns is not None:
        names = [_shown(token) for token in columns]
        slant = {"rotation": 40, "rotation_mode": "anchor", "ha": "left"}
        axes.set_xticks(
            range(len(names)), names, **(slant if max(map(len, names)) > 3 else {})
        )
        axes.tick_params(top=True, labeltop=True, bottom=False, labelbottom=False)
        axes.xaxis.set_label_position("top")
        if _is_right_to_left(columns):
            axes.invert_xaxis()
    if rows is not None:
        axes.set_yticks(range(len(rows)), [_shown(token) for token in rows])
    axes.tick_params(length=0, labelsize=size)
    if matrix.dtype == bool:
        _draw_cells(axes, matrix.shape)
    elif matrix.size <= MOST_NUMBERED and size > 8:
        _write_values(axes, matrix, (low + high) / 2)
    return image


def _limits(values: np.ndarray) -> tuple[float, float]:
    """(what is white, what is darkest)."""
    low, high = min(0.0, float(values.min())), float(values.max())
    if values.dtype == bool or high == low:
        high = low + 1.0
    return low, high


def _shades(values: np.ndarray) -> Any:
    import matplotlib

    shades = matplotlib.colormaps[SHADES]
    return shades.resampled(2) if values.dtype == bool else shades


def _draw_cells(axes: "Axes", shape: tuple[int, ...]) -> None:
    """Lines between cells, so that they can be counted."""
    for count, line in zip(shape, (axes.axhline, axes.axvline), strict=True):
        for place in range(1, count if max(shape) <= 40 else 0):
            line(place - 0.5, color="#bbbbbb", linewidth=0.6)


def _write_values(axes: "Axes", matrix: np.ndarray, middle: float) -> None:
    """Each value in its cell, but for those that round to nothing."""
    for (row, column), value in np.ndenumerate(matrix):
        if abs(value) >= 0.005:  # less would be written 0.00
            axes.text(
                *(column, row, f"{value:.2f}"),
                color="white" if value > middle else "#333333",
                fontsize=8,
                ha="center",
                va="center",
            )


def _name_of(explanation: Explanation, layer: int | None, head: int | None) -> str:
    """What a map shows, in words; checks that it is there."""
    names = []
    for kind, chosen, count in zip(
        ("layer", "head"), (layer, head), explanation.attention.shape, strict=False
    ):
        if chosen is None:
            names.append(f"mean of {count} {kind}s")
        elif 0 <= chosen < count:
            names.append(f"{kind} {chosen}")
        else:
            raise InputError(f"{kind} must be 0 to {count - 1}; got {chosen}.")
    return ", ".join(names).replace("layers, mean of", "layers and")


def _mean_over(
    weights: np.ndarray, *, layer: int | None, head: int | None
) -> np.ndarray:
    """[T, S] of [L, H, T, S]."""
    weights = weights.mean(axis=0) if layer is None else weights[layer]
    return weights.mean(axis=0) if head is None else weights[head]


def _for_map(
    explanation: Explanation, words: bool
) -> tuple[list[str], list[str], np.ndarray]:
    """(names of the rows, of the columns, [L, H, rows, columns])."""
    e, weights = explanation, np.asarray(explanation.attention, np.float64)
    if not words:
        return list(e.tgt_tokens), list(e.src_tokens), weights
    rows, columns = _word_starts(e.tgt_tokens), _word_starts(e.src_tokens)
    weights = np.add.reduceat(weights, columns, axis=3)
    weights = np.add.reduceat(weights, rows, axis=2)
    counts = np.diff([*rows, len(e.tgt_tokens)])
    weights = weights / counts[None, None, :, None]
    return _joined(e.tgt_tokens, rows), _joined(e.src_tokens, columns), weights


def _word_starts(tokens: Sequence[str]) -> list[int]:
    """Where words begin: at a space, which belongs to the word after it, and at the
    end of the text."""
    return [
        i
        for i, token in enumerate(tokens)
        if i == 0 or token == "" or token[0] in _SPACES
    ]


def _joined(tokens: Sequence[str], starts: Sequence[int]) -> list[str]:
    ends = [*starts[1:], len(tokens)]
    words = ("".join(tokens[a:b]) for a, b in zip(starts, ends, strict=True))
    return [word.strip(_SPACES) or word for word in words]


def _shown(token: str) -> str:
    """A token as it can be seen: the end, spaces at its sides, and what leaves no ink,
    by a name. Joiners beside letters stay, for they shape them."""
    if token == "":
        return "end"
    core = token.strip(_SPACES)
    before = token.find(core) if core else len(token)
    kept = "" if all(map(is_invisible, core)) else _JOINERS
    named = "".join(
        f"<{short_name(char)}>" if is_invisible(char) and char not in kept else char
        for char in core
    )
    after = len(token) - before - len(core)
    return _SPACE_SIGN * before + named + _SPACE_SIGN * after


def _is_right_to_left(tokens: Sequence[str]) -> bool:
    """By the first strong letter (Unicode Annex 9, P2)."""
    kinds = (unicodedata.bidirectional(char) for token in tokens for char in token)
    return next((kind != "L" for kind in kinds if kind in ("L", "R", "AL")), False)


# ---- counts and measurements -----------------------------------------------------


def length_histogram(
    lengths: Mapping[str, Sequence[int]],
    *,
    title: str = "lengths",
    unit: str = "tokens",
    limit: int | None = None,
) -> Picture:
    """How many sentences there are of each length, a series for each side.

    Args:
      lengths: the lengths of each series, as {"English": [...], "Persian": [...]}.
      limit: a length to mark, as the model's longest.

    Raises:
      InputError: no series, too many, or one that is empty or negative.
    """
    marks = _marks(lengths)
    for name, series in lengths.items():
        if not len(series) or np.min(series) < 0:
            raise InputError(f"{name!r} needs lengths of 0 and more, at least one.")
    longest = max(int(np.max(series)) for series in lengths.values())
    step = math.ceil((longest + 1) / MOST_BARS)
    edges = np.arange(0, longest + step + 1, step) - 0.5
    with house_style():
        figure = blank_figure(8, 4.5)
        axes = figure.subplots()
        for (name, series), mark in zip(lengths.items(), marks, strict=True):
            half, most = np.percentile(series, [50, 99])
            about = f"{name}: half up to {half:,.0f}, 99% up to {most:,.0f}"
            kind = {"bins": edges, "histtype": "stepfilled"}
            axes.hist(series, **kind, facecolor=mark.colour, alpha=0.13)
            # Apart from the fill, whose transparency an SVG would give to the hatching.
            axes.hist(
                series,
                **{**kind, "fill": False, "hatch": mark.hatch[:2]},
                **{"edgecolor": mark.colour, "linestyle": mark.line, "linewidth": 1.6},
                label=_left_to_right(about),
            )
        if limit is not None:
            axes.axvline(limit, color="black", linestyle=":", label=f"limit {limit:,}")
        axes.set_xlim(left=-0.5)
        bins = f", {step} together" if step > 1 else ""
        axes.set(xlabel=f"{unit}{bins}", ylabel="sentences", title=title)
        write_thousands(axes.yaxis)
        axes.legend(handlelength=3.5)
        return Picture(figure, title)


def _tint(colour: str) -> tuple[float, ...]:
    """The colour, thinned with white."""
    from matplotlib.colors import to_rgb

    return tuple(0.2 * part + 0.8 for part in to_rgb(colour))


def _left_to_right(text: str) -> str:
    """The text under a LEFT-TO-RIGHT MARK: one that begins with a name in Persian
    would be laid out from the right as a whole."""
    return f"\u200e{text}"


def benchmark_bars(
    groups: Mapping[str, Mapping[str, float]],
    *,
    title: str = "",
    label: str = "times as fast",
    baseline: float = 1.0,
    baseline_name: str = "",
) -> Picture:
    """Bars in groups, with a line at the baseline: {"greedy": {"ours": 0.7, ...}, ...}.

    Values over a wide range stand on a logarithmic axis, and their bars on the
    baseline: up is better than it, down is worse. A series may be missing in a group.

    Raises:
      InputError: nothing to draw, or a value that is not a finite number above 0.
    """
    names = list(dict.fromkeys(name for group in groups.values() for name in group))
    marks = _marks(names)
    values = [value for group in groups.values() for value in group.values()]
    _check_positive([*values, baseline])
    with house_style():
        figure = blank_figure(max(6.0, 1.5 + 0.62 * len(names) * len(groups)), 4.5)
        axes = figure.subplots()
        is_wide = max(values) > WIDE * min(values)
        if is_wide:
            make_logarithmic(axes.yaxis, max(values) / min(values))
        for i, (name, mark) in enumerate(zip(names, marks, strict=True)):
            here = [
                (g, group[name])
                for g, group in enumerate(groups.values())
                if name in group
            ]
            _draw_bars(axes, here, name, mark, i, len(names), baseline * is_wide)
        reference = {"color": "black", "linewidth": 1.3, "zorder": 3}
        axes.axhline(
            baseline, **reference, label=baseline_name or f"baseline, {baseline:g}"
        )
        axes.set_xticks(range(len(groups)), list(groups))
        axes.tick_params(axis="x", length=0)
        axes.grid(False, axis="x")
        axes.margins(y=0.14)
        axes.set(title=title, ylabel=f"{label}{' (log scale)' if is_wide else ''}")
        figure.legend(loc="outside lower center", ncols=min(len(names) + 1, 4))
        return Picture(figure, title or label)


def _draw_bars(
    axes: "Axes",
    values: Sequence[tuple[int, float]],
    name: str,
    mark: Mark,
    number_of_series: int,
    num_series: int,
    foot: float,
) -> None:
    """One series: (group, value) each; bars stand on `foot`."""
    width = 0.8 / num_series
    places = np.array([group for group, _ in values])
    places = places - 0.4 + width * (number_of_series + 0.5)
    heights = np.array([value for _, value in values])
    axes.bar(
        *(places, heights - foot, 0.92 * width, foot),
        **{"facecolor": _tint(mark.colour), "edgecolor": mark.colour},
        hatch=mark.hatch,
        linewidth=1.4,
        label=name,
    )
    for place, height in zip(places, heights, strict=True):
        below = height < foot
        axes.annotate(
            *(f"{height:.3g}", (place, height)),
            xytext=(0, -3 if below else 3),
            textcoords="offset points",
            va="top" if below else "bottom",
            **{"ha": "center", "fontsize": 10, "zorder": 4},
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6, "alpha": 0.8},
        )


def growth_curves(
    series: Mapping[str, Sequence[tuple[float, float]]],
    *,
    title: str = "",
    x_label: str = "",
    y_label: str = "",
    proportional: bool = False,
) -> Picture:
    """How a measurement grows with a size, both axes logarithmic: a straight line is a
    power of the size, and its slope is the exponent.

    Args:
      series: {"ours": [(size, value), ...], ...}; sorted by size here.
      proportional: whether to draw, through each series' first point, what would grow
        just as the size does.

    Raises:
      InputError: nothing to draw, or a number that is not finite and above 0.
    """
    marks = _marks(series)
    _check_positive(
        [x for points in series.values() for point in points for x in point]
    )
    for name, points in series.items():
        if not points:
            raise InputError(f"{name!r} has no point: leave it out.")
    with house_style():
        figure = blank_figure(8, 5)
        axes = figure.subplots()
        for (name, points), mark in zip(series.items(), marks, strict=True):
            sizes, values = np.array(sorted(points), np.float64).T
            looks = {"color": mark.colour, "linestyle": mark.line, "markersize": 7}
            axes.plot(sizes, values, label=name, marker=mark.marker, **looks)
            if proportional:
                ends = sizes[[0, -1]]
                axes.plot(
                    ends,
                    values[0] * ends / ends[0],
                    color="#999999",
                    linewidth=1,
                    zorder=1,
                )
        if proportional:
            axes.plot([], [], color="#999999", linewidth=1, label="in proportion")
        for axis, column in ((axes.xaxis, 0), (axes.yaxis, 1)):
            numbers = [point[column] for some in series.values() for point in some]
            make_logarithmic(axis, max(numbers) / min(numbers))
        axes.set(title=title, xlabel=x_label, ylabel=y_label)
        axes.legend(handlelength=3.5)
        return Picture(figure, title or f"{y_label} against {x_label}")


def _marks(names: Any) -> tuple[Mark, ...]:
    """The looks of some series.

    Raises:
      InputError: there are none, or more than can be told apart, or one has no name
        that a legend would show.
    """
    if not 1 <= len(names) <= len(MARKS):
        raise InputError(
            f"a picture takes 1 to {len(MARKS)} series, which can be told apart; got "
            f"{len(names)}."
        )
    for name in names:
        if not name or name.startswith("_"):
            raise InputError(
                f"a series needs a name that does not begin with '_'; got {name!r}."
            )
    return MARKS[: len(names)]


def _check_positive(values: Sequence[float]) -> None:
    for value in values:
        if not (number(value) > 0):  # NaN too
            raise InputError(
                f"a value must be a number above 0 and up to {LARGEST_DRAWN:g}; got "
                f"{value}."
            )
