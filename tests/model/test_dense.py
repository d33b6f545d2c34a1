"""A dense layer that sees all positions as one matrix."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxformer_mt.model.dense import Dense


@pytest.mark.parametrize("shape", [(5,), (3, 5), (2, 3, 5)])
def test_it_is_flax_dense_in_parameters_value_and_gradient(shape):
    x = jax.random.normal(jax.random.key(0), shape)
    ours, theirs = Dense(4), nn.Dense(4)
    params = ours.init(jax.random.key(1), x)
    for a, b in zip(
        jax.tree.leaves_with_path(params),
        jax.tree.leaves_with_path(theirs.init(jax.random.key(1), x)),
        strict=True,
    ):
        assert a[0] == b[0]
        np.testing.assert_array_equal(a[1], b[1])

    def loss(params, x, layer):
        return jnp.sum(jnp.sin(layer.apply(params, x)))

    a, b = (
        jax.value_and_grad(loss, argnums=(0, 1))(params, x, layer)
        for layer in (ours, theirs)
    )
    for one, other in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_the_product_is_in_its_type_and_the_parameters_in_float32():
    layer = Dense(4, dtype=jnp.bfloat16)
    x = jnp.ones((2, 3))
    params = layer.init(jax.random.key(0), x)
    assert layer.apply(params, x).dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}
