"""One call of a translator: its texts, in pieces, share batches that a few threads
decode.

Nothing of it outlives the call but the programs that were compiled.
"""

import contextlib
import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from flaxformer_mt.decoding import frames, search
from flaxformer_mt.decoding.beam_search import BeamOptions, BeamSearch
from flaxformer_mt.decoding.frames import Frame, Source
from flaxformer_mt.decoding.lines import LineWatch
from flaxformer_mt.decoding.sampling import SampleOptions, Sampler, piece_keys
from flaxformer_mt.decoding.search import Output, Search, TokenIds, Watch
from flaxformer_mt.decoding.translation import Report, without_controls
from flaxformer_mt.decoding.weights import Weights
from flaxformer_mt.model.processor import on_cpu
from flaxformer_mt.model.transformer import Transformer
from flaxformer_mt.text.tokenizer import Tokenizer
from flaxformer_mt.training.devices import cpu_count

BATCH_TOKENS = {"cpu": 2048, "gpu": 16384}  # places of a batch, for each worker
MOST_WORKERS = 16

SearchOptions = SampleOptions | BeamOptions
Place = tuple[int, int]  # the number of a text, and of a piece of it


@dataclasses.dataclass
class Text:
    """A line on its way."""

    text: str
    number: int
    seed: int
    sources: list[Source]  # its pieces
    report: Report
    # For each piece, the batch it is decoded in, and its place there.
    parts: list[tuple[Future, int]] = dataclasses.field(default_factory=list)


class Call:
    """One call of a translator, or a part of it that is searched in one way."""

    def __init__(
        self,
        model: Transformer,
        weights: Weights,
        ids: TokenIds,
        options: SearchOptions | Search,
        *,
        limit: int,
        scores: bool = False,
        batch_tokens: int = 0,
    ) -> None:
        """
        Args:
          limit: tokens that a translation may have.
          scores: whether log-probabilities are wanted; a beam search has them anyway.
          batch_tokens: places of a batch, rows times length; 0: what suits the device.
        """
        self.weights, self.limit = weights, limit
        tokens = batch_tokens or usual_batch_tokens()
        max_length = model.cfg.max_length
        self.is_random = False
        if isinstance(options, BeamOptions):
            # The model's own limit: one of each call would compile its own programs.
            self.search: Search = BeamSearch(model, options, ids, max_length)
            size = options.beam_size
        elif isinstance(options, SampleOptions):
            self.search = Sampler(model, options, ids, scores)
            self.is_random, size = options.temperature != 0.0, 1
        else:
            self.search, self.is_random, size = options, True, 1
        self.watch: Callable[[list[Place]], Watch] | None = None
        self.frames = frames.ladder(max_length, tokens, hypotheses=size)

    def submit(
        self, workers: ThreadPoolExecutor, texts: list[Text], *, now: bool
    ) -> None:
        """Has the texts decoded, those of like length together.

        now: they are waited for, and no others are coming.
        """
        owners = [(text, source) for text in texts for source in text.sources]
        sources = [source for _, source in owners]
        places = [
            (k, piece)
            for k, text in enumerate(texts)
            for piece in range(len(text.sources))
        ]
        if self.is_random:
            sources = _with_keys(texts)
        has = frames.special(sources)
        where: list[Any] = [None] * len(sources)
        batches = frames.plan(sources, self.frames)
        for frame, members in batches:
            batch = [sources[i] for i in members]
            watch = self.watch and self.watch([places[i] for i in members])
            if now and len(batches) == 1:
                # Nothing else is to be done meanwhile, and another thread would take
                # a tenth of a single sentence's time to wake up.
                future = _done(self.decode(batch, frame, has, watch))
            else:
                future = workers.submit(self.decode, batch, frame, has, watch)
            for place, i in enumerate(members):
                where[i] = (future, place)
        for (text, _), part in zip(owners, where, strict=True):
            text.parts.append(part)

    def decode(
        self,
        sources: list[Source],
        frame: Frame,
        has: frozenset[str],
        watch: Watch | None = None,
    ) -> list[list[Output]]:
        """The outputs of one batch."""
        return search.decode(
            *(self.weights, sources),
            search=self.search,
            frame=frame,
            frames=self.frames,
            limit=self.limit,
            has=has,
            watch=watch,
        )

    def prepare(self, source: Source, has: frozenset[str]) -> Iterator[None]:
        """Compiles the programs of each frame by decoding a token of a source in it."""
        for frame in self.frames:
            search.decode(
                *(self.weights, [source]),
                search=self.search,
                frame=frame,
                frames=self.frames,
                limit=1,
                has=has,
            )
            yield

    def decode_now(self, source: Source) -> list[Output]:
        """The outputs of a single source."""
        [(frame, _)] = frames.plan([source], self.frames)
        return self.decode([source], frame, frames.special([source]))[0]


def _with_keys(texts: list[Text]) -> list[Source]:
    """The sources of the texts, in order, each with its random key."""
    sources: list[Source] = []
    for seed, some in itertools.groupby(texts, key=lambda text: text.seed):
        pieces = [
            (text.number, place, source)
            for text in some
            for place, source in enumerate(text.sources)
        ]
        lines, places, own = ([piece[i] for piece in pieces] for i in range(3))
        keys = piece_keys(seed, lines=lines, places=places).tolist()
        sources += [s._replace(key=tuple(k)) for s, k in zip(own, keys, strict=True)]
    return sources


def _done(result: Any) -> Future:
    """A future that has this result."""
    future: Future = Future()
    future.set_result(result)
    return future


class WatchedTexts:
    """What a watch of lines is to the loop over batches of their pieces."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        watch: LineWatch,
        texts: list[Text],
        places: list[int],
    ) -> None:
        """
        Args:
          tokenizer: the target's.
          places: of each text among the lines.
        """
        self.tokenizer, self.watch, self.places = tokenizer, watch, places
        self.texts = texts
        # What each piece of a text has come to.
        self.so_far = [[""] * len(text.sources) for text in texts]

    def of_batch(self, members: list[Place]) -> Watch:
        """The watch of a batch that has these pieces."""
        owner_of = {place: owner for owner, place in enumerate(members)}

        def watch(owners: Sequence[int], so_far: Callable[[int], list[Output]]) -> bool:
            def outputs(place: Place) -> list[Output]:
                if place in owner_of:
                    return so_far(owner_of[place])
                return self._done_elsewhere(place)

            is_wanted = False
            for owner in owners:
                text, _ = members[owner]
                show = functools.partial(self._text, text, outputs)
                is_wanted |= self.watch(self.places[text], show)
            return is_wanted

        return watch

    def _done_elsewhere(self, place: Place) -> list[Output]:
        """What a piece of another batch came to; nothing while that is decoded."""
        text, piece = place
        for future, row in self.texts[text].parts[piece : piece + 1]:
            if future.done() and not future.cancelled() and not future.exception():
                return future.result()[row]
        return []

    def _text(self, text: int, outputs: Callable[[Place], list[Output]]) -> str:
        """The translation of a text as far as its pieces are known."""
        known = self.so_far[text]
        for piece in range(len(known)):
            for best in outputs((text, piece))[:1]:
                decoded, _ = without_controls(self.tokenizer.decode(best.token_ids))
                # A letter of several bytes may be half there.
                known[piece] = decoded.rstrip("\ufffd")
        return " ".join(filter(None, known))


@contextlib.contextmanager
def worker_threads() -> Iterator[ThreadPoolExecutor]:
    """Threads for batches that are decoded at the same time: on a CPU one a core, each
    of which takes its rows through the model alone; a GPU is kept busy by two.

    After an error, and where the caller wants no more, what waits is not begun.
    """
    number = min(cpu_count(), MOST_WORKERS) if on_cpu() else 2
    with ThreadPoolExecutor(number) as workers:
        try:
            yield workers
        finally:
            workers.shutdown(wait=True, cancel_futures=True)


def usual_batch_tokens() -> int:
    """Places of a batch, for each worker, that suit the device."""
    return BATCH_TOKENS["cpu" if on_cpu() else "gpu"]
