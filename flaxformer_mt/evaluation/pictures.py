"""A picture, and the one style that all of them have. Beside `plots` the only room that
imports matplotlib.

What is told apart by colour is also told apart by its line, its marker or its hatching,
so that a picture can be read in grey.

matplotlib is an extra: it is imported when a picture is drawn, never before, and
without pyplot, whose figures and backend belong to the whole process. From 3.11 on it
joins and orders Arabic and Hebrew letters itself, and the font that comes with it,
DejaVu Sans, has them.
"""

import contextlib
import dataclasses
import importlib.util
import io
import logging
import math
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from flaxformer_mt.training.storage import Folder, one_sentence, replace_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Mark(NamedTuple):
    """How a series looks: no two of them share anything."""

    colour: str
    line: Any  # matplotlib's line style
    marker: str
    hatch: str


# The colours are told apart by most colour-blind eyes too (Okabe and Ito 2008).
MARKS = (
    Mark("#0072B2", "-", "o", "///"),
    Mark("#D55E00", "--", "s", "..."),
    Mark("#009E73", "-.", "^", "xxx"),
    Mark("#AA4499", (0, (1, 1.5)), "D", "---"),
    Mark("#8A6D00", (0, (5, 1, 1, 1, 1, 1)), "v", "ooo"),
    Mark("#555555", (0, (9, 3)), "P", "|||"),
)
WIDTH, HEIGHT, DOTS_PER_INCH = 12.0, 8.0, 100  # inches; 1,200 x 800 dots
NOTEBOOK_DOTS = 72  # an inch, where a notebook shows a picture: half the bytes
# matplotlib's own arithmetic of limits overflows before a float does.
LARGEST_DRAWN = 1e15
ROUND = (1, 2, 5, 10)  # numbers on an axis are these times a power of ten

# A person's matplotlibrc may ask for LaTeX or for white on black: it is left aside, and
# these are set over matplotlib's own defaults.
STYLE = {
    "font.size": 11,
    "figure.titlesize": 14,
    "axes.titlesize": 13,
    "axes.labelsize": 12,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.8,
    "lines.linewidth": 1.8,
    "lines.markersize": 4,
    "legend.framealpha": 0.9,
    "hatch.linewidth": 0.7,
    "text.parse_math": False,  # a token may be a dollar sign
    "svg.fonttype": "path",  # letters as shapes: the same wherever they are looked at
    "svg.hashsalt": "flaxformer-mt",  # the same picture is the same file
}
# Tried in this order for letters that DejaVu Sans lacks, where they are installed.
OTHER_FONTS = (
    *("Noto Sans CJK SC", "Microsoft YaHei", "PingFang SC", "Hiragino Sans"),
    *("Noto Sans Devanagari", "Noto Sans Bengali", "Noto Sans Tamil", "Noto Sans Thai"),
    *("Nirmala UI", "Arial Unicode MS"),
)


def plots_available() -> bool:
    """Whether matplotlib is installed, found out without importing it."""
    return importlib.util.find_spec("matplotlib") is not None


@dataclasses.dataclass(frozen=True, eq=False)
class Picture:
    """A figure that is drawn; as the last line of a notebook's cell it shows itself."""

    figure: "Figure"
    title: str = ""  # in one line, for who cannot see it

    def render(
        self, kind: Literal["png", "svg"] = "png", *, dots_per_inch: int = DOTS_PER_INCH
    ) -> bytes:
        """The picture as a file's content: the same bytes each time."""
        content = io.BytesIO()
        about = {"Title": self.title} if self.title else {}
        if kind == "svg":
            about["Date"] = None
        with house_style():
            self.figure.savefig(content, format=kind, dpi=dots_per_inch, metadata=about)
        return content.getvalue()

    def save(self, path: Folder) -> list[Path]:
        """The files that were written: `path` where it ends in .png or .svg, else both
        of them beside each other. Killed before, a file holds what it held.

        Raises:
          InputError, StorageError: it cannot be written.
        """
        path, kind = Path(path), Path(path).suffix.lower()
        kinds = [kind] if kind in (".png", ".svg") else [".png", ".svg"]
        paths = [path] if kind in kinds else [Path(f"{path}{k}") for k in kinds]
        for kind, file in zip(kinds, paths, strict=True):
            content = self.render("svg" if kind == ".svg" else "png")
            with one_sentence(f"cannot write {file}"):
                replace_bytes(file, content)
        return paths

    def _repr_png_(self) -> bytes:
        return self.render("png", dots_per_inch=NOTEBOOK_DOTS)


# ---- drawing ---------------------------------------------------------------------


def number(value: Any) -> float:
    """The value if it can be drawn, else NaN."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)):
        return math.nan
    return float(value) if abs(value) < LARGEST_DRAWN else math.nan


def blank_figure(width: float, height: float) -> "Figure":
    """An empty figure of so many inches, that draws itself without a display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def make_logarithmic(axis: Any, factor: float) -> None:
    """An axis of 1, 2, 5, 10; of powers of ten alone where it spans many."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    def plain(value: float, _: int) -> str:
        return f"{value:,.10g}" if 1e-4 <= value < 1e9 else f"{value:.0e}"

    getattr(axis.axes, f"set_{axis.axis_name}scale")("log")
    subs = (1, 2, 5) if factor < 500 else (1,)
    axis.set_major_locator(LogLocator(subs=subs, numticks=10))
    axis.set_major_formatter(FuncFormatter(plain))
    axis.set_minor_formatter(NullFormatter())


def write_thousands(axis: Any) -> None:
    """Whole numbers, with a comma at each thousand."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis.set_major_locator(MaxNLocator(6, integer=True, steps=ROUND))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


@contextlib.contextmanager
def house_style() -> Iterator[None]:
    """The one style while something is drawn; afterwards all is as it was.

    Holds back what matplotlib logs, as that it builds its cache of fonts, and its
    warning of letters that no font has: they are boxes in the picture, to be seen.
    """
    import matplotlib

    log = logging.getLogger("matplotlib")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with matplotlib.rc_context(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing from font")
            matplotlib.rcdefaults()
            matplotlib.rcParams.update(STYLE)
            matplotlib.rcParams["font.family"] = _fonts()
            yield
    finally:
        log.setLevel(level)


def _fonts() -> list[str]:
    """DejaVu Sans, which comes with matplotlib, and what is installed to help it."""
    from matplotlib import font_manager

    installed = set(font_manager.fontManager.get_font_names())
    return ["DejaVu Sans", *(name for name in OTHER_FONTS if name in installed)]
