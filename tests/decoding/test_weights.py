"""Parameters in few arrays are the same parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxformer_mt.decoding.step import apply_step, run_step
from flaxformer_mt.decoding.weights import pack, unpack, weights_of
from flaxformer_mt.model.masks import causal_row
from flaxformer_mt.model.transformer import init_params, make_model
from tests.conftest import V, tiny_config

LENGTH = 8


def model_of(tied: str, dtype=jnp.float32):
    cfg = tiny_config(tied_embeddings=tied)
    model = make_model(cfg, src_vocab_size=V, tgt_vocab_size=V, dtype=dtype)
    params = init_params(model, jax.random.key(0))
    # Biases start as zeros, which would hide one that is lost.
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    noisy = [
        leaf + 0.1 * jax.random.normal(key, leaf.shape)
        for key, leaf in zip(keys, leaves, strict=True)
    ]
    return model, jax.tree.unflatten(tree, noisy)


def cache_of(model, params, rows):
    src_ids = np.full((rows, LENGTH), 5, np.int32)
    mask = np.ones((rows, LENGTH), bool)
    where = (src_ids, mask, LENGTH)
    return model.apply({"params": params}, *where, method="start_cache")


def stepped(model, params, packed, rows, **options):
    """(logits of one token, as the model computes them; as a packed step does)."""
    token_ids = np.arange(4, 4 + rows, dtype=np.int32)[:, None]
    position = jnp.int32(0)
    mask = causal_row(position, LENGTH)
    where = (position, cache_of(model, params, rows), mask)
    plain, _ = model.apply({"params": params}, token_ids, *where, method="decode_step")
    step = jax.jit(lambda *given: apply_step(model, *given, **options)[0])
    return plain, step(packed, token_ids, *where)


def test_what_is_packed_comes_back():
    _, params = model_of("none")
    packed = pack(params)
    back = jax.jit(unpack)(packed)
    assert jax.tree.structure(back) == jax.tree.structure(params)
    for one, other in zip(*map(jax.tree.leaves, (params, back)), strict=True):
        np.testing.assert_array_equal(one, other)
    num_vectors = sum(leaf.ndim == 1 for leaf in jax.tree.leaves(params))
    assert num_vectors > 1
    assert (
        len(jax.tree.leaves(packed)) == len(jax.tree.leaves(params)) - num_vectors + 1
    )


@pytest.mark.parametrize("tied", ["none", "target", "all"])
@pytest.mark.parametrize("one_kernel", [False, True])
def test_a_packed_step_computes_the_models_logits(tied, one_kernel):
    model, params = model_of(tied)
    weights = weights_of(params, model)
    assert weights.decoder.output is not None
    rows = 1 if one_kernel else 3
    plain, packed = stepped(model, params, weights.decoder, rows, one_kernel=one_kernel)
    np.testing.assert_allclose(plain, packed, atol=2e-5)


def test_half_precision_keeps_its_bias_in_full():
    model, params = model_of("none", jnp.bfloat16)
    weights = weights_of(params, model)
    assert weights.decoder.output is None
    plain, packed = stepped(model, params, weights.decoder, 2)
    np.testing.assert_allclose(plain, packed, atol=0.05)


def test_a_step_goes_on_where_xla_refuses_to_make_one_kernel(monkeypatch):
    refused: set[str] = set()
    monkeypatch.setattr("flaxformer_mt.decoding.step._refused", refused)
    asked = []

    def program(x, *, one_kernel):
        asked.append(one_kernel)
        if one_kernel:
            raise jax.errors.JaxRuntimeError("UNIMPLEMENTED: not this one")
        return x + 1

    assert run_step(program, 1, rows=1) == 2
    assert run_step(program, 2, rows=1) == 3
    assert run_step(program, 3, rows=2) == 4
    assert asked == [True, False, False, False]
    assert refused
