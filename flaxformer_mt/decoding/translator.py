"""From a run folder to translations: str in, str out.

The command line, a notebook and the evaluation all go through `Translator`, so that
they cannot disagree.
"""

import collections
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np

from flaxformer_mt import starter
from flaxformer_mt.config import Config
from flaxformer_mt.decoding import frames, scoring
from flaxformer_mt.decoding.beam_search import BeamOptions
from flaxformer_mt.decoding.call import (
    Call,
    SearchOptions,
    Text,
    WatchedTexts,
    usual_batch_tokens,
    worker_threads,
)
from flaxformer_mt.decoding.explanation import Explanation
from flaxformer_mt.decoding.frames import Frame, Source
from flaxformer_mt.decoding.lines import (
    WINDOWS,
    AbandonedError,
    Line,
    LineWatch,
    pair_up,
    windows,
)
from flaxformer_mt.decoding.sampling import GREEDY, SampleOptions
from flaxformer_mt.decoding.scoring import Pair
from flaxformer_mt.decoding.search import Output, Search, TokenIds
from flaxformer_mt.decoding.translation import (
    Hypothesis,
    Report,
    Score,
    Translation,
    ascii_or_self,
    join,
    without_controls,
)
from flaxformer_mt.decoding.weights import Weights, weights_of
from flaxformer_mt.errors import InputError
from flaxformer_mt.model.transformer import Transformer, make_model
from flaxformer_mt.text.pieces import split_text
from flaxformer_mt.text.tokenizer import Tokenizer
from flaxformer_mt.text.vocabulary import is_surrogate
from flaxformer_mt.training import checkpoints
from flaxformer_mt.training.devices import check_versions
from flaxformer_mt.training.run_folder import RunFolder

WORD_TOKENS = 32  # most that a next word may have


class Translator:
    """A trained model with its tokenizers."""

    def __init__(
        self,
        model: Transformer,
        params: Any,
        src_tokenizer: Tokenizer,
        tgt_tokenizer: Tokenizer,
        config: Config | None = None,
        name: str = "",
    ) -> None:
        self.model, self.config, self.name = model, config, name
        self.params = params
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
        name = Path(folder.path).resolve().name
        return cls(model, params, src_tokenizer, tgt_tokenizer, config, name)

    @property
    def params(self) -> Any:
        """The model's parameters."""
        return self._params

    @params.setter
    def params(self, params: Any) -> None:
        self._params, self._weights = params, None

    @property
    def weights(self) -> Weights:
        """The parameters as the decoding loop wants them, made when first needed."""
        if self._weights is None:
            self._weights = weights_of(self._params, self.model)
        return self._weights

    # --- translating ------------------------------------------------------------------

    def translate(
        self, text: str | Sequence[str], search: SearchOptions = GREEDY
    ) -> str | list[str]:
        """The likeliest translation, token by token (greedy), or as `search` says.

        Takes a text and returns a text, or a list and returns a list. An empty text
        gives an empty text; a longer one than the model reads is translated in pieces.
        """
        if isinstance(text, str):
            return self.decode([text], search)[0][0]
        return self.decode(text, search)[0]

    def sample(
        self,
        text: str | Sequence[str],
        *,
        repetition_penalty: float = 1.2,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        min_p: float = 0.0,
        repetition_window: int = 0,
        no_repeat_ngram: int = 0,
        seed: int = 0,
    ) -> str | list[str]:
        """A translation drawn at random, as the tutorial does; the same seed draws the
        same one.

        repetition_penalty: above 1 makes used letters less likely. temperature: 0 is
        greedy, above 1 is bolder. top_k: draw among so many likeliest, 0 among all. For
        the others see SampleOptions.
        """
        opts = SampleOptions(
            repetition_penalty=repetition_penalty,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            min_p=min_p,
            repetition_window=repetition_window,
            no_repeat_ngram=no_repeat_ngram,
        )
        texts = [text] if isinstance(text, str) else text
        drawn, _ = self.decode(texts, opts, seed=seed)
        return drawn[0] if isinstance(text, str) else drawn

    def decode(
        self,
        texts: Sequence[str],
        search: SearchOptions = GREEDY,
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
        whole, translations = Report(), []
        where = {"seed": seed, "first_line": first_line, "longest": longest}
        for translation in self.stream(texts, search, **where):
            whole.add(translation.report)
            translations.append(translation.text)
        return translations, whole

    def stream(
        self,
        lines: Iterable[str | None],
        search: SearchOptions = GREEDY,
        *,
        seed: int = 0,
        first_line: int = 0,
        scores: bool = False,
        prefix: str = "",
        prefixes: Iterable[str] | None = None,
        longest: int | None = None,
        batch_tokens: int = 0,
        too_long: Literal["split", "refuse"] = "split",
    ) -> Iterator[Translation]:
        """A translation for each line, in order, as they are finished.

        Lines are taken in windows, the first of them small; within one, lines of like
        length are decoded together. So memory is bounded, however many there are.

        Args:
          lines: None among them says that nothing more is there at the moment: what is
            there is then translated without waiting for more.
          seed, first_line: a sample depends on them and on its line alone.
          scores: whether log-probabilities are wanted; a beam search has them anyway.
          prefix: what every translation begins with. prefixes: one for each line.
          longest: tokens that a translation may have; None, the model's max_length.
          batch_tokens: places of a batch, rows times length; 0: what suits the device.
          too_long: what happens to a text that is longer than the model reads: it is
            cut at the ends of sentences, or refused.

        Raises:
          InputError: a line is too long and is to be refused; a prefix is too long, or
            cannot be written with the model's tokens; lines and prefixes differ in
            number.
        """
        if not 0 <= seed < 2**31:
            raise InputError(f"seed must be at least 0 and below 2**31; got {seed}.")
        limit = min(longest or self.model.cfg.max_length, self.model.cfg.max_length)
        call = self._call(search, limit, scores=scores, batch_tokens=batch_tokens)
        with_prefix = pair_up(lines, prefixes, prefix)
        numbers = itertools.count(first_line)
        waiting: collections.deque[list[Text]] = collections.deque()
        is_first = True
        with worker_threads() as workers:
            for window, is_all in windows(with_prefix):
                texts, refusal = [], None
                for line, begin in window:
                    try:
                        wanted = Line(line, begin, seed, next(numbers))
                        has_own = prefixes is not None
                        texts.append(self._text(wanted, limit, too_long, has_own))
                    except InputError as error:  # the lines before it come first
                        refusal = error
                        break
                call.submit(workers, texts, now=is_all)
                waiting.append(texts)
                # Another window is decoded meanwhile; but the first is not to wait
                # for the other's programs.
                keep_back = 0 if is_all or refusal or is_first else 1
                is_first = False
                while len(waiting) > keep_back:
                    yield from map(self._translation, waiting.popleft())
                if refusal:
                    raise refusal

    def together(
        self,
        lines: Sequence[Line],
        search: SearchOptions | Search = GREEDY,
        *,
        scores: bool = False,
        watch: LineWatch | None = None,
    ) -> list[Translation | InputError | AbandonedError]:
        """What each line comes to: what `stream` would give for it alone, or the error
        that it would raise. All are decoded together, as far as they are alike.

        Args:
          search: options, or a search of one's own.
          watch: called every few tokens, from several threads. A batch in which no
            line is wanted any more ends; those of its lines that have not ended by then
            come back as AbandonedError.
        """
        limit = self.model.cfg.max_length
        call = self._call(search, scores=scores)
        results: list[Any] = []
        for line in lines:
            try:
                results.append(self._text(line, limit, "split"))
            except InputError as error:
                results.append(error)
        texts = [result for result in results if isinstance(result, Text)]
        places = [i for i, result in enumerate(results) if isinstance(result, Text)]
        if watch is not None:
            watched = WatchedTexts(self.tgt_tokenizer, watch, texts, places)
            call.watch = watched.of_batch
        with worker_threads() as workers:
            call.submit(workers, texts, now=True)
            for place, text in zip(places, texts, strict=True):
                try:
                    results[place] = self._translation(text)
                except AbandonedError as error:
                    results[place] = error
        return results

    def _text(
        self,
        line: Line,
        limit: int,
        too_long: Literal["split", "refuse"],
        has_own_prefix: bool = False,  # then an error says whose it is
    ) -> Text:
        """A line ready to be translated."""
        text, prefix, seed, number = line
        report = Report()
        pieces = self._pieces(text, report)
        if len(pieces) > 1 and too_long == "refuse":
            num_tokens = sum(map(len, pieces))
            raise InputError(
                f"line {number + 1:,} must have at most "
                f"{self.model.cfg.max_length - 1} tokens; got {num_tokens}: split it, "
                "or leave out --too-long refuse."
            )
        report.split += len(pieces) > 1
        try:
            begin, opening = self._prefix(prefix, limit) if prefix else ([], None)
        except InputError as error:
            whose = f"line {number + 1:,}: " if has_own_prefix else ""
            raise InputError(f"{whose}{error}") from error
        eos_id = self.src_tokenizer.vocabulary.eos_id
        sources = [Source([*ids, eos_id]) for ids in pieces]
        if sources:  # what is given begins the text, so its first piece has it
            sources[0] = sources[0]._replace(prefix=begin, opening=opening)
        return Text(text, number, seed, sources, report)

    def _prefix(self, prefix: str, limit: int) -> tuple[list[int], np.ndarray | None]:
        """(tokens that are given, which may follow them: [V] bool).

        The last token may be the beginning of a longer one that the model would rather
        take, so it is not given: what follows has to begin with it. (Only the last: a
        token that the model would take in place of the last two is shut out.) A space
        at the end begins the next word.
        """
        tokenizer = self.tgt_tokenizer
        self._check_prefix(prefix)
        ids = tokenizer.encode(prefix.rstrip())
        if prefix[-1:].isspace() and tokenizer.tokens_beginning(b" ").any():
            rest = b" "
        else:
            rest = tokenizer.spelled(ids[-1:]) if ids else b""
            if tokenizer.count_fallback(np.asarray(ids[-1:], np.int32)) == (0, 0):
                ids = ids[:-1]
            else:  # a byte is no beginning of anything
                rest = b""
        if len(ids) + 2 > limit:
            raise InputError(
                f"a prefix must leave room for a translation of {limit} tokens; got "
                f"one of {len(ids)}."
            )
        if not rest:
            return ids, None
        return ids, tokenizer.tokens_beginning(rest)

    def _check_prefix(self, prefix: str) -> None:
        """Raises InputError for a prefix that the model cannot write."""
        tokenizer = self.tgt_tokenizer
        unknown = tokenizer.unknown(prefix)
        if unknown and tokenizer.vocabulary.byte_ids is None:
            raise InputError(
                "a prefix must be of characters that the model can write; got "
                f"{ascii_or_self(unknown[0])!r}."
            )

    def _translation(self, text: Text) -> Translation:
        """What a line came to, once its pieces are decoded."""
        parts = []
        for future, place in text.parts:
            outputs = future.result()[place]
            if not outputs:
                raise AbandonedError
            text.report.failed += outputs[0].failed
            text.report.truncated += outputs[0].truncated and not outputs[0].failed
            parts.append([self._hypothesis(output, text.report) for output in outputs])
        hypotheses = join(parts)
        return Translation(text.text, hypotheses, text.report)

    def _hypothesis(self, output: Output, report: Report) -> Hypothesis:
        text = self.tgt_tokenizer.decode(output.token_ids)
        text, num_controls = without_controls(text)
        report.controls += num_controls
        return Hypothesis(
            text=text,
            score=output.score,
            log_probability=output.log_probability,
            tokens=self._shown(self.tgt_tokenizer, output.token_ids),
            token_log_probabilities=tuple(output.token_log_probabilities),
            truncated=output.truncated,
            token_ids=tuple(output.token_ids),
        )

    @staticmethod
    def _shown(tokenizer: Tokenizer, token_ids: Sequence[int]) -> tuple[str, ...]:
        """Tokens for display; the end is ""."""
        vocabulary = tokenizer.vocabulary
        return tuple(
            "" if i == vocabulary.eos_id else vocabulary.tokens[i] for i in token_ids
        )

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
        whole = tokenizer.encode_normalized(normalized)
        if len(whole) <= longest:
            return [whole]

        def num_tokens(piece: str) -> int:
            return len(tokenizer.encode_normalized(piece))

        return [
            ids[start : start + longest]
            for piece in split_text(normalized, longest, num_tokens)
            for ids in [tokenizer.encode_normalized(piece)]
            # A character alone may take more tokens than a tiny model reads.
            for start in range(0, len(ids), longest)
        ]

    def _call(
        self,
        search: SearchOptions | Search,
        limit: int = 0,
        *,
        scores: bool = False,
        batch_tokens: int = 0,
    ) -> Call:
        """limit: 0 for what the model has."""
        return Call(
            *(self.model, self.weights, self.ids, search),
            limit=limit or self.model.cfg.max_length,
            scores=scores,
            batch_tokens=batch_tokens,
        )

    # --- before anybody waits ---------------------------------------------------------

    def _end(self) -> Source:
        """The shortest source."""
        return Source([self.src_tokenizer.vocabulary.eos_id])

    def prepare(
        self, search: SearchOptions | Search = GREEDY, *, scores: bool = False
    ) -> Iterator[None]:
        """Compiles all that `together` may need for a search, a little at each `next`:
        whatever the lines, no program is compiled after that."""
        call = self._call(search, scores=scores)
        for has in (frozenset(), frozenset({"prefix"})):
            yield from call.prepare(self._end(), has)

    def prepare_alternatives(self, *, count: int = 5) -> Iterator[None]:
        """As `prepare`, for `alternatives` with this count."""
        call = self._call(_word_options(count), scores=True)
        yield from call.prepare(self._end(), frozenset({"prefix", "boundary"}))

    def prepare_explanation(self) -> Iterator[None]:
        """As `prepare`, for `explanation`."""
        eos = Pair([self.src_tokenizer.vocabulary.eos_id], [self.ids.eos])
        for frame in frames.ladder(self.model.cfg.max_length, usual_batch_tokens()):
            self._look(eos, 5, least=frame.length)
            yield

    # --- looking at translations ------------------------------------------------------

    def score(
        self,
        pairs: Iterable[tuple[str, str]],
        *,
        first_line: int = 0,
        batch_tokens: int = 0,
    ) -> Iterator[Score]:
        """The log-probability of each given translation, in order (forced decoding).

        Raises:
          InputError: a side is longer than the model reads.
        """
        tokens = batch_tokens or usual_batch_tokens()
        all_frames = frames.ladder(self.model.cfg.max_length, tokens)
        numbers = itertools.count(first_line + 1)
        pairs = iter(pairs)
        with worker_threads() as workers:
            while window := list(itertools.islice(pairs, WINDOWS[-1])):
                encoded, refusal = [], None
                for pair in window:
                    try:
                        encoded.append(self._pair(*pair, next(numbers)))
                    except InputError as error:  # the pairs before it come first
                        refusal = error
                        break
                yield from self._score_window(encoded, all_frames, workers)
                if refusal:
                    raise refusal

    def _score_window(
        self,
        pairs: list[Pair],
        all_frames: Sequence[Frame],
        workers: ThreadPoolExecutor,
    ) -> list[Score]:
        def score_batch(batch: tuple[Frame, list[int]]) -> list[list[float]]:
            frame, members = batch
            return scoring.score_batch(
                *(self.params, [pairs[i] for i in members]),
                **{"model": self.model, "frame": frame, "ids": self.ids},
            )

        batches = frames.plan(pairs, all_frames)
        scores: list[Score | None] = [None] * len(pairs)
        for (_, members), rows in zip(
            batches, workers.map(score_batch, batches), strict=True
        ):
            for i, row in zip(members, rows, strict=True):
                shown = self._shown(self.tgt_tokenizer, pairs[i].tgt_ids)
                scores[i] = Score(float(np.sum(row)), shown, tuple(row))
        return [score for score in scores if score is not None]

    def _pair(self, src: str, tgt: str, number: int) -> Pair:
        """Both sides in ids; number: of the line, for messages."""
        ids = []
        for side, text, tokenizer in (
            ("source", src, self.src_tokenizer),
            ("target", tgt, self.tgt_tokenizer),
        ):
            ids.append([*tokenizer.encode(text), tokenizer.vocabulary.eos_id])
            if len(ids[-1]) > self.model.cfg.max_length:
                raise InputError(
                    f"the {side} of line {number:,} must have at most "
                    f"{self.model.cfg.max_length - 1} tokens; got {len(ids[-1]) - 1}: "
                    "split it, or leave it out."
                )
        return Pair(*ids)

    def look(self, src: str, tgt: str, *, k: int = 5) -> tuple[Pair, scoring.View]:
        """(both sides in ids, how the model comes to the target): the probabilities of
        its tokens, the k likeliest at each position, and the attention of every layer
        and head, [layers, heads, T, S].

        Raises:
          InputError: a side is longer than the model reads.
        """
        return self._look(self._pair(src, tgt, 1), k)

    def _look(self, pair: Pair, k: int, least: int = 0) -> tuple[Pair, scoring.View]:
        """least: positions that the program has room for, or more."""
        all_frames = frames.ladder(self.model.cfg.max_length, usual_batch_tokens())
        places = max(pair.places, least)
        length = min(f.length for f in all_frames if f.length >= places)
        where = {"model": self.model, "length": length, "ids": self.ids, "k": k}
        return pair, scoring.look(self.params, pair, **where)

    def explain(
        self, text: str, search: SearchOptions = GREEDY, *, prefix: str = ""
    ) -> Explanation:
        """A translation, with what the model looked at and what else it thought of.

        Raises:
          InputError: the text is empty, or longer than the model reads; see stream.
        """
        self.check_explainable(text)
        [translation] = self.stream([text], search, prefix=prefix)
        return self.explanation(text, translation.hypotheses[0])

    def is_blank(self, text: str) -> bool:
        """Whether nothing of a text is left once it is normalised."""
        return not self.src_tokenizer.normalizer(text).strip()

    def check_explainable(self, text: str) -> None:
        """Raises InputError for a text that is empty, or longer than the model
        reads."""
        if self.is_blank(text):
            raise InputError("there is nothing to explain: the text is empty.")
        longest = self.model.cfg.max_length - 1  # EOS takes a place
        if (num_tokens := len(self.src_tokenizer.encode(text))) > longest:
            raise InputError(
                f"a text to be explained must have at most {longest} tokens; got "
                f"{num_tokens}: split it."
            )

    def explanation(self, text: str, best: Hypothesis) -> Explanation:
        """How the model comes to one of its translations of a text.

        Raises:
          InputError: the text is empty, or longer than the model reads.
        """
        self.check_explainable(text)
        src_ids = [
            *self.src_tokenizer.encode(text),
            self.src_tokenizer.vocabulary.eos_id,
        ]
        pair, view = self._look(Pair(src_ids, list(best.token_ids)), 5)
        alternatives = tuple(
            tuple(zip(self._shown(self.tgt_tokenizer, ids), chances, strict=True))
            for ids, chances in zip(
                view.likeliest.tolist(),
                np.exp(np.minimum(view.likeliest_log_probs, 0.0)).tolist(),
                strict=True,
            )
        )
        return Explanation(
            src_text=text,
            tgt_text=best.text,
            src_tokens=self._shown(self.src_tokenizer, pair.src_ids),
            tgt_tokens=self._shown(self.tgt_tokenizer, pair.tgt_ids),
            log_probabilities=tuple(np.minimum(view.log_probs, 0.0).tolist()),
            alternatives=alternatives,
            attention=view.attention,
            score=float(min(view.log_probs.sum(), 0.0)),
            run=self.name,
        )

    def alternatives(
        self, text: str, prefix: str = "", *, count: int = 5
    ) -> list[tuple[str, float]]:
        """The likeliest next words after a prefix, each with its probability, likeliest
        first; the word "" is the end of the translation.

        A word's probability is the product of its tokens', and of the chance that it
        ends there. Found by a short beam search up to the next space.

        Args:
          prefix: whole words of a translation.

        Raises:
          InputError: text or prefix are longer than the model reads.
        """
        if not 1 <= count <= 16:
            raise InputError(f"count must be 1 to 16; got {count}.")
        tokenizer, limit = self.tgt_tokenizer, self.model.cfg.max_length
        pieces = self._pieces(text, Report())
        if not pieces:
            return [("", 1.0)]
        if len(pieces) > 1:
            raise InputError(
                f"the text must have at most {limit - 1} tokens; got "
                f"{sum(map(len, pieces))}: split it."
            )
        source = Source([*pieces[0], self.src_tokenizer.vocabulary.eos_id])
        self._check_prefix(prefix)
        given = tokenizer.encode(prefix)
        if len(given) + 2 > limit:
            raise InputError(
                f"a prefix must have at most {limit - 2} tokens; got {len(given)}."
            )
        boundary = tokenizer.tokens_beginning(b" ")
        boundary[self.ids.eos] = True
        has_spaces_within = tokenizer.kind == "characters"
        opening = boundary if given or not has_spaces_within else None
        opts = _word_options(count)
        limit = min(len(given) + WORD_TOKENS, limit)
        call = self._call(opts, limit, scores=True)
        word = source._replace(prefix=given, opening=opening, boundary=boundary)
        words: dict[str, float] = {}
        for output in call.decode_now(word):
            if not output.truncated:
                ids = output.token_ids[len(given) : -1]
                spelled = tokenizer.spelled(ids).decode("utf-8", "replace").strip()
                if ids and not spelled:
                    continue  # spaces alone are no word, and not the end either
                chance = np.exp(sum(output.token_log_probabilities[len(given) :]))
                # A word that several ways of cutting it come to.
                words[spelled] = words.get(spelled, 0.0) + float(chance)
        return sorted(words.items(), key=lambda item: (-item[1], item[0]))[:count]


def _word_options(count: int) -> BeamOptions:
    """The search for so many next words."""
    return BeamOptions(
        beam_size=max(4 * count, 16), n_best=4 * count, length_penalty=0.0
    )
