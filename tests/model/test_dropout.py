"""Dropout from hashed bits: the right share, scaled, reproducible."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxformer_mt.model.dropout import Dropout, hash_bits, row_key

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


def test_rows_have_the_same_bits_whatever_is_computed_beside_them():
    key = jax.random.key(5)
    whole = np.asarray(hash_bits(row_key(key), (6, 4, 3)))
    np.testing.assert_array_equal(whole, hash_bits(key, (6, 4, 3)))
    for first, rows in ((0, 2), (2, 1), (3, 3)):
        part = hash_bits(row_key(key, first), (rows, 4, 3))
        np.testing.assert_array_equal(part, whole[first : first + rows])


def test_a_name_folded_into_a_key_of_rows_gives_other_bits_of_the_same_rows():
    key = row_key(jax.random.key(5))
    names = [jax.random.fold_in(key, name) for name in range(50)]
    bits = np.stack([hash_bits(name, (8, 64)) for name in [key, *names]])
    assert len(np.unique(bits)) > 0.9999 * bits.size
    values = bits.reshape(len(bits), -1) / 2**32
    between = np.corrcoef(values)[np.triu_indices(len(bits), 1)]
    assert np.abs(between).max() < 0.25  # 1,275 pairs of 512 numbers
    later = jax.random.fold_in(row_key(jax.random.key(5), 3), 7)
    np.testing.assert_array_equal(
        hash_bits(later, (2, 64)), hash_bits(names[7], (5, 64))[3:]
    )


def test_a_key_of_rows_is_for_dropout_alone():
    with pytest.raises(TypeError, match="read by hash_bits"):
        jax.random.uniform(row_key(jax.random.key(5)))
