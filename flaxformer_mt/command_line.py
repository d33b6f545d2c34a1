"""What the doors share: options out of dataclasses, and errors on one line."""

import contextlib
import dataclasses
import errno
import io
import os
import re
import sys
import traceback
import typing
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import tyro

from flaxformer_mt import __version__, help_screens
from flaxformer_mt.config import did_you_mean
from flaxformer_mt.errors import FlaxformerError, InputError, StoppedError, StorageError
from flaxformer_mt.terminal import say
from flaxformer_mt.training.devices import check_versions

Options = TypeVar("Options")
OUTPUT_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}


def parse(
    kind: type[Options],
    arguments: list[str],
    *,
    prog: str,
    default: Options | None = None,
) -> Options:
    """The options dataclass that the arguments describe.

    default: what an option is that is not given; None, as the dataclass has it.

    Raises:
      InputError: an unknown option, or a value that the dataclass refuses.
      SystemExit: after --help and --help-all.
    """
    if (text := help_screens.screen(prog)) and {"-h", "--help"} & set(arguments):
        print(text)
        raise SystemExit(0)
    if "--help-all" in arguments:
        arguments = ["--help"]
    complaint = io.StringIO()
    try:
        # tyro draws a box around what it has to say; a person gets one line.
        with contextlib.redirect_stderr(complaint):
            options, unknown = tyro.cli(
                kind,
                default=default,
                args=arguments,
                prog=f"python -m flaxformer_mt.{prog}",
                return_unknown_args=True,
            )
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        raise InputError(_one_line(complaint.getvalue())) from None
    if unknown:
        name = unknown[0].split("=")[0]
        known = [f"--{option}" for option in option_names(kind)]
        raise InputError(
            f"unknown {'option' if name.startswith('-') else 'argument'} '{name}'"
            f"{did_you_mean(name, known) or ': --help-all lists the options.'}"
        )
    return options


def take_option(arguments: list[str], name: str) -> tuple[str | None, list[str]]:
    """(the value of `--name VALUE` or `--name=VALUE`, the other arguments); it has to
    be known before the others are read.

    Raises:
      InputError: the value is missing.
    """
    value, rest, left = None, [], iter(arguments)
    for argument in left:
        if argument == name:
            value = next(left, None)
            if value is None:
                raise InputError(f"{name} must be followed by a name.")
        elif argument.startswith(f"{name}="):
            value = argument.split("=", 1)[1]
        else:
            rest.append(argument)
    return value, rest


def option_names(kind: type, prefix: str = "") -> Iterator[str]:
    """The spelling of every option of a dataclass, nested ones with a dot."""
    hints = typing.get_type_hints(kind)
    marked = typing.get_type_hints(kind, include_extras=True)
    for field in dataclasses.fields(kind):
        name = prefix + field.name.replace("_", "-")
        if tyro.conf.Positional in getattr(marked[field.name], "__metadata__", ()):
            continue  # given by its place, without a name
        if dataclasses.is_dataclass(hints[field.name]):
            yield from option_names(hints[field.name], f"{name}.")
        else:
            yield name


def _one_line(boxed: str) -> str:
    """The first paragraph inside tyro's box, without the box."""
    body = re.split(r"\n│ ─", boxed)[0].split("\n", 1)[-1]
    words = re.sub(r"[╭╮╰╯│─]", " ", body).split()
    text = re.sub(r"^Error parsing (?!--)[\w.-]+: ", "", " ".join(words))
    for theirs, ours in (
        (r"invalid literal for int\(\) with base 10:", "must be a whole number; got"),
        (r"could not convert string to float:", "must be a number; got"),
    ):
        text = re.sub(rf"^Error parsing (--[\w.-]+): {theirs}", rf"\1 {ours}", text)
    return re.sub(r"^Error parsing --[\w.-]+: (?=[\w.-]+ must)", "", text)


def open_closed_streams() -> None:
    """Gives Python its standard streams where the caller closed them (`<&-`): what is
    read is then empty, and what is written goes nowhere. A letter that the encoding of
    stdout lacks is written as its number, as Python does on stderr."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            nowhere = open(os.devnull, mode, encoding="utf-8")  # noqa: SIM115
            setattr(sys, name, nowhere)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def run_door(door: Callable[[list[str]], Any]) -> None:
    """Runs a door on the command line's arguments and exits with its code.

    What a person can mend is one line on stderr; `--debug` shows where it came from.
    """
    open_closed_streams()
    arguments = sys.argv[1:]
    debug = "--debug" in arguments
    arguments = [a for a in arguments if a != "--debug"]
    if "--version" in arguments:
        print(f"flaxformer-mt {__version__}")
        return
    try:
        check_versions()
        door(arguments)
        sys.stdout.flush()
    except FlaxformerError as error:
        if debug:
            traceback.print_exc()
        kind = "stopped" if isinstance(error, StoppedError) else "error"
        say(f"{kind}: {' '.join(str(error).split())}")
        raise SystemExit(error.exit_code) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except BrokenPipeError:
        # The reader, as `| head`, has what it wanted. Python would complain once more
        # when it flushes stdout at exit, so that is pointed elsewhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None
    except OSError as error:
        # Files of ours have sentences of their own: this is stdout, on a full disk.
        if debug or error.errno not in OUTPUT_ERRORS:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        say(f"error: the output cannot be written: {error.strerror}.")
        raise SystemExit(StorageError.exit_code) from None
