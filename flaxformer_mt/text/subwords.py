"""Subword pieces out of SentencePiece, so that every text comes back as it was.

The only file that imports sentencepiece. Its normaliser is switched off (its default
turns ZWNJ into a space); ours runs before it. Words are `▁` and letters: SentencePiece
writes a space as U+2581, and the space before the first word is put there and taken
away here.

Kudo and Richardson 2018, "SentencePiece"; Kudo 2018, "Subword Regularization";
Sennrich et al. 2016 for BPE; Provilkov et al. 2020, "BPE-Dropout".
"""

import base64
import bisect
import dataclasses
import functools
import hashlib
import io
import itertools
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal

import numpy as np
import sentencepiece

from flaxformer_mt.errors import FlaxformerError, InputError
from flaxformer_mt.text.normalize import Normalizer
from flaxformer_mt.text.tokenizer import Tokenizer, read_normalizer
from flaxformer_mt.text.vocabulary import BYTE_TOKENS, Specials, Vocabulary

Algorithm = Literal["unigram", "bpe"]

SPACE = "\u2581"  # how SentencePiece writes a space
# What SentencePiece cannot be given: its own sign for a space would come back as a
# space, and half of a surrogate pair is not UTF-8. The brackets keep them in a split.
_ODD = re.compile(f"([{SPACE}\ud800-\udfff])")
# What its trainer would trip over or pass by in silence: the same, its sign for an
# unknown character, and control characters (tab and NUL have a meaning there).
_NOT_FOR_TRAINER = re.compile(f"[{SPACE}\u2585\ud800-\udfff\x00-\x1f\x7f]")
_WORDS = re.compile(f"{SPACE}[^{SPACE}]*|[^{SPACE}]+")

# The model depends on how many threads add up their counts, so that the number must not
# depend on the machine. 16 is the trainer's own default.
_TRAINER_THREADS = 16
_LONGEST_SENTENCE = 2**30  # in bytes; the default, 4192, passes longer ones by
_ALPHA_AT_ONE = 0.02  # of the unigram model; see SentencePieceTokenizer.sample
# Most words of a text are few: what may become of them is kept. About 20 MB when full.
_NUM_WORDS_KEPT = 2**14


class TooManyPieces(InputError):
    """More pieces were asked for than the text gives; `most` is how many it gives."""

    def __init__(self, vocab_size: int, most: int) -> None:
        super().__init__(
            f"data.vocab_size={vocab_size} must be at most {most} for this text, which "
            "gives no more pieces: lower it."
        )
        self.most = most


def train_sentencepiece(
    texts: Iterable[str],
    *,
    kind: Algorithm,
    vocab_size: int,
    specials: Specials,
    character_coverage: float = 1.0,
) -> bytes:
    """A SentencePiece model of exactly `vocab_size` pieces, as bytes.

    The same texts give the same bytes. PAD, BOS, EOS and UNK are 0 to 3, then come the
    256 byte tokens, then the pieces.

    Args:
      texts: normalised already.
      kind: `unigram` (Kudo 2018) or `bpe` (Sennrich et al. 2016).
      vocab_size: of all tokens, specials and bytes counted.
      specials: how the special tokens are spelled.
      character_coverage: the share of the text that characters with a piece make up,
        from 0.98 to 1; the rarest others are left to the bytes.

    Raises:
      InputError: there is no text, or the text cannot give so many or so few pieces;
        the sentence names the most or the fewest that it can give.
    """
    reader = _TrainerTexts(texts)
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(reader),
            model_writer=model,
            model_type=kind,
            vocab_size=vocab_size,
            character_coverage=character_coverage,
            normalization_rule_name="identity",
            remove_extra_whitespaces=False,
            add_dummy_prefix=False,  # put there by _TrainerTexts and by encode
            byte_fallback=True,
            split_digits=True,
            max_sentence_length=_LONGEST_SENTENCE,
            num_threads=_TRAINER_THREADS,
            minloglevel=3,
            **{"pad_id": 0, "pad_piece": specials.pad},
            **{"bos_id": 1, "bos_piece": specials.bos},
            **{"eos_id": 2, "eos_piece": specials.eos},
            **{"unk_id": 3, "unk_piece": specials.unk},
        )
    except FlaxformerError:  # a signal came meanwhile
        raise
    except Exception as error:  # RuntimeError by its documents, but bindings vary
        if reader.failure is not None:  # reading the corpus, not SentencePiece
            raise reader.failure from None
        if most := re.search(r"too high \(\d+\)\. .*<= (\d+)", str(error)):
            raise TooManyPieces(vocab_size, int(most[1])) from error
        raise InputError(_reason(str(error), vocab_size, reader.num_texts)) from error
    return model.getvalue()


class _TrainerTexts:
    """The texts as the trainer should see them; remembers what went wrong."""

    def __init__(self, texts: Iterable[str]) -> None:
        self.texts, self.num_texts = texts, 0
        self.failure: BaseException | None = None

    def __iter__(self) -> Iterator[str]:
        try:
            for text in self.texts:
                text = _NOT_FOR_TRAINER.sub(" ", text)
                if text.strip():
                    self.num_texts += 1
                    yield " " + text
        except (Exception, KeyboardInterrupt) as error:
            self.failure = error  # the trainer would make a RuntimeError of it
            raise


def _reason(message: str, vocab_size: int, num_texts: int) -> str:
    """SentencePiece's message as a sentence for the person."""
    if num_texts == 0:
        return "subword pieces must be learned from some text; there is none."
    if least := re.search(r"smaller than required_chars\. \d+ vs (\d+)", message):
        return (
            f"data.vocab_size={vocab_size} must be at least {least[1]} for this text: "
            "4 special tokens, 256 bytes and a piece for each character: raise it."
        )
    num_fixed = 4 + len(BYTE_TOKENS)
    if 0 < vocab_size <= num_fixed:
        return (
            f"data.vocab_size={vocab_size} must be above {num_fixed}: 4 special tokens "
            "and 256 bytes come first: raise it."
        )
    return (
        f"SentencePiece cannot learn data.vocab_size={vocab_size} pieces from this "
        f"text: {' '.join(message.split())}"
    )


class SentencePieceTokenizer(Tokenizer):
    """Pieces of words, by a model that `train_sentencepiece` made.

    algorithm: `unigram` or `bpe`.

    Raises:
      InputError: the bytes are not such a model, or its special tokens are others.
    """

    kind = "sentencepiece"

    def __init__(
        self, model: bytes, specials: Specials, normalizer: Normalizer
    ) -> None:
        self.model, self.specials = model, specials
        try:
            self._processor = processor = sentencepiece.SentencePieceProcessor(
                model_proto=model
            )
            pieces = [processor.id_to_piece(i) for i in range(len(processor))]
        except Exception as error:  # what a binding raises differs by version
            raise InputError(
                f"this is not a SentencePiece model: {' '.join(str(error).split())}"
            ) from error
        num_fixed = 4 + len(BYTE_TOKENS)
        if (
            tuple(pieces[:num_fixed]) != (*specials.spellings(), *BYTE_TOKENS)
            or SPACE not in pieces
            # Its normaliser must do nothing but write spaces in its own way.
            or processor.Normalize("  \uff21\u200c ")
            != "\u2581\u2581\uff21\u200c\u2581"
        ):
            raise InputError(
                "this SentencePiece model was not trained by this program, or has "
                "other special tokens: use the model as it was saved."
            )
        super().__init__(Vocabulary(pieces, specials), normalizer)
        self._scores = {
            piece: processor.get_score(i)
            for i, piece in enumerate(pieces)
            if i >= num_fixed
        }
        self._known = {" ", *(p for p in self._scores if len(p) == 1)} - {SPACE}
        # BPE's scores are the merges' places in their order, 0, -1, -2 ...
        by_place = all(score == -i for i, score in enumerate(self._scores.values()))
        self.algorithm: Algorithm = "bpe" if by_place else "unigram"
        keep = functools.lru_cache(_NUM_WORDS_KEPT)
        self._word_paths, self._word_merges = keep(self._paths), keep(self._merges)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.model, self.specials, self.normalizer)

    def _spelled(self, token: str) -> bytes:
        return token.replace(SPACE, " ").encode("utf-8")

    def encode_normalized(self, text: str) -> list[int]:
        """The ids of a text that is normalised already."""
        if not text:
            return []
        return self._around_odd(text, self._processor.encode)

    def _around_odd(self, text: str, encode: Callable[[str], list[int]]) -> list[int]:
        """The ids of a text, by `encode` for all that SentencePiece can be given."""
        if text.isascii() or not _ODD.search(text):
            return encode(" " + text)
        ids = []
        for i, part in enumerate(_ODD.split(" " + text)):
            ids += self._spell_in_bytes(part) if i % 2 else encode(part)
        return ids

    def encode_many(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """The ids of normalised texts; see `Tokenizer.encode_many`."""
        # Empty and odd texts have a way of their own.
        plain = [
            bool(text) and (text.isascii() or not _ODD.search(text)) for text in texts
        ]
        batch = [" " + text for text, p in zip(texts, plain, strict=True) if p]
        encoded = iter(self._processor.encode(batch, num_threads=1) if batch else ())
        rows = [
            next(encoded) if p else self.encode_normalized(text)
            for text, p in zip(texts, plain, strict=True)
        ]
        lengths = np.fromiter(map(len, rows), np.int32, len(rows))
        flat = itertools.chain.from_iterable(rows)
        return np.fromiter(flat, np.int32, int(lengths.sum())), lengths

    def decode(self, ids: Iterable[int]) -> str:
        """The text of some ids; see `Tokenizer.decode`."""
        return super().decode(ids).removeprefix(" ")

    def unknown(self, text: str) -> list[str]:
        """The characters of a text, normalised first, that are in no piece."""
        return [c for c in self.normalizer(text) if c not in self._known]

    def sample(
        self, text: str, *, strength: float, rng: np.random.Generator
    ) -> list[int]:
        """Ids that decode to the same text, drawn at random among those that do.

        text: normalised already.
        strength: from 0, which gives `encode_normalized`, to below 1; more is more
          varied. With `bpe` it is the probability p at which a merge is left out
          (Provilkov et al. 2020, algorithm 1). With `unigram` a segmentation is drawn
          with probability ~ P(segmentation) ** alpha, among all there are (Kudo 2018,
          section 3.2), and alpha is 0.02 / strength. So 0.1, a usual choice, is p = 0.1
          or alpha = 0.2: either spells about a fifth of a corpus's words otherwise.
        rng: the ids are a function of the text, the strength and its state alone.
          SentencePiece's own sampler has one generator for the process, so it is not
          used.

        Raises:
          InputError: strength is not in [0, 1).
        """
        if not 0 <= strength < 1:
            raise InputError(f"strength must be in [0, 1); got {strength}.")
        if not text or strength == 0:
            return self.encode_normalized(text)
        draw = self._draw_merges if self.algorithm == "bpe" else self._draw_path
        ids = self.vocabulary.ids

        def encode(part: str) -> list[int]:
            # No piece goes on past a space, so words are drawn apart; and no word
            # takes more draws than it has characters.
            draws = iter(rng.random(len(part)).tolist())
            drawn: list[int] = []
            for word in _WORDS.findall(part.replace(" ", SPACE)):
                for piece in draw(word, strength, draws):
                    if piece in self._scores:
                        drawn.append(ids[piece])
                    else:
                        drawn += self._spell_in_bytes(piece)
            return drawn

        return self._around_odd(text, encode)

    @functools.cached_property
    def _lattice_scores(self) -> dict[str, float]:
        """The scores of the pieces, and infinity for what only begins a piece."""
        begins = {piece[:n] for piece in self._scores for n in range(1, len(piece))}
        return dict.fromkeys(begins, math.inf) | self._scores

    def _draw_path(
        self, word: str, strength: float, draws: Iterator[float]
    ) -> list[str]:
        """The pieces of a word, by backward sampling (Kudo 2018, section 3.2)."""
        table = self._word_paths(word, _ALPHA_AT_ONE / strength)
        pieces, stop = [], len(word)
        while stop:
            starts, bounds = table[stop]
            start = starts[bisect.bisect(bounds, next(draws)) if bounds else 0]
            pieces.append(word[start:stop])
            stop = start
        return pieces[::-1]

    def _paths(self, word: str, alpha: float) -> list[tuple[list[int], list[float]]]:
        """For each place in a word, (where a piece that ends there may start, the
        cumulative probabilities of these starts but the last): forward filtering."""
        scores, size = self._lattice_scores, len(word)
        edges: list[list[tuple[int, float]]] = [[] for _ in range(size + 1)]
        table: list[tuple[list[int], list[float]]] = [([], [])]
        total = 0.0  # log of the sum over the paths to here
        for start in range(size):
            known = False
            for stop in range(start + 1, size + 1):
                score = scores.get(word[start:stop])
                if score is None:  # no piece begins like this
                    break
                if score != math.inf:
                    edges[stop].append((start, total + alpha * score))
                    known = known or stop == start + 1
            if not known:  # no piece holds this character: the one way past it
                edges[start + 1].append((start, total))
            here = edges[start + 1]
            highest = max(value for _, value in here)
            bounds = list(
                itertools.accumulate(math.exp(value - highest) for _, value in here)
            )
            total = highest + math.log(bounds[-1])
            starts = [start for start, _ in here]
            table.append((starts, [bound / bounds[-1] for bound in bounds[:-1]]))
        return table

    def _draw_merges(
        self, word: str, strength: float, draws: Iterator[float]
    ) -> list[str]:
        """The pieces of a word, by BPE where each possible merge is left out of each
        step with probability `strength` (Provilkov et al. 2020, algorithm 1)."""
        symbols = tuple(word)
        log_strength = math.log(strength)
        while merges := self._word_merges(symbols):
            # How many of the best are left out before the first that is not.
            left_out = int(math.log(1 - next(draws)) / log_strength)
            if left_out >= len(merges):
                break
            i = merges[left_out]
            symbols = (*symbols[:i], symbols[i] + symbols[i + 1], *symbols[i + 2 :])
        return list(symbols)

    def _merges(self, symbols: tuple[str, ...]) -> list[int]:
        """Where two neighbours may be merged, the merge learned first in front."""
        scores = [self._scores.get(a + b) for a, b in itertools.pairwise(symbols)]
        places = [i for i, score in enumerate(scores) if score is not None]
        return sorted(places, key=lambda i: -scores[i])

    def to_dict(self) -> dict[str, Any]:
        """The tokenizer as plain data for JSON, the model as base64."""
        return {
            **self._settings(),
            "specials": dataclasses.asdict(self.specials),
            "model_sha256": hashlib.sha256(self.model).hexdigest(),
            "model": base64.b64encode(self.model).decode("ascii"),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "SentencePieceTokenizer":
        """The inverse of `to_dict`.

        Raises:
          InputError: made by a normaliser of another version, or the model is damaged.
        """
        normalizer = read_normalizer(data)
        model = base64.b64decode(data["model"], validate=True)
        # The library reads whatever it is given: a changed byte may be another piece.
        if hashlib.sha256(model).hexdigest() != data["model_sha256"]:
            raise InputError(
                "the SentencePiece model in this tokenizer is damaged (its SHA-256 is "
                "another): take the file from a copy, or retrain."
            )
        return cls(model, Specials(**data["specials"]), normalizer)
