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


class MultiHeadAttention(nn.Module):
    """Vaswani et al. 2017, section 3.2.2, with the queries' side and the keys' side
    apart: `attend(x, project_kv(memory), mask)`."""

    cfg: ModelConfig
    dtype: Any = jnp.float32

    def setup(self) -> None:
        d_model = self.cfg.d_model
        self.query, self.key, self.value, self.out = (
            nn.Dense(d_model, name=name, dtype=self.dtype)
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
        weights = attention_weights(self.split_heads(self.query(x)), kv.k, mask)
        # Kept only where somebody asks for "intermediates", as scoring.attention does.
        self.sow("intermediates", "weights", weights)
        weights = self.dropout(weights, deterministic=deterministic)
        read = jnp.einsum("bhts,bhsk->bhtk", weights, kv.v).swapaxes(1, 2)
        return self.out(read.reshape(x.shape))
