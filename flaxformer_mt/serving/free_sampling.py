"""Sampling whose options are numbers of the state: one program for all requests.

A `Sampler` is compiled for its options, which takes seconds; people who move a slider
would wait for it each time, and a server would come to hold a program for every value
that anyone ever sent. A `FreeSampler` draws the same way, and from the same random
numbers, but with options that come along as an array.

Axes: B rows, L target places, V target vocabulary.
"""

import dataclasses
import functools
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Bool, Float, Int

from flaxformer_mt.decoding import filters, selection
from flaxformer_mt.decoding.frames import Rows
from flaxformer_mt.decoding.sampling import (
    SampleOptions,
    Sampler,
    SampleState,
    allow_prefix,
    put,
    start,
    token_before,
)
from flaxformer_mt.decoding.search import HashedOnce, Output, TokenIds
from flaxformer_mt.decoding.step import apply_step
from flaxformer_mt.decoding.weights import Packed
from flaxformer_mt.model.masks import causal_row
from flaxformer_mt.model.transformer import Transformer

NAMES = ("temperature", "repetition_penalty", "top_k", "top_p", "min_p")
HALVINGS = 32  # of the int32 numbers, until one is left


@struct.dataclass
class FreeState(SampleState):
    """A SampleState with its options beside it."""

    numbers: jax.Array  # [B, 5] float32, in the order of NAMES


@dataclasses.dataclass(frozen=True)
class FreeSampler(HashedOnce):
    """Sampling, as `search.decode` asks for it. Two that differ in their numbers alone
    are equal, so that they share their programs."""

    model: Transformer
    ids: TokenIds
    numbers: np.ndarray = dataclasses.field(compare=False)  # [5] float32

    @classmethod
    def of(
        cls, model: Transformer, ids: TokenIds, opts: SampleOptions
    ) -> "FreeSampler":
        """One for these options, of which it has those in NAMES."""
        numbers = np.array([getattr(opts, name) for name in NAMES], np.float32)
        return cls(model, ids, numbers)

    # The decorator would write one that hashes the model every time.
    __hash__ = HashedOnce.__hash__

    @functools.cached_property
    def _hash(self) -> int:
        return hash((FreeSampler, self.model, self.ids))

    def start(self, params: Any, rows: Rows) -> FreeState:
        """The state of a batch before its first token."""
        state = start(params, rows, model=self.model, scored=True)
        numbers = jnp.broadcast_to(
            jnp.asarray(self.numbers)[None], (len(state.alive), len(NAMES))
        )
        fields = {
            field.name: getattr(state, field.name)
            for field in dataclasses.fields(SampleState)
        }
        return FreeState(**fields, numbers=numbers)

    def step(self, params: Packed, state: FreeState, position: Any) -> FreeState:
        """The state after one more token a row."""
        return free_step(params, state, position, sampler=self)

    def outputs(self, state: FreeState, row: int) -> list[Output]:
        """The one translation of a row, from a state on the host."""
        return Sampler(self.model, SampleOptions(), self.ids, True).outputs(state, row)


@partial(jax.jit, static_argnames="sampler", donate_argnames="state")
def free_step(
    params: Packed,
    state: FreeState,
    position: Int[Array, ""],
    *,
    sampler: FreeSampler,
) -> FreeState:
    """The state after one more token a row; rows that have ended stay as they are."""
    model, ids = sampler.model, sampler.ids
    last = token_before(state.tokens, position, bos=ids.bos)
    raw, cache = apply_step(
        *(model, params, last[:, None], position, state.cache),
        causal_row(position, state.tokens.shape[1]),
    )
    raw = raw[:, 0].astype(jnp.float32)  # [B, V]
    logits = filters.forbid(raw, jnp.asarray(ids.forbidden(raw.shape[-1])))
    temperature, penalty, *kept = (
        state.numbers[:, i : i + 1] for i in range(len(NAMES))
    )
    used = filters.used_in_window(state.tokens, position, 0, raw.shape[-1])
    logits = _penalize(logits, used, penalty)
    logits = allow_prefix(logits, state.prefix, state.opening, position, raw)
    best, likeliest = selection.likeliest(logits)
    drawn = _draw(logits, temperature, *kept, state.keys, position)
    drawn = jnp.where(temperature[:, 0] == 0, likeliest, drawn)
    # A row without a number to go by ends here, and is reported.
    failed = state.alive & ~jnp.isfinite(best)
    drawn = jnp.where(failed, ids.eos, drawn)
    drawn = jnp.where(state.alive, drawn, 0)
    chosen = jnp.take_along_axis(raw, drawn[:, None], axis=1)[:, 0]
    chosen -= selection.log_normalizer(raw)
    return state.replace(
        cache=cache,
        tokens=put(state.tokens, drawn, position),
        lengths=state.lengths + state.alive.astype(jnp.int32),
        alive=state.alive & (drawn != ids.eos),
        failed=state.failed | failed,
        log_probs=put(state.log_probs, chosen, position),
    )


def _penalize(
    logits: Float[Array, "B V"], used: Bool[Array, "B V"], penalty: Float[Array, "B 1"]
) -> Float[Array, "B V"]:
    """filters.penalize_repetition with a penalty a row."""
    lowered = jnp.where(logits > 0, logits / penalty, logits * penalty)
    return jnp.where(used, lowered, logits)


def _draw(
    logits: Float[Array, "B V"],
    temperature: Float[Array, "B 1"],
    top_k: Float[Array, "B 1"],
    top_p: Float[Array, "B 1"],
    min_p: Float[Array, "B 1"],
    keys: Array,
    position: Int[Array, ""],
) -> Int[Array, " B"]:
    """A token of each row at random, after its temperature and what it keeps."""
    logits = logits / jnp.where(temperature == 0, 1.0, temperature)
    logits = _keep_top_k(logits, top_k)
    logits = _keep_top_p(logits, top_p)
    bound = logits.max(axis=-1, keepdims=True) + jnp.log(min_p) - filters.ROUNDING
    logits = jnp.where(logits < bound, -jnp.inf, logits)  # log(0) bounds nothing
    row_keys = jax.random.wrap_key_data(keys)
    row_keys = jax.vmap(jax.random.fold_in, (0, None))(row_keys, position)
    return selection.draw(logits, jax.vmap(jax.random.uniform)(row_keys))


def _keep_top_k(
    logits: Float[Array, "B V"], k: Float[Array, "B 1"]
) -> Float[Array, "B V"]:
    """The k likeliest, with those that are as likely as the last of them; 0 keeps
    all."""
    k = jnp.where(k == 0, logits.shape[-1], k)
    return _keep_share(logits, jnp.ones_like(logits), k)


def _keep_top_p(
    logits: Float[Array, "B V"], p: Float[Array, "B 1"]
) -> Float[Array, "B V"]:
    """The fewest likeliest that have a probability of p together, and their equals."""
    chances = jax.nn.softmax(logits, axis=-1)
    # Above 0, so that one is kept however small the share is.
    least = jnp.finfo(jnp.float32).tiny
    kept = _keep_share(logits, chances, jnp.maximum(p - filters.ROUNDING, least))
    return jnp.where(p >= 1, logits, kept)


def _keep_share(
    logits: Float[Array, "B V"], mass: Float[Array, "B V"], needed: Float[Array, "B 1"]
) -> Float[Array, "B V"]:
    """The fewest likeliest tokens whose mass comes to what is needed; all where it
    never does. The threshold is found by halving, as one looks up a word."""
    order = _order(logits)

    def halve(i: Int[Array, ""], low: Int[Array, "B 1"]) -> Int[Array, "B 1"]:
        middle = low + jnp.left_shift(jnp.int32(1), HALVINGS - 1 - i)
        found = jnp.where(order >= middle, mass, 0.0).sum(axis=-1, keepdims=True)
        return jnp.where(found >= needed, middle, low)

    lowest = jnp.full((len(order), 1), -(1 << 31), jnp.int32)
    threshold = jax.lax.fori_loop(0, HALVINGS, halve, lowest)
    return jnp.where(order >= threshold, logits, -jnp.inf)


def _order(logits: Float[Array, "B V"]) -> Int[Array, "B V"]:
    """Integers in the order of the float32 logits; see filters."""
    bits = jax.lax.bitcast_convert_type(jnp.where(logits == 0, 0.0, logits), jnp.int32)
    return jnp.where(bits < 0, bits ^ 0x7FFFFFFF, bits)
