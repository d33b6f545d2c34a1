"""The one style of all pictures, and the letters in it."""

import importlib.util
import sys

import numpy as np
import pytest

from flaxformer_mt.evaluation.pictures import MARKS, house_style, plots_available

needs_plots = pytest.mark.skipif(
    not plots_available(), reason="matplotlib, the extra `plots`, is not installed"
)


def test_no_two_series_look_alike_in_any_way():
    for looks in zip(*MARKS, strict=True):
        assert len(set(looks)) == len(MARKS)


def test_it_is_found_without_being_imported(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert plots_available() is False
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # an import would fail
    assert plots_available() is True


@needs_plots
def test_persian_letters_are_joined_and_the_font_has_them(recwarn):
    """matplotlib before 3.11 drew letters apart and from the left."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.font_manager import FontProperties, findfont, get_font

    font = get_font(findfont(FontProperties(family="DejaVu Sans")))
    letters = "آابپتثجچحخدذرزژسشصضطظعغفقکگلمنوهیئأؤ۰۱۲۳۴۵۶۷۸۹،؛؟«»\u200c"
    assert {ord(letter) for letter in letters} <= set(font.get_charmap())

    def ink(text):
        with house_style():
            figure = Figure(figsize=(3, 1))
            canvas = FigureCanvasAgg(figure)
            figure.text(0.5, 0.5, text, size=30)
            canvas.draw()
            pixels = np.asarray(canvas.buffer_rgba())[..., 0] < 128
        places = np.flatnonzero(pixels.any(axis=0))
        return pixels[:, places[0] : places[-1] + 1]

    gaps = [
        np.count_nonzero(np.diff(ink(text).any(axis=0))) // 2 for text in ("سین", "س‌ی‌ن")
    ]
    assert gaps == [0, 2]  # one stroke; with non-joiners, three letters
    shapes = [ink(text) for text in ("من.", "\u200fمن.")]
    assert shapes[0].shape == shapes[1].shape and (shapes[0] == shapes[1]).all()
    # The full stop ends the sentence: it is at the left, and lower than a letter is.
    first, last = ink("من.")[:, :3], ink("من.")[:, -3:]
    low, high = (np.count_nonzero(part.any(axis=1)) for part in (first, last))
    assert low < high / 1.5
    assert tuple(map(int, matplotlib.__version__.split(".")[:2])) >= (3, 11)
    assert not recwarn.list
