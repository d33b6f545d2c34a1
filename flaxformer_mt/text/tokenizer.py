"""Text <-> ids. A tokenizer holds its vocabulary and its normaliser, and saves itself
whole, so that training and translation cannot differ."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from flaxformer_mt.errors import InputError
from flaxformer_mt.text.normalize import NORMALIZER_VERSION, Normalizer
from flaxformer_mt.text.vocabulary import Vocabulary


class CharacterTokenizer:
    """One token a character (a Unicode code point after normalisation)."""

    kind = "characters"

    def __init__(self, vocabulary: Vocabulary, normalizer: Normalizer) -> None:
        self.vocabulary = vocabulary
        self.normalizer = normalizer

    def encode(self, text: str) -> list[int]:
        """The ids of a text, normalised first; no BOS or EOS. Unknown gives UNK."""
        ids, unk_id = self.vocabulary.ids, self.vocabulary.unk_id
        return [ids.get(character, unk_id) for character in self.normalizer(text)]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of some ids; PAD, BOS and EOS give nothing, UNK gives U+FFFD."""
        vocabulary = self.vocabulary
        return "".join(
            vocabulary.tokens[i]
            if not vocabulary.is_special(i)
            else "\ufffd" * (i == vocabulary.unk_id)
            for i in map(int, ids)
        )

    def unknown(self, text: str) -> list[str]:
        """The characters of a text, normalised first, that encode to UNK."""
        ids = self.vocabulary.ids
        return [c for c in self.normalizer(text) if c not in ids]

    def to_dict(self) -> dict[str, Any]:
        """The tokenizer as plain data for JSON."""
        return {
            "kind": self.kind,
            "normalize": self.normalizer.rule,
            "normalizer_version": self.normalizer.version,
            "lowercase": self.normalizer.lowercase,
            **self.vocabulary.to_dict(),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "CharacterTokenizer":
        """The inverse of `to_dict`.

        Raises:
          InputError: made by a normaliser of another version.
        """
        if data["normalizer_version"] != NORMALIZER_VERSION:
            raise InputError(
                f"this run was trained with normaliser version "
                f"{data['normalizer_version']}, this program has version "
                f"{NORMALIZER_VERSION}: use the version that trained it, or retrain."
            )
        normalizer = Normalizer(data["normalize"], data["lowercase"])
        return cls(Vocabulary.from_dict(data), normalizer)


def load_tokenizer(path: str | Path) -> CharacterTokenizer:
    """The tokenizer that a run folder holds.

    Raises:
      InputError: the file is missing, not ours, or of another version.
    """
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
        if data["kind"] != CharacterTokenizer.kind:
            raise InputError(
                f"{path} holds an unknown kind of tokenizer, {data['kind']}."
            )
        return CharacterTokenizer.from_dict(data)
    except FileNotFoundError:
        raise InputError(
            f"{path} is missing: a run folder must hold its tokenizers."
        ) from None
    except InputError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is not a tokenizer of ours: {error!r}.") from error
