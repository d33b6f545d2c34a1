"""The house keeps its floors, and what must never enter the code stays out."""

import ast
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGE = ROOT / "flaxformer_mt"
FILES = sorted(PACKAGE.rglob("*.py"))

# A room imports from floors above its own and from its own floor. The doors, which
# stand at the end, are `train`, `translate`, `score`, `evaluate`, `prepare`,
# `download`, `average`, `serve` and `__main__`.
FLOORS = [
    {"errors", "config", "starter", "__init__"},
    {"text"},
    {"model"},
    {"training"},
    {"decoding"},
    {"evaluation"},
    {"terminal", "command_line", "help_screens", "line_stream"},
    {"corpora"},
    {"presets", "continuation", "commentary", "validation", "logbook"},
    {"session", "translate_options", "answers", "serving"},
    {
        *("train", "translate", "score", "evaluate", "prepare", "download", "average"),
        "serve",
    },
    {"__main__"},
]
# The only rooms that may import these.
KEEPERS = {
    "matplotlib": {"evaluation/pictures.py", "evaluation/plots.py"},
    "tensorboardX": {"evaluation/event_log.py"},
    "orbax": {"training/checkpoints.py"},
    "sacrebleu": {"evaluation/metrics.py"},
    "rich": {"terminal.py", "evaluate.py"},
    "tyro": {"command_line.py", "config.py", "download.py"},
    "sentencepiece": {"text/subwords.py"},
    "scipy": {"text/split.py"},
    "starlette": {"serving/app.py", "serving/guard.py"},
    "uvicorn": {"serving/server.py"},
    "h11": {"serving/server.py"},
}


def floor_of(name: str) -> int:
    return next(i for i, rooms in enumerate(FLOORS) if name in rooms)


def imports(path: Path) -> list[str]:
    """The dotted names that a file imports."""
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            if node.module == "flaxformer_mt":
                names += [f"flaxformer_mt.{alias.name}" for alias in node.names]
            else:
                names.append(node.module)
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_one_way(path):
    own = path.relative_to(PACKAGE).with_suffix("").parts[0]
    for name in imports(path):
        package, _, rest = name.partition(".")
        assert package not in ("experiments", "tests"), f"{path} imports {name}"
        other = rest.split(".")[0] or "__init__"
        if package == "flaxformer_mt" and not other.startswith("__version"):
            assert floor_of(other) <= floor_of(own), f"{path} imports {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_library_has_one_keeper(path):
    room = path.relative_to(PACKAGE).as_posix()
    for name in imports(path):
        keepers = KEEPERS.get(name.partition(".")[0])
        assert keepers is None or room in keepers, f"{room} imports {name}"


def test_the_text_floor_has_no_jax():
    for path in (PACKAGE / "text").glob("*.py"):
        names = {name.partition(".")[0] for name in imports(path)}
        assert not names & {"jax", "flax", "optax", "orbax"}, path


BANNED = {"eval", "exec", "extractall", "splitlines"}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_nothing_that_runs_foreign_code_or_shifts_lines_is_called(path):
    """Row P5 of the fault table."""
    names = {name.partition(".")[0] for name in imports(path)}
    assert not names & {"pickle", "yaml", "marshal", "shelve"}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        called = getattr(node.func, "id", getattr(node.func, "attr", ""))
        keywords = {k.arg: k.value for k in node.keywords}
        assert called not in BANNED, f"{path}:{node.lineno} calls {called}"
        strict = keywords.get("strict")
        is_restore = "estore" in called and isinstance(strict, ast.Constant)
        assert not (is_restore and strict.value is False), f"{path}:{node.lineno}"
        if called in ("open", "read_text", "write_text", "fdopen"):
            mode = next(
                (a.value for a in node.args if isinstance(a, ast.Constant)), "r"
            )
            binary = isinstance(mode, str) and "b" in mode and len(mode) <= 3
            # os.open and a zip archive's open know bytes alone.
            owner = getattr(getattr(node.func, "value", None), "id", "")
            binary = binary or owner in ("os", "archive")
            assert binary or "encoding" in keywords, (
                f"{path}:{node.lineno} opens a text without an encoding"
            )


def test_no_room_is_called_after_nothing():
    empty_names = {"utils", "helpers", "common", "types", "builders", "misc"}
    assert not empty_names & {path.stem for path in FILES}
