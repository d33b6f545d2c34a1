"""Text <-> ids. A tokenizer holds its vocabulary and its normaliser, and saves itself
whole, so that training and translation cannot differ.

`CharacterTokenizer` is here; `subwords.SentencePieceTokenizer` keeps the same promises:
for every text without a lone surrogate, and a vocabulary with byte tokens,
`decode(encode(text)) == normalizer(text)`.
"""

import abc
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from flaxformer_mt.errors import InputError
from flaxformer_mt.text.normalize import NORMALIZER_VERSION, Normalizer
from flaxformer_mt.text.vocabulary import Vocabulary, is_surrogate


class Tokenizer(abc.ABC):
    """What every kind of tokenizer can do."""

    kind: ClassVar[str]  # its name in the JSON file

    def __init__(self, vocabulary: Vocabulary, normalizer: Normalizer) -> None:
        self.vocabulary = vocabulary
        self.normalizer = normalizer
        byte_ids = vocabulary.byte_ids or ()
        self._is_byte = np.zeros(len(vocabulary), bool)
        self._is_byte[list(byte_ids)] = True
        self._token_bytes = [self._spelled(token) for token in vocabulary.tokens]
        for byte, token_id in enumerate(byte_ids):
            self._token_bytes[token_id] = bytes([byte])
        for token_id in (vocabulary.pad_id, vocabulary.bos_id, vocabulary.eos_id):
            self._token_bytes[token_id] = b""
        self._token_bytes[vocabulary.unk_id] = "\ufffd".encode()

    def _spelled(self, token: str) -> bytes:
        """What a token stands for in a text, as UTF-8."""
        return token.encode("utf-8")

    def encode(self, text: str) -> list[int]:
        """The ids of a text, normalised first; no BOS or EOS."""
        return self.encode_normalized(self.normalizer(text))

    @abc.abstractmethod
    def encode_normalized(self, text: str) -> list[int]:
        """The ids of a text that is normalised already."""

    @abc.abstractmethod
    def encode_many(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """([ids of all texts, one after the other] int32, [ids of each] int32).

        The texts must be normalised already. The same ids as from `encode_normalized`,
        many times faster.
        """

    def decode(self, ids: Iterable[int]) -> str:
        """The text of some ids.

        PAD, BOS and EOS give nothing, UNK gives U+FFFD, and so does every run of byte
        tokens that is not UTF-8.
        """
        return self.spelled(ids).decode("utf-8", "replace")

    def spelled(self, ids: Iterable[int]) -> bytes:
        """What some ids stand for in the middle of a text, as UTF-8."""
        return b"".join([self._token_bytes[i] for i in ids])

    def tokens_beginning(self, start: bytes) -> np.ndarray:
        """[V] bool: the tokens whose spelling begins with these bytes."""
        return np.array([token.startswith(start) for token in self._token_bytes])

    @abc.abstractmethod
    def unknown(self, text: str) -> list[str]:
        """The characters of a text, normalised first, that training never saw: those
        that are encoded in bytes, or as UNK."""

    def count_fallback(self, ids: np.ndarray) -> tuple[int, int]:
        """(how many of the ids are byte tokens, how many are UNK)."""
        num_bytes = np.count_nonzero(self._is_byte[ids])
        return int(num_bytes), int(np.count_nonzero(ids == self.vocabulary.unk_id))

    def sample(
        self, text: str, *, strength: float, rng: np.random.Generator
    ) -> list[int]:
        """Ids that decode to the same text, drawn at random among those that do.

        For subword regularisation: a model that sees a word in several spellings learns
        more of its parts. Here there is one spelling, and that is given.

        text: normalised already.
        strength: 0 gives `encode_normalized`; more is more varied.
        rng: the ids are a function of the text, the strength and its state alone.
        """
        return self.encode_normalized(text)

    def _spell_in_bytes(self, character: str) -> list[int]:
        """The byte tokens of a character; UNK where there are none, or for half of a
        surrogate pair."""
        byte_ids = self.vocabulary.byte_ids
        if byte_ids is None or is_surrogate(character):
            return [self.vocabulary.unk_id]
        return [byte_ids[byte] for byte in character.encode("utf-8")]

    @abc.abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """The tokenizer as plain data for JSON: two that are equal here are equal."""

    def _settings(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "normalize": self.normalizer.rule,
            "normalizer_version": self.normalizer.version,
            "lowercase": self.normalizer.lowercase,
            "digits": self.normalizer.digits,
        }


def read_normalizer(data: dict[str, Any]) -> Normalizer:
    """The normaliser in a tokenizer's plain data.

    Raises:
      InputError: it is of another version.
    """
    if data["normalizer_version"] != NORMALIZER_VERSION:
        raise InputError(
            f"this run was trained with normaliser version "
            f"{data['normalizer_version']}, this program has version "
            f"{NORMALIZER_VERSION}: use the version that trained it, or retrain."
        )
    return Normalizer(data["normalize"], bool(data["lowercase"]), data["digits"])


class CharacterTokenizer(Tokenizer):
    """One token a character (a Unicode code point after normalisation).

    A character that is no token is encoded as the byte tokens of its UTF-8, where the
    vocabulary has them, else as UNK.
    """

    kind = "characters"

    def __init__(self, vocabulary: Vocabulary, normalizer: Normalizer) -> None:
        super().__init__(vocabulary, normalizer)
        ids = {ord(c): i for c, i in vocabulary.ids.items() if len(c) == 1}
        # One place past the last character stands for all that are further on.
        self._id_of_code = np.full(max(ids, default=0) + 2, -1, np.int32)
        self._id_of_code[list(ids)] = list(ids.values())

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.vocabulary, self.normalizer)

    def encode_normalized(self, text: str) -> list[int]:
        """The ids of a text that is normalised already."""
        ids = self.vocabulary.ids
        try:
            return [ids[character] for character in text]
        except KeyError:
            spelled = ([ids[c]] if c in ids else self._spell_in_bytes(c) for c in text)
            return [token_id for run in spelled for token_id in run]

    def encode_many(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """The ids of normalised texts; see `Tokenizer.encode_many`."""
        lengths = np.fromiter(map(len, texts), np.int32, len(texts))
        utf32 = "".join(texts).encode("utf-32-le", "surrogatepass")
        codes = np.frombuffer(utf32, "<u4")
        ids = self._id_of_code[np.minimum(codes, len(self._id_of_code) - 1)]
        unknown = np.flatnonzero(ids < 0)
        if not len(unknown):
            return ids, lengths
        spelled = [self._spell_in_bytes(chr(codes[i])) for i in unknown]
        counts = np.ones(len(ids), np.int32)  # tokens of each character
        counts[unknown] = [len(run) for run in spelled]
        ids = np.repeat(ids, counts)
        ids[ids < 0] = np.concatenate(spelled)
        # Tokens before each end of a text, out of characters before it.
        before = np.concatenate([[0], np.cumsum(counts)])
        ends = np.concatenate([[0], np.cumsum(lengths)])
        return ids, np.diff(before[ends]).astype(np.int32)

    def unknown(self, text: str) -> list[str]:
        """The characters of a text, normalised first, that are no tokens."""
        ids = self.vocabulary.ids
        return [c for c in self.normalizer(text) if c not in ids]

    def to_dict(self) -> dict[str, Any]:
        """The tokenizer as plain data for JSON."""
        return {**self._settings(), **self.vocabulary.to_dict()}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "CharacterTokenizer":
        """The inverse of `to_dict`.

        Raises:
          InputError: made by a normaliser of another version.
        """
        normalizer = read_normalizer(data)
        return cls(Vocabulary.from_dict(data), normalizer)


# What reading a file of another shape can raise.
_NOT_OURS = (
    *(OSError, ValueError, LookupError, TypeError, AttributeError),
    RecursionError,
)


def load_tokenizer(path: str | Path) -> Tokenizer:
    """The tokenizer that a run folder holds.

    Raises:
      InputError: the file is missing, not ours, damaged or of another version.
    """
    try:
        return _from_dict(json.loads(Path(path).read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise InputError(
            f"{path} is missing: a run folder must hold its tokenizers."
        ) from None
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except _NOT_OURS as error:
        raise InputError(f"{path} is not a tokenizer of ours: {error!r}.") from error


def _from_dict(data: dict[str, Any]) -> Tokenizer:
    if data["kind"] == CharacterTokenizer.kind:
        return CharacterTokenizer.from_dict(data)
    if data["kind"] == "sentencepiece":
        # Here, so that a model of characters does not load the library.
        from flaxformer_mt.text.subwords import SentencePieceTokenizer

        return SentencePieceTokenizer.from_dict(data)
    raise InputError(f"this is an unknown kind of tokenizer, {data['kind']!r}.")
