"""The model at work: requests wait in one line, and those alike are decoded together.

One thread takes what waits and calls the Translator; programs that are not compiled yet
are compiled by another one, while requests that need others go on. So a request never
waits for the compilation of a way of searching that it did not ask for.
"""

import collections
import contextlib
import dataclasses
import itertools
import logging
import threading
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any

from flaxformer_mt.decoding.beam_search import BeamOptions
from flaxformer_mt.decoding.lines import Line
from flaxformer_mt.decoding.sampling import GREEDY, SampleOptions
from flaxformer_mt.decoding.translator import Translator
from flaxformer_mt.errors import FlaxformerError
from flaxformer_mt.serving.free_sampling import NAMES, FreeSampler
from flaxformer_mt.serving.limits import Limits, busy, not_ready, stopping
from flaxformer_mt.serving.requests import Way

_log = logging.getLogger(__name__)

EXPLAIN, WORDS = "explain", "words"  # ways beside those of searching
# How long one that has nothing to do waits for more to do together, where the last time
# there was more: clients that were answered together ask again together.
SECONDS_TO_GATHER = 0.004
CHARACTERS_OF_ONE = 200  # of a text that counts as one


@dataclasses.dataclass(eq=False)
class Job:
    """A request on its way through the line."""

    way: Hashable  # which programs it needs
    group: Hashable  # which others it can be decoded with
    deadline: float  # time.monotonic
    lines: tuple[Line, ...] = ()
    search: Any = None  # options, or a Search
    task: Callable[[Translator], Any] | None = None  # instead of lines
    # Is called with the translation so far, from another thread.
    partial: Callable[[str], Any] | None = None
    future: Future = dataclasses.field(default_factory=Future)
    is_cancelled: bool = False

    def cancel(self) -> None:
        """Nobody waits for it any more."""
        self.is_cancelled = True

    @property
    def is_wanted(self) -> bool:
        """Whether somebody still waits for it."""
        return not self.is_cancelled and time.monotonic() < self.deadline

    @property
    def cost(self) -> int:
        """Its texts, of which a long one counts as several: all that are decoded
        together wait for the last."""
        return sum(1 + len(line.text) // CHARACTERS_OF_ONE for line in self.lines)

    def finish(self, result: Any) -> None:
        """Hands over the result; an exception is raised where it is waited for."""
        with contextlib.suppress(Exception):  # nobody is there any more
            if isinstance(result, BaseException):
                self.future.set_exception(result)
            else:
                self.future.set_result(result)


class Engine:
    """`Engine(load, limits)`, `start`, then `submit` from any thread; `stop` at last.

    Attributes:
      translator, card: None until it is loaded.
      is_ready: whether all that is usually asked for is compiled.
      failure: why there will be no translator.
    """

    def __init__(
        self,
        load: Callable[[], Translator | None],
        limits: Limits,
        describe: Callable[[Translator], Any] = lambda translator: None,
    ) -> None:
        """
        Args:
          load: may return None where there is no model yet; it is then asked again.
          describe: what makes the card of a model.
        """
        self.load, self.limits, self.describe = load, limits, describe
        self.translator: Translator | None = None
        self.card: Any = None
        self.is_ready = False
        self.failure: FlaxformerError | None = None
        self.on_failure: Callable[[], Any] = lambda: None
        self.changed = threading.Condition()
        self.waiting: collections.deque[Job] = collections.deque()
        self.unready: dict[Hashable, list[Job]] = {}  # wait for their programs
        self.known: set[Hashable] = set()  # ways whose programs are compiled
        self.is_stopping = False
        self.threads = [
            threading.Thread(target=self._prepare, name="prepare", daemon=True),
            threading.Thread(target=self._work, name="translate", daemon=True),
        ]

    def start(self) -> None:
        """Begins to load the model, to compile, and to work."""
        for thread in self.threads:
            thread.start()

    def stop(self) -> None:
        """Ends the threads once what they are at is done; what waits is refused."""
        with self.changed:
            self.is_stopping = True
            left = [*self.waiting, *itertools.chain(*self.unready.values())]
            self.waiting.clear()
            self.unready.clear()
            self.changed.notify_all()
        for job in left:
            job.finish(stopping())

    def join(self, seconds: float) -> bool:
        """Whether the threads have ended, after waiting for them so long at most."""
        end = time.monotonic() + seconds
        for thread in self.threads:
            thread.join(max(end - time.monotonic(), 0.0))
        return not any(thread.is_alive() for thread in self.threads)

    def submit(self, job: Job) -> None:
        """Puts a job at the end of the line.

        Raises:
          Refusal: too many wait, or there is no model.
        """
        with self.changed:
            self.check()
            self._forget_unwanted()
            unready = sum(map(len, self.unready.values()))
            if len(self.waiting) + unready >= self.limits.waiting:
                raise busy()
            if job.way in self.known:
                self.waiting.append(job)
            else:
                self.unready.setdefault(job.way, []).append(job)
            self.changed.notify_all()

    def _forget_unwanted(self) -> None:
        """What nobody waits for takes no place in the line."""
        for jobs in (self.waiting, *self.unready.values()):
            for job in [each for each in jobs if not each.is_wanted]:
                jobs.remove(job)
                job.finish(TimeoutError())

    def check(self) -> None:
        """Raises Refusal while there is no model."""
        if self.is_stopping:
            raise stopping()
        if self.failure is not None:
            raise not_ready("there is no model to translate with: see the log.")
        if self.translator is None:
            raise not_ready("the model is not there yet: ask again in a moment.")

    # ---- translating -----------------------------------------------------------------

    def _work(self) -> None:
        gather = False
        while True:
            with self.changed:
                self.changed.wait_for(lambda: self.waiting or self.is_stopping)
                if self.is_stopping:
                    return
            if gather:
                time.sleep(SECONDS_TO_GATHER)
            jobs = self._take()
            gather = len(jobs) > 1
            if jobs:
                self._do(jobs)

    def _take(self) -> list[Job]:
        """The first job that is still wanted, and others that go with it."""
        taken: list[Job] = []
        left: collections.deque[Job] = collections.deque()
        cost = 0
        with self.changed:
            for job in self.waiting:
                if not job.is_wanted:
                    job.finish(TimeoutError())
                    continue
                goes_with = not taken or (
                    job.group == taken[0].group
                    and job.task is None
                    and cost + job.cost <= self.limits.together
                )
                (taken if goes_with else left).append(job)
                cost += job.cost * goes_with
            self.waiting = left
        return taken

    def _do(self, jobs: list[Job]) -> None:
        """Finishes the jobs, whatever happens."""
        try:
            if jobs[0].task is not None:
                results = [jobs[0].task(self.translator)]
            else:
                results = self._translate(jobs)
        except Exception as error:
            results = [error] * len(jobs)
            if len(jobs) > 1 and not isinstance(error, FlaxformerError):
                # One of them may be the reason: the others need not suffer.
                _log.warning("%d requests are tried one by one", len(jobs))
                for job in jobs:
                    self._do([job])
                return
        for job, result in zip(jobs, results, strict=True):
            job.finish(result)

    def _translate(self, jobs: list[Job]) -> list[Any]:
        """For each job a list of translations, or an exception."""
        lines = [line for job in jobs for line in job.lines]
        owners = [job for job in jobs for _ in job.lines]

        def watch(number: int, text: Callable[[], str]) -> bool:
            job = owners[number]
            if job.partial is not None and job.is_wanted:
                job.partial(text())
            return job.is_wanted

        results = iter(
            self.translator.together(lines, jobs[0].search, scores=True, watch=watch)
        )
        return [_whole([next(results) for _ in job.lines]) for job in jobs]

    # ---- getting ready ---------------------------------------------------------------

    def _prepare(self) -> None:
        """Loads the model and compiles what is usual, then what is asked for."""
        try:
            self._load()
            for way in self._ways():
                self._compile(way)
            self.is_ready = not self.is_stopping
            while not self.is_stopping:
                with self.changed:
                    self.changed.wait_for(lambda: self.unready or self.is_stopping)
                    asked = next(iter(self.unready), None)
                if asked is not None:
                    self._compile_asked(asked)
        except FlaxformerError as error:
            self._fail(error)
        except Exception as error:
            _log.exception("the model cannot be used")
            self._fail(FlaxformerError(f"the model cannot be used: {error}"))

    def _fail(self, error: FlaxformerError) -> None:
        with self.changed:
            self.failure = error
            left = list(itertools.chain(*self.unready.values()))
            self.unready.clear()
            self.changed.notify_all()
        self.on_failure()
        for job in left:
            job.finish(not_ready("there is no model to translate with: see the log."))

    def _load(self) -> None:
        while not self.is_stopping:
            translator = self.load()
            if translator is not None:
                self.card = self.describe(translator)
                self.translator = translator
                return
            with self.changed:
                self.changed.wait_for(lambda: self.is_stopping, timeout=5.0)

    def _ways(self) -> Iterator[Hashable]:
        """What is usual, and what is asked for meanwhile first."""
        usual = [
            ("greedy", 0, 0),
            EXPLAIN,
            ("sample", 0, 0),
            WORDS,
            ("beam", self.limits.usual_beam, 1),
            ("beam", self.limits.usual_beam, self.limits.usual_beam),
        ]
        usual = list(dict.fromkeys(usual))
        while usual and not self.is_stopping:
            with self.changed:
                asked = [way for way in usual if way in self.unready]
            way = (asked or usual)[0]
            usual.remove(way)
            yield way

    def _compile_asked(self, way: Hashable) -> None:
        """As _compile; a way that fails, as for want of memory, ends no server."""
        try:
            self._compile(way)
        except Exception:
            _log.exception("%s could not be compiled", way)

    def _compile(self, way: Hashable) -> None:
        """Compiles all programs that the way may need, and lets its jobs go on."""
        began = time.monotonic()
        try:
            for number, _ in enumerate(programs(self.translator, way, self.limits)):
                _log.debug(
                    "%s, program %d: %.1f s", way, number, time.monotonic() - began
                )
                if self.is_stopping:
                    return
            _log.info("%s is ready after %.1f s", way, time.monotonic() - began)
        finally:
            with self.changed:
                self.known.add(way)
                self.waiting.extend(self.unready.pop(way, []))
                self.changed.notify_all()


def _whole(results: Sequence[Any]) -> Any:
    """The translations of a job, or what was wrong with one of them."""
    wrong = [each for each in results if isinstance(each, Exception)]
    return wrong[0] if wrong else list(results)


# ---- ways ----------------------------------------------------------------------------


def way_of(way: Way) -> Hashable:
    """What decides which programs are needed, and what can go together.

    Beam searches that give one hypothesis stop earlier than those that give several,
    which all come down to giving as many as they keep.
    """
    if way.search == "beam":
        return ("beam", way.beam_size, 1 if way.n_best == 1 else way.beam_size)
    return (way.search, 0, 0)


def search_of(translator: Translator, way: Way) -> Any:
    """Options, or the Search, that `Translator.together` takes."""
    if way.search == "greedy":
        return GREEDY
    if way.search == "beam":
        _, size, n_best = way_of(way)
        return BeamOptions(beam_size=size, n_best=n_best)
    opts = SampleOptions(**{name: getattr(way, name) for name in NAMES})
    return FreeSampler.of(translator.model, translator.ids, opts)


def group_of(way: Way) -> Hashable:
    """As way_of, and what the numbers of a FreeSampler are: one call has one set."""
    if way.search != "sample":
        return way_of(way)
    return ("sample", 0, 0, *(getattr(way, name) for name in NAMES))


def programs(translator: Translator, way: Hashable, limits: Limits) -> Iterator[None]:
    """Compiles what a way needs, a little at each `next`."""
    if way == WORDS:
        yield from translator.prepare_alternatives(count=limits.alternatives)
    elif way == EXPLAIN:
        yield from translator.prepare_explanation()
    else:
        kind, size, n_best = way
        asked = Way(search=kind, beam_size=size or 1, n_best=n_best or 1)
        yield from translator.prepare(search_of(translator, asked), scores=True)
