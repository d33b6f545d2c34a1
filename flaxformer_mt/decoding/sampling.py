"""Greedy decoding and sampling: one jitted step under a Python loop.

The loop reads nothing from the device but, every few tokens, whether all rows have
ended: waiting after each token would cost a third of the speed.

Axes: B batch, S source width, T target width, V target vocabulary.
"""

import dataclasses
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from flaxformer_mt.decoding.filters import (
    forbid,
    keep_top_k,
    penalize_repetition,
    scale_temperature,
)
from flaxformer_mt.errors import InputError
from flaxformer_mt.model.transformer import DecodeCache, Transformer

TOKENS_BETWEEN_CHECKS = 8
LATER_PIECES = 1 << 30  # beyond any position


@dataclasses.dataclass(frozen=True, kw_only=True)
class SampleOptions:
    """How the next token is chosen."""

    temperature: float = 1.0  # 0 takes the likeliest token: greedy
    top_k: int = 0  # draw among the k likeliest; 0, or more than there are, keeps all
    repetition_penalty: float = 1.0  # above 1 makes already used tokens less likely

    def __post_init__(self) -> None:
        # Beyond a factor of a thousand float32 runs out of numbers.
        usual = lambda value: 1e-3 <= value <= 1e3  # noqa: E731
        for name, is_right, remark in (
            (
                "temperature",
                lambda t: t == 0 or usual(t),
                "0 (greedy) or 0.001 to 1000",
            ),
            ("top_k", lambda k: k >= 0, "at least 0 (0 keeps all)"),
            ("repetition_penalty", usual, "0.001 to 1000 (1 changes nothing)"),
        ):
            value = getattr(self, name)
            if not is_right(value):
                raise InputError(f"{name} must be {remark}; got {value}.")


GREEDY = SampleOptions(temperature=0.0)


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


@struct.dataclass
class SampleState:
    """What one token hands to the next."""

    cache: DecodeCache
    token_ids: jax.Array  # [B] int32, the last token of each row
    used: jax.Array  # [B, V] bool, tokens that a row holds already
    ended: jax.Array  # [B] bool, rows that have had their EOS


@partial(jax.jit, static_argnames=("model", "length"))
def start_cache(
    params: Any, src_ids: jax.Array, src_mask: jax.Array, *, model, length: int
) -> DecodeCache:
    """The cache of a batch of sources, with `length` target slots."""
    return model.apply(
        {"params": params}, src_ids, src_mask, length, method="start_cache"
    )


@partial(jax.jit, static_argnames=("model", "opts", "ids"), donate_argnames="state")
def sample_step(
    params: Any,
    state: SampleState,
    position: jax.Array,
    keys: jax.Array,
    *,
    model: Transformer,
    opts: SampleOptions,
    ids: TokenIds,
) -> SampleState:
    """The state after one more token a row; rows that have ended get PAD."""
    logits, cache = model.apply(
        {"params": params}, state.token_ids, position, state.cache, method="decode_step"
    )
    logits = logits.astype(jnp.float32)
    logits = forbid(logits, jnp.asarray(ids.forbidden(logits.shape[-1])))
    if opts.repetition_penalty != 1.0:
        logits = penalize_repetition(logits, state.used, opts.repetition_penalty)
    if opts.temperature == 0.0:
        drawn = jnp.argmax(logits, axis=-1)
    else:
        logits = scale_temperature(logits, opts.temperature)
        logits = keep_top_k(logits, opts.top_k)
        # One key a row and position: a row's draw does not depend on its neighbours.
        row_keys = jax.vmap(jax.random.fold_in, (0, None))(keys, position)
        drawn = jax.vmap(jax.random.categorical)(row_keys, logits)
    token_ids = jnp.where(state.ended, ids.pad, drawn.astype(jnp.int32))
    rows = jnp.arange(len(token_ids))
    return SampleState(
        cache=cache,
        token_ids=token_ids,
        used=state.used.at[rows, token_ids].set(True),
        ended=state.ended | (token_ids == ids.eos),
    )


def sample(
    params: Any,
    src_ids: np.ndarray,
    src_mask: np.ndarray,
    keys: jax.Array,
    *,
    model: Transformer,
    opts: SampleOptions,
    ids: TokenIds,
    length: int,
) -> np.ndarray:
    """[B, T] int32: the tokens of each row up to its EOS, then PAD; T <= length.

    Args:
      src_ids, src_mask: [B, S]; a row without a real token has ended before it starts.
      keys: [B] jax keys, each derived from the seed and the row's line.
      length: most tokens a row may get, EOS included; a row without EOS was cut short.
    """
    cache = start_cache(params, src_ids, src_mask, model=model, length=length)
    state = SampleState(
        cache=cache,
        token_ids=jnp.full(len(src_ids), ids.bos, jnp.int32),
        used=jnp.zeros((len(src_ids), model.cfg.tgt_vocab_size), bool),
        ended=jnp.asarray(~src_mask.any(axis=1)),
    )
    columns: list[jax.Array] = []
    for position in range(length):
        state = sample_step(
            *(params, state, jnp.asarray(position), keys),
            **{"model": model, "opts": opts, "ids": ids},
        )
        # A copy, because the next step takes the state's own buffers for itself.
        columns.append(jnp.copy(state.token_ids))
        check = len(columns) % TOKENS_BETWEEN_CHECKS == 0
        if check and bool(state.ended.all()):
            break
    tokens = np.stack(jax.device_get(columns), axis=1)
    used_columns = np.flatnonzero((tokens != ids.pad).any(axis=0))
    return tokens[:, : used_columns[-1] + 1 if used_columns.size else 0]


def piece_keys(seed: int, *, lines: list[int], places: list[int]) -> jax.Array:
    """[B] keys: fold_in(key(seed), line), the same whatever else is translated.

    places: a row's place among the pieces of its text; pieces after the first, which
    only texts longer than the model have, fold in a number that is no position.
    """

    def of_piece(line: jax.Array, place: jax.Array) -> jax.Array:
        key = jax.random.fold_in(jax.random.key(seed), line)
        later = jax.random.key_data(jax.random.fold_in(key, LATER_PIECES + place))
        data = jnp.where(place > 0, later, jax.random.key_data(key))
        return jax.random.wrap_key_data(data)

    as_ids = lambda numbers: jnp.asarray(numbers, jnp.uint32)  # noqa: E731
    return jax.vmap(of_piece)(as_ids(lines), as_ids(places))
