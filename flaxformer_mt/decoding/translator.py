"""From a run folder to translations: str in, str out.

The command line, a notebook and the evaluation all go through `Translator`, so that
they cannot disagree.
"""

import dataclasses
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from flaxformer_mt import starter
from flaxformer_mt.config import Config
from flaxformer_mt.decoding.sampling import (
    GREEDY,
    SampleOptions,
    TokenIds,
    piece_keys,
    sample,
)
from flaxformer_mt.errors import InputError
from flaxformer_mt.model.transformer import Transformer, make_model
from flaxformer_mt.text.batching import pad
from flaxformer_mt.text.tokenizer import Tokenizer
from flaxformer_mt.text.vocabulary import is_surrogate
from flaxformer_mt.training import checkpoints
from flaxformer_mt.training.devices import check_versions
from flaxformer_mt.training.run_folder import RunFolder

BATCH_ROWS = (1, 8, 64)  # the batch sizes that are compiled
# Bytes can spell what no text should bring to a terminal, line ends among it.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
WIDTH_STEP = 32  # source widths are rounded up to a multiple: few programs to compile


@dataclasses.dataclass
class Report:
    """What a person should hear about after translating."""

    # Characters that training never saw, and how often: read as UNK, or as bytes.
    unknown: dict[str, int] = dataclasses.field(default_factory=dict)
    spelled: dict[str, int] = dataclasses.field(default_factory=dict)
    split: int = 0  # texts longer than the model reads, translated in pieces
    truncated: int = 0  # translations that reached the model's length without an end
    controls: int = 0  # control characters that the model wrote

    def add(self, other: "Report") -> None:
        """Counts what happened in another call as well."""
        for mine, theirs in (
            (self.unknown, other.unknown),
            (self.spelled, other.spelled),
        ):
            for character, times in theirs.items():
                mine[character] = mine.get(character, 0) + times
        self.split += other.split
        self.truncated += other.truncated
        self.controls += other.controls

    def sentences(self) -> list[str]:
        """One sentence for each thing that happened."""
        said = []
        for characters, how in (
            (self.unknown, "read as unknown"),
            (self.spelled, "spelled in bytes"),
        ):
            if characters:
                num, noun, be = _counted(sum(characters.values()), "character")
                most = sorted(characters, key=characters.get, reverse=True)[:10]
                said.append(
                    f"{num} {noun} that the model has never seen {be} {how}: "
                    f"{' '.join(map(ascii_or_self, most))}"
                )
        if self.split:
            num, noun, be = _counted(self.split, "text")
            said.append(
                f"{num} {noun} longer than the model reads {be} translated in pieces"
            )
        if self.truncated:
            num, noun, be = _counted(self.truncated, "translation")
            said.append(f"{num} {noun} {be} cut at the model's max_length")
        if self.controls:
            num, noun, be = _counted(self.controls, "control character")
            said.append(f"{num} {noun} that the model wrote {be} left out")
        return said


def _counted(num: int, noun: str) -> tuple[str, str, str]:
    """("1", "text", "was"), ("1,200", "texts", "were")."""
    return f"{num:,}", noun + "s" * (num != 1), "was" if num == 1 else "were"


def ascii_or_self(character: str) -> str:
    """A character as it can be printed: itself, or its escape."""
    return character if character.isprintable() else ascii(character)[1:-1]


class Translator:
    """A trained model with its tokenizers."""

    def __init__(
        self,
        model: Transformer,
        params: Any,
        src_tokenizer: Tokenizer,
        tgt_tokenizer: Tokenizer,
        config: Config | None = None,
    ) -> None:
        self.model, self.params, self.config = model, params, config
        self.src_tokenizer, self.tgt_tokenizer = src_tokenizer, tgt_tokenizer
        vocabulary = tgt_tokenizer.vocabulary
        self.ids = TokenIds(
            bos=vocabulary.bos_id,
            eos=vocabulary.eos_id,
            pad=vocabulary.pad_id,
            unk=vocabulary.unk_id,
        )

    @classmethod
    def load(
        cls, run: str | Path | None = None, *, note: Callable[[str], Any] = print
    ) -> "Translator":
        """The best model of a run folder; without a run, the starter model.

        Raises:
          InputError: no run there.
          StorageError: no undamaged checkpoint in it.
        """
        check_versions()
        folder = RunFolder.of(starter.model_folder() if run is None else run)
        config = folder.config()
        src_tokenizer, tgt_tokenizer = folder.tokenizers()
        loaded = checkpoints.load_params(folder.path, "best", note=note)
        model = make_model(
            config.model,
            src_vocab_size=len(src_tokenizer.vocabulary),
            tgt_vocab_size=len(tgt_tokenizer.vocabulary),
        )
        params = jax.device_put(loaded.params)
        return cls(model, params, src_tokenizer, tgt_tokenizer, config)

    def translate(self, text: str | Sequence[str]) -> str | list[str]:
        """The likeliest translation, letter by letter (greedy): always the same.

        Takes a text and returns a text, or a list and returns a list. An empty text
        gives an empty text; a longer one than the model reads is translated in pieces.
        """
        if isinstance(text, str):
            return self.decode([text])[0][0]
        return self.decode(text)[0]

    def sample(
        self,
        text: str | Sequence[str],
        *,
        repetition_penalty: float = 1.2,
        temperature: float = 1.0,
        top_k: int = 0,
        seed: int = 0,
    ) -> str | list[str]:
        """A translation drawn at random, as the tutorial does; the same seed draws the
        same one.

        repetition_penalty: above 1 makes used letters less likely. temperature: 0 is
        greedy, above 1 is bolder. top_k: draw among so many likeliest, 0 among all.
        """
        opts = SampleOptions(
            repetition_penalty=repetition_penalty, temperature=temperature, top_k=top_k
        )
        texts = [text] if isinstance(text, str) else text
        drawn, _ = self.decode(texts, opts, seed=seed)
        return drawn[0] if isinstance(text, str) else drawn

    def decode(
        self,
        texts: Sequence[str],
        opts: SampleOptions = GREEDY,
        *,
        seed: int = 0,
        first_line: int = 0,
        longest: int | None = None,
    ) -> tuple[list[str], Report]:
        """(a translation for each text, in order; what to tell the person).

        longest: tokens that a translation may have; None, the model's max_length.
        first_line: the number of texts before these, so that a sample of line 1,000
        is the same whether or not the lines before it were in the same call.
        """
        if not 0 <= seed < 2**31:
            raise InputError(f"seed must be at least 0 and below 2**31; got {seed}.")
        report = Report()
        pieces: list[tuple[int, list[int]]] = []  # (which text, source ids)
        for i, text in enumerate(texts):
            parts = self._pieces(text, report)
            report.split += len(parts) > 1
            pieces += [(i, ids) for ids in parts]
        outputs: list[list[str]] = [[] for _ in texts]
        places = _places([i for i, _ in pieces])
        decoded: list[str] = [""] * len(pieces)
        longest_last = sorted(range(len(pieces)), key=lambda j: len(pieces[j][1]))
        for start in range(0, len(longest_last), BATCH_ROWS[-1]):
            members = longest_last[start : start + BATCH_ROWS[-1]]
            keys = piece_keys(
                seed,
                lines=[first_line + pieces[j][0] for j in members],
                places=[places[j] for j in members],
            )
            rows = self._decode_batch(
                *([pieces[j][1] for j in members], keys, opts),
                longest or self.model.cfg.max_length,
            )
            for j, row in zip(members, rows, strict=True):
                report.truncated += self.ids.eos not in row
                text = self.tgt_tokenizer.decode(row)
                decoded[j], num_controls = _CONTROL.subn("", text)
                report.controls += num_controls
        for (i, _), text in zip(pieces, decoded, strict=True):
            outputs[i].append(text)
        return [" ".join(parts) for parts in outputs], report

    def _pieces(self, text: str, report: Report) -> list[list[int]]:
        """The source ids of a text in pieces that the model can read; none if empty."""
        tokenizer = self.src_tokenizer
        normalized = tokenizer.normalizer(text)
        has_bytes = tokenizer.vocabulary.byte_ids is not None
        for character in tokenizer.unknown(normalized):
            in_bytes = has_bytes and not is_surrogate(character)
            counts = report.spelled if in_bytes else report.unknown
            counts[character] = counts.get(character, 0) + 1
        if not normalized.strip():
            return []
        longest = self.model.cfg.max_length - 1  # EOS takes a place

        def num_tokens(piece: str) -> int:
            return len(tokenizer.encode_normalized(piece))

        return [
            ids[start : start + longest]
            for piece in split_text(normalized, longest, num_tokens)
            for ids in [tokenizer.encode_normalized(piece)]
            # A character alone may take more tokens than a tiny model reads.
            for start in range(0, len(ids), longest)
        ]

    def _decode_batch(
        self,
        rows: list[list[int]],
        keys: jax.Array,
        opts: SampleOptions,
        longest_target: int,
    ) -> list[list[int]]:
        """The target ids of up to 64 sources, in one padded batch."""
        vocabulary, max_length = (
            self.src_tokenizer.vocabulary,
            self.model.cfg.max_length,
        )
        num_rows = next(size for size in BATCH_ROWS if size >= len(rows))
        longest = max(len(row) for row in rows) + 1
        width = min(-(-longest // WIDTH_STEP) * WIDTH_STEP, max_length)
        src = [[*row, vocabulary.eos_id] for row in rows]
        src_ids, src_mask = pad(
            src + [[]] * (num_rows - len(rows)), width, vocabulary.pad_id
        )
        filler = jnp.repeat(keys[:1], num_rows - len(rows))
        tokens = sample(
            *(self.params, src_ids, src_mask, jnp.concatenate([keys, filler])),
            model=self.model,
            opts=opts,
            ids=self.ids,
            length=longest_target,
        )
        return np.asarray(tokens)[: len(rows)].tolist()


def _places(owners: list[int]) -> list[int]:
    """For each piece, how many pieces of the same text come before it."""
    places, previous = [], None
    for owner in owners:
        places.append(places[-1] + 1 if owner == previous else 0)
        previous = owner
    return places


# Where a text may be cut, from the best place on, and what stands there when parts are
# put together again: between sentences, between words, between characters.
_CUTS: tuple[tuple[Callable[[str], list[str]], str], ...] = (
    (re.compile(r"(?<=[.!?؟…。])\s+").split, " "),
    (re.compile(" ").split, " "),
    (list, ""),
)


def split_text(
    text: str, longest: int, length: Callable[[str], int] = len
) -> list[str]:
    """The text in pieces of at most `longest` by `length`, as whole as can be.

    Cuts at sentence ends; where a sentence alone is too long, at spaces; where a word
    is, inside the word, but never inside a character. Nothing is left out but the
    spaces at the cuts. But for a few times, `length` is asked for stretches of about
    `longest`, so that the time grows with the text and not with its square.
    """
    pieces = _split(text, longest, length, _CUTS)
    return [piece for piece in pieces if piece.strip()]


def _split(
    text: str,
    longest: int,
    length: Callable[[str], int],
    cuts: Sequence[tuple[Callable[[str], list[str]], str]],
) -> list[str]:
    if not cuts or length(text) <= longest:
        return [text]
    (split, between), *finer = cuts
    parts, pieces, start = split(text), [], 0
    while start < len(parts):
        num = _num_that_fit(parts, start, between, longest, length)
        if num:
            pieces.append(between.join(parts[start : start + num]))
            start += num
            continue
        cut = _split(parts[start], longest, length, finer)
        if len(cut) == 1:  # a character that is too long by itself
            pieces += cut
            start += 1
        else:  # what is left at the end may go with the next part
            *whole, parts[start] = cut
            pieces += whole
    return pieces


def _num_that_fit(
    parts: list[str],
    start: int,
    between: str,
    longest: int,
    length: Callable[[str], int],
) -> int:
    """How many parts from `start` on fit into one piece: doubling, then halving."""

    def fits(num: int) -> bool:
        return length(between.join(parts[start : start + num])) <= longest

    left = len(parts) - start
    num = 1
    while num <= left and fits(num):
        num *= 2
    low, high = num // 2, min(num, left + 1)  # low fit, high do not
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
