"""The picture of a run: there, whole, and right whatever the numbers are."""

import importlib.util
import itertools
import math
import os
import struct
import sys

import pytest

from flaxformer_mt.errors import StorageError
from flaxformer_mt.evaluation import plots
from flaxformer_mt.evaluation.plots import draw_curves, plots_available

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
    figure = plots._draw(entries, plots._best(entries, best_step))
    figure.canvas.draw()
    return figure


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


def test_it_is_found_without_being_imported(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert plots_available() is False
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # an import would fail
    assert plots_available() is True
