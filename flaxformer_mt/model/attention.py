"""Multi-head attention in two verbs: `project_kv` and `attend`.

Training, cross-attention and cached decoding all use the same two, so there is no
decode mode. Heads come before length: [B, H, L, K] is up to twice as fast on a CPU as
[B, L, H, K], because each head's matrix product is then contiguous.

Axes: B batch, T query length, S key length, L either, H heads, K head size, D d_model.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Bool, Float, Int

from flaxformer_mt.config import ModelConfig
from flaxformer_mt.model.dense import Dense
from flaxformer_mt.model.dropout import Dropout


@struct.dataclass
class KV:
    """Keys and values of some positions: arrays of JAX, or of NumPy on their way to
    another batch, or shapes alone."""

    k: Any  # [B, H, L, K]
    v: Any  # [B, H, L, K]

    def write(self, new: "KV", position: Int[Array, ""]) -> "KV":
        """A copy of self with `new` ([B, H, N, K]) stored from `position` on."""

        def put(old: jax.Array, x: jax.Array) -> jax.Array:
            return jax.lax.dynamic_update_slice_in_dim(old, x, position, axis=2)

        return KV(put(self.k, new.k), put(self.v, new.v))


def attention_weights(
    q: Float[Array, "B H T K"], k: Float[Array, "B H S K"], mask: Bool[Array, "..."]
) -> Float[Array, "B H T S"]:
    """softmax(q k^T / sqrt(K)) over the keys (Vaswani et al. 2017, eq. 1).

    mask: [B|1, 1, T|1, S], True = may attend. A row that may attend to nothing gets
    uniform weights, not NaN: it is filled with the lowest finite number, not with -inf.
    The softmax is computed in float32 and comes back in the queries' type.
    """
    q = q / np.sqrt(q.shape[-1]).astype(q.dtype)
    scores = jnp.einsum("bhtk,bhsk->bhts", q, k, preferred_element_type=jnp.float32)
    scores = jnp.where(mask, scores, jnp.finfo(jnp.float32).min)
    return jax.nn.softmax(scores, axis=-1).astype(q.dtype)


@jax.custom_vjp
def read(
    q: Float[Array, "B H T K"],
    k: Float[Array, "B H S K"],
    v: Float[Array, "B H S K"],
    mask: Bool[Array, "..."],
) -> Float[Array, "B H T K"]:
    """attention_weights(q, k, mask) @ v, in value and gradient, for training: the
    weights are not kept but computed again for the gradient (Dao et al. 2022, section
    3.1, of which this is the simplest form).

    Keys and values enter products with their positions in a row, [K, S]: a row of K,
    which is 8 in a small model, is too short for a CPU.
    """
    return _read_forward(q, k, v, mask)[0]


_F32 = {"preferred_element_type": jnp.float32}


def _scores(q: jax.Array, k: jax.Array, mask: jax.Array) -> jax.Array:
    q = q / np.sqrt(q.shape[-1]).astype(q.dtype)
    scores = jnp.einsum("bhtk,bhks->bhts", q, k.swapaxes(-1, -2), **_F32)
    return jnp.where(mask, scores, jnp.finfo(jnp.float32).min)


def _read_forward(
    q: jax.Array, k: jax.Array, v: jax.Array, mask: jax.Array
) -> tuple[jax.Array, tuple]:
    scores = _scores(q, k, mask)
    highest = scores.max(axis=-1, keepdims=True)
    powers = jnp.exp(scores - highest)
    total = powers.sum(axis=-1, keepdims=True)
    columns = v.swapaxes(-1, -2)
    out = jnp.einsum("bhts,bhks->bhtk", powers.astype(v.dtype), columns, **_F32)
    out = (out / total).astype(v.dtype)
    return out, (q, k, v, mask, out, highest, total)


def _read_backward(kept: tuple, gradient: jax.Array) -> tuple:
    q, k, v, mask, out, highest, total = kept
    powers = jnp.exp(_scores(q, k, mask) - highest)
    # The weights are powers / total; the factor goes to the small side of products.
    gradient = gradient.astype(jnp.float32) / total
    # sum(weights * of_weights) of a row, without the product.
    mean = (gradient * out).sum(axis=-1, keepdims=True, dtype=jnp.float32)
    gradient = gradient.astype(v.dtype)
    of_weights = jnp.einsum("bhtk,bhks->bhts", gradient, v.swapaxes(-1, -2), **_F32)
    # A masked score has no gradient, not even where its query sees nothing else.
    of_scores = jnp.where(mask, powers * (of_weights - mean), 0.0).astype(q.dtype)
    scale = np.sqrt(q.shape[-1]).astype(q.dtype)
    return (
        jnp.einsum("bhts,bhks->bhtk", of_scores, k.swapaxes(-1, -2)) / scale,
        _gather_over_queries(of_scores, q / scale),
        _gather_over_queries(powers.astype(v.dtype), gradient),
        None,
    )


def _gather_over_queries(weights: jax.Array, x: jax.Array) -> jax.Array:
    """[B, H, S, K], weights^T x, as (x^T weights)^T."""
    columns = jnp.einsum("bhkt,bhts->bhks", x.swapaxes(-1, -2), weights)
    return columns.swapaxes(-1, -2)


read.defvjp(_read_forward, _read_backward)


class MultiHeadAttention(nn.Module):
    """Vaswani et al. 2017, section 3.2.2, with the queries' side and the keys' side
    apart: `attend(x, project_kv(memory), mask)`."""

    cfg: ModelConfig
    dtype: Any = jnp.float32

    def setup(self) -> None:
        d_model = self.cfg.d_model
        self.query, self.key, self.value, self.out = (
            Dense(d_model, name=name, dtype=self.dtype)
            for name in ("query", "key", "value", "out")
        )
        self.dropout = Dropout(self.cfg.attention_dropout_rate)

    def split_heads(self, x: Float[Array, "B L D"]) -> Float[Array, "B H L K"]:
        """The heads of each position, heads first."""
        batch, length, d_model = x.shape
        heads = self.cfg.num_heads
        return x.reshape(batch, length, heads, d_model // heads).swapaxes(1, 2)

    def project_kv(self, x: Float[Array, "B L D"]) -> KV:
        """What `x` offers to be attended to."""
        return KV(self.split_heads(self.key(x)), self.split_heads(self.value(x)))

    def attend(
        self,
        x: Float[Array, "B T D"],
        kv: KV,
        mask: Bool[Array, "..."],
        *,
        deterministic: bool = True,
    ) -> Float[Array, "B T D"]:
        """What each position of `x` reads from `kv` under the mask."""
        q = self.split_heads(self.query(x))
        if deterministic or self.cfg.attention_dropout_rate:
            weights = attention_weights(q, kv.k, mask)
            # Kept only where "intermediates" are asked for, as scoring.attention does.
            self.sow("intermediates", "weights", weights)
            weights = self.dropout(weights, deterministic=deterministic)
            seen = jnp.einsum("bhts,bhsk->bhtk", weights, kv.v)
        else:
            seen = read(q, kv.k, kv.v, mask)
        return self.out(seen.swapaxes(1, 2).reshape(x.shape))
