"""Where the starter corpus and the starter model lie.

In a checkout they are `data/en-fa` and `weights/starter`; a built wheel carries copies
inside the package, so that an installed program works from any folder.
"""

from pathlib import Path

from flaxformer_mt.errors import InputError

CARD = "card.json"  # beside a published model, and only there

_PACKAGE = Path(__file__).resolve().parent


def _shipped(relative: str) -> Path:
    for root in (_PACKAGE / "shipped", _PACKAGE.parent):
        if (root / relative).is_dir():
            return root / relative
    raise InputError(
        f"{relative} is missing beside the package: this installation is incomplete, "
        "install it again."
    )


def corpus_folder() -> Path:
    """The folder with train.tsv, validation.tsv and test.tsv: English, Persian, origin.

    Raises:
      InputError: the installation lacks it.
    """
    return _shipped("data/en-fa")


def model_folder() -> Path:
    """The run folder of the starter model, which is only ever read.

    Raises:
      InputError: the installation lacks it.
    """
    return _shipped("weights/starter")
