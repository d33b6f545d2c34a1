"""flaxformer-mt train|translate|...: the same doors under one name."""

import importlib
import sys

from flaxformer_mt import __version__
from flaxformer_mt.config import did_you_mean

DOORS = {
    "train": "trains a translator on sentence pairs",
    "translate": "translates lines of text",
    "serve": "a page and an API that translate; a view of a training",
    "score": "tells how probable given translations are",
    "evaluate": "scores a translator on sentences it has never seen",
    "prepare": "cleans, splits and tokenizes a corpus, with a report on it",
    "average": "averages the parameters of several steps of a run",
    "download": "fetches a parallel corpus and says how to train on it",
}


def usage() -> str:
    """What the program can do, a line each."""
    lines = [f"  {name:10} {what}" for name, what in DOORS.items()]
    return "\n".join(
        [
            "usage: flaxformer-mt COMMAND [OPTIONS]",
            "",
            *lines,
            "",
            "COMMAND --help lists its options.",
        ]
    )


def main() -> None:
    """Hands over to the door that the first argument names."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name in DOORS:
        del sys.argv[1]
        importlib.import_module(f"flaxformer_mt.{name}").main()
    elif name == "--version":
        print(f"flaxformer-mt {__version__}")
    elif name in ("", "-h", "--help"):
        print(usage())
    else:
        hint = did_you_mean(name, DOORS) or f"; the commands are {', '.join(DOORS)}."
        print(f"error: unknown command '{name}'{hint}", file=sys.stderr)
        raise SystemExit(2)


if __name__ == "__main__":
    main()
