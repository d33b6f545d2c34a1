"""Cross-entropy as sums: add them over batches, divide once at the end.

The mean of batch means would count the tokens of short batches twice.
Axes: B batch, T target length, V target vocabulary.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float, Int


@struct.dataclass
class Totals:
    """Sums over real tokens. Any, since leaves are of NumPy once they are fetched."""

    nats: Any  # [] float32
    num_tokens: Any  # [] float32

    def __add__(self, other: "Totals") -> "Totals":
        return jax.tree.map(jnp.add, self, other)

    def mean_loss(self) -> jax.Array:
        """Nats a token; 0 where there was no token."""
        return self.nats / jnp.maximum(self.num_tokens, 1)


def cross_entropy(
    logits: Float[Array, "B T V"],
    label_ids: Int[Array, "B T"],
    mask: Bool[Array, "B T"],
    *,
    label_smoothing: float = 0.0,
) -> Totals:
    """The negative log-likelihood of the labels, over the True positions.

    label_smoothing: share of the target distribution that is spread evenly over the
    vocabulary (Szegedy et al. 2016, section 7).
    """
    log_probs = jax.nn.log_softmax(logits.astype(jnp.float32))
    of_labels = jnp.take_along_axis(log_probs, label_ids[..., None], axis=-1)[..., 0]
    nats = -(1.0 - label_smoothing) * of_labels
    if label_smoothing:
        nats -= label_smoothing * log_probs.mean(axis=-1)
    # where, not a product: a NaN at a padded position would survive times 0.
    return Totals(
        nats=jnp.sum(jnp.where(mask, nats, 0.0)),
        num_tokens=jnp.sum(mask, dtype=jnp.float32),
    )
