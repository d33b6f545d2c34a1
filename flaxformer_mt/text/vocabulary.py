"""Tokens and their ids: special tokens, byte tokens and all others.

The special tokens are BOS, EOS, PAD and UNK. The byte tokens, spelled `<0x00>` to
`<0xFF>`, are a fallback: a character that is no token is spelled in its UTF-8 bytes.
"""

import collections
import dataclasses
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from flaxformer_mt.errors import InputError
from flaxformer_mt.text.sources import printable, quoted

# As SentencePiece spells them, so that both kinds of tokenizer read alike.
BYTE_TOKENS = tuple(f"<0x{byte:02X}>" for byte in range(256))


def is_surrogate(character: str) -> bool:
    """Whether a character is half of a surrogate pair, which UTF-8 cannot spell."""
    return "\ud800" <= character <= "\udfff"


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
    """A list of tokens; a token's id is its place in the list.

    byte_ids: the ids of the 256 byte tokens, in order; None where not all are there.

    Raises:
      InputError: a token is there twice, or a special token is missing or is spelled
        like text or like a byte token.
    """

    def __init__(self, tokens: Iterable[str], specials: Specials) -> None:
        _check_specials(specials)
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
        byte_ids = [self.ids[token] for token in BYTE_TOKENS if token in self.ids]
        self.byte_ids = tuple(byte_ids) if len(byte_ids) == len(BYTE_TOKENS) else None

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
    def of_characters(
        cls, texts: Iterable[str], specials: Specials, min_count: int = 1
    ) -> "Vocabulary":
        """`of_counts` of the characters of some texts."""
        counts: collections.Counter[str] = collections.Counter()
        for text in texts:
            counts.update(text)
        return cls.of_counts(counts, specials, min_count)

    @classmethod
    def of_counts(
        cls, counts: Mapping[str, int], specials: Specials, min_count: int = 1
    ) -> "Vocabulary":
        """The special tokens, the byte tokens, then characters in code point order.

        Characters seen fewer than `min_count` times are left to the bytes.
        """
        characters = [
            character
            for character, count in counts.items()
            if count >= min_count and not is_surrogate(character)
        ]
        return cls.with_specials([*BYTE_TOKENS, *sorted(characters)], specials)

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
    are not are added in front. So may the 256 byte tokens be: without them, characters
    that are not in the list are unknown.

    Raises:
      InputError: the file is not a JSON list of different single characters; the
        sentence names the entry. Or it holds some byte tokens and not all.
    """
    tokens = _load_json(path)
    path = printable(path)
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
    lacking = [token for token in BYTE_TOKENS if token not in places]
    if 0 < len(lacking) < len(BYTE_TOKENS):
        raise InputError(
            f"{path} must hold all 256 byte tokens or none; {lacking[0]} is missing: "
            "add it, or remove the others."
        )
    return Vocabulary.with_specials(tokens, specials)


def _check_specials(specials: Specials) -> None:
    for spelling in specials.spellings():
        if len(spelling) < 2:
            raise InputError(
                f"the special token {spelling!r} must have two characters or more, "
                "since a text may hold any single one: spell it as in '<PAD>'."
            )
        if spelling in BYTE_TOKENS:
            raise InputError(
                f"the special token {spelling!r} is spelled like a byte token: choose "
                "another spelling, as in '<PAD>'."
            )


def _check_entry(token: Any, where: str, spellings: tuple[str, ...]) -> None:
    if not isinstance(token, str):
        raise InputError(f"{where} must be a string; got {json.dumps(token)[:40]}.")
    if token in spellings or token in BYTE_TOKENS:
        return
    if len(token) != 1:
        raise InputError(
            f"{where} must be one character; got {quoted(token)}: a vocabulary of "
            "characters has one code point an entry, or a special token as --data.pad "
            "spells it."
        )
    if is_surrogate(token):
        raise InputError(f"{where} is half of a surrogate pair, {token!r}: remove it.")


def _load_json(path: str | Path) -> Any:
    """The JSON value of a file, with one sentence for each way it can be broken."""
    shown = printable(path)
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
        return json.loads(text)
    except FileNotFoundError:
        raise InputError(f"no vocabulary file {shown}: check the name.") from None
    except OSError as error:
        raise InputError(f"cannot read {shown}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"{shown} must be UTF-8; byte {error.start} is not: save it as UTF-8."
        ) from error
    except RecursionError:
        raise InputError(
            f"{shown} must hold a JSON list; it is nested too deep."
        ) from None
    except ValueError as error:  # JSONDecodeError, and integers of over 4,300 digits
        raise InputError(f"{shown} is not JSON: {error}.") from error
