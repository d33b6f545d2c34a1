"""Attention by hand, and on rows that may look at nothing."""

import jax
import jax.numpy as jnp
import numpy as np

from flaxformer_mt.model.attention import attention_weights


def test_attention_weights_are_the_softmax_of_scaled_products():
    q = jnp.array([[[[1.0, 0.0, 0.0, 0.0]]]])  # [1, 1, 1, 4]
    k = jnp.array([[[[2.0, 0, 0, 0], [0.0, 5, 0, 0], [9.0, 0, 0, 0]]]])  # [1, 1, 3, 4]
    mask = jnp.array([[[[True, True, False]]]])
    weights = attention_weights(q, k, mask)[0, 0, 0]
    # Scores 2/sqrt(4) = 1 and 0; the third key is masked.
    expected = np.array([np.e, 1.0, 0.0]) / (np.e + 1)
    np.testing.assert_allclose(weights, expected, rtol=1e-6)


def test_a_row_that_may_attend_to_nothing_stays_finite():
    q = k = jnp.ones((1, 1, 2, 4))
    mask = jnp.zeros((1, 1, 1, 2), bool)
    weights, gradient = jax.value_and_grad(
        lambda q: attention_weights(q, k, mask)[..., 0].sum()
    )(q)
    assert np.isfinite(weights) and np.isfinite(gradient).all()
    np.testing.assert_allclose(attention_weights(q, k, mask), 0.5)
