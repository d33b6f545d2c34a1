"""Gets a real parallel corpus: `python -m flaxformer_mt.download tatoeba en fa`."""

import contextlib
import dataclasses
import gzip
import json
import math
import os
import shlex
import shutil
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import tyro

from flaxformer_mt.command_line import parse, run_door
from flaxformer_mt.corpora.archive import BLOCK_BYTES, Archive, Member
from flaxformer_mt.corpora.catalogue import ANKI_CODES, Download, find, listing
from flaxformer_mt.corpora.transfer import FetchOptions, fetch_file
from flaxformer_mt.errors import InputError
from flaxformer_mt.terminal import say
from flaxformer_mt.text.sources import faults, listed, printable
from flaxformer_mt.training.storage import atomic_write_json, one_sentence, sync_folder

LICENCE_LINES = 3  # of a file inside the archive; the file itself says the rest


@dataclasses.dataclass(frozen=True, kw_only=True)
class DownloadOptions:
    """Fetches sentence pairs from the web and says how to train on them. It may be
    stopped: the same command goes on."""

    # Which corpus: tatoeba, manythings, or opus:NAME as in opus:TED2020.
    corpus: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="CORPUS")]] = ""
    # Language to translate from, as in en.
    src: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="FROM")]] = ""
    # Language to translate to, as in fa.
    tgt: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="TO")]] = ""
    # Shows the corpora and their licences, and fetches nothing.
    list: bool = False
    # Where to save.
    folder: str = "data/downloads"
    # Release of the corpus, as in v2023-04-12. Empty: the one that --list shows.
    release: str = ""
    # Address of the archive where it has moved. Empty: the one that --list shows.
    url: str = ""
    # Seconds without a byte that count as a cut.
    timeout: float = 30.0
    # Refuse an archive of more gigabytes.
    max_gb: float = 20.0

    def __post_init__(self) -> None:
        for name in ("timeout", "max_gb"):
            value = getattr(self, name)
            if not (math.isfinite(value) and 0 < value <= 1e6):
                raise InputError(
                    f"--{name.replace('_', '-')} must be above 0 and at most a "
                    f"million; got {value}."
                )
        if not self.list and not self.tgt:
            given = " ".join(filter(None, (self.corpus, self.src))) or "nothing"
            raise InputError(
                "expected a corpus and two languages, as in 'tatoeba en fa'; got "
                f"{given}: --list shows the corpora."
            )
        if not self.folder:
            raise InputError("--folder must be a path; got an empty one.")


def download(arguments: list[str]) -> None:
    """The door: options from the command line, what was fetched on standard output."""
    options = parse(DownloadOptions, arguments, prog="download")
    if options.list:
        print(listing())
        return
    wanted = find(
        options.corpus,
        options.src,
        options.tgt,
        release=options.release,
        url=options.url,
    )
    target = Path(os.path.expanduser(options.folder)) / f"{wanted.stem}.zip"
    if not target.exists():
        say(f"fetching {wanted.url}")
    fetched = fetch_file(
        wanted.url,
        target,
        options=FetchOptions(
            timeout=options.timeout, max_bytes=round(options.max_gb * 10**9)
        ),
        hint=what_else(wanted, target),
    )
    sides = pack_tsv(wanted, fetched) if wanted.entry.format == "anki" else None
    describe(wanted, fetched, sides or moses_sides(wanted, fetched))


def what_else(wanted: Download, target: Path) -> str:
    """What a person can do where the server does not give the file."""
    others = [r for r in wanted.entry.other_releases if r != wanted.release]
    release = f"try --release {others[0]}, or " if others else ""
    return (
        f"{release}see in a browser whether there is such a pair; a file saved by hand "
        f"as {printable(target)} is taken, and --url names another address"
    )


def moses_sides(wanted: Download, fetched: Archive) -> tuple[str, str]:
    """The two sources, PATH:PART, in a zip that has a text for each language.

    Raises:
      InputError: it has no such texts, or they are not in step.
    """
    src, tgt = (_text_in(fetched, code) for code in (wanted.src, wanted.tgt))
    if src.num_lines != tgt.num_lines:
        raise InputError(
            f"{printable(fetched.path)} has {src.num_lines:,} lines of {wanted.src} "
            f"and {tgt.num_lines:,} of {wanted.tgt}, which are no pairs: try another "
            "--release."
        )
    return f"{fetched.path}:{src.name}", f"{fetched.path}:{tgt.name}"


def _text_in(fetched: Archive, code: str) -> Member:
    """The text in a language: Tatoeba.en-fa.en, or en.txt in an archive of others."""
    named = [m for m in fetched.members if m.name.endswith(f".{code}")]
    plain = [m for m in fetched.members if Path(m.name).name == f"{code}.txt"]
    return _only(fetched, named or plain)


def pack_tsv(wanted: Download, fetched: Archive) -> tuple[str, str]:
    """The two sources, PATH:COLUMN, of the TSV that a zip of manythings.org holds.

    The member is called .txt there, and columns are read from .tsv alone, so it is
    written anew beside the zip, under a name of ours. Its columns: English, the other
    language, and whose sentences they are, which the licence wants kept.
    """
    path = fetched.path.with_name(f"{wanted.stem}.tsv.gz")
    texts = [
        member
        for member in fetched.members
        if member.name.endswith(".txt") and not Path(member.name).name.startswith("_")
    ]
    other = wanted.tgt if wanted.src == "en" else wanted.src
    named = [m for m in texts if m.name == f"{ANKI_CODES.get(other, other)}.txt"]
    member = _only(fetched, named or texts)
    made_of = path.with_name(path.name + ".source.json")
    if not path.exists() or _sha256_in(made_of) != fetched.sha256:
        say(f"writing {printable(path)}")
        made_of.unlink(missing_ok=True)
        _write_gzip(fetched, member, path)
        atomic_write_json(made_of, {"sha256": fetched.sha256})
    columns = (0, 1) if wanted.src == "en" else (1, 0)
    return f"{path}:{columns[0]}", f"{path}:{columns[1]}"


def _sha256_in(path: Path) -> str:
    """Of the archive that a file was made of, as written beside it; "" without that."""
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _write_gzip(fetched: Archive, member: Member, path: Path) -> None:
    """Returns once `path` holds a member, gzipped; killed before, it is not there."""
    unfinished = path.with_name(path.name + ".tmp")
    source = printable(fetched.path)
    try:
        with (
            one_sentence(f"cannot write {printable(path)}"),
            unfinished.open("wb") as file,
        ):
            # No time and no name inside: the same text gives the same bytes.
            with (
                gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as packed,
                faults(f"{source} cannot be read"),
                zipfile.ZipFile(fetched.path) as archive,
                archive.open(member.name) as text,
            ):
                shutil.copyfileobj(text, packed, BLOCK_BYTES)
            file.flush()
            os.fsync(file.fileno())
        with one_sentence(f"cannot write {printable(path)}"):
            os.replace(unfinished, path)
            sync_folder(path.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            unfinished.unlink()
        raise


def _only(fetched: Archive, members: Iterable[Member]) -> Member:
    """The one member that was looked for."""
    members = [*members]
    if len(members) != 1:
        names = listed(member.name for member in fetched.members)
        raise InputError(
            f"{printable(fetched.path)} should have one text of each language and has: "
            f"{names}; name the members yourself, as in --data.src ZIP:MEMBER."
        )
    return members[0]


def describe(wanted: Download, fetched: Archive, sides: tuple[str, str]) -> None:
    """Prints what is there now, under which licence, and how to train on it."""
    what = "" if fetched.fresh else " (was there already, and is whole)"
    print(f"{printable(fetched.path)}{what}")
    print(f"  {fetched.size:,} bytes, SHA-256 {fetched.sha256}")
    for member in fetched.members:
        print(f"  {printable(member.name)}: {member.num_lines:,} lines")
    print(f"licence: {wanted.entry.licence} ({wanted.entry.licence_note})")
    for name, line in licence_lines(fetched):
        print(f"  {name}: {line}")
    arguments = {
        "--data.src": sides[0],
        "--data.tgt": sides[1],
        "--data.src-lang": wanted.src,
        "--data.tgt-lang": wanted.tgt,
        "--run": f"weights/{wanted.src}-{wanted.tgt}-{wanted.label}",
    }
    options = " ".join(f"{name} {shlex.quote(v)}" for name, v in arguments.items())
    print("train on it:")
    print(f"  python -m flaxformer_mt.train {options}")


def licence_lines(fetched: Archive) -> list[tuple[str, str]]:
    """(member, line) for the first lines of what the archive itself says of terms."""
    rows = []
    with (
        faults(f"{printable(fetched.path)} cannot be read"),
        zipfile.ZipFile(fetched.path) as archive,
    ):
        for member in fetched.members:
            name = Path(member.name).name
            if name.upper() in ("LICENSE", "LICENCE", "README", "_ABOUT.TXT"):
                with archive.open(member.name) as stream:
                    text = stream.read(2**14).decode("utf-8", "replace")
                lines = [" ".join(line.split()) for line in text.split("\n")]
                lines = [line for line in lines if any(map(str.isalnum, line))]
                rows += [
                    (printable(name), printable(line)[:100])
                    for line in lines[:LICENCE_LINES]
                ]
    return rows


def main() -> None:
    """python -m flaxformer_mt.download"""
    run_door(download)


if __name__ == "__main__":
    main()
