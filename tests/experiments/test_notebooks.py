"""The notebooks run, show what they say, and are small enough to be looked at.

Their cells run here in one process, in one namespace, without a kernel: that takes no
package beyond the tests' own. What a kernel would add, showing the last line of a cell,
is done by hand.
"""

import ast
import base64
import json
import re
import struct
from pathlib import Path

import pytest

from flaxformer_mt.evaluation.pictures import plots_available
from tests.conftest import ROOT

NOTEBOOKS = sorted((ROOT / "experiments").glob("*.ipynb"))
MOST_BYTES = 400_000
PNG = b"\x89PNG\r\n\x1a\n"

each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def cells(path: Path, kind: str) -> list[dict]:
    """The cells of one kind."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    return [cell for cell in notebook["cells"] if cell["cell_type"] == kind]


def run_cell(source: str, namespace: dict) -> object:
    """The value of the cell's last line, None where that is no expression."""
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "<cell>", "exec"), namespace)
    if last is None:
        return None
    return eval(compile(ast.Expression(last.value), "<cell>", "eval"), namespace)


def shown(value: object) -> set[str]:
    """The kinds of output that a notebook would show for a value."""
    if value is None:
        return set()
    kinds = {"text/plain"}
    if hasattr(value, "_repr_png_"):
        assert value._repr_png_().startswith(PNG)
        kinds.add("image/png")
    if hasattr(value, "_repr_html_"):
        assert value._repr_html_().startswith("<table>")
        kinds.add("text/html")
    assert repr(value)
    return kinds


def test_there_are_notebooks():
    names = {path.stem for path in NOTEBOOKS}
    assert names >= {"build_it_yourself", "sampling"}


@each
@pytest.mark.skipif(
    not plots_available(), reason="matplotlib, the extra `plots`, is not installed"
)
def test_a_notebook_runs_and_shows_what_it_was_saved_with(path, monkeypatch, capsys):
    monkeypatch.setenv("NOTEBOOK_UPDATES", "3")
    monkeypatch.chdir(path.parent)
    namespace: dict = {"__name__": "__main__"}
    for cell in cells(path, "code"):
        value = run_cell("".join(cell["source"]), namespace)
        saved = {kind for out in cell["outputs"] for kind in out.get("data", ())}
        assert shown(value) == saved
        is_printing = bool(capsys.readouterr().out)
        assert is_printing == any(o["output_type"] == "stream" for o in cell["outputs"])


@each
def test_a_notebook_was_saved_after_one_run_from_top_to_bottom(path):
    code = cells(path, "code")
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    kinds = [out["output_type"] for cell in code for out in cell["outputs"]]
    assert kinds.count("execute_result") >= 5 and "error" not in kinds
    streams = [o for c in code for o in c["outputs"] if o["output_type"] == "stream"]
    assert {out["name"] for out in streams} <= {"stdout"}  # nothing was complained of


@each
def test_the_saved_pictures_are_pictures_of_a_size_to_read(path):
    pictures = [
        base64.b64decode("".join(out["data"]["image/png"]))
        for cell in cells(path, "code")
        for out in cell["outputs"]
        if "image/png" in out.get("data", ())
    ]
    assert len(pictures) >= 4
    for content in pictures:
        assert content.startswith(PNG)
        width, height = struct.unpack(">II", content[16:24])
        assert 150 <= width <= 1000 and 100 <= height <= 1000


@each
def test_a_notebook_is_small_and_holds_nothing_of_a_machine(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.encode()) < MOST_BYTES
    assert not re.search(r"/(home|root|tmp|Users|work)/", text)
    notebook = json.loads(text)
    assert set(notebook["metadata"]) == {"kernelspec", "language_info"}
    assert not any(cell["metadata"] for cell in notebook["cells"])


@each
def test_texts_in_both_directions_are_shown_each_from_its_own_side(path):
    tables = [
        "".join(out["data"]["text/html"])
        for cell in cells(path, "code")
        for out in cell["outputs"]
        if "text/html" in out.get("data", ())
    ]
    assert any(re.search("[\u0600-\u06ff]", table) for table in tables)
    for table in tables:
        assert table.count("<td") == table.count('<td dir="auto"')


def test_the_sentence_was_learned_by_heart():
    """In the notebook as it was saved; here its rounds are too short for that."""
    [notebook] = [path for path in NOTEBOOKS if path.stem == "build_it_yourself"]
    [examination] = [
        "".join(out["data"]["text/html"])
        for cell in cells(notebook, "code")
        for out in cell["outputs"]
        if "the same?" in "".join(out.get("data", {}).get("text/html", ""))
    ]
    assert "True" in examination


@each
def test_the_files_that_a_notebook_points_to_exist(path):
    for cell in cells(path, "markdown"):
        for link in re.findall(r"\]\((?!https?:)([^)#]+)", "".join(cell["source"])):
            assert (path.parent / link).exists(), link
