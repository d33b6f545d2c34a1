"""Attention masks: bool, True = may attend, always [B|1, 1, query|1, key].

Axes: B batch, S source length, T target length, L either length.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

AnyArray = Array | np.ndarray  # what a batch holds, or what JAX made of it


class Masks(NamedTuple):
    """What each of the three attentions may look at."""

    encoder: jax.Array  # [B, 1, 1, S]: every real source token
    decoder: jax.Array  # [B, 1, T, T]: real target tokens, none later than the query
    cross: jax.Array  # [B, 1, 1, S]: every real source token


def keys(real: Bool[AnyArray, "B L"]) -> Bool[Array, "B 1 1 L"]:
    """The mask under which every query attends to the real tokens."""
    return jnp.asarray(real)[:, None, None, :]


def causal(length: int) -> Bool[Array, "1 1 L L"]:
    """True where the key is at or before the query (Vaswani et al. 2017, 3.2.3)."""
    return jnp.tril(jnp.ones((1, 1, length, length), bool))


def causal_row(position: Int[Array, ""], length: int) -> Bool[Array, "1 1 1 L"]:
    """The row of `causal(length)` that belongs to one query position."""
    return (jnp.arange(length) <= position)[None, None, None, :]


def make_masks(
    src_mask: Bool[AnyArray, "B S"], tgt_mask: Bool[AnyArray, "B T"]
) -> Masks:
    """The three masks of a batch, from its real-token vectors."""
    src_keys = keys(src_mask)
    return Masks(
        encoder=src_keys,
        decoder=keys(tgt_mask) & causal(tgt_mask.shape[1]),
        cross=src_keys,
    )
