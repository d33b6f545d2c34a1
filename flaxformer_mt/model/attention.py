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


# Weights that are there at a time, per device: more than so many leave the cache of a
# core, which doubles the time; few enough are faster all at once.
MOST_WEIGHTS, WEIGHTS_OF_PIECE = 1 << 19, 1 << 17


@jax.custom_vjp
def read(
    q: Float[Array, "B H T K"],
    k: Float[Array, "B H S K"],
    v: Float[Array, "B H S K"],
    mask: Bool[Array, "..."],
) -> Float[Array, "B H T K"]:
    """attention_weights(q, k, mask) @ v, in value and gradient, for training: the
    weights are not kept but computed again for the gradient, a few sentences at a time
    on a CPU (Dao et al. 2022, section 3.1, of which this is the simplest form)."""
    return _read_forward(q, k, v, mask)[0]


def _read_forward(
    q: jax.Array, k: jax.Array, v: jax.Array, mask: jax.Array
) -> tuple[jax.Array, tuple]:
    mask = jnp.broadcast_to(mask, (len(q), *mask.shape[1:]))
    out, *norms = _in_pieces(_read_piece, _rows_of_piece(q, k), q, k, v, mask)
    return out, (q, k, v, mask, out, *norms)


def _read_backward(kept: tuple, gradient: jax.Array) -> tuple:
    q, k, *_ = kept
    rows = _rows_of_piece(q, k)
    return *_in_pieces(_read_piece_gradients, rows, *kept, gradient), None


read.defvjp(_read_forward, _read_backward)

_F32 = {"preferred_element_type": jnp.float32}


def _scores(q: jax.Array, k: jax.Array, mask: jax.Array) -> jax.Array:
    q = q / np.sqrt(q.shape[-1]).astype(q.dtype)
    scores = jnp.einsum("...htk,...hsk->...hts", q, k, **_F32)
    return jnp.where(mask, scores, jnp.finfo(jnp.float32).min)


def _read_piece(
    q: jax.Array, k: jax.Array, v: jax.Array, mask: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """(what is read, the highest score of each query [..., H, T, 1], the logarithm of
    its softmax's sum)."""
    scores = _scores(q, k, mask)
    highest = scores.max(axis=-1, keepdims=True)
    powers = jnp.exp(scores - highest)
    total = powers.sum(axis=-1, keepdims=True)
    out = jnp.einsum("...hts,...hsk->...htk", powers.astype(v.dtype), v, **_F32)
    return (out / total).astype(v.dtype), highest, jnp.log(total)


def _read_piece_gradients(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    mask: jax.Array,
    out: jax.Array,
    highest: jax.Array,
    log_total: jax.Array,
    gradient: jax.Array,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The gradients of q, k and v."""
    # Not highest + log_total, in which float32 would lose the second where all is
    # masked.
    weights = jnp.exp((_scores(q, k, mask) - highest) - log_total)
    of_weights = jnp.einsum("...htk,...hsk->...hts", gradient, v, **_F32)
    # sum(weights * of_weights) of a row, without the product.
    mean = (gradient * out).sum(axis=-1, keepdims=True, dtype=jnp.float32)
    # A masked score has no gradient, not even where its query sees nothing else.
    of_scores = jnp.where(mask, weights * (of_weights - mean), 0.0).astype(q.dtype)
    of_scores /= np.sqrt(q.shape[-1]).astype(q.dtype)
    return (
        jnp.einsum("...hts,...hsk->...htk", of_scores, k),
        _gather_over_queries(of_scores, q),
        _gather_over_queries(weights.astype(v.dtype), gradient),
    )


def _gather_over_queries(weights: jax.Array, x: jax.Array) -> jax.Array:
    """[..., H, S, K], weights^T x; as (x^T weights)^T, whose rows are long, a CPU needs
    a third of the time."""
    return jnp.einsum("...htk,...hts->...hks", x, weights).swapaxes(-1, -2)


def _rows_of_piece(q: jax.Array, k: jax.Array) -> int:
    """Sentences that are read at a time."""
    rows = len(q)
    of_row = q.shape[1] * q.shape[2] * k.shape[2]
    if jax.default_backend() != "cpu" or rows * of_row <= MOST_WEIGHTS:
        return rows
    fit = max(WEIGHTS_OF_PIECE // of_row, 1)
    return max(n for n in range(1, rows + 1) if n <= fit and rows % n == 0)


def _in_pieces(function: Any, size: int, *arrays: jax.Array) -> Any:
    """What the function makes of the arrays' rows, so many at a time."""
    if len(arrays[0]) == size:
        return function(*arrays)
    pieces = tuple(x.reshape(-1, size, *x.shape[1:]) for x in arrays)
    results = jax.lax.map(lambda some: function(*some), pieces)
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), results)


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
