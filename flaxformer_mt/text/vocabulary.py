"""Tokens and their ids, with the four special tokens BOS, EOS, PAD and UNK."""

import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from flaxformer_mt.errors import InputError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Specials:
    """How the special tokens are spelled."""

    bos: str = "<SOS>"
    pad: str = "<PAD>"
    eos: str = "<EOS>"
    unk: str = "<UNK>"

    def spellings(self) -> tuple[str, str, str, str]:
        """(pad, bos, eos, unk): the order in which new ids are given."""
        return self.pad, self.bos, self.eos, self.unk


class Vocabulary:
    """A list of tokens; a token's id is its place in the list."""

    def __init__(self, tokens: Iterable[str], specials: Specials) -> None:
        self.tokens = tuple(tokens)
        self.specials = specials
        self.ids = {token: i for i, token in enumerate(self.tokens)}
        if len(self.ids) != len(self.tokens):
            twice = next(t for i, t in enumerate(self.tokens) if self.ids[t] != i)
            raise InputError(
                f"every token of a vocabulary must be there once; {twice!r} is there "
                "twice: remove one."
            )
        missing = [s for s in specials.spellings() if s not in self.ids]
        if missing:
            raise InputError(
                f"a vocabulary must hold its special tokens; {missing[0]!r} is missing."
            )
        self.pad_id, self.bos_id, self.eos_id, self.unk_id = (
            self.ids[spelling] for spelling in specials.spellings()
        )

    def __len__(self) -> int:
        return len(self.tokens)

    def is_special(self, token_id: int) -> bool:
        """Whether an id is one of PAD, BOS, EOS and UNK."""
        return token_id in (self.pad_id, self.bos_id, self.eos_id, self.unk_id)

    @classmethod
    def with_specials(cls, tokens: Iterable[str], specials: Specials) -> "Vocabulary":
        """The tokens, after those special ones that are not among them."""
        tokens = list(tokens)
        present = set(tokens)
        return cls(
            [s for s in specials.spellings() if s not in present] + tokens, specials
        )

    @classmethod
    def of_characters(cls, texts: Iterable[str], specials: Specials) -> "Vocabulary":
        """Every character of the texts, in code point order."""
        return cls.with_specials(sorted(set().union(*texts)), specials)

    def to_dict(self) -> dict[str, Any]:
        """The vocabulary as plain data for JSON."""
        return {
            "specials": dataclasses.asdict(self.specials),
            "tokens": list(self.tokens),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Vocabulary":
        """The inverse of `to_dict`."""
        return cls(data["tokens"], Specials(**data["specials"]))


def read_character_vocabulary(path: str | Path, specials: Specials) -> Vocabulary:
    """A vocabulary out of a user's JSON list of single characters.

    Special tokens may be in the list, under the spellings in `specials`; those that
    are not are added in front.

    Raises:
      InputError: the file is not a JSON list of different single characters; the
        sentence names the entry.
    """
    tokens = _load_json(path)
    if not isinstance(tokens, list):
        raise InputError(
            f"{path} must hold a JSON list of characters; got a "
            f"{type(tokens).__name__}: write it as a list."
        )
    if not tokens:
        raise InputError(f"{path} must hold at least one character; the list is empty.")
    spellings = specials.spellings()
    places: dict[str, int] = {}
    for number, token in enumerate(tokens, start=1):
        _check_entry(token, f"{path}, entry {number}", spellings)
        if token in places:
            raise InputError(
                f"{path}, entry {number}: {token!r} is there already as entry "
                f"{places[token]}: remove one."
            )
        places[token] = number
    for spelling in spellings:
        if len(spelling) == 1:
            raise InputError(
                f"the special token {spelling!r} is a single character, which a text "
                "may hold: spell it with more, as in '<PAD>'."
            )
    return Vocabulary.with_specials(tokens, specials)


def _check_entry(token: Any, where: str, spellings: tuple[str, ...]) -> None:
    if not isinstance(token, str):
        raise InputError(f"{where} must be a string; got {json.dumps(token)[:40]}.")
    if token in spellings:
        return
    if len(token) != 1:
        raise InputError(
            f"{where} must be one character; got {token!r}: a vocabulary of characters "
            "has one code point an entry, or a special token as --data.pad spells it."
        )
    if 0xD800 <= ord(token) <= 0xDFFF:
        raise InputError(f"{where} is half of a surrogate pair, {token!r}: remove it.")


def _load_json(path: str | Path) -> Any:
    """The JSON value of a file, with one sentence for each way it can be broken."""
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
        return json.loads(text)
    except FileNotFoundError:
        raise InputError(f"no vocabulary file {path}: check the name.") from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} must be UTF-8; byte {error.start} is not: save it as UTF-8."
        ) from error
    except RecursionError:
        raise InputError(
            f"{path} must hold a JSON list; it is nested too deep."
        ) from None
    except ValueError as error:  # JSONDecodeError, and integers of over 4,300 digits
        raise InputError(f"{path} is not JSON: {error}.") from error
