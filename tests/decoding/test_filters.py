"""Each filter on a row that one can read."""

import jax.numpy as jnp
import numpy as np
import pytest

from flaxformer_mt.decoding.filters import (
    forbid,
    keep_top_k,
    penalize_repetition,
    scale_temperature,
)

INF = np.inf
ROW = jnp.array([[2.0, -2.0, 1.0, 0.0]])


def test_a_forbidden_token_can_never_be_drawn():
    forbidden = jnp.array([True, False, False, True])
    np.testing.assert_array_equal(forbid(ROW, forbidden), [[-INF, -2.0, 1.0, -INF]])


def test_a_used_token_becomes_less_likely_whatever_its_sign():
    used = jnp.array([[True, True, False, False]])
    np.testing.assert_allclose(
        penalize_repetition(ROW, used, 2.0), [[1.0, -4.0, 1.0, 0.0]]
    )


def test_a_penalty_leaves_a_forbidden_token_forbidden():
    row, used = jnp.array([[-INF, 1.0]]), jnp.array([[True, False]])
    np.testing.assert_array_equal(penalize_repetition(row, used, 1.2), [[-INF, 1.0]])


def test_temperature_divides():
    np.testing.assert_allclose(scale_temperature(ROW, 0.5), [[4.0, -4.0, 2.0, 0.0]])


@pytest.mark.parametrize(
    ("k", "expected"),
    [
        (1, [[2.0, -INF, -INF, -INF]]),
        (2, [[2.0, -INF, 1.0, -INF]]),
        (0, [[2.0, -2.0, 1.0, 0.0]]),
        (4, [[2.0, -2.0, 1.0, 0.0]]),
        (99, [[2.0, -2.0, 1.0, 0.0]]),
    ],
)
def test_top_k_keeps_the_k_largest(k, expected):
    np.testing.assert_array_equal(keep_top_k(ROW, k), expected)
