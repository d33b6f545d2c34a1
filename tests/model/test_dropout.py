"""Dropout from hashed bits: the right share, scaled, reproducible."""

import jax
import jax.numpy as jnp
import numpy as np

from flaxformer_mt.model.dropout import Dropout, hash_bits

X = jnp.ones((64, 50, 32))


def drop(seed: int, rate: float = 0.1) -> np.ndarray:
    rngs = {"dropout": jax.random.key(seed)}
    return np.asarray(Dropout(rate).apply({}, X, deterministic=False, rngs=rngs))


def test_dropout_keeps_the_mean_and_drops_its_share():
    x = drop(0)
    assert abs((x == 0).mean() - 0.1) < 0.004  # four standard deviations
    np.testing.assert_allclose(x[x != 0], 1 / 0.9, rtol=1e-6)


def test_the_same_key_drops_the_same_elements_and_another_key_others():
    np.testing.assert_array_equal(drop(1), drop(1))
    both = (drop(1) == 0) & (drop(2) == 0)
    assert abs(both.mean() - 0.01) < 0.002  # independent: a tenth of a tenth


def test_dropout_is_off_when_deterministic_or_at_rate_zero():
    assert Dropout(0.5).apply({}, X, deterministic=True) is X
    assert Dropout(0.0).apply({}, X, deterministic=False) is X


def test_hashed_bits_are_even_and_neighbours_do_not_follow_each_other():
    bits = np.asarray(hash_bits(jax.random.key(3), (1 << 16,)))
    ones = np.unpackbits(bits.view(np.uint8)).mean()
    assert abs(ones - 0.5) < 0.002
    values = bits / 2**32
    assert abs(np.corrcoef(values[:-1], values[1:])[0, 1]) < 0.02
    assert len(np.unique(bits)) > 0.9999 * len(bits)
