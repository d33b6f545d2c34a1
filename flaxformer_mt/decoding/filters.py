"""What changes a token's chance: pure functions logits -> logits, one for each idea.

Axes: B batch, V vocabulary. A token at -inf can never be drawn.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def forbid(
    logits: Float[Array, "B V"], forbidden: Bool[Array, " V"]
) -> Float[Array, "B V"]:
    """Sets the forbidden tokens to -inf."""
    return jnp.where(forbidden[None], -jnp.inf, logits)


def penalize_repetition(
    logits: Float[Array, "B V"], used: Bool[Array, "B V"], penalty: float
) -> Float[Array, "B V"]:
    """Makes used tokens less likely by a penalty above 1 (Keskar et al. 2019, 4.1)."""
    lowered = jnp.where(logits > 0, logits / penalty, logits * penalty)
    return jnp.where(used, lowered, logits)


def scale_temperature(
    logits: Float[Array, "B V"], temperature: float
) -> Float[Array, "B V"]:
    """Sharpens (below 1) or flattens (above 1) the distribution."""
    return logits / temperature


def keep_top_k(logits: Float[Array, "B V"], k: int) -> Float[Array, "B V"]:
    """Sets all but the k largest of each row to -inf; 0, or k above V, keeps all."""
    if k == 0 or k >= logits.shape[-1]:
        return logits
    kth_largest = jax.lax.top_k(logits, k)[0][:, -1:]
    return jnp.where(logits < kth_largest, -jnp.inf, logits)
