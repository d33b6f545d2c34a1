"""The norm is flax's own, however its sums are made."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxformer_mt.model import layer_norm
from flaxformer_mt.model.layer_norm import LayerNorm, row_mean


@pytest.mark.parametrize("on_cpu", [True, False])
def test_it_is_the_layer_norm_of_flax_in_value_and_gradient(monkeypatch, on_cpu):
    monkeypatch.setattr(layer_norm, "on_cpu", lambda: on_cpu)
    x = jax.random.normal(jax.random.key(0), (3, 5, 96)) * 4 + 2
    ours, theirs = LayerNorm(), nn.LayerNorm(epsilon=1e-5)
    params = ours.init(jax.random.key(1), x)
    params = jax.tree.map(lambda leaf: leaf + jnp.arange(96) / 96, params)

    def loss(norm):
        return lambda params, x: jnp.sum(jnp.square(norm.apply(params, x)) * x)

    for a, b in zip(
        jax.tree.leaves(jax.value_and_grad(loss(ours), (0, 1))(params, x)),
        jax.tree.leaves(jax.value_and_grad(loss(theirs), (0, 1))(params, x)),
        strict=True,
    ):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-4)


def test_statistics_are_float32_where_the_rest_is_bfloat16():
    # 256 and 1 apart: bfloat16, with its 8 bits, could not tell the elements apart.
    x = jnp.array([[256.0, 257.0, 258.0, 259.0]])
    assert float(row_mean(x)[0, 0]) == 257.5
    norm = LayerNorm(dtype=jnp.bfloat16)
    normal = norm.apply(norm.init(jax.random.key(0), x), x)
    assert normal.dtype == jnp.bfloat16
    np.testing.assert_allclose(
        np.float32(normal)[0], [-1.342, -0.447, 0.447, 1.342], atol=0.01
    )
