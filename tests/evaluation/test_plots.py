"""Pictures: there, whole, right whatever the numbers are, and readable in grey."""

import itertools
import math
import os
import struct
import sys

import numpy as np
import pytest

from flaxformer_mt.decoding.explanation import Explanation
from flaxformer_mt.errors import InputError, StorageError
from flaxformer_mt.evaluation import plots
from flaxformer_mt.evaluation.pictures import house_style, plots_available
from flaxformer_mt.evaluation.plots import draw_curves

needs_plots = pytest.mark.skipif(
    not plots_available(), reason="matplotlib, the extra `plots`, is not installed"
)


def entry(step, **more):
    loss = 1 + 4 * math.exp(-step / 1000)
    return {
        "step": step,
        "epoch": step / 500,
        "train_loss": loss,
        "validation_loss": loss + 0.1,
        "loss": loss + 0.1,
        "learning_rate": 0.001 / (1 + step / 1000),
        "seconds": step / 5,
        **more,
    }


def history(count, every=100):
    return [entry(every * i) for i in range(1, count + 1)]


def figure_of(entries, best_step=None):
    """The figure before it becomes a PNG, drawn as draw_curves draws it."""
    return drawn(plots.curves(entries, best_step=best_step))


def drawn(picture):
    """The figure of a picture after a drawing, with all its labels."""
    with house_style():
        picture.figure.canvas.draw()
    return picture.figure


def lines_of(figure):
    """label -> (steps, values) of each line that is in a legend, and its panel."""
    return {
        line.get_label(): (list(line.get_xdata()), list(line.get_ydata()))
        for axes in figure.axes
        for line in axes.get_lines()
        if not line.get_label().startswith("_")
    }


@needs_plots
@pytest.mark.parametrize("count", [0, 1, 2, 200])
def test_the_picture_is_a_png_of_a_size_to_read(count, tmp_path):
    draw_curves(history(count), tmp_path / "curves.png")
    content = (tmp_path / "curves.png").read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    assert struct.unpack(">II", content[16:24]) == (1200, 800)
    assert os.listdir(tmp_path) == ["curves.png"]


@needs_plots
def test_the_lines_are_those_of_the_history():
    entries = history(3)
    entries[1] |= {"chrf": 40.0, "bleu": 20.0}
    lines = lines_of(figure_of(entries))
    assert lines["training"] == ([100, 200, 300], [e["train_loss"] for e in entries])
    assert lines["validation"][1] == [e["validation_loss"] for e in entries]
    assert lines["learning rate"][1] == [e["learning_rate"] for e in entries]
    assert (lines["chrF++"], lines["BLEU"]) == (([200], [40.0]), ([200], [20.0]))


@needs_plots
def test_a_run_without_scores_or_validation_has_no_empty_panel():
    entries = [entry(100), entry(200)]
    for one in entries:
        del one["validation_loss"]
    figure = figure_of(entries)
    labels = [axes.get_ylabel() for axes in figure.axes if axes.get_ylabel()]
    assert labels == ["loss, nats a token", "learning rate"]
    assert "validation" not in lines_of(figure)
    assert "best at step 200: training loss" in figure.get_suptitle()
    for one in entries:
        del one["learning_rate"]
    assert len(figure_of(entries).axes) == 2  # the losses, and the time above them


@needs_plots
def test_values_that_are_no_numbers_leave_gaps_and_break_nothing(tmp_path):
    entries = history(6)
    entries[1]["train_loss"] = math.nan
    entries[2]["validation_loss"] = entries[2]["loss"] = None
    entries[3] |= {"learning_rate": math.inf, "train_loss": 1e308, "seconds": None}
    entries[4] |= {"chrf": math.nan, "bleu": 0.0, "loss": "odd", "epoch": None}
    del entries[5]["seconds"], entries[5]["epoch"]
    draw_curves([*entries, {"loss": 1.0}], tmp_path / "curves.png")
    lines = lines_of(figure_of(entries))
    gaps = [math.isnan(value) for value in lines["training"][1]]
    assert gaps == [False, True, False, True, False, False]
    assert math.isnan(lines["validation"][1][2]) and "chrF++" not in lines


@needs_plots
def test_numbers_of_any_size_can_be_drawn(tmp_path):
    for losses in ([0.0, 0.0], [1e-12, 1e14], [-1.0, 2.0], [3.0, 3.0], [1e300, 1e300]):
        entries = [
            entry(i + 1, train_loss=loss, validation_loss=loss, learning_rate=0.0)
            for i, loss in enumerate(losses)
        ]
        draw_curves(entries, tmp_path / "curves.png")


@needs_plots
@pytest.mark.parametrize(("asked", "marked"), [(None, 300), (100, 100)])
def test_the_best_step_is_marked_on_every_panel(asked, marked):
    entries = [entry(step, chrf=step / 10) for step in (100, 200, 300, 400)]
    entries[3] |= {"loss": 9.0, "validation_loss": 9.0}
    figure = figure_of(entries, asked)
    assert f"best at step {marked}: validation loss" in figure.get_suptitle()
    for axes in figure.axes:
        if axes.get_ylabel():
            lines = [list(line.get_xdata()) for line in axes.get_lines()]
            assert [marked, marked] in lines


@needs_plots
def test_a_minute_stands_at_the_step_that_it_fell_on():
    """The first 100 steps took five minutes, the second 100 one."""
    figure = figure_of([entry(100, seconds=300), entry(200, seconds=360)])
    top = next(axes for axes in figure.axes if axes.get_xlabel() == "minutes")
    labels = [label.get_text() for label in top.get_xticklabels()]
    places = dict(zip(labels, top.get_xticks(), strict=True))
    assert (places["0"], places["5"], places["6"]) == pytest.approx((0, 100, 200))
    assert top.get_xlim() == figure.axes[0].get_xlim()


@needs_plots
@pytest.mark.parametrize(
    ("seconds", "unit"), [(100, "seconds"), (7200, "minutes"), (90_000, "hours")]
)
def test_time_has_a_unit_that_suits_it(seconds, unit):
    figure = figure_of([entry(100, seconds=seconds)])
    assert unit in {axes.get_xlabel() for axes in figure.axes}
    assert unit in figure.get_suptitle()


@needs_plots
@pytest.mark.parametrize("spread", [2.0, 50.0, 1e9])
def test_no_two_labels_overlap(spread):
    entries = [
        entry(
            step,
            train_loss=1 + (spread - 1) * (1 - step / 20_000),
            chrf=step / 300,
            bleu=step / 600,
            seconds=300 + step / 50,  # five minutes of compiling
        )
        for step in range(100, 20_001, 100)
    ]
    figure = figure_of(entries)
    for axes in figure.axes:
        for labels, along in (
            (axes.get_xticklabels(), "x"),
            (axes.get_yticklabels(), "y"),
        ):
            shown = [label for label in labels if label.get_text()]
            boxes = [label.get_window_extent() for label in shown]
            low, high = f"{along}0", f"{along}1"
            boxes.sort(key=lambda box: getattr(box, low))
            for one, other in itertools.pairwise(boxes):
                assert getattr(one, high) <= getattr(other, low)


@needs_plots
def test_a_picture_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "curves.png"
    draw_curves(history(1), path)
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match=r"cannot write .*png: the disk is full"):
        draw_curves(history(5), path)
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["curves.png"]


@needs_plots
def test_nothing_outside_is_changed_and_nothing_is_printed(
    tmp_path, monkeypatch, capfd
):
    import matplotlib

    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)  # an import would fail
    # As a person's own settings may be: LaTeX, which is not installed everywhere.
    monkeypatch.setitem(matplotlib.rcParams, "text.usetex", True)
    before = matplotlib.rcParams.copy()
    draw_curves(history(2), tmp_path / "curves.png")
    # Not ==, which would ask for the backend, and that would import pyplot.
    assert dict.__eq__(matplotlib.rcParams, before)
    assert capfd.readouterr() == ("", "")


# ---- other pictures ----------------------------------------------------------------


def explanation(src="a bc.", tgt="ای بو.", seed=0, src_tokens=None):
    """Letters with made-up attention, [2, 3, T, S]."""
    src_tokens, tgt_tokens = (*(src_tokens or src), ""), (*tgt, "")
    weights = np.random.default_rng(seed).random(
        (2, 3, len(tgt_tokens), len(src_tokens))
    )
    return Explanation(
        src_text=src,
        tgt_text=tgt,
        src_tokens=src_tokens,
        tgt_tokens=tgt_tokens,
        log_probabilities=(-0.1,) * len(tgt_tokens),
        alternatives=((),) * len(tgt_tokens),
        attention=weights / weights.sum(axis=-1, keepdims=True),
        score=-1.0,
    )


def every_picture():
    """One of each kind, as name -> a function that draws it."""
    series = {"ours": [(10, 1.0), (100, 9.0)], "theirs": [(10, 2.0), (100, 70.0)]}
    return {
        "curves": lambda: plots.curves([entry(1, chrf=3.0), entry(2, chrf=4.0)]),
        "map": lambda: plots.attention_map(explanation()),
        "heads": lambda: plots.attention_heads(explanation()),
        "mask": lambda: plots.heat_map(np.tri(3, dtype=bool), rows=list("abc")),
        "lengths": lambda: plots.length_histogram({"en": [1, 2, 2], "فارسی": [3, 4]}),
        "bars": lambda: plots.benchmark_bars({"one": {"a": 1.5, "b": 0.5}}),
        "growth": lambda: plots.growth_curves(series, proportional=True),
    }


@needs_plots
@pytest.mark.parametrize("name", every_picture())
def test_a_picture_is_saved_as_png_and_svg_and_shown_by_a_notebook(name, tmp_path):
    picture = every_picture()[name]()
    png, svg = picture.save(tmp_path / "run-1.5")
    assert (png.name, svg.name) == ("run-1.5.png", "run-1.5.svg")
    assert png.read_bytes().startswith(b"\x89PNG") and b"<svg" in svg.read_bytes()
    assert sorted(os.listdir(tmp_path)) == [png.name, svg.name]
    assert picture._repr_png_().startswith(b"\x89PNG")
    assert picture.save(tmp_path / "one.SVG") == [tmp_path / "one.SVG"]


@needs_plots
def test_the_same_picture_is_the_same_file():
    for kind in ("png", "svg"):
        one, other = (every_picture()["bars"]().render(kind) for _ in range(2))
        assert one == other


@needs_plots
def test_curves_are_drawn_as_svg_where_the_name_says_so(tmp_path):
    draw_curves(history(2), tmp_path / "curves.svg")
    assert b"<svg" in (tmp_path / "curves.svg").read_bytes()


@needs_plots
def test_no_two_series_share_a_line_a_marker_or_a_hatching():
    lines = [
        line
        for axes in figure_of(
            [entry(s, chrf=1.0 * s, bleu=2.0 * s) for s in (1, 2)]
        ).axes
        for line in axes.get_lines()
        if line.get_label() in ("training", "validation", "chrF++", "BLEU")
    ]
    assert len({str(line._unscaled_dash_pattern) for line in lines}) == 4
    assert len({line.get_marker() for line in lines}) == 4
    bars = drawn(every_picture()["bars"]()).axes[0].patches
    assert len({bar.get_hatch() for bar in bars}) == 2


@needs_plots
def test_shades_grow_darker_all_the_way():
    """So that a photocopy says the same."""
    import matplotlib

    red, green, blue, _ = matplotlib.colormaps[plots.SHADES](np.linspace(0, 1, 50)).T
    assert (np.diff(0.2126 * red + 0.7152 * green + 0.0722 * blue) < 0).all()


def shades_of(picture):
    """([rows, columns] of the picture's first map, its names of rows and columns)."""
    axes = drawn(picture).axes[0]
    [image] = axes.get_images()
    names = [
        [label.get_text() for label in labels]
        for labels in (axes.get_yticklabels(), axes.get_xticklabels())
    ]
    return np.asarray(image.get_array()), *names


@needs_plots
def test_a_map_shows_the_attention_that_was_asked_for():
    e = explanation()
    shades, rows, columns = shades_of(plots.attention_map(e, layer=1, head=2))
    np.testing.assert_allclose(shades, e.attention[1, 2])
    assert rows == ["ا", "ی", "␣", "ب", "و", ".", "end"]
    assert columns == ["a", "␣", "b", "c", ".", "end"]
    shades, *_ = shades_of(plots.attention_map(e, layer=0))
    np.testing.assert_allclose(shades, e.attention[0].mean(axis=0))
    for wrong in ({"layer": 2}, {"head": 3}, {"layer": -1}):
        with pytest.raises(InputError, match=r"must be 0 to \d; got"):
            plots.attention_map(e, **wrong)


@needs_plots
def test_letters_become_words_whose_shades_still_sum_to_1():
    e = explanation()
    shades, rows, columns = shades_of(plots.attention_map(e, words=True))
    assert (rows, columns) == (["ای", "بو.", "end"], ["a", "bc.", "end"])
    np.testing.assert_allclose(shades.sum(axis=1), 1)
    mean = e.attention.mean(axis=(0, 1))
    np.testing.assert_allclose(shades[0, 0], mean[:2, 0].mean())
    np.testing.assert_allclose(shades[1, 1], mean[2:6, 1:5].sum(axis=1).mean())
    assert len([a for a in drawn(plots.attention_heads(e)).axes if a.images]) == 6


@needs_plots
def test_pieces_become_words_too():
    tokens = ("▁the", "▁wal", "l", ".")
    e = explanation(src="the wall.", src_tokens=tokens)
    *_, columns = shades_of(plots.attention_map(e, words=True))
    assert columns == ["the", "wall.", "end"]
    *_, columns = shades_of(plots.attention_map(e))
    assert columns == ["␣the", "␣wal", "l", ".", "end"]


@needs_plots
@pytest.mark.parametrize(("src", "is_turned"), [("سلام.", True), ("«hi»", False)])
def test_a_source_that_is_read_from_the_right_is_drawn_from_the_right(src, is_turned):
    axes = drawn(plots.attention_map(explanation(src=src, tgt="hello"))).axes[0]
    assert axes.xaxis_inverted() == is_turned


@needs_plots
def test_what_leaves_no_ink_is_named_but_a_joiner_in_a_word_is_not():
    assert plots._shown("\u200c") == "<ZWNJ>"
    assert plots._shown("می\u200cرود") == "می\u200cرود"
    assert plots._shown("\x07") == "<U+0007>"
    assert plots._shown(" a b▁") == "␣a b␣"


@needs_plots
def test_letters_that_no_font_has_and_dollars_break_nothing(capfd):
    odd = ["$\\frac{$", "\U00012000", "漢字", "\ufdfd", "_a"]
    plots.heat_map(np.eye(5), rows=odd, columns=odd, title="$5 or $6").render()
    assert capfd.readouterr() == ("", "")


@needs_plots
def test_a_map_that_is_no_matrix_of_numbers_is_refused():
    for values in ([1.0, 2.0], [[]], [[math.nan]], [[math.inf]]):
        with pytest.raises(InputError, match="a map takes finite numbers"):
            plots.heat_map(values)
    with pytest.raises(InputError, match="3 rows needs as many names; got 2"):
        plots.heat_map(np.eye(3), rows=["a", "b"])


@needs_plots
@pytest.mark.parametrize("value", [False, True, 0.0, -2.5, 7])
def test_a_map_of_one_value_can_be_drawn(value):
    plots.heat_map(np.full((2, 3), value)).render()


@needs_plots
def test_every_sentence_is_in_the_histogram():
    lengths = {"en": [0, 1, 1, 130], "fa": list(range(40))}
    axes = drawn(plots.length_histogram(lengths, limit=128)).axes[0]
    heights = [patch.get_path().vertices[:, 1].max() for patch in axes.patches]
    assert heights == [3, 3, 3, 3]  # bins of three lengths; drawn twice
    # The outline goes up and down once a bin, so that its area counts the sentences.
    for patch, count in zip(axes.patches, (4, 4, 40, 40), strict=True):
        x, y = patch.get_path().vertices.T
        area = np.sum((x[1:] - x[:-1]) * (y[1:] + y[:-1]) / 2)
        assert abs(area) == pytest.approx(3 * count)
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == [
        "\u200een: half up to 1, 99% up to 126",
        "\u200efa: half up to 20, 99% up to 39",
        "limit 128",
    ]
    for wrong in ({}, {"en": []}, {"en": [-1]}, {"_en": [1]}, {"": [1]}):
        with pytest.raises(InputError):
            plots.length_histogram(wrong)


def bars_of(groups, **options):
    axes = drawn(plots.benchmark_bars(groups, **options)).axes[0]
    return axes, [(bar.get_y(), bar.get_y() + bar.get_height()) for bar in axes.patches]


@needs_plots
def test_bars_stand_on_zero_and_carry_their_value_and_the_baseline_is_drawn():
    groups = {"greedy": {"ours": 0.65, "theirs": 1.25}, "beam": {"theirs": 1.5}}
    axes, bars = bars_of(groups, baseline_name="CTranslate2")
    assert bars == [(0, 0.65), (0, 1.25), (0, 1.5)]
    assert [text.get_text() for text in axes.texts] == ["0.65", "1.25", "1.5"]
    [line] = axes.get_lines()
    assert set(line.get_ydata()) == {1.0} and line.get_label() == "CTranslate2"
    left = [bar.get_x() for bar in axes.patches]
    assert -0.5 < left[0] < left[1] < 0.5 < left[2]


@needs_plots
def test_bars_over_a_wide_range_stand_on_the_baseline():
    axes, bars = bars_of({"one": {"ours": 15.0, "theirs": 0.05}})
    assert axes.get_yscale() == "log" and axes.get_ylabel().endswith("(log scale)")
    assert bars == [(1, 15), (1, pytest.approx(0.05))]


@needs_plots
def test_growth_is_straight_on_axes_that_are_both_logarithmic():
    series = {"ours": [(1000, 8.0), (10, 1.0), (100, 3.0)]}
    figure = drawn(plots.growth_curves(series, proportional=True))
    [axes] = figure.axes
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert lines_of(figure)["ours"] == ([10, 100, 1000], [1.0, 3.0, 8.0])
    proportional = axes.get_lines()[1]
    assert list(proportional.get_ydata()) == [1.0, 100.0]


@needs_plots
@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf, None])
def test_a_measurement_that_no_axis_can_show_is_refused(value):
    with pytest.raises(InputError, match="a value must be a number above 0"):
        plots.benchmark_bars({"one": {"ours": value}})
    with pytest.raises(InputError, match="a value must be a number above 0"):
        plots.growth_curves({"ours": [(10, value)]})


@needs_plots
def test_nothing_to_draw_and_too_much_are_refused():
    for wrong in ({}, {str(i): [(1, 1)] for i in range(7)}):
        with pytest.raises(InputError, match="1 to 6 series"):
            plots.growth_curves(wrong)
    with pytest.raises(InputError, match="has no point"):
        plots.growth_curves({"ours": []})
    with pytest.raises(InputError, match="1 to 6 series"):
        plots.benchmark_bars({"one": {}})
