"""The likeliest tokens and a draw, beside plain NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxformer_mt.decoding import selection

# Groups of 64; of 57; none that fits (a prime); one group; less than a group.
SIZES = [8000, 8037, 8039, 97, 5]

likeliest = jax.jit(selection.likeliest)
top_k = jax.jit(selection.top_k, static_argnums=1)
log_normalizer = jax.jit(selection.log_normalizer)
draw = jax.jit(selection.draw)


def rows_of(size: int, *, ties: bool = False) -> np.ndarray:
    """[6, V] float32; the later ones have ever more places at -inf."""
    rng = np.random.default_rng(size)
    rows = rng.normal(scale=3, size=(6, size))
    if ties:
        rows = np.round(rows) + 0.0  # no -0.0
    for row, share in zip(rows, [0, 0, 0.1, 0.5, 0.99, 1], strict=True):
        row[rng.random(size) < share] = -np.inf
    rows[1, size // 2 :] = -np.inf  # whole groups
    return rows.astype(np.float32)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_the_likeliest_is_the_first_of_the_largest(size, ties):
    rows = rows_of(size, ties=ties)
    values, places = likeliest(rows)
    np.testing.assert_array_equal(values, rows.max(axis=1))
    np.testing.assert_array_equal(places, rows.argmax(axis=1))


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("k", [1, 3, 10, 50])
@pytest.mark.parametrize("size", SIZES)
def test_the_k_likeliest_are_those_of_a_stable_sort(size, k, ties):
    rows = rows_of(size, ties=ties)
    values, places = top_k(rows, k)
    order = np.argsort(-rows, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(places, order)
    np.testing.assert_array_equal(values, np.take_along_axis(rows, order, axis=1))


@pytest.mark.parametrize("size", [5, 8000])
def test_zero_is_zero_whatever_its_sign(size):
    rows = np.full((1, size), -1.0, np.float32)
    rows[0, -3:] = [-0.0, 0.0, -0.0]
    assert likeliest(rows)[1].tolist() == [size - 3]
    assert top_k(rows, 2)[1].tolist() == [[size - 3, size - 2]]


def test_more_than_there_are_gives_them_all():
    values, places = top_k(np.array([[1.0, 3, 2]], np.float32), 99)
    assert values.tolist() == [[3, 2, 1]] and places.tolist() == [[1, 2, 0]]


@pytest.mark.parametrize("sign", [1.0, -1.0])  # a CPU's own NaN has its sign set
@pytest.mark.parametrize("size", SIZES)
def test_a_nan_cannot_hide(size, sign):
    rows = rows_of(size)[:2]
    place = size * 2 // 3
    rows[:, place] = np.copysign(np.float32(np.nan), np.float32(sign))
    values, places = likeliest(rows)
    assert np.isnan(values).all() and (np.asarray(places) == place).all()
    assert np.isnan(log_normalizer(rows)).all()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("shift", [0.0, 5000.0, -5000.0])
def test_the_normalizer_is_the_logarithm_of_the_sum(size, shift):
    rows = rows_of(size)
    rows = (rows + np.float32(shift)).astype(np.float32)
    wide = rows[:5].astype(np.float64)
    largest = wide.max(axis=1, keepdims=True)
    largest[np.isinf(largest)] = 0
    with np.errstate(divide="ignore"):
        expected = np.log(np.exp(wide - largest).sum(axis=1)) + largest[:, 0]
    # A float32 near 5,000 has a step of 0.0005.
    atol = 1e-5 if shift == 0 else 1e-3
    np.testing.assert_allclose(log_normalizer(rows)[:5], expected, atol=atol, rtol=0)
    assert log_normalizer(rows)[5] == -np.inf


@pytest.mark.parametrize("size", SIZES)
def test_a_draw_is_the_inverse_of_the_cumulative_distribution(size):
    rng = np.random.default_rng(0)
    rows = rng.normal(scale=2, size=(256, size)).astype(np.float32)
    rows[:, rng.random(size) < 0.2] = -np.inf
    rows[:, 0] = 0.0
    uniform = rng.random(256).astype(np.float32)
    places = np.asarray(draw(rows, uniform))
    weights = np.exp(rows.astype(np.float64))
    upper = np.cumsum(weights, axis=1) / weights.sum(axis=1, keepdims=True)
    at = np.arange(256)
    lower = upper - weights / weights.sum(axis=1, keepdims=True)
    assert (uniform <= upper[at, places] + 1e-5).all()
    assert (uniform >= lower[at, places] - 1e-5).all()
    assert (rows[at, places] > -np.inf).all()


@pytest.mark.parametrize("size", [5, 97])
def test_places_are_drawn_as_often_as_they_are_likely(size):
    """By chi-square."""
    rng = np.random.default_rng(1)
    row = rng.normal(size=size).astype(np.float32)
    num = 20_000
    rows = jnp.broadcast_to(jnp.asarray(row)[None], (num, size))
    places = draw(rows, rng.random(num).astype(np.float32))
    counts = np.bincount(places, minlength=size)
    weights = np.exp(row.astype(np.float64))
    expected = num * weights / weights.sum()
    chi_square = ((counts - expected) ** 2 / expected).sum()
    free = size - 1  # Wilson and Hilferty's bound for p = 0.001
    assert (
        chi_square < free * (1 - 2 / (9 * free) + 3.09 * (2 / (9 * free)) ** 0.5) ** 3
    )


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("uniform", [0.0, 0.5, 1 - 2**-24])
def test_what_has_no_chance_is_never_drawn(size, uniform):
    rng = np.random.default_rng(2)
    rows = np.full((8, size), -np.inf, np.float32)
    for row in rows[:4]:  # a single place each
        row[rng.integers(size)] = -7.5
    rows[4, 1:-1] = 0.0  # neither the first nor the last
    rows[5, size // 2] = 0.0
    rows[5, size // 2 + 1 :] = -500.0  # whose weight is 0 in float32
    rows[6, [1, size - 2]] = 1.0
    rows[7, :-1] = rng.normal(size=size - 1) * 20
    places = np.asarray(draw(rows, np.full(8, uniform, np.float32)))
    weights = np.exp(rows - rows.max(axis=1, keepdims=True))
    assert (weights[np.arange(8), places] > 0).all()
