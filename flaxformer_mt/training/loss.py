"""Cross-entropy as sums: add them over batches, divide once at the end.

The mean of batch means would count the tokens of short batches twice.
Axes: B batch, T target length, D d_model, V target vocabulary; N rows of one piece.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
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


def mean_of(sums: Sequence[Totals]) -> float:
    """Nats a token over many batches: sums added on the host, divided once."""
    fetched = jax.device_get(list(sums))
    nats, num_tokens = np.sum(
        [(float(t.nats), float(t.num_tokens)) for t in fetched], axis=0
    )
    return float(nats / num_tokens)


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


# Rows of logits that are computed at a time: their [N, V] float32 stay near the cache,
# while the matrix products are still large. Small vocabularies need no pieces.
ROWS_AT_A_TIME = 1024
SMALL_LOGITS = 1 << 22  # numbers
GROUPS = 16  # a row's maximum is taken over so many groups first


@functools.partial(jax.custom_vjp, nondiff_argnums=(5, 6))
def output_loss(
    hidden: jax.Array,
    kernel: jax.Array,
    bias: jax.Array,
    label_ids: jax.Array,
    mask: jax.Array,
    label_smoothing: float = 0.0,
    num_shards: int = 1,
) -> tuple[jax.Array, Totals]:
    """(nats with smoothing, Totals without) of logits = hidden @ kernel + bias, which
    are never there all at once.

    What `cross_entropy` of those logits gives, in value and gradient. The gradient of
    each piece is made while its logits are at hand: the output layer of a small model
    with a large vocabulary, half of its step, then costs little beyond its three
    matrix products. Only the first result has a gradient.

    Args:
      hidden: [B, T, D]; kernel: [D, V]; bias: [V]; label_ids, mask: [B, T].
      label_smoothing: as in `cross_entropy`.
      num_shards: devices that the rows lie on; each adds up its own gradients first.
    """
    pieces = _pieces(hidden, label_ids, mask, kernel.shape[1], num_shards)
    kernel, bias = kernel.astype(hidden.dtype), bias.astype(jnp.float32)
    mean = _smoothing_means(kernel, bias)

    def add(sums: tuple, piece: tuple) -> tuple[tuple, None]:
        new, _ = _piece_loss(*piece, kernel, bias, mean, label_smoothing)
        return jax.tree.map(jnp.add, sums, new), None

    zero = jnp.zeros(())
    (smoothed, nats), _ = _over(add, (zero, zero), pieces)
    return smoothed, Totals(nats, jnp.sum(mask, dtype=jnp.float32))


def _output_loss_fwd(
    hidden: jax.Array,
    kernel: jax.Array,
    bias: jax.Array,
    label_ids: jax.Array,
    mask: jax.Array,
    label_smoothing: float,
    num_shards: int,
) -> tuple[tuple[jax.Array, Totals], tuple]:
    """The loss, and its gradient with respect to the first three arguments."""
    d_model, size = kernel.shape
    types = hidden.dtype, kernel.dtype, bias.dtype
    pieces = _pieces(hidden, label_ids, mask, size, num_shards)
    kernel, bias = kernel.astype(hidden.dtype), bias.astype(jnp.float32)
    mean = _smoothing_means(kernel, bias)

    def add(sums: tuple, piece: tuple) -> tuple[tuple, jax.Array]:
        losses, (powers, total) = _piece_loss(
            *piece, kernel, bias, mean, label_smoothing
        )
        h, _, real = piece
        # d nats / d logits = softmax - target; the softmax is powers / total, and is
        # never written out: its factor goes to the small side of each product.
        share = real.astype(jnp.float32)[..., None] / total  # [G, N, 1]
        weighted = (h * share).astype(h.dtype)
        powers = powers.astype(h.dtype)
        # A group of rows for each device, so that devices add up among themselves
        # once, at the end.
        d_kernel = jnp.einsum("gnv,gnd->gdv", powers, weighted, **_F32)
        d_bias = jnp.einsum("gnv,gn->gv", powers, share[..., 0].astype(h.dtype), **_F32)
        d_hidden = jnp.einsum("gnv,dv->gnd", powers, kernel, **_F32) * share
        sums = jax.tree.map(jnp.add, sums, (losses, d_kernel, d_bias))
        return sums, d_hidden

    zero = jnp.zeros(())
    empty = jnp.zeros((num_shards, d_model, size)), jnp.zeros((num_shards, size))
    ((smoothed, nats), *sums), d_pieces = _over(add, ((zero, zero), *empty), pieces)
    d_kernel, d_bias = (x.sum(axis=0) for x in sums)
    d_hidden = _unpiece(d_pieces, hidden.shape)
    # The target of the softmax: the labels, and a little of everything.
    real = mask.astype(jnp.float32)
    rows = (real[..., None] * hidden.astype(jnp.float32)).reshape(-1, d_model)
    labels = label_ids.reshape(-1)
    on_label = 1.0 - label_smoothing
    d_hidden -= on_label * real[..., None] * kernel.T[label_ids].astype(jnp.float32)
    by_label = jnp.zeros((size, d_model)).at[labels].add(on_label * rows)
    d_kernel -= by_label.T
    d_bias -= jnp.zeros(size).at[labels].add(on_label * real.reshape(-1))
    if label_smoothing:
        d_hidden -= label_smoothing * real[..., None] * mean[0][None, None]
        d_kernel -= (label_smoothing / size) * rows.sum(axis=0)[:, None]
        d_bias -= (label_smoothing / size) * real.sum()
    gradients = d_hidden, d_kernel, d_bias
    gradients = tuple(x.astype(t) for x, t in zip(gradients, types, strict=True))
    totals = Totals(nats, jnp.sum(mask, dtype=jnp.float32))
    return (smoothed, totals), gradients


def _output_loss_bwd(
    label_smoothing: float, num_shards: int, gradients: tuple, cotangents: tuple
) -> tuple:
    factor, _ = cotangents  # Totals are told, not learned from
    return *(factor.astype(g.dtype) * g for g in gradients), None, None


output_loss.defvjp(_output_loss_fwd, _output_loss_bwd)

_F32 = {"preferred_element_type": jnp.float32}


def _piece_loss(
    hidden: Float[Array, "G N D"],
    label_ids: Int[Array, "G N"],
    mask: Bool[Array, "G N"],
    kernel: Float[Array, "D V"],
    bias: Float[Array, " V"],
    mean: tuple[jax.Array, jax.Array],
    label_smoothing: float,
) -> tuple[tuple[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]:
    """((nats with smoothing, nats), (exp(logits - max) [G, N, V], its sums [G, N, 1]))
    of one piece."""
    logits = jnp.einsum("gnd,dv->gnv", hidden, kernel, **_F32) + bias[None, None]
    highest = _row_max(logits)
    powers = jnp.exp(logits - highest)
    # As a product with ones: see model/layer_norm.py.
    ones = jnp.ones((powers.shape[-1], 1))
    total = jnp.dot(powers, ones, precision=jax.lax.Precision.HIGHEST)
    log_total = (jnp.log(total) + highest)[..., 0]
    hidden = hidden.astype(jnp.float32)
    columns = kernel.T[label_ids].astype(jnp.float32)  # [G, N, D]
    nats = log_total - ((hidden * columns).sum(axis=-1) + bias[label_ids])
    smoothed = nats
    if label_smoothing:
        # The mean over the vocabulary of all logits of a row, without them.
        even = log_total - (hidden @ mean[0] + mean[1])
        smoothed = (1.0 - label_smoothing) * nats + label_smoothing * even
    sums = tuple(jnp.sum(jnp.where(mask, x, 0.0)) for x in (smoothed, nats))
    return sums, (powers, total)


def _smoothing_means(kernel: jax.Array, bias: jax.Array) -> tuple[jax.Array, jax.Array]:
    return kernel.astype(jnp.float32).mean(axis=1), bias.mean()


def _row_max(x: Float[Array, "G N V"]) -> Float[Array, "G N 1"]:
    """The maximum over the last axis: first over groups side by side, which a CPU does
    many at a time, then within one."""
    width = x.shape[-1] // GROUPS
    rest = x[..., GROUPS * width :]
    if width:
        groups = [x[..., i * width : (i + 1) * width] for i in range(GROUPS)]
        rest = jnp.concatenate([rest, functools.reduce(jnp.maximum, groups)], axis=-1)
    return rest.max(axis=-1, keepdims=True)


def _width_of_pieces(rows: int, length: int, size: int) -> int:
    """Target positions that a piece takes of each row: the fewest positions are
    computed for nothing, then the most at a time."""
    if rows * length * size <= SMALL_LOGITS:
        return length
    most = max(min(length, ROWS_AT_A_TIME // max(rows, 1)), 1)
    widths = range(max(most // 2, 1), most + 1)
    return min(widths, key=lambda width: (-(-length // width) * width, -width))


def _pieces(
    hidden: jax.Array, label_ids: jax.Array, mask: jax.Array, size: int, num_shards: int
) -> tuple[jax.Array, ...]:
    """[P, G, N, ...] each: P pieces of some target positions, of all rows, which lie in
    G groups, one a device."""
    rows, length = label_ids.shape
    width = _width_of_pieces(rows // num_shards, length, size)
    number = -(-length // width)

    def cut(x: jax.Array) -> jax.Array:
        spare = ((0, 0), (0, number * width - length)) + ((0, 0),) * (x.ndim - 2)
        x = jnp.pad(x, spare)
        x = x.reshape(num_shards, rows // num_shards, number, width, *x.shape[2:])
        x = jnp.moveaxis(x, 2, 0)
        return x.reshape(number, num_shards, -1, *x.shape[4:])

    return cut(hidden), cut(label_ids), cut(mask)


def _unpiece(pieces: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """[B, T, D] out of what `_pieces` made of it."""
    rows, length, d_model = shape
    number, num_shards = pieces.shape[:2]
    x = pieces.reshape(number, num_shards, rows // num_shards, -1, d_model)
    x = jnp.moveaxis(x, 0, 2)
    return x.reshape(rows, -1, d_model)[:, :length]


def _over(function: Any, start: tuple, pieces: tuple) -> tuple:
    """`lax.scan`, without a loop where there is one piece."""
    if pieces[0].shape[0] > 1:
        return jax.lax.scan(function, start, pieces)
    end, result = function(start, tuple(x[0] for x in pieces))
    return end, None if result is None else result[None]
