"""The documentation holds: its links, commands, options, examples and messages."""

import ast
import contextlib
import dataclasses
import functools
import importlib
import inspect
import io
import itertools
import json
import os
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from flaxformer_mt import serve, starter
from flaxformer_mt.__main__ import DOORS
from flaxformer_mt.command_line import option_names, parse
from flaxformer_mt.config import Config, DataConfig, TrainConfig
from flaxformer_mt.errors import InputError
from flaxformer_mt.serving.limits import Limits
from flaxformer_mt.serving.requests import (
    alternatives_request,
    explain_request,
    libre_request,
    read_json,
    translate_request,
)
from flaxformer_mt.train import fit
from tests.conftest import ROOT, tiny_config

DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
FENCE = re.compile(
    r"^(?P<mark><!--[^\n]*-->\n)?```(?P<kind>\w*)\n(?P<text>.*?)^```$", re.M | re.S
)
# Options that some program of somebody else's has, or that no dataclass lists.
OTHER_OPTIONS = {
    *(
        "--help",
        "--help-all",
        "--version",
        "--debug",
        "--preset",
        "--show-config",
        "--check",
    ),
    "--paired-bs",
}

each_page = pytest.mark.parametrize(
    "page", PAGES, ids=lambda page: str(page.relative_to(ROOT))
)


class Block(NamedTuple):
    """A fenced block of a page."""

    kind: str  # "python", "json", ..., "" for a shell's
    text: str
    is_run: bool  # whether <!-- run --> stands before it


@functools.cache
def blocks(page: Path) -> list[Block]:
    return [
        Block(m["kind"], m["text"], (m["mark"] or "").strip() == "<!-- run -->")
        for m in FENCE.finditer(page.read_text(encoding="utf-8"))
    ]


@functools.cache
def prose(page: Path) -> str:
    """A page without its blocks."""
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def code_spans(page: Path) -> list[str]:
    """What stands between back quotes in the prose, line ends as spaces."""
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose(page))]


# ---- links ---------------------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    seen: dict[str, int] = {}
    found = set()
    for title in re.findall(r"^#{1,6} +(.+?) *$", prose(page), re.M):
        title = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title)
        name = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        times = seen.get(name, 0)
        seen[name] = times + 1
        found.add(f"{name}-{times}" if times else name)
    return found


@each_page
def test_every_relative_link_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{page.name}: {target}"
        if anchor:
            assert anchor in anchors(file), f"{page.name}: {target}"


def test_the_contents_name_every_page():
    linked = set(re.findall(r"\]\(([\w-]+\.md)\)", prose(DOCS / "README.md")))
    assert linked == {page.name for page in DOCS.glob("*.md")} - {"README.md"}


@each_page
def test_no_page_tells_of_the_machine_that_it_was_written_on(page):
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"/(work|tmp|root|home)/|\.\./shared", text)


# ---- commands and options ------------------------------------------------------------


class Parsed(Exception):
    """A door has read its options; the rest is not wanted here."""


def commands(text: str) -> Iterator[tuple[str, list[str]]]:
    """(door, arguments) of each command of ours in a shell's text."""
    for line in text.replace("\\\n", " ").split("\n"):
        for words in simple_commands(line) if "flaxformer" in line else ():
            if "-m" in words[:-1] and words[words.index("-m") + 1].startswith(
                "flaxformer_mt."
            ):
                start = words.index("-m") + 1
                yield words[start].removeprefix("flaxformer_mt."), words[start + 1 :]
            elif len(words) > 1 and words[0] == "flaxformer-mt":
                yield words[1], words[2:]


def simple_commands(line: str) -> Iterator[list[str]]:
    """The commands of a line without pipes and the files behind < and >."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words: list[str] = []
    tokens = iter(lexer)
    for token in tokens:
        if token in ("<", ">", ">>"):
            next(tokens)
        elif set(token) <= set("|&;()"):
            yield words
            words = []
        else:
            words.append(token)
    yield words


def check_command(
    door: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Raises InputError where the door does not take the arguments."""
    assert door in DOORS, f"there is no door {door}"
    module = importlib.import_module(f"flaxformer_mt.{door}")

    def only_parse(*args, **options):
        parse(*args, **options)
        raise Parsed

    monkeypatch.setattr(module, "parse", only_parse)
    of_every_door = {"--version", "--debug"}
    arguments = [word for word in arguments if word not in of_every_door]
    if "--help" not in arguments:
        with pytest.raises(Parsed):
            getattr(module, door)(arguments)


@each_page
def test_every_command_is_one_that_its_door_takes(page, monkeypatch):
    for block in blocks(page):
        if block.kind in ("", "sh", "bash", "console"):
            for door, arguments in commands(block.text):
                check_command(door, arguments, monkeypatch)
    for span in code_spans(page):
        for door, arguments in commands(span) if "flaxformer" in span else ():
            if "..." in arguments or "|" in door:
                continue
            try:
                check_command(door, arguments, monkeypatch)
            except InputError as error:  # in a sentence a command may be a part of one
                if not re.search("was not given|expected a corpus", str(error)):
                    raise


def option_kinds(door: str) -> list[type]:
    """The dataclasses of a door's options."""
    if door == "train":
        return [Config]
    module = importlib.import_module(f"flaxformer_mt.{door}")
    return [
        kind
        for name, kind in vars(module).items()
        if name == f"{door.capitalize()}Options" and inspect.isclass(kind)
    ]


@functools.cache
def known_options() -> set[str]:
    known = set(OTHER_OPTIONS)
    for door in DOORS:
        for kind in option_kinds(door):
            for name in option_names(kind):
                table, _, field = name.rpartition(".")
                known |= {f"--{name}", f"--{table}{'.' * bool(table)}no-{field}"}
    return known


@each_page
def test_every_option_that_is_named_exists(page):
    named = set()
    for span in code_spans(page):
        if not re.match("python3 |python -m (pip|experiments)|pip |ssh ", span):
            named |= set(re.findall(r"(?<![\w-])--[a-z][a-z.-]*[a-z0-9]", span))
    unknown = {
        name
        for name in named - known_options()
        # "the `--data` options" names a table of them.
        if not any(other.startswith(f"{name}.") for other in known_options())
    }
    assert not unknown, page.name


def test_every_option_is_told_of_somewhere():
    told = "".join(page.read_text(encoding="utf-8") for page in DOCS.glob("*.md"))
    derived = {"model.src-vocab-size", "model.tgt-vocab-size"}  # no person gives them
    for door in DOORS:
        for name in itertools.chain(*map(option_names, option_kinds(door))):
            table, _, field = name.rpartition(".")
            spellings = (f"--{name}", f"--{table}.no-{field}")
            assert name in derived or any(s in told for s in spellings), name


def defaults() -> dict[str, set[str]]:
    """option -> what it is where it is not given, in each door that has it."""
    found: dict[str, set[str]] = {}
    for door in DOORS:
        for kind in option_kinds(door):
            for name, value in flat(dataclasses.asdict(kind_with_defaults(kind))):
                found.setdefault(f"--{name}", set()).add(value)
    return found


def kind_with_defaults(kind: type) -> object:
    """Its options where nothing is given, not checked: some have to be given."""
    options = object.__new__(kind)
    for field in dataclasses.fields(kind):
        value = field.default
        if value is dataclasses.MISSING:
            value = field.default_factory()
        object.__setattr__(options, field.name, value)
    return options


def flat(table: dict, prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in table.items():
        name = prefix + name.replace("_", "-")
        if isinstance(value, dict):
            yield from flat(value, f"{name}.")
        else:
            yield name, str(value)


def test_the_tables_give_the_numbers_that_hold_without_an_option():
    row = r"^\| `(--[\w.-]+)` \| `?(\d[\d,]*(?:\.\d+)?)`?(?=[ :])"
    known, checked = defaults(), 0
    for page in PAGES:
        for name, value in re.findall(row, prose(page), re.M):
            values = {float(v) for v in known[name] if re.fullmatch(r"\d+(\.\d+)?", v)}
            if values:  # else it is decided later
                assert float(value.replace(",", "")) in values, f"{page.name}: {name}"
                checked += 1
    assert checked > 25


def test_the_serving_page_has_every_option_of_the_server():
    for name in option_names(serve.ServeOptions):
        assert f"| `--{name}` |" in prose(DOCS / "serving.md")


def test_the_server_takes_the_requests_of_the_serving_page():
    read = {
        "/api/translate": translate_request,
        "/api/explain": explain_request,
        "/api/alternatives": alternatives_request,
        "/translate": libre_request,
    }
    paths = set()
    for block in blocks(DOCS / "serving.md"):
        for words in map(shlex.split, re.findall(r"^curl .*", block.text, re.M)):
            [address] = [word for word in words if word.startswith("http")]
            path = "/" + address.split("/", 3)[3]
            bodies = [b for a, b in itertools.pairwise(words) if a == "-d"]
            if path == "/languages":
                continue
            if bodies[0].startswith("{"):
                fields = read_json(bodies[0].encode())
            else:
                fields = dict(body.split("=", 1) for body in bodies)
            read[path](fields, Limits())
            paths.add(path)
    assert paths == set(read)


# ---- messages ------------------------------------------------------------------------


def variants(node: ast.expr) -> list[str]:
    """The texts that an expression may be, with "..." for what is not known here."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value]
    if isinstance(node, ast.IfExp):
        return [*variants(node.body), *variants(node.orelse)]
    if isinstance(node, ast.FormattedValue):
        return variants(node.value)
    if isinstance(node, ast.JoinedStr):
        parts = itertools.product(*map(variants, node.values))
        return ["".join(part) for part in parts]
    return ["..."]


def plain(text: str) -> str:
    """One space between words, and one "..." for what comes in one piece."""
    text = re.sub(r"(\.\.\.){2,}", "...", text)
    return re.sub(r"['\"]?\.\.\.['\"]?", "...", " ".join(text.split()))


@functools.cache
def messages() -> str:
    """Every text of the package's sources, a line each."""
    found = set()
    for path in (ROOT / "flaxformer_mt").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.Constant, ast.JoinedStr)):
                found |= set(map(plain, variants(node)))
    return "\n".join(sorted(found))


def explained() -> list[str]:
    """The messages of the page: what stands first in a row of its tables."""
    text = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
    return re.findall(r"^\| `([^`]+)` \|", text, re.M)


def test_the_package_says_every_message_that_is_explained():
    assert len(explained()) >= 30
    unsaid = [
        message
        for message in explained()
        if plain(message).removesuffix("...").strip() not in messages()
    ]
    assert not unsaid


# ---- what really runs ----------------------------------------------------------------


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with the files that the pages speak of, where one works."""
    rows = (starter.corpus_folder() / "train.tsv").read_text("utf-8").split("\n")
    pairs = ["\t".join(row.split("\t")[:2]) for row in rows if row]
    pairs = sorted(pairs, key=len)[:60]  # short ones: models of short texts are quick
    (tmp_path / "pairs.tsv").write_text("\n".join(pairs) + "\n", encoding="utf-8")
    (tmp_path / "input.txt").write_text("I drink tea.\n\nHe ran.\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(ROOT))
    return tmp_path


SMALLER = {
    "ModelConfig(d_model=64, d_ff=256, num_heads=8)": "small_model",
    "TrainConfig(steps=1000)": "TrainConfig(steps=2, max_shapes=1)",
    "more_steps=250": "more_steps=1",
}
SMALL_MODEL = tiny_config(
    max_length=32, num_encoder_layers=1, num_decoder_layers=1, dropout_rate=0.0
)


@pytest.fixture
def small_starter(folder, monkeypatch):
    """A model that knows nothing, in place of the starter: it compiles sooner."""
    config = Config(
        run="weights/small-starter",
        data=DataConfig(src="pairs.tsv:0", tgt="pairs.tsv:1"),
        model=SMALL_MODEL,
        train=TrainConfig(steps=2, max_shapes=1),
    )
    fit(config, verbose=False)
    monkeypatch.setattr(starter, "model_folder", lambda: folder / config.run)


# What a model that knows nothing writes is in no font.
@pytest.mark.filterwarnings("ignore:Glyph .* missing from font")
def test_the_examples_of_the_python_page_run(folder, small_starter):
    source = "".join(
        block.text for block in blocks(DOCS / "python.md") if block.kind == "python"
    )
    for shown, smaller in SMALLER.items():
        assert shown in source
        source = source.replace(shown, smaller)
    names = {"small_model": SMALL_MODEL}
    exec(compile(source, "python.md", "exec"), names)
    assert names["fitted"].step == 3
    assert names["tokenizer"].decode(names["ids"]) == "کتاب من"
    assert names["normalize"]("كتاب ٣") == "کتاب 3"
    assert names["tiny"].model.d_model == 128
    assert len(names["prepared"].train) == names["report"]["parts"]["train"]["pairs"]
    assert len(names["explanation"].attention.shape) == 4
    written = {"attention.png", "curves.png", "curves.svg", "lengths.png"}
    assert written <= {path.name for path in folder.iterdir()}


# What a training of the pages is given besides, so that it ends at once.
# (The same as SMALL_MODEL, whose programs are compiled then.)
BRIEFLY = [
    *("--train.steps", "2", "--train.max-shapes", "1", "--model.max-length", "32"),
    *("--model.d-model", "16", "--model.d-ff", "32", "--model.num-heads", "2"),
    *("--model.num-encoder-layers", "1", "--model.num-decoder-layers", "1"),
]


def run_commands(page: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What each marked command of a page writes."""
    marked = [block.text.strip() for block in blocks(page) if block.is_run]
    with contextlib.redirect_stderr(io.StringIO()):
        return {
            line: run_line(line, monkeypatch)
            for text in marked
            for line in text.split("\n")
        }


def run_line(line: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """What a command of ours writes, with `echo ... |`, `<` and `>` as a shell has
    them; every other command is refused."""
    said, _, command = line.rpartition("|")
    [(door, arguments)] = commands(command)
    files = dict(re.findall(r"([<>]) (\S+)", command))
    if said:
        program, words = shlex.split(said)
        assert program == "echo"
        files["<"] = "said.txt"
        Path("said.txt").write_text(f"{words}\n", encoding="utf-8")
    files.setdefault("<", os.devnull)
    files.setdefault(">", "shown.txt")
    module = importlib.import_module(f"flaxformer_mt.{door}")
    with (
        open(files["<"], encoding="utf-8") as stdin,
        open(files[">"], "w", encoding="utf-8") as stdout,
        monkeypatch.context() as patch,
    ):
        patch.setattr(sys, "stdin", stdin)
        patch.setattr(sys, "stdout", stdout)
        getattr(module, door)(arguments + BRIEFLY * (door == "train"))
    return Path(files[">"]).read_text(encoding="utf-8")


def test_the_marked_commands_of_the_guide_run(folder, monkeypatch):
    shown = run_commands(DOCS / "guide.md", monkeypatch)
    translation, _ = shown.values()
    assert translation == "سارا دیوار را رنگ نکرد.\n"  # as the page says
    assert (folder / "prepared/mine/report.html").is_file()


def test_the_marked_recipes_run(folder, small_starter, monkeypatch):
    shown = run_commands(DOCS / "how-to.md", monkeypatch)
    assert len(shown) >= 5
    assert (folder / "weights/mine/config.json").is_file()
    lines = (folder / "output.txt").read_text("utf-8").split("\n")
    assert len(lines) == 4 and lines[1] == ""
    assert len((folder / "scores.txt").read_text("utf-8").split()) == 60
    [row] = [text for line, text in shown.items() if "--json" in line]
    assert len(json.loads(row)["n_best"]) == 3
