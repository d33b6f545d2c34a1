"""Attention as one kernel of a GPU, there and back, for training: a candidate.

Written as operations one after another, attention moves its [T, S] weights through the
memory of a GPU a dozen times, and turns queries, keys and values around to have heads
first: a quarter of the time of a step at `base` (docs/performance.md). Sentences are
short, so all weights of one head of one sentence fit into the registers of one block of
threads, and none of them need be written anywhere (Dao et al. 2022, with a single
tile). The gradient makes them again, dropout included, from what it was given.

It is right (tests interpret it on the CPU, and JAX translates it for a GPU), but no GPU
has run it yet: `python -m experiments.benchmark_candidates` does, and only what it
shows to be faster belongs into the package.

Axes: B batch, T query length, S key length, H heads, K head size, D = H * K.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import pallas as pl
from jaxtyping import Array, Bool, Float, UInt32

from flaxformer_mt.model.attention import KV, MultiHeadAttention
from flaxformer_mt.model.dropout import hash_of

try:
    from jax.experimental.pallas import triton
except ImportError:  # newer versions of JAX say that they will drop it
    triton = None

LONGEST = 128  # positions of a side whose weights fit into registers
HEAD_SIZES = (16, 32, 64, 128)


def fits(num_queries: int, num_keys: int, head_size: int) -> bool:
    """Whether there is a kernel for such a head."""
    short = max(num_queries, num_keys) <= LONGEST
    return short and head_size in HEAD_SIZES and triton is not None


@functools.partial(jax.custom_vjp, nondiff_argnums=(5,))
def fused_read(
    q: Float[Array, "B T D"],
    k: Float[Array, "B S D"],
    v: Float[Array, "B S D"],
    mask: Bool[Array, "..."],
    words: UInt32[Array, "3"],
    plan: "Plan",
) -> Float[Array, "B T D"]:
    """dropout(attention_weights(q, k, mask)) @ v, of all heads side by side.

    Args:
      mask: [B|1, 1, T|1, S], True = may attend.
      words: the data of a `row_key`; an element's bits are those that `hash_bits` has
        for its place in [B, H, T, S].
    """
    return _read_forward(q, k, v, mask, words, plan)[0]


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a kernel is compiled for, beside the shapes."""

    num_heads: int
    rate: float  # of dropout
    interpret: bool = False  # for tests without a GPU


def _read_forward(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    mask: jax.Array,
    words: jax.Array,
    plan: Plan,
) -> tuple[jax.Array, tuple]:
    [out] = _call(_forward_kernel, (q, k, v), (), (q,), mask, words, plan)
    return out, (q, k, v, mask, words)


def _read_backward(plan: Plan, kept: tuple, gradient: jax.Array) -> tuple:
    q, k, v, mask, words = kept
    inputs = (q, k, v), (gradient,)
    return *_call(_backward_kernel, *inputs, (q, k, v), mask, words, plan), None, None


fused_read.defvjp(_read_forward, _read_backward)


def _call(
    kernel: Any,
    inputs: Sequence[jax.Array],
    gradients: Sequence[jax.Array],
    outputs: Sequence[jax.Array],
    mask: jax.Array,
    words: jax.Array,
    plan: Plan,
) -> Sequence[jax.Array]:
    """Runs a kernel for each head of each sentence.

    A block of threads works on arrays whose sizes are powers of two: what is beyond the
    end of a side is neither read nor written.
    """
    (rows, queries, d_model), keys = inputs[0].shape, inputs[1].shape[1]
    size = d_model // plan.num_heads
    padded = {n: max(pl.next_power_of_2(n), 16) for n in (queries, keys)}

    def of_head(x: Any) -> pl.BlockSpec:
        """[L, K] of a [B, L, D]."""
        return pl.BlockSpec((None, padded[x.shape[1]], size), lambda b, h: (b, 0, h))

    several_rows, _, several_queries, _ = (n > 1 for n in mask.shape)
    mask_block = (None, None, padded[queries] if several_queries else 1, padded[keys])
    of_mask = pl.BlockSpec(mask_block, lambda b, h: (b if several_rows else 0, 0, 0, 0))
    of_words = pl.BlockSpec((4,), lambda b, h: (0,))
    head = _Head(queries, keys, plan)
    large = max(padded.values()) > 64
    return pl.pallas_call(
        functools.partial(kernel, head),
        grid=(rows, plan.num_heads),
        in_specs=[of_words, of_mask, *map(of_head, (*inputs, *gradients))],
        out_specs=list(map(of_head, outputs)),
        out_shape=[jax.ShapeDtypeStruct(x.shape, x.dtype) for x in outputs],
        compiler_params=triton.CompilerParams(num_warps=8 if large else 4),
        interpret=plan.interpret,
        name=kernel.__name__.strip("_"),
    )(jnp.pad(words, (0, 1)), mask.astype(jnp.int8), *inputs, *gradients)


@dataclasses.dataclass(frozen=True)
class _Head:
    """One head of one sentence, as a kernel sees it."""

    queries: int  # T
    keys: int  # S
    plan: Plan

    def load(self, ref: Any, length: int) -> jax.Array:
        """[L, K], zeros beyond the end."""
        return _load(ref, self._real(ref, length))

    def store(self, ref: Any, x: jax.Array, length: int) -> None:
        """Writes the rows up to the end."""
        triton.store(ref, x.astype(ref.dtype), mask=self._real(ref, length))

    def _real(self, ref: Any, length: int) -> jax.Array | None:
        if ref.shape[0] == length:
            return None
        return jnp.arange(ref.shape[0])[:, None] < length

    def weights(
        self, words: Any, mask: Any, q: jax.Array, k: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """(the softmax, where it may be above 0, what dropout makes of ones): all
        [T, S] float32."""
        shape = len(q), len(k)
        seen = jnp.broadcast_to(_load(mask, self._there(mask)) != 0, shape)
        scores = _dot(q, k.T) / np.float32(np.sqrt(q.shape[1]))
        # A row without anything to attend to has uniform weights, as in
        # attention_weights; places beyond the end have none.
        scores = jnp.where(seen, scores, np.finfo(np.float32).min)
        inside = jax.lax.broadcasted_iota(jnp.int32, shape, 1) < self.keys
        scores = jnp.where(inside, scores, -np.inf)
        powers = jnp.exp(scores - scores.max(axis=1)[:, None])
        softmax = powers / powers.sum(axis=1)[:, None]
        return softmax, seen, self._dropped(words, shape)

    def _there(self, mask: Any) -> jax.Array | None:
        """Which places of a mask's block are there."""
        rows, columns = mask.shape
        inside = jax.lax.broadcasted_iota(jnp.int32, mask.shape, 1) < self.keys
        if rows > self.queries:
            row = jax.lax.broadcasted_iota(jnp.int32, mask.shape, 0)
            return inside & (row < self.queries)
        return None if columns == self.keys else inside

    def _dropped(self, words: Any, shape: tuple[int, int]) -> jax.Array:
        rate = self.plan.rate
        if not rate:
            return jnp.ones(shape, jnp.float32)
        row, head = (pl.program_id(axis).astype(jnp.uint32) for axis in (0, 1))
        t, s = (jax.lax.broadcasted_iota(jnp.uint32, shape, axis) for axis in (0, 1))
        first = (row + words[2]) * np.uint32(self.plan.num_heads) + head
        first = first * np.uint32(self.queries * self.keys)
        counter = first + t * np.uint32(self.keys) + s
        threshold = np.uint32(min(round(rate * 2**32), 2**32 - 1))
        kept = hash_of(counter, words[0], words[1]) >= threshold
        return jnp.where(kept, np.float32(1 / (1 - rate)), 0.0)


def _forward_kernel(
    head: _Head, words: Any, mask: Any, q: Any, k: Any, v: Any, out: Any
) -> None:
    q, k = head.load(q, head.queries), head.load(k, head.keys)
    softmax, _, dropped = head.weights(words, mask, q, k)
    v = head.load(v, head.keys)
    head.store(out, _dot((softmax * dropped).astype(v.dtype), v), head.queries)


def _backward_kernel(head: _Head, *refs: Any) -> None:
    words, mask, q, k, v, gradient, of_q, of_k, of_v = refs
    q, k, v = (
        head.load(x, n) for x, n in ((q, head.queries), (k, head.keys), (v, head.keys))
    )
    gradient = head.load(gradient, head.queries)
    softmax, seen, dropped = head.weights(words, mask, q, k)
    head.store(of_v, _dot((softmax * dropped).astype(v.dtype).T, gradient), head.keys)
    of_weights = _dot(gradient, v.T) * dropped
    mean = (of_weights * softmax).sum(axis=1)
    of_scores = softmax * (of_weights - mean[:, None])
    # A masked score has no gradient, not even where its query sees nothing else.
    of_scores = jnp.where(seen, of_scores, 0.0) / np.float32(np.sqrt(q.shape[1]))
    of_scores = of_scores.astype(q.dtype)
    head.store(of_q, _dot(of_scores, k), head.queries)
    head.store(of_k, _dot(of_scores.T, q), head.keys)


def _load(ref: Any, there: jax.Array | None) -> jax.Array:
    """The block, zeros where nothing is there."""
    return ref[...] if there is None else triton.load(ref, mask=there, other=0)


def _dot(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.dot(a, b, preferred_element_type=jnp.float32)


def attend(
    layer: MultiHeadAttention,
    x: Float[Array, "B T D"],
    kv: KV,
    mask: Bool[Array, "..."],
    *,
    deterministic: bool = True,
    interpret: bool = False,
) -> Float[Array, "B T D"]:
    """What MultiHeadAttention.attend returns, by the kernel where there is one."""
    q, rate = layer.split_heads(layer.query(x)), layer.cfg.attention_dropout_rate
    if deterministic or not fits(q.shape[2], kv.k.shape[2], q.shape[3]):
        return _attend(layer, x, kv, mask, deterministic=deterministic)

    def join(x: jax.Array) -> jax.Array:  # [B, H, L, K] -> [B, L, D]
        return x.swapaxes(1, 2).reshape(x.shape[0], x.shape[2], -1)

    words = jnp.zeros(3, jnp.uint32)
    if rate:
        words = jax.random.key_data(layer.dropout.make_rng("dropout"))
    plan = Plan(layer.cfg.num_heads, rate, interpret)
    return layer.out(fused_read(*map(join, (q, kv.k, kv.v)), mask, words, plan))


_attend = MultiHeadAttention.attend
