"""A dense layer that sees all positions of a batch as one matrix.

The gradient of its kernel is a product along the positions. Over two axes, B and L, XLA
puts a transposed copy of the whole batch in front of it on a CPU; over one it needs
none, and is two to three times as fast.
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float


class Dense(nn.Module):
    """x @ kernel + bias over the last axis, as flax.linen.Dense, whose parameters it
    has."""

    features: int
    dtype: Any = jnp.float32  # of the product

    @nn.compact
    def __call__(self, x: Float[Array, "... D"]) -> Float[Array, "... F"]:
        size, features = x.shape[-1], self.features
        kernel = self.param(
            "kernel", nn.initializers.lecun_normal(), (size, features), jnp.float32
        )
        bias = self.param("bias", nn.initializers.zeros_init(), (features,))
        x, kernel, bias = (a.astype(self.dtype) for a in (x, kernel, bias))
        y = x.reshape(-1, size) @ kernel + bias[None]
        return y.reshape(*x.shape[:-1], features)
