"""The Python loop over one jitted step that sampling and beam search share.

Nothing is read from the device but, every few tokens, which rows are still alive:
waiting after each token would cost a third of the speed. Rows that have ended leave:
when few are left they move to a smaller frame, and the others are done.
"""

import collections
import contextlib
import dataclasses
import functools
import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np
from flax import struct

from flaxformer_mt.decoding.frames import Frame, Rows, Source, cheapest, make_rows, move
from flaxformer_mt.decoding.weights import Packed, Weights, weights_of
from flaxformer_mt.model.transformer import Transformer

TOKENS_BETWEEN_CHECKS = 8
WORTH_MOVING = 0.75  # of a step's cost, or less
# A program takes seconds to compile, as long as hundreds of slow tokens: one that rows
# had better move to is compiled only when it was missed so many times. Otherwise the
# first line of a file would wait for programs that a short file never needs.
WORTH_COMPILING = 32


class TokenIds(NamedTuple):
    """The target's special ids. Hashable, so that a step can be compiled for them."""

    bos: int
    eos: int
    pad: int
    unk: int

    def forbidden(self, size: int) -> np.ndarray:
        """[V] bool: the tokens that no translation holds."""
        forbidden = np.zeros(size, bool)
        forbidden[[self.bos, self.pad, self.unk]] = True
        return forbidden


class Output(NamedTuple):
    """A translation in ids."""

    token_ids: list[int]  # EOS included, where it ended by itself
    score: float  # what the search ranks by
    log_probability: float  # nats, of all its tokens; NaN where not asked for
    token_log_probabilities: list[float]
    truncated: bool  # reached the limit without an end
    failed: bool = False  # the model returned no number


# Is told now and then which sources of a batch are still being decoded, may ask what
# any source of the batch has come to so far (nothing, where that is not at hand), and
# returns whether any that is being decoded is still wanted. What it raises ends the
# call.
Watch = Callable[[Sequence[int], Callable[[int], list[Output]]], bool]


class Search(Protocol):
    """A way of decoding: how a batch begins, goes on by a token, and what it gives.

    Its state is a pytree of arrays, rows first. It has `alive`, [B] bool, the rows that
    go on, and `cache`, which nobody but the step needs.

    Hashable, so that its programs are compiled once.
    """

    model: Transformer
    ids: TokenIds

    def start(self, params: Any, rows: Rows) -> Any:
        """The state of a batch before its first token."""

    def step(self, params: Packed, state: Any, position: Any) -> Any:
        """The state after one more token a row; takes the old one's memory."""

    def outputs(self, state: Any, row: int) -> list[Output]:
        """What a row has come to, best first, from a state on the host."""


_compiled: set[Any] = set()
_compiling: dict[Any, threading.Lock] = {}


def compile_once(program: Any, call: Callable[[], Any]) -> Any:
    """What the call returns; of several threads that come with a new program, one
    compiles it and the others wait."""
    if program in _compiled:
        return call()
    with _compiling.setdefault(program, threading.Lock()):
        result = call()
        _compiled.add(program)
    return result


_missed: collections.Counter = collections.Counter()


def is_worth_its_program(program: Any) -> bool:
    """Whether to go on with a program that one could do without."""
    if program in _compiled:
        return True
    _missed[program] += 1
    return _missed[program] > WORTH_COMPILING


class HashedOnce:
    """What is hashed at every call of a program that it is a static argument of: a
    model takes a tenth of a millisecond, which a token of a single sentence would pay
    several times. For frozen dataclasses."""

    @functools.cached_property
    def _hash(self) -> int:
        fields = dataclasses.fields(self)  # type: ignore[arg-type]
        return hash(tuple(getattr(self, field.name) for field in fields))

    def __hash__(self) -> int:
        return self._hash


@struct.dataclass
class Batch:
    """Rows of a frame on their way."""

    state: Any
    owners: list[int] = struct.field(pytree_node=False)  # the source of each row
    frame: Frame = struct.field(pytree_node=False)
    position: int = struct.field(pytree_node=False)
    # Nobody wants the rows that are not at their end.
    is_given_up: bool = struct.field(pytree_node=False, default=False)


def decode(
    params: Any,
    sources: Sequence[Source],
    *,
    search: Search,
    frame: Frame,
    frames: Sequence[Frame],
    limit: int,
    has: frozenset[str] = frozenset(),
    watch: Watch | None = None,
) -> list[list[Output]]:
    """What the search gives for each source, best first; nothing for one that nobody
    wants any more.

    Args:
      params: the model's, or the Weights that `weights_of` makes of them, once.
      sources: at most as many as the frame has rows.
      frames: where rows may move to; the longest must hold `limit` positions.
      limit: most tokens that a translation may have, EOS included.
      has: what any source that is planned with these has, `frames.special` of them.
      watch: called wherever the loop looks at the device, from this thread.
    """
    vocabulary = {
        "pad_id": search.ids.pad,
        "vocab_size": search.model.cfg.tgt_vocab_size,
        "has": has,
    }
    weights = (
        params if isinstance(params, Weights) else weights_of(params, search.model)
    )
    rows = make_rows(sources, frame, **vocabulary)
    if ("step", search, frame, has) not in _compiled:
        # Beside the program that reads the sources, which takes as long.
        like = _shapes(search, weights.whole, frame, tuple(vocabulary.items()))
        arguments = weights.decoder, search, frame, has, like
        threading.Thread(target=_compile_step, args=arguments).start()
    state = compile_once(
        ("start", search, frame, has), lambda: search.start(weights.whole, rows)
    )
    first = Batch(state, list(range(len(sources))), frame, 0)
    results: list[list[Output]] = [[] for _ in sources]
    waiting = [first]
    while waiting:
        batch = waiting.pop()
        look = watch and functools.partial(_show, search, results, watch)
        batch = _run(weights.decoder, batch, sources, search, frames, limit, has, look)
        host = jax.device_get(batch.state.replace(cache=None))
        rest = []
        for row, owner in enumerate(batch.owners):
            if host.alive[row] and batch.is_given_up:
                continue
            if host.alive[row] and batch.position < limit:
                rest.append(row)
            else:
                results[owner] = search.outputs(host, row)
        if rest:
            places = _places(batch, sources, rest)
            target = _next_frame(batch, search, frames, has, len(rest), places)
            like = _shapes(search, weights.whole, target, tuple(vocabulary.items()))
            state = jax.device_get(batch.state)
            for i in range(0, len(rest), target.rows):
                part = rest[i : i + target.rows]
                moved = jax.device_put(move(state, part, like))
                owners = [batch.owners[row] for row in part]
                waiting.append(Batch(moved, owners, target, batch.position))
    return results


def _run(
    params: Packed,
    batch: Batch,
    sources: Sequence[Source],
    search: Search,
    frames: Sequence[Frame],
    limit: int,
    has: frozenset[str],
    look: Callable[[Batch, np.ndarray], bool] | None,
) -> Batch:
    """The batch where it has ended, or where some of its rows had better move.

    look: is shown the batch and which of its rows are alive; see _show.
    """
    state, frame = batch.state, batch.frame
    first, program = batch.position, ("step", search, batch.frame, has)
    for position in range(first, limit):
        is_full = position == frame.length
        if is_full or (position > first and position % TOKENS_BETWEEN_CHECKS == 0):
            now = batch.replace(state=state, position=position)
            alive = np.flatnonzero(np.asarray(state.alive)[: len(batch.owners)])
            if look is not None and len(alive) and not look(now, alive):
                return now.replace(is_given_up=True)
            if is_full or not len(alive):
                return now
            places = _places(now, sources, alive)
            other = cheapest(frames, count=len(alive), places=places)
            cost = -(-len(alive) // other.rows) * other.cost
            if cost <= WORTH_MOVING * frame.cost and is_worth_its_program(
                ("step", search, other, has)
            ):
                return now
        step = functools.partial(search.step, params, state, np.int32(position))
        state = compile_once(program, step)
    return batch.replace(state=state, position=limit)


def _show(
    search: Search,
    results: Sequence[list[Output]],
    watch: Watch,
    batch: Batch,
    alive: np.ndarray,
) -> bool:
    """Lets somebody look at a batch, and returns whether its living rows are to go on.

    results: of the sources that are done; those of others are empty.
    """
    rows = {owner: row for row, owner in enumerate(batch.owners)}
    on_host = functools.cache(lambda: jax.device_get(batch.state.replace(cache=None)))

    def so_far(owner: int) -> list[Output]:
        if results[owner] or owner not in rows:  # done, or waits in another frame
            return results[owner]
        return search.outputs(on_host(), rows[owner])

    return watch(tuple(batch.owners[row] for row in alive), so_far)


def _compile_step(
    params: Packed, search: Search, frame: Frame, has: frozenset[str], like: Any
) -> None:
    """Compiles the step of a frame by taking one, with a state of zeros.

    like: the shapes of a state.
    """

    def step() -> None:
        zeros = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), like)
        search.step(params, jax.device_put(zeros), np.int32(0))

    program = ("step", search, frame, has)
    if not _compiling.setdefault(program, threading.Lock()).locked():
        with contextlib.suppress(Exception):  # whoever needs it comes to the same
            compile_once(program, step)


def _next_frame(
    batch: Batch,
    search: Search,
    frames: Sequence[Frame],
    has: frozenset[str],
    count: int,
    places: int,
) -> Frame:
    """Where so many rows of a batch go on that need so many places."""
    best = cheapest(frames, count=count, places=places)
    fit = [frame for frame in frames if frame.length >= places]
    known = [frame for frame in fit if ("step", search, frame, has) in _compiled]
    if batch.frame.rows == 1 or is_worth_its_program(("step", search, best, has)):
        return best
    # One that is there, or else the one that most batches can use.
    return cheapest(known or [max(fit)], count=count, places=places)


def _places(batch: Batch, sources: Sequence[Source], rows: Sequence[int]) -> int:
    """Positions that some rows of a batch need from now on."""
    longest = max(sources[batch.owners[row]].places for row in rows)
    return max(longest, batch.position + 1)


_known_shapes: dict[tuple, Any] = {}  # one entry for each frame of each search


def _shapes(search: Search, params: Any, frame: Frame, vocabulary: tuple) -> Any:
    """The shapes of the search's state in a frame."""
    what = (search, frame, vocabulary)
    if what not in _known_shapes:
        rows = make_rows([], frame, **dict(vocabulary))
        _known_shapes[what] = jax.eval_shape(search.start, params, rows)
    return _known_shapes[what]
