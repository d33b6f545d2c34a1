"""Each filter on a row that one can read, and beside plain NumPy on random ones."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from flaxformer_mt.decoding.filters import (
    forbid,
    forbid_early_end,
    forbid_repeated_ngrams,
    keep_min_p,
    keep_top_k,
    keep_top_p,
    penalize_repetition,
    scale_temperature,
    used_in_window,
)

top_k = jax.jit(keep_top_k, static_argnums=1)
top_p = jax.jit(keep_top_p, static_argnums=1)
min_p = jax.jit(keep_min_p, static_argnums=1)
without_ngrams = jax.jit(forbid_repeated_ngrams, static_argnums=(3, 4))
used_before = jax.jit(used_in_window, static_argnums=(2, 3))

INF = np.inf
ROW = jnp.array([[2.0, -2.0, 1.0, 0.0]])
EOS = 1


def log(*probabilities: float) -> jax.Array:
    """[1, V]: one row of logits."""
    with np.errstate(divide="ignore"):
        return jnp.asarray(np.log([probabilities]), jnp.float32)


def possible(logits: jax.Array) -> list[list[int]]:
    """The tokens of each row that can be drawn."""
    assert not np.isnan(logits).any()
    return [np.flatnonzero(row > -INF).tolist() for row in np.asarray(logits)]


def at(position: int) -> jax.Array:
    return jnp.asarray(position, jnp.int32)


# The same in plain NumPy and float64, a row at a time.


class Options(NamedTuple):
    """Those of SampleOptions that make a distribution out of logits."""

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0


TUTORIAL = Options(repetition_penalty=1.2)


def reference_distribution(logits, used, options) -> np.ndarray:
    """[B, V] float64 probabilities: penalty, temperature, top-k, top-p, min-p.

    Args:
      logits: [B, V], forbidden tokens at -inf.
      used: [B, V] bool, the tokens to penalize.
      options: Options, or anything with its fields.
    """
    logits = np.asarray(logits, np.float64)
    penalty = options.repetition_penalty
    lowered = np.where(logits > 0, logits / penalty, logits * penalty)
    logits = np.where(used, lowered, logits)
    if options.temperature == 0:
        return np.eye(logits.shape[1])[logits.argmax(axis=1)]
    rows = []
    for row in logits / options.temperature:
        for keep, value in (
            (reference_top_k, options.top_k),
            (reference_top_p, options.top_p),
            (reference_min_p, options.min_p),
        ):
            row = np.where(keep(row, value), row, -INF)
        rows.append(softmax(row))
    return np.stack(rows)


def softmax(row: np.ndarray) -> np.ndarray:
    weights = np.exp(row - row.max())
    return weights / weights.sum()


def likeliest_first(row: np.ndarray) -> np.ndarray:
    return np.argsort(-row, kind="stable")  # of equal ones the lower id


def reference_top_k(row: np.ndarray, k: int) -> np.ndarray:
    return np.isin(np.arange(len(row)), likeliest_first(row)[: k or len(row)])


def reference_top_p(row: np.ndarray, p: float) -> np.ndarray:
    probabilities, sum_ = softmax(row), 0.0
    kept = np.full(len(row), p == 1)
    for token in likeliest_first(row):
        kept[token] = True
        sum_ += probabilities[token]
        if sum_ >= p - 1e-6:  # 0.5 + 0.3 is 0.8, whatever the last digit says
            break
    return kept


def reference_min_p(row: np.ndarray, p: float) -> np.ndarray:
    return softmax(row) >= p * softmax(row).max() * (1 - 1e-6)


def reference_used(tokens, position, window, vocab_size) -> np.ndarray:
    first = max(0, position - window) if window else 0
    return np.array([np.isin(range(vocab_size), row[first:position]) for row in tokens])


def reference_repeats(tokens, position, n, vocab_size) -> np.ndarray:
    """[B, V] bool: the tokens that would complete an n-gram a second time."""
    repeats = np.zeros((len(tokens), vocab_size), bool)
    for row, past in enumerate(np.asarray(tokens)[:, :position].tolist()):
        ngrams = {tuple(past[s : s + n]) for s in range(position - n + 1)}
        last = tuple(past[position - n + 1 :])
        repeats[row] = [(*last, token) in ngrams for token in range(vocab_size)]
    return repeats


# Random rows. Quarters are exact in float32, and few of them make many ties. One width
# and few bounds, because each of them is compiled.


@st.composite
def random_logits(draw) -> np.ndarray:
    """[2, 30] float32 with ties and forbidden tokens; each row has a possible one."""
    spread = draw(st.sampled_from([1, 4, 40]))
    quarters = draw(arrays(np.int32, (2, 30), elements=st.integers(-spread, spread)))
    forbidden = draw(arrays(bool, (2, 30)))
    assume((~forbidden).any(axis=1).all())
    return np.where(forbidden, -INF, quarters / 4).astype(np.float32)


@st.composite
def random_tokens(draw) -> tuple[np.ndarray, int]:
    """[3, 8] int32 of five tokens, which repeat themselves, and a position."""
    tokens = draw(arrays(np.int32, (3, 8), elements=st.integers(0, 4)))
    return tokens, draw(st.integers(0, 8))


@partial(jax.jit, static_argnums=2)
def filtered(logits: jax.Array, used: jax.Array, options: Options) -> jax.Array:
    """[B, V] probabilities by the filters, in the same order as the reference."""
    logits = penalize_repetition(logits, used, options.repetition_penalty)
    logits = scale_temperature(logits, options.temperature)
    logits = keep_top_k(logits, options.top_k)
    logits = keep_top_p(logits, options.top_p)
    return jax.nn.softmax(keep_min_p(logits, options.min_p))


# Forbidding.


def test_a_forbidden_token_can_never_be_drawn():
    forbidden = jnp.array([True, False, False, True])
    np.testing.assert_array_equal(forbid(ROW, forbidden), [[-INF, -2.0, 1.0, -INF]])


@pytest.mark.parametrize(("position", "ends"), [(0, False), (2, False), (3, True)])
def test_no_translation_ends_before_its_least_length(position, ends):
    logits = forbid_early_end(ROW, at(position), 3, EOS)
    assert (jax.nn.softmax(logits)[0, EOS] > 0) == ends
    np.testing.assert_array_equal(logits[0, [0, 2, 3]], ROW[0, [0, 2, 3]])


def test_a_row_that_can_only_end_may_end_early():
    rows = jnp.array([[-INF, 0.0, -INF], [-INF, 0.0, 1.0]])
    chances = jax.nn.softmax(forbid_early_end(rows, at(0), 3, EOS))
    np.testing.assert_array_equal(chances, [[0, 1, 0], [0, 0, 1]])


def test_an_end_that_is_forbidden_stays_so_before_the_least_length():
    rows = jnp.array([[0.0, -INF]])
    np.testing.assert_array_equal(forbid_early_end(rows, at(0), 3, EOS), rows)


@pytest.mark.parametrize(
    ("n", "position", "expected"),
    [
        # 2 3 4 2 3: a 4 would make 2 3 4 for the second time.
        (3, 5, [0, 1, 2, 3, 5]),
        (2, 5, [0, 1, 2, 3, 5]),
        (2, 4, [0, 1, 2, 4, 5]),
        (4, 5, [0, 1, 2, 3, 4, 5]),
        (1, 5, [0, 1, 5]),
        (1, 0, [0, 1, 2, 3, 4, 5]),
        # 2 3 4 2 3 0 0: 0 0 is there, and overlaps the next one.
        (2, 7, [1, 2, 3, 4, 5]),
        (99, 5, [0, 1, 2, 3, 4, 5]),
    ],
)
def test_no_ngram_comes_a_second_time(n, position, expected):
    tokens = jnp.array([[2, 3, 4, 2, 3, 0, 0, 0]])
    logits = without_ngrams(jnp.zeros((1, 6)), tokens, at(position), n, EOS)
    assert possible(logits) == [expected]


def test_the_end_is_possible_where_all_else_would_repeat():
    tokens = jnp.array([[0, 2, 1, 3]])
    assert possible(without_ngrams(ROW, tokens, at(4), 1, EOS)) == [[EOS]]


@given(random_tokens(), st.sampled_from([1, 2, 3, 8, 9]))
def test_ngrams_are_forbidden_as_in_numpy(tokens_and_position, n):
    tokens, position = tokens_and_position
    logits = without_ngrams(jnp.zeros((3, 6)), tokens, at(position), n, 5)
    repeats = reference_repeats(tokens, position, n, 6)
    np.testing.assert_array_equal(logits == -INF, repeats)


# Repetition.


def test_a_used_token_becomes_less_likely_whatever_its_sign():
    used = jnp.array([[True, True, False, False]])
    np.testing.assert_allclose(
        penalize_repetition(ROW, used, 2.0), [[1.0, -4.0, 1.0, 0.0]]
    )


def test_a_penalty_leaves_a_forbidden_token_forbidden():
    row, used = jnp.array([[-INF, 1.0]]), jnp.array([[True, False]])
    np.testing.assert_array_equal(penalize_repetition(row, used, 1.2), [[-INF, 1.0]])


@pytest.mark.parametrize(
    ("window", "position", "expected"),
    [
        (0, 0, []),
        (0, 3, [2, 3, 4]),
        (0, 4, [2, 3, 4]),
        (1, 4, [2]),
        (2, 3, [3, 4]),
        (3, 2, [2, 3]),
        (99, 4, [2, 3, 4]),
    ],
)
def test_only_tokens_inside_the_window_count_as_used(window, position, expected):
    used = used_before(jnp.array([[2, 3, 4, 2, 5]]), at(position), window, 6)
    assert np.flatnonzero(used[0]).tolist() == expected


@given(random_tokens(), st.sampled_from([0, 1, 3, 8, 99]))
def test_used_tokens_are_those_of_numpy(tokens_and_position, window):
    tokens, position = tokens_and_position
    np.testing.assert_array_equal(
        used_before(tokens, at(position), window, 5),
        reference_used(tokens, position, window, 5),
    )


# Shaping and cutting.


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
    np.testing.assert_array_equal(top_k(ROW, k), expected)


@pytest.mark.parametrize(("k", "expected"), [(1, [1]), (3, [0, 1, 3])])
def test_top_k_keeps_exactly_k_and_of_equal_ones_the_lower_ids(k, expected):
    assert possible(top_k(jnp.array([[1.0, 2, 1, 2, 1]]), k)) == [expected]


@pytest.mark.parametrize(
    ("p", "expected"),
    [
        (1e-9, [1]),
        (0.5, [1]),
        (0.51, [1, 2]),
        (0.8, [1, 2]),
        (0.9, [1, 2, 3]),
    ],
)
def test_top_p_keeps_the_fewest_tokens_with_that_probability(p, expected):
    logits = log(0.05, 0.5, 0.3, 0.15)
    kept = top_p(logits, p)
    assert possible(kept) == [expected]
    np.testing.assert_array_equal(kept[0, expected], logits[0, expected])


@pytest.mark.parametrize(("p", "expected"), [(0.4, [0, 1]), (0.7, [0, 1, 2])])
def test_top_p_keeps_of_equal_ones_the_lower_ids(p, expected):
    assert possible(top_p(log(0.2, 0.3, 0.2, 0.2, 0.1), p)) == [expected]


def test_top_p_of_one_keeps_all_that_is_possible():
    rows = jnp.array([[0.0, -100.0, -INF]])
    np.testing.assert_array_equal(top_p(rows, 1.0), rows)


def test_rows_are_cut_each_for_itself():
    rows = jnp.concatenate([log(0.6, 0.2, 0.2), log(0.2, 0.2, 0.6) + 5])
    assert possible(top_p(rows, 0.7)) == [[0, 1], [0, 2]]
    assert possible(top_k(rows, 2)) == [[0, 1], [0, 2]]
    assert possible(min_p(rows, 0.5)) == [[0], [2]]


@pytest.mark.parametrize("cut", [lambda x: top_k(x, 1), lambda x: top_p(x, 0.3)])
def test_a_cut_sees_the_last_bit_of_a_logit(cut):
    for value in (3.0, -3.0):
        above = np.nextafter(np.float32(value), np.float32(INF))
        assert possible(cut(jnp.array([[value, above]]))) == [[1]]
    assert possible(cut(jnp.array([[-0.0, 0.0]]))) == [[0]]


@pytest.mark.parametrize(
    ("p", "expected"),
    [(0.0, [0, 1, 2, 3]), (0.1, [0, 1, 2, 3]), (0.5, [1, 2]), (0.51, [1]), (1.0, [1])],
)
def test_min_p_keeps_tokens_near_to_the_likeliest(p, expected):
    logits = log(0.08, 0.5, 0.25, 0.17)
    kept = min_p(logits, p)
    assert possible(kept) == [expected]
    np.testing.assert_array_equal(kept[0, expected], logits[0, expected])


@pytest.mark.parametrize(
    "cut",
    [
        lambda x: keep_top_k(x, 2),
        lambda x: keep_top_p(x, 0.9999999),
        lambda x: keep_min_p(x, 0.01),
    ],
)
def test_a_cut_leaves_a_forbidden_token_forbidden(cut):
    rows = jnp.array([[-INF, 1.0, -INF], [-INF, -INF, -INF], [-INF, 0.5, 0.5]])
    with jax.debug_nans(True):  # on the way neither; that is why it is not compiled
        assert possible(cut(rows)) == [[1], [], [1, 2]]


@given(random_logits(), st.sampled_from([1, 5]))
def test_top_k_cuts_as_in_numpy(logits, k):
    kept = [reference_top_k(row, k) for row in logits]
    np.testing.assert_array_equal(top_k(logits, k), np.where(kept, logits, -INF))


@given(random_logits(), st.sampled_from([0.001, 0.5, 0.9]))
def test_top_p_cuts_as_in_numpy(logits, p):
    less, kept, more = (
        [reference_top_p(row.astype(float), bound) for row in logits]
        for bound in (p - 5e-7, p, p + 5e-7)
    )
    assume(np.array_equal(less, more))  # further apart than float32 can be wrong
    np.testing.assert_array_equal(top_p(logits, p), np.where(kept, logits, -INF))


@given(random_logits(), st.sampled_from([0.1, 1.0]))
def test_min_p_cuts_as_in_numpy(logits, p):
    kept = [reference_min_p(row.astype(float), p) for row in logits]
    np.testing.assert_array_equal(min_p(logits, p), np.where(kept, logits, -INF))


# All of them.

# Powers of two are exact, so that ties are the same in float32 and in float64.
COMBINATIONS = [
    TUTORIAL,
    Options(repetition_penalty=2.0, temperature=0.5, top_k=5),
    Options(repetition_penalty=4.0, temperature=2.0, top_p=0.9),
    Options(temperature=0.5, top_k=5, top_p=0.8, min_p=0.05),
]


@given(random_logits(), st.sampled_from(COMBINATIONS), st.data())
def test_the_distribution_is_that_of_numpy(logits, options, data):
    used = data.draw(arrays(bool, logits.shape))
    np.testing.assert_allclose(
        filtered(logits, used, options),
        reference_distribution(logits, used, options),
        atol=2e-6,
    )


@pytest.mark.parametrize("options", [TUTORIAL, COMBINATIONS[-1]])
def test_the_distribution_is_that_of_numpy_for_a_thousand_tokens(options):
    rng = np.random.default_rng(0)
    logits = rng.normal(scale=3, size=(4, 1000)).astype(np.float32)
    logits[:, rng.permutation(1000)[:100]] = -INF
    used = rng.random(logits.shape) < 0.1
    np.testing.assert_allclose(
        filtered(logits, used, options),
        reference_distribution(logits, used, options),
        atol=2e-6,
    )


@pytest.mark.parametrize("p", [0.5, 0.95])
def test_top_p_cuts_as_in_numpy_for_a_thousand_tokens(p):
    rng = np.random.default_rng(1)
    logits = rng.normal(scale=3, size=(8, 1000)).astype(np.float32)
    kept = [reference_top_p(row.astype(float), p) for row in logits]
    np.testing.assert_array_equal(top_p(logits, p), np.where(kept, logits, -INF))


def test_the_reference_is_greedy_at_temperature_zero():
    options = Options(temperature=0.0, repetition_penalty=4.0)
    used = np.array([[True, False, False, False]])
    np.testing.assert_array_equal(
        reference_distribution(ROW, used, options), [[0, 0, 1, 0]]
    )
