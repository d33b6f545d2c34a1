"""Cross-entropy as sums: add them over batches, divide once at the end.

The mean of batch means would count the tokens of short batches twice.
Axes: B batch, T target length, D d_model, V target vocabulary; P pieces of
N rows.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Bool, Float, Int

from flaxformer_mt.model.layer_norm import row_sum
from flaxformer_mt.model.processor import on_cpu


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
    """Nats a token over many batches: sums, of each device or of all, added on the
    host, divided once."""
    fetched = jax.device_get(list(sums))
    nats, num_tokens = np.sum(
        [
            (np.sum(t.nats, dtype=float), np.sum(t.num_tokens, dtype=float))
            for t in fetched
        ],
        axis=0,
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


# Rows of logits that are computed at a time: on a CPU their [N, V] float32 stay near
# the cache, while products are still large. Small vocabularies need no pieces. A GPU
# has no such cache, but its memory has an end too.
ROWS_AT_A_TIME = 192
SMALL_LOGITS, SMALL_ON_A_GPU = 1 << 22, 1 << 26  # numbers
GROUPS = 16  # a row's maximum is taken over so many groups first


@functools.partial(jax.custom_vjp, nondiff_argnums=(5,))
def output_loss(
    hidden: jax.Array,
    kernel: jax.Array,
    bias: jax.Array,
    label_ids: jax.Array,
    mask: jax.Array,
    label_smoothing: float = 0.0,
) -> tuple[jax.Array, Totals]:
    """(nats with smoothing, Totals without) of logits = hidden @ kernel + bias, which,
    where they are many, are never there all at once, and on a CPU not at all where all
    is padding.

    What `cross_entropy` of those logits gives, in value and gradient. The gradient of
    each piece is made while its logits are at hand: the output layer of a small model
    with a large vocabulary, half of its step, then costs little beyond its three
    matrix products. Only the first result has a gradient.

    Args:
      hidden: [B, T, D]; kernel: [D, V]; bias: [V]; label_ids, mask: [B, T].
      label_smoothing: as in `cross_entropy`.
    """
    rows = _rows_of(hidden, label_ids, mask, kernel.shape[1])
    kernel, bias = kernel.astype(hidden.dtype), bias.astype(jnp.float32)
    mean = _smoothing_means(kernel, bias)

    def add(number: jax.Array, sums: tuple) -> tuple:
        losses, _ = _piece_loss(
            *rows.piece(number), kernel, bias, mean, label_smoothing
        )
        return jax.tree.map(jnp.add, sums, losses)

    smoothed, nats = rows.over_pieces(add, tuple(jnp.zeros(2)))
    return smoothed, Totals(nats, jnp.sum(mask, dtype=jnp.float32))


def _output_loss_fwd(
    hidden: jax.Array,
    kernel: jax.Array,
    bias: jax.Array,
    label_ids: jax.Array,
    mask: jax.Array,
    label_smoothing: float,
) -> tuple[tuple[jax.Array, Totals], tuple]:
    """The loss, and its gradient with respect to the first three arguments."""
    d_model, size = kernel.shape
    types = hidden.dtype, kernel.dtype, bias.dtype
    rows = _rows_of(hidden, label_ids, mask, size)
    kernel, bias = kernel.astype(hidden.dtype), bias.astype(jnp.float32)
    mean = _smoothing_means(kernel, bias)

    def add(number: jax.Array, sums: tuple) -> tuple:
        h, _, real = piece = rows.piece(number)
        losses, (powers, total) = _piece_loss(
            *piece, kernel, bias, mean, label_smoothing
        )
        # d nats / d logits = softmax - target; the softmax is powers / total, and is
        # never written out: its factor goes to the small side of each product.
        share = real.astype(jnp.float32)[:, None] / total  # [N, 1]
        weighted = (h * share).astype(h.dtype)
        powers = powers.astype(h.dtype)
        d_kernel = jnp.einsum("nv,nd->dv", powers, weighted, **_F32)
        d_bias = jnp.einsum("nv,n->v", powers, share[:, 0].astype(h.dtype), **_F32)
        d_rows = jnp.einsum("nv,dv->nd", powers, kernel, **_F32) * share
        *sums, all_rows = sums
        sums = jax.tree.map(jnp.add, tuple(sums), (losses, d_kernel, d_bias))
        return *sums, rows.put(all_rows, number, d_rows)

    empty = jnp.zeros((d_model, size)), jnp.zeros(size), jnp.zeros(rows.hidden.shape)
    ((smoothed, nats), d_kernel, d_bias, d_rows) = rows.over_pieces(
        add, (tuple(jnp.zeros(2)), *empty)
    )
    d_hidden = rows.back(d_rows, hidden.shape)
    # The target of the softmax: the labels, and a little of everything.
    real = mask.astype(jnp.float32)
    seen = (real[..., None] * hidden.astype(jnp.float32)).reshape(-1, d_model)
    labels = label_ids.reshape(-1)
    on_label = 1.0 - label_smoothing
    d_hidden -= on_label * real[..., None] * kernel.T[label_ids].astype(jnp.float32)
    by_label = jnp.zeros((size, d_model)).at[labels].add(on_label * seen)
    d_kernel -= by_label.T
    d_bias -= jnp.zeros(size).at[labels].add(on_label * real.reshape(-1))
    if label_smoothing:
        d_hidden -= label_smoothing * real[..., None] * mean[0][None, None]
        d_kernel -= (label_smoothing / size) * seen.sum(axis=0)[:, None]
        d_bias -= (label_smoothing / size) * real.sum()
    gradients = d_hidden, d_kernel, d_bias
    gradients = tuple(x.astype(t) for x, t in zip(gradients, types, strict=True))
    totals = Totals(nats, jnp.sum(mask, dtype=jnp.float32))
    return (smoothed, totals), gradients


def _output_loss_bwd(
    label_smoothing: float, gradients: tuple, cotangents: tuple
) -> tuple:
    factor, _ = cotangents  # Totals are told, not learned from
    return *(factor.astype(g.dtype) * g for g in gradients), None, None


output_loss.defvjp(_output_loss_fwd, _output_loss_bwd)

_F32 = {"preferred_element_type": jnp.float32}


def _piece_loss(
    hidden: Float[Array, "N D"],
    label_ids: Int[Array, " N"],
    mask: Bool[Array, " N"],
    kernel: Float[Array, "D V"],
    bias: Float[Array, " V"],
    mean: tuple[jax.Array, jax.Array],
    label_smoothing: float,
) -> tuple[tuple[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]:
    """((nats with smoothing, nats), (exp(logits - max) [N, V], its sums [N, 1])) of one
    piece."""
    logits = jnp.einsum("nd,dv->nv", hidden, kernel, **_F32) + bias[None]
    highest = _row_max(logits)
    powers = jnp.exp(logits - highest)
    total = row_sum(powers)
    log_total = (jnp.log(total) + highest)[:, 0]
    hidden = hidden.astype(jnp.float32)
    columns = kernel.T[label_ids].astype(jnp.float32)  # [N, D]
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


def _row_max(x: Float[Array, "N V"]) -> Float[Array, "N 1"]:
    """The maximum over the last axis; on a CPU first over groups side by side, which it
    does many at a time, then within one."""
    width = x.shape[-1] // GROUPS if on_cpu() else 0
    rest = x[:, GROUPS * width :]
    if width:
        groups = [x[:, i * width : (i + 1) * width] for i in range(GROUPS)]
        rest = jnp.concatenate([rest, functools.reduce(jnp.maximum, groups)], axis=-1)
    return rest.max(axis=-1, keepdims=True)


@dataclasses.dataclass(frozen=True)
class _Rows:
    """The target positions of a batch one below the other, on a CPU real ones first,
    and the pieces that they are computed in."""

    hidden: jax.Array  # [P * N, D]
    label_ids: jax.Array  # [P * N]
    mask: jax.Array  # [P * N]
    pieces: int  # P
    place: jax.Array | None  # [B * T], where each position stands; None: in order

    def piece(self, number: jax.Array) -> tuple[jax.Array, ...]:
        """The rows of one piece, [N, ...] each."""
        arrays = self.hidden, self.label_ids, self.mask
        if self.pieces == 1:
            return arrays
        size = len(self.mask) // self.pieces
        return tuple(
            jax.lax.dynamic_slice_in_dim(x, number * size, size) for x in arrays
        )

    def put(self, rows: jax.Array, number: jax.Array, piece: jax.Array) -> jax.Array:
        """The rows with those of one piece put among them."""
        start = number * len(piece)
        return jax.lax.dynamic_update_slice_in_dim(rows, piece, start, axis=0)

    def over_pieces(self, add: Callable[[jax.Array, Any], Any], start: Any) -> Any:
        """What `add(number, sums)` makes of the start, over all pieces, or over those
        that hold a real position where these stand first."""
        if self.pieces == 1:
            return add(jnp.zeros((), jnp.int32), start)
        if self.place is None:
            return jax.lax.fori_loop(0, self.pieces, add, start)
        size = len(self.mask) // self.pieces
        needed = -(-jnp.sum(self.mask, dtype=jnp.int32) // size)
        return jax.lax.fori_loop(0, needed, add, start)

    def back(self, rows: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        """[B, T, D] again."""
        rows = rows[: math.prod(shape[:-1])] if self.place is None else rows[self.place]
        return rows.reshape(shape)


def _rows_of(
    hidden: jax.Array, label_ids: jax.Array, mask: jax.Array, size: int
) -> _Rows:
    """The rows of a batch, in one piece where the logits are few, and as they are on a
    GPU, which would have to ask the host how many pieces of sorted ones it needs."""
    arrays = [x.reshape(-1, *x.shape[2:]) for x in (hidden, label_ids, mask)]
    real, cpu = arrays[-1], on_cpu()
    numbers = len(real) * size
    if numbers <= (SMALL_LOGITS if cpu else SMALL_ON_A_GPU):
        return _Rows(*arrays, pieces=1, place=None)
    pieces = -(-len(real) // ROWS_AT_A_TIME) if cpu else -(-numbers // SMALL_ON_A_GPU)
    place = _real_first(real) if cpu else None
    if place is not None:
        order = jnp.zeros_like(place).at[place].set(jnp.arange(len(place)))
        arrays = [x[order] for x in arrays]
    spare = -len(real) % pieces
    filled = (jnp.pad(x, ((0, spare), *((0, 0),) * (x.ndim - 1))) for x in arrays)
    return _Rows(*filled, pieces=pieces, place=place)


def _real_first(real: Bool[Array, " N"]) -> Int[Array, " N"]:
    """Where each position stands when all real ones come first, in their order."""
    behind = jnp.cumsum(real)[-1] + jnp.cumsum(~real) - 1
    return jnp.where(real, jnp.cumsum(real) - 1, behind)
