"""Beam search: one jitted step a token, under the same loop as sampling.

A sentence has N hypotheses at a time. Where one goes on in several ways, nothing is
copied: each hypothesis keeps a list of the places in the cache where its tokens stand,
and the mask of its attention is made from that.

What is found is defined by three rules, and by nothing about batches or frames:

1. At each step the hypotheses and all their continuations are ranked by log-probability
   (equal ones: the lower token id first). An ending among the best N is complete; the
   best N others go on.
2. N complete hypotheses, or the limit of length, end the search.
3. Of the complete ones those of highest score are given: log-probability divided by a
   power of the length. If there are too few, unfinished ones follow, as truncated.

Early stopping changes nothing: see `_can_still_win`.

Axes: B rows (sentences), N hypotheses, L target places, V target vocabulary.
"""

import dataclasses
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Bool, Float, Int

from flaxformer_mt.decoding import filters, selection
from flaxformer_mt.decoding.frames import Rows
from flaxformer_mt.decoding.sampling import (
    allow_prefix,
    given_at,
    shape_by_history,
    used_tokens,
)
from flaxformer_mt.decoding.search import HashedOnce, Output, TokenIds
from flaxformer_mt.decoding.step import apply_step
from flaxformer_mt.decoding.weights import Packed
from flaxformer_mt.errors import InputError
from flaxformer_mt.model.transformer import DecodeCache, Transformer

MOST_HYPOTHESES = 64


@dataclasses.dataclass(frozen=True, kw_only=True)
class BeamOptions:
    """How wide the search is, and how hypotheses of different lengths compare."""

    beam_size: int = 5  # hypotheses at a time
    n_best: int = 1  # how many are given, at most beam_size
    length_penalty: float = 1.0  # alpha; 0 compares plain log-probabilities
    # What a log-probability of n tokens is divided by: ((5 + n) / 6) ** alpha (Wu et
    # al. 2016, equation 14) or n ** alpha.
    length_norm: Literal["gnmt", "plain"] = "gnmt"
    no_repeat_ngram: int = 0  # never the same so many tokens twice; 0: no matter
    min_length: int = 0  # tokens before the end may come

    def __post_init__(self) -> None:
        for name, is_right, remark in (
            (
                "beam_size",
                lambda n: 1 <= n <= MOST_HYPOTHESES,
                f"1 to {MOST_HYPOTHESES}",
            ),
            (
                "n_best",
                lambda n: 1 <= n <= self.beam_size,
                f"1 to beam_size, {self.beam_size}",
            ),
            # A reward for shortness would make early stopping wrong.
            ("length_penalty", lambda a: 0 <= a <= 10, "0 to 10 (0 is none)"),
            ("length_norm", lambda n: n in ("gnmt", "plain"), "gnmt or plain"),
            ("no_repeat_ngram", lambda n: n >= 0, "at least 0 (0 forbids none)"),
            ("min_length", lambda n: n >= 0, "at least 0"),
        ):
            value = getattr(self, name)
            if not is_right(value):
                raise InputError(f"{name} must be {remark}; got {value}.")

    @property
    def repetition_penalty(self) -> float:
        """None: it would no longer be the log-probability that is searched for."""
        return 1.0

    def norm(self, length: Any) -> Any:
        """What the log-probability of so many tokens (EOS included) is divided by."""
        if self.length_norm == "gnmt":
            return ((5.0 + length) / 6.0) ** self.length_penalty
        return (length * 1.0) ** self.length_penalty


@struct.dataclass
class Hypotheses:
    """Some hypotheses of each row, best first."""

    log_probability: jax.Array  # [B, N] nats, their sum; -inf where there is none
    tokens: jax.Array  # [B, N, L] int32
    log_probs: jax.Array  # [B, N, L] nats of each token


@struct.dataclass
class BeamState:
    """What one token hands to the next."""

    cache: DecodeCache | None
    going: Hypotheses  # those that go on
    length: jax.Array  # [B] int32, tokens of each of them
    done: Hypotheses  # those that are complete, by score
    done_score: jax.Array  # [B, N], -inf where there is none
    done_length: jax.Array  # [B, N] int32, EOS included
    num_done: jax.Array  # [B] int32, how many were ever complete
    # [B, N, L] int32: which of the N places of a position holds a hypothesis's token
    lineage: jax.Array
    alive: jax.Array  # [B] bool, rows whose search goes on
    failed: jax.Array  # [B] bool, rows for which the model returned no number
    prefix: jax.Array | None  # [B, L] int32, the given token + 1; 0: none
    opening: jax.Array | None  # [B, V] bool, what may follow the prefix
    boundary: jax.Array | None  # [B, V] bool, what ends a word, where words are wanted


@dataclasses.dataclass(frozen=True)
class BeamSearch(HashedOnce):
    """Beam search, as `search.decode` asks for it."""

    model: Transformer
    opts: BeamOptions
    ids: TokenIds
    limit: int  # most tokens that a translation may have, EOS included
    stops_early: bool = True  # False only to test that it changes nothing

    # The decorator would write one that hashes the model every time.
    __hash__ = HashedOnce.__hash__

    def start(self, params: Any, rows: Rows) -> BeamState:
        """The state of a batch before its first token."""
        return start(params, rows, model=self.model, size=self.opts.beam_size)

    def step(self, params: Packed, state: BeamState, position: Any) -> BeamState:
        """The state after one more token a hypothesis."""
        return beam_step(params, state, position, search=self)

    def outputs(self, state: BeamState, row: int) -> list[Output]:
        """The best hypotheses of a row, from a state on the host."""
        failed = bool(state.failed[row])
        outputs = []
        for n in range(min(int(state.num_done[row]), self.opts.beam_size)):
            length, score = int(state.done_length[row, n]), state.done_score[row, n]
            outputs.append(_output(state.done, row, n, length, float(score), failed))
        # Unfinished ones, best first already, fill up what is missing.
        for n in range(self.opts.n_best - len(outputs)):
            whole = float(state.going.log_probability[row, n])
            if not np.isfinite(whole) and (n or outputs):
                break
            length = int(state.length[row])
            score = whole / self.opts.norm(max(length, 1))
            output = _output(state.going, row, n, length, score, failed)
            outputs.append(output._replace(truncated=True))
        return outputs[: self.opts.n_best]


def _output(
    hypotheses: Hypotheses, row: int, n: int, length: int, score: float, failed: bool
) -> Output:
    return Output(
        token_ids=hypotheses.tokens[row, n, :length].tolist(),
        score=score,
        log_probability=float(hypotheses.log_probability[row, n]),
        token_log_probabilities=hypotheses.log_probs[row, n, :length].tolist(),
        truncated=False,
        failed=failed,
    )


@partial(jax.jit, static_argnames=("model", "size"))
def start(params: Any, rows: Rows, *, model: Transformer, size: int) -> BeamState:
    """The state of a batch of sources: one empty hypothesis a row, and places for
    more."""
    num_rows, length = rows.src_ids.shape
    cache = model.apply(
        *({"params": params}, rows.src_ids, rows.src_mask, length, size),
        method="start_cache",
    )
    # Not weakly typed, or the step would be compiled a second time for what it returns.
    none = jnp.full((num_rows, size), -jnp.inf, jnp.float32)

    def empty(log_probability: Array) -> Hypotheses:
        # Fresh arrays each time: the step donates them all.
        return Hypotheses(
            log_probability + 0.0,
            tokens=jnp.zeros((num_rows, size, length), jnp.int32),
            log_probs=jnp.zeros((num_rows, size, length)),
        )

    return BeamState(
        cache=cache,
        going=empty(none.at[:, 0].set(0.0)),
        length=jnp.zeros(num_rows, jnp.int32),
        done=empty(none),
        done_score=none + 0.0,
        done_length=jnp.zeros((num_rows, size), jnp.int32),
        num_done=jnp.zeros(num_rows, jnp.int32),
        lineage=jnp.zeros((num_rows, size, length), jnp.int32),
        alive=rows.src_mask.any(axis=1),
        failed=jnp.zeros(num_rows, bool),
        prefix=None if rows.prefix is None else jnp.asarray(rows.prefix),
        opening=None if rows.opening is None else jnp.asarray(rows.opening),
        boundary=None if rows.boundary is None else jnp.asarray(rows.boundary),
    )


@partial(jax.jit, static_argnames="search", donate_argnames="state")
def beam_step(
    params: Packed, state: BeamState, position: Int[Array, ""], *, search: BeamSearch
) -> BeamState:
    """The state after one more token a hypothesis; rows that have ended stay."""
    size, going = search.opts.beam_size, state.going
    num_rows = len(state.alive)
    lineage = jnp.where(
        (jnp.arange(state.lineage.shape[-1]) == position)[None, None],
        jnp.arange(size)[None, :, None],
        state.lineage,
    )
    last = jax.lax.dynamic_index_in_dim(
        going.tokens, jnp.maximum(position - 1, 0), axis=-1, keepdims=False
    )
    last = jnp.where(position == 0, search.ids.bos, last)
    raw, cache = apply_step(
        search.model,
        *(params, last, position, state.cache),
        lineage_mask(lineage, position),
    )
    # A row for each hypothesis: [B * N, V].
    raw = raw.astype(jnp.float32).reshape(num_rows * size, -1)
    normalizer = selection.log_normalizer(raw)
    logits = _filtered(raw, state, position, search)
    end, others = _split_endings(logits, state, position, search)
    values, token_ids = selection.top_k(others, size)
    each = lambda x: x.reshape(num_rows, size, *x.shape[1:])  # noqa: E731
    ends, steps = each(end - normalizer), each(values - normalizer[:, None])

    new, parents, chosen = _go_on(going, steps, each(token_ids), position)
    best = new.log_probability
    state, is_over = _complete(state, ends, best, chosen, position, search)
    # A row without a number to go by ends here, and is reported.
    exists = jnp.isfinite(going.log_probability)
    failed = state.alive & (exists & ~jnp.isfinite(each(normalizer))).any(axis=1)
    goes_on = state.alive & ~is_over & ~failed & jnp.isfinite(best[:, 0])
    keep = partial(_where, state.alive & ~failed)
    return state.replace(
        cache=cache,
        going=jax.tree.map(keep, new, going),
        length=keep(state.length + 1, state.length),
        lineage=keep(jnp.take_along_axis(lineage, parents[..., None], 1), lineage),
        alive=goes_on,
        failed=state.failed | failed,
    )


def _where(rows: Bool[Array, " B"], new: Array, old: Array) -> Array:
    """`new` in some rows, `old` in the others."""
    return jnp.where(rows.reshape(-1, *(1,) * (new.ndim - 1)), new, old)


def lineage_mask(
    lineage: Int[Array, "B N L"], position: Int[Array, ""]
) -> Bool[Array, "B 1 N M"]:
    """[B, 1, N, L * N]: which places of the cache belong to each hypothesis."""
    num_rows, size, length = lineage.shape
    places = jnp.arange(size)[None, None, None]
    own = lineage[..., None] == places  # [B, N, L, N]
    own &= (jnp.arange(length) <= position)[None, None, :, None]
    return own.reshape(num_rows, 1, size, length * size)


def _filtered(
    raw: Float[Array, "M V"],
    state: BeamState,
    position: Int[Array, ""],
    search: BeamSearch,
) -> Float[Array, "M V"]:
    """The logits of all hypotheses, -inf for what may not follow."""
    size = search.opts.beam_size
    logits = filters.forbid(raw, jnp.asarray(search.ids.forbidden(raw.shape[-1])))
    tokens = state.going.tokens.reshape(len(raw), -1)
    used = used_tokens(tokens, position, raw.shape[-1], opts=search.opts)
    logits = shape_by_history(
        logits, tokens, position, used, opts=search.opts, eos=search.ids.eos
    )
    if state.prefix is None or state.opening is None:
        return logits
    each = lambda x: jnp.repeat(x, size, axis=0)  # noqa: E731
    prefix = each(state.prefix)
    allowed = allow_prefix(logits, prefix, each(state.opening), position, raw)
    # What is given is worth what the model gives it.
    given, _ = given_at(prefix, position)
    is_given = jnp.isfinite(allowed) & (given >= 0)
    return jnp.where(is_given, raw, allowed)


def _split_endings(
    logits: Float[Array, "M V"],
    state: BeamState,
    position: Int[Array, ""],
    search: BeamSearch,
) -> tuple[Float[Array, " M"], Float[Array, "M V"]]:
    """(the logit of ending here, the logits of what goes on).

    EOS ends a translation. A word, where words are searched for, is also ended by what
    begins the next one, all of it together.
    """
    eos = search.ids.eos
    is_eos = (jnp.arange(logits.shape[-1]) == eos)[None]
    if state.boundary is None or state.prefix is None:
        # What filters.forbid_early_end has left of it is no way to end.
        end = jnp.where(logits[:, eos] > filters.LAST_RESORT, logits[:, eos], -jnp.inf)
        return end, jnp.where(is_eos, -jnp.inf, logits)
    _, num_given = given_at(state.prefix, position)
    is_end = jnp.where(position > num_given, state.boundary, is_eos)
    is_end = jnp.repeat(is_end, search.opts.beam_size, axis=0)
    end = selection.log_normalizer(jnp.where(is_end, logits, -jnp.inf))
    return end, jnp.where(is_end, -jnp.inf, logits)


def _go_on(
    going: Hypotheses,
    steps: Float[Array, "B N K"],
    token_ids: Int[Array, "B N K"],
    position: Int[Array, ""],
) -> tuple[Hypotheses, Int[Array, "B N"], Int[Array, "B N"]]:
    """(the best N of the continuations, which hypothesis each comes from, by which
    token)."""
    num_rows, size, num_steps = steps.shape
    wholes = going.log_probability[..., None] + steps
    parents = jnp.broadcast_to(jnp.arange(size)[None, :, None], steps.shape)
    flat = lambda x: x.reshape(num_rows, size * num_steps)  # noqa: E731
    # By log-probability, then by token id, then by parent.
    order = jax.lax.sort(
        (flat(-wholes), flat(token_ids), flat(parents), flat(steps)), num_keys=3
    )
    minus, chosen, parents, step = (column[:, :size] for column in order)

    def inherit(rows: Array, new: Array) -> Array:
        rows = jnp.take_along_axis(rows, parents[..., None], axis=1)
        return jax.lax.dynamic_update_slice_in_dim(
            rows, new[..., None].astype(rows.dtype), position, axis=-1
        )

    new = Hypotheses(
        -minus, inherit(going.tokens, chosen), inherit(going.log_probs, step)
    )
    return new, parents, chosen


def _complete(
    state: BeamState,
    ends: Float[Array, "B N"],
    best: Float[Array, "B N"],
    chosen: Int[Array, "B N"],
    position: Int[Array, ""],
    search: BeamSearch,
) -> tuple[BeamState, Bool[Array, " B"]]:
    """(the state with the hypotheses that end here, which rows are over).

    ends: log-probability of EOS after each hypothesis.
    best, chosen: log-probabilities of the best N that do not end, best first, and the
      tokens that they go on with.
    """
    opts, going = search.opts, state.going
    size = opts.beam_size
    wholes = going.log_probability + ends
    # An ending counts if fewer than N continuations, of either kind, are better.
    mine, theirs = wholes[..., None], best[:, None]
    is_before = (theirs == mine) & (chosen < search.ids.eos)[:, None]
    better = ((theirs > mine) | is_before).sum(axis=-1)
    theirs = wholes[:, None]
    is_before = (theirs == mine) & jnp.tri(size, k=-1, dtype=bool)[None]
    better += ((theirs > mine) | is_before).sum(axis=-1)
    counts = (better < size) & jnp.isfinite(wholes) & state.alive[:, None]
    length = position + 1
    score = jnp.where(counts, wholes / opts.norm(length), -jnp.inf)
    eos = jnp.full_like(going.tokens[..., :1], search.ids.eos)
    put = partial(jax.lax.dynamic_update_slice_in_dim, axis=-1)
    ended = Hypotheses(
        wholes,
        put(going.tokens, eos, position),
        put(going.log_probs, ends[..., None], position),
    )
    # The best N of old and new; of equal ones the older, then the better hypothesis.
    both = jnp.concatenate([state.done_score, score], axis=1)
    places = jnp.broadcast_to(jnp.arange(2 * size)[None], both.shape)
    minus, places = jax.lax.sort((-both, places), num_keys=2)
    places = places[:, :size]

    def pick(old: Array, new: Array) -> Array:
        all_of_them = jnp.concatenate([old, new], axis=1)
        index = places.reshape(*places.shape, *(1,) * (old.ndim - 2))
        return jnp.take_along_axis(all_of_them, index, axis=1)

    lengths = jnp.full(score.shape, length, jnp.int32)
    num_done = state.num_done + counts.sum(axis=1, dtype=jnp.int32)
    state = state.replace(
        done=jax.tree.map(pick, state.done, ended),
        done_score=-minus[:, :size],
        done_length=pick(state.done_length, lengths),
        num_done=num_done,
    )
    is_over = num_done >= size
    if search.stops_early:
        is_over |= ~_can_still_win(state, best[:, 0], search)
    return state, is_over


def _can_still_win(
    state: BeamState, best: Float[Array, " B"], search: BeamSearch
) -> Bool[Array, " B"]:
    """Whether a hypothesis that goes on could still be among those that are given.

    A log-probability only falls, and what it is divided by is largest at the limit of
    length (alpha is not negative). So no continuation of the best one can come to more
    than its log-probability now, divided by the norm at the limit.
    """
    opts = search.opts
    worst_given = state.done_score[:, opts.n_best - 1]
    return worst_given < best / opts.norm(search.limit)
