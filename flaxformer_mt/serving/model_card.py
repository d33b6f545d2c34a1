"""What the server tells of the model that it has: name, languages, writing directions,
examples, and a fingerprint of its parameters."""

import dataclasses
import hashlib
import unicodedata
from collections.abc import Iterable
from typing import Any

import numpy as np

from flaxformer_mt import __version__
from flaxformer_mt.config import Config
from flaxformer_mt.decoding.translator import Translator
from flaxformer_mt.serving.limits import Limits
from flaxformer_mt.training.named_arrays import flatten
from flaxformer_mt.training.run_folder import RunFolder

MOST_EXAMPLES = 4
EXAMPLE_CHARACTERS = (12, 60)  # from, to
STARTER_LANGUAGES = ("en", "fa")  # of a run without a corpus of its own
RIGHT_TO_LEFT = frozenset(
    {"ar", "arc", "ckb", "dv", "fa", "he", "ps", "sd", "syr", "ug", "ur", "yi"}
)
# Names of languages whose codes a person may not know; others go by their code.
LANGUAGE_NAMES = {
    **{"ar": "Arabic", "de": "German", "el": "Greek", "en": "English"},
    **{"es": "Spanish", "fa": "Persian", "fr": "French", "he": "Hebrew"},
    **{"hi": "Hindi", "it": "Italian", "ja": "Japanese", "ko": "Korean"},
    **{"nl": "Dutch", "pl": "Polish", "pt": "Portuguese", "ru": "Russian"},
    **{"tr": "Turkish", "uk": "Ukrainian", "ur": "Urdu", "zh": "Chinese"},
}


@dataclasses.dataclass(frozen=True)
class ModelCard:
    """What does not change while the server runs."""

    name: str
    src_language: str = ""
    tgt_language: str = ""
    src_direction: str = "auto"
    tgt_direction: str = "auto"
    max_length: int = 0  # tokens; 0 while there is no model
    examples: tuple[str, ...] = ()
    sha256: str = ""  # of the parameters

    @classmethod
    def of(cls, folder: RunFolder, translator: Translator | None) -> "ModelCard":
        """The card of a run, whose model may not be there yet."""
        src, tgt = languages(folder.config())
        name = folder.path.resolve().name
        pairs = [*folder.held_out("validation"), *folder.held_out("test")]
        vocabularies: list[list[str]] = [[], []]
        if translator is not None:
            sides = translator.src_tokenizer, translator.tgt_tokenizer
            vocabularies = [side.vocabulary.tokens for side in sides]
        return cls(
            name,
            src,
            tgt,
            direction(src, [pair.src for pair in pairs] or vocabularies[0]),
            direction(tgt, [pair.tgt for pair in pairs] or vocabularies[1]),
            translator.model.cfg.max_length if translator else 0,
            examples([pair.src for pair in pairs]),
            fingerprint(translator.params) if translator else "",
        )

    def content(self, limits: Limits, *, is_training: bool) -> dict[str, Any]:
        """What GET /api/model answers."""
        return {
            "name": self.name,
            "src_language": self.src_language,
            "tgt_language": self.tgt_language,
            "src_direction": self.src_direction,
            "tgt_direction": self.tgt_direction,
            "max_length": self.max_length,
            "limits": {
                "characters": limits.characters,
                "sentences": limits.sentences,
                "beam": limits.beam,
                "alternatives": limits.alternatives,
            },
            "is_training": is_training,
            "examples": list(self.examples),
            "version": __version__,
        }

    def libre_languages(self) -> list[dict[str, Any]]:
        """What GET /languages answers."""
        src, tgt = self.codes()
        return [
            {"code": src, "name": LANGUAGE_NAMES.get(src, src), "targets": [tgt]},
            {"code": tgt, "name": LANGUAGE_NAMES.get(tgt, tgt), "targets": []},
        ]

    def codes(self) -> tuple[str, str]:
        """Both languages; where the run does not know them, "src" and "tgt"."""
        return self.src_language or "src", self.tgt_language or "tgt"


def languages(config: Config) -> tuple[str, str]:
    """(source, target) as codes, "" where nobody said."""
    data = config.data
    if not (data.src or data.prepared or data.src_lang or data.tgt_lang):
        return STARTER_LANGUAGES
    return data.src_lang, data.tgt_lang


def direction(language: str, texts: Iterable[str]) -> str:
    """ "rtl" or "ltr", as the language is known to be written, or else as most letters
    of some texts are; "auto" without either."""
    if language.split("-")[0] in RIGHT_TO_LEFT:
        return "rtl"
    kinds = [unicodedata.bidirectional(c) for text in texts for c in text]
    right, left = (
        sum(kind in those for kind in kinds) for those in (("R", "AL"), ("L",))
    )
    if not right + left:
        return "auto"
    return "rtl" if right > left else "ltr"


def examples(sources: list[str]) -> tuple[str, ...]:
    """Short ones among sentences that the model was not trained on."""
    shortest, longest = EXAMPLE_CHARACTERS
    fit = list(dict.fromkeys(s for s in sources if shortest <= len(s) <= longest))
    step = max(len(fit) // MOST_EXAMPLES, 1)
    return tuple(fit[::step][:MOST_EXAMPLES])


def fingerprint(params: Any) -> str:
    """SHA-256 over the names, types, shapes and values of the parameters."""
    digest = hashlib.sha256()
    for name, array in sorted(flatten(params).items()):
        array = np.asarray(array)
        digest.update(f"/{name} {array.dtype} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
