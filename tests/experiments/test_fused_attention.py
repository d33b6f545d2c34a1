"""Candidates for a GPU, the kernel interpreted on the CPU: they compute what the
package computes, dropout's bits included."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import fused_attention
from experiments.benchmark_candidates import in_place
from experiments.fused_attention import Plan, fused_read
from flaxformer_mt.model.attention import MultiHeadAttention, attention_weights
from flaxformer_mt.model.dropout import hash_bits, row_key
from flaxformer_mt.model.layer_norm import LayerNorm
from flaxformer_mt.model.masks import causal, keys
from tests.conftest import tiny_config

HEADS, SIZE, ROWS = 2, 16, 3


def plain_read(q, k, v, mask, key, rate):
    """The same from operations one after another."""

    def split(x):
        return x.reshape(*x.shape[:2], HEADS, -1).swapaxes(1, 2)

    q, k, v = map(split, (q, k, v))
    weights = attention_weights(q, k, mask)
    if rate:
        kept = hash_bits(key, weights.shape) >= jnp.uint32(round(rate * 2**32))
        weights = jnp.where(kept, weights / (1 - rate), 0.0)
    read = jnp.einsum("bhts,bhsk->bhtk", weights, v)
    return read.swapaxes(1, 2).reshape(*read.shape[:1], read.shape[2], -1)


def some_inputs(queries, num_keys, dtype=jnp.float32):
    draws = jax.random.split(jax.random.key(0), 4)
    lengths = (queries, num_keys, num_keys, queries)
    return [
        jax.random.normal(draw, (ROWS, n, HEADS * SIZE)).astype(dtype)
        for draw, n in zip(draws, lengths, strict=True)
    ]


def some_mask(kind, queries, num_keys):
    """Rows that are full, short, and empty."""
    real = jnp.arange(num_keys)[None] < jnp.array([num_keys, 5, 0])[:, None]
    if kind == "keys":
        return keys(real)
    assert queries == num_keys
    return keys(real) & causal(queries)


CASES = [
    ("keys", 16, 16, 0.0),
    ("keys", 24, 40, 0.3),  # neither is a power of two
    ("keys", 5, 128, 0.1),
    ("both", 24, 24, 0.0),
    ("both", 64, 64, 0.3),
]


@pytest.mark.parametrize(("kind", "queries", "num_keys", "rate"), CASES)
def test_the_kernel_reads_what_the_plain_operations_read(kind, queries, num_keys, rate):
    """In value and in all gradients, at the second row of a larger batch."""
    *inputs, gradient = some_inputs(queries, num_keys)
    mask = some_mask(kind, queries, num_keys)
    key = row_key(jax.random.key(7), 2)
    plan = Plan(num_heads=HEADS, rate=rate, interpret=True)

    def fused(q, k, v):
        return fused_read(q, k, v, mask, jax.random.key_data(key), plan)

    def plain(q, k, v):
        return plain_read(q, k, v, mask, key, rate)

    ours, ours_back = jax.vjp(fused, *inputs)
    theirs, theirs_back = jax.vjp(plain, *inputs)
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    if rate:  # not by dropping nothing
        without = plain_read(*inputs, mask, key, 0.0)
        assert np.abs(ours - without).max() > 0.1
    for a, b in zip(ours_back(gradient), theirs_back(gradient), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_products_are_made_in_bfloat16_where_the_model_is():
    *inputs, gradient = some_inputs(16, 16, jnp.bfloat16)
    plan = Plan(num_heads=HEADS, rate=0.0, interpret=True)
    mask, words = some_mask("both", 16, 16), jnp.zeros(3, jnp.uint32)
    out, back = jax.vjp(lambda *x: fused_read(*x, mask, words, plan), *inputs)
    wide = [x.astype(jnp.float32) for x in inputs]
    expected = plain_read(*wide, mask, None, 0.0)
    assert out.dtype == jnp.bfloat16
    np.testing.assert_allclose(np.float32(out), expected, rtol=0.03, atol=0.03)
    assert {x.dtype for x in back(gradient)} == {jnp.dtype(jnp.bfloat16)}


@pytest.mark.filterwarnings("ignore:The Pallas Triton backend is deprecated")
@pytest.mark.parametrize(("kind", "queries", "num_keys", "rate"), CASES)
def test_the_kernels_can_be_made_for_a_gpu(kind, queries, num_keys, rate):
    """As far as can be told without one: JAX translates them to Triton's language."""
    *inputs, gradient = some_inputs(queries, num_keys, jnp.bfloat16)
    mask, words = some_mask(kind, queries, num_keys), jnp.zeros(3, jnp.uint32)
    plan = Plan(num_heads=HEADS, rate=rate)

    def both_ways(*arguments):
        out, back = jax.vjp(lambda *x: fused_read(*x, mask, words, plan), *arguments)
        return out, back(gradient)

    traced = jax.jit(both_ways).trace(*inputs)
    try:
        text = traced.lower(lowering_platforms=("cuda",)).as_text()
    except RuntimeError as error:  # of JAX 0.11 and later
        pytest.skip(f"this version of JAX does not do so without a GPU: {error}")
    assert text.count("stablehlo.custom_call @__gpu$xla.gpu.triton") == 2


@pytest.mark.parametrize("rate", [0.0, 0.2])
def test_a_layer_with_the_kernel_is_the_layer(monkeypatch, rate):
    cfg = tiny_config(d_model=HEADS * SIZE, num_heads=HEADS)
    cfg = type(cfg)(**{**vars(cfg), "attention_dropout_rate": rate})
    layer, x = MultiHeadAttention(cfg), some_inputs(12, 12)[0]
    mask = some_mask("both", 12, 12)

    def attend(layer, x):
        return layer.attend(x, layer.project_kv(x), mask, deterministic=False)

    params = layer.init(jax.random.key(0), x, method=attend)

    def loss(params):
        rngs = {"dropout": row_key(jax.random.key(3))}
        return jnp.square(layer.apply(params, x, rngs=rngs, method=attend)).sum()

    expected = jax.value_and_grad(loss)(params)

    def interpreted(*arguments, **more):
        return fused_attention.attend(*arguments, **more, interpret=True)

    monkeypatch.setattr(MultiHeadAttention, "attend", interpreted)
    fused = jax.value_and_grad(loss)(params)
    for a, b in zip(jax.tree.leaves(fused), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_long_sentences_and_small_heads_are_left_to_the_plain_operations():
    assert fused_attention.fits(64, 128, 64)
    assert not fused_attention.fits(64, 129, 64)
    assert not fused_attention.fits(64, 64, 8)


def test_without_triton_there_is_no_kernel(monkeypatch):
    monkeypatch.setattr(fused_attention, "triton", None)
    assert not fused_attention.fits(64, 64, 64)


def test_the_norm_with_its_own_gradient_is_the_norm():
    x = jax.random.normal(jax.random.key(0), (3, 5, 96)) * 4 + 2
    norm = LayerNorm()
    params = norm.init(jax.random.key(1), x)
    params = jax.tree.map(lambda leaf: leaf + jnp.arange(96) / 96, params)

    def loss(params, x):
        return jnp.sum(jnp.square(norm.apply(params, x)) * x)

    plain = jax.value_and_grad(loss, (0, 1))(params, x)
    with in_place("norm"):
        lean = jax.value_and_grad(loss, (0, 1))(params, x)
        assert "custom_vjp" in str(jax.make_jaxpr(loss)(params, x))
    assert "custom_vjp" not in str(jax.make_jaxpr(loss)(params, x))
    for a, b in zip(jax.tree.leaves(lean), jax.tree.leaves(plain), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-4)
