"""Greedy decoding and sampling, with a model that counts, so that its output is known
beforehand."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from jax import nn

from flaxformer_mt.config import ModelConfig
from flaxformer_mt.decoding.frames import Frame, Source, special
from flaxformer_mt.decoding.sampling import GREEDY, SampleOptions, Sampler, piece_keys
from flaxformer_mt.decoding.search import TokenIds, decode
from flaxformer_mt.errors import InputError
from flaxformer_mt.model.transformer import DecodeCache
from tests.decoding.test_filters import reference_distribution

IDS = TokenIds(bos=0, eos=1, pad=2, unk=3)
V = 10
EOS = IDS.eos


@dataclasses.dataclass(frozen=True)
class Counter:
    """Counts up from 4 + the first source id; after 9 it prefers EOS. Its logits may
    be flat, given, or favour what must not be drawn."""

    favoured: int = -1  # a token that always has the highest logit
    flat: bool = False
    given: tuple[float, ...] = ()  # logits that are the same everywhere
    value: float = 0.0  # of every logit from a place on, where that is a place
    from_place: int = 99

    @property
    def cfg(self):
        return ModelConfig(src_vocab_size=V, tgt_vocab_size=V, max_length=32)

    def apply(self, variables, *args, method):
        if method == "start_cache":
            # All that this model remembers of its source is the first id.
            return DecodeCache((), (), memory_mask=jnp.asarray(args[0]))
        token_ids, position, cache, _ = args  # [B, 1]
        first = 4 + cache.memory_mask[:, :1]
        following = jnp.where(token_ids == IDS.bos, first, token_ids + 1)
        following = jnp.where(following > 9, EOS, following)
        logits = nn.one_hot(following, V) * (0.0 if self.flat else 5.0)
        if self.given:
            logits = jnp.broadcast_to(jnp.asarray(self.given)[None, None], logits.shape)
        if self.favoured >= 0:
            logits = logits.at[:, :, self.favoured].set(9.0)
        return jnp.where(position >= self.from_place, self.value, logits), cache


def outputs(model, first_ids, opts=GREEDY, *, limit=16, lines=None, seed=0, **given):
    """What each source gives; None among the first ids is a row without a source."""
    lines = list(range(len(first_ids))) if lines is None else lines
    keys = piece_keys(seed, lines=lines, places=[0] * len(first_ids)).tolist()
    sources = [
        Source([] if first is None else [first], tuple(key), **given)
        for first, key in zip(first_ids, keys, strict=True)
    ]
    frame = Frame(max(len(sources), 4), 16)
    found = decode(
        *({}, sources),
        search=Sampler(model, opts, IDS, True),
        frame=frame,
        frames=[frame],
        limit=limit,
        has=special(sources),
    )
    assert all(len(row) == 1 for row in found)
    return [row[0] for row in found]


def tokens(*args, **options):
    return [output.token_ids for output in outputs(*args, **options)]


# The loop.


def test_a_row_ends_with_eos():
    assert tokens(Counter(), [2, 5]) == [[6, 7, 8, 9, EOS], [9, EOS]]
    assert not any(o.truncated or o.failed for o in outputs(Counter(), [2, 5]))


def test_a_row_without_a_source_token_has_no_output():
    assert tokens(Counter(), [None, 4]) == [[], [8, 9, EOS]]


def test_a_row_that_never_ends_stops_at_the_limit_and_says_so():
    [output] = outputs(Counter(favoured=7), [0], limit=11)
    assert output.token_ids == [7] * 11
    assert output.truncated and not output.failed


def test_an_end_at_the_limit_is_an_end():
    [output] = outputs(Counter(), [2], limit=5)
    assert output.token_ids == [6, 7, 8, 9, EOS] and not output.truncated


@pytest.mark.parametrize("special_id", [IDS.bos, IDS.pad, IDS.unk])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_bos_pad_and_unk_are_never_drawn(special_id, temperature):
    opts = SampleOptions(temperature=temperature)
    for row in tokens(Counter(favoured=special_id), [0, 3], opts):
        assert row and not set(row) & {IDS.bos, IDS.pad, IDS.unk}


def test_greedy_takes_of_equal_tokens_the_lower_id():
    assert tokens(Counter(flat=True), [0]) == [[EOS]]
    assert tokens(Counter(given=(0, -1, 0, 0, 0, 2, 1, 2, 2, 0)), [0], limit=2) == [
        [5, 5]
    ]


# A model that returns no number: row N14 of the fault table.


@pytest.mark.parametrize("value", [np.nan, -np.nan, -np.inf, np.inf])
@pytest.mark.parametrize("opts", [GREEDY, SampleOptions(), SampleOptions(top_k=3)])
def test_a_row_without_a_number_to_go_by_ends_and_is_reported(value, opts):
    """Row N14."""
    [output] = outputs(Counter(value=value, from_place=0), [0], opts)
    assert output.failed and output.token_ids == [EOS]


def test_what_came_before_the_failure_is_kept():
    """Row N14."""
    broken = Counter(value=np.nan, from_place=3)
    first, second = outputs(broken, [0, 4])
    assert first.failed and first.token_ids == [4, 5, 6, EOS]
    assert not second.failed and second.token_ids == [8, 9, EOS]


def test_a_single_nan_among_numbers_is_a_failure():
    """Row N14."""
    logits = [0.0] * V
    logits[5] = np.nan
    [output] = outputs(Counter(given=tuple(logits)), [0])
    assert output.failed


# Options, through the loop.


def test_no_row_ends_before_the_least_length():
    opts = SampleOptions(temperature=0.0, min_length=6)
    for row in tokens(Counter(), [2, 5], opts):
        assert len(row) >= 7 and EOS not in row[:6]


def test_no_ngram_comes_twice():
    opts = SampleOptions(temperature=0.0, no_repeat_ngram=2)
    # 7 7 comes once, then what follows on 7, then 7; then there is but the end.
    assert tokens(Counter(favoured=7), [0], opts) == [[7, 7, 8, 7, EOS]]


def test_a_penalty_with_a_window_forgets_what_is_further_back():
    flat = (0.0, -9.0, 0.0, 0.0, 4.0, 3.0, 2.0, 1.0, 0.5, 0.25)
    options = {"temperature": 0.0, "repetition_penalty": 16.0}
    everywhere = SampleOptions(**options)
    assert tokens(Counter(given=flat), [0], everywhere, limit=6) == [[4, 5, 6, 7, 8, 4]]
    of_two = SampleOptions(**options, repetition_window=2)
    assert tokens(Counter(given=flat), [0], of_two, limit=6) == [[4, 5, 6, 4, 5, 6]]


def test_top_k_one_is_greedy():
    opts = SampleOptions(top_k=1, temperature=5.0)
    assert tokens(Counter(), [1, 2], opts) == tokens(Counter(), [1, 2])


def test_a_prefix_is_forced_and_then_what_may_follow_it():
    opening = np.zeros(V, bool)
    opening[[8, EOS]] = True
    given = {"prefix": [9, 4, 4], "opening": opening}
    assert tokens(Counter(favoured=5), [0], limit=6, **given) == [[9, 4, 4, EOS]]
    opening[EOS] = False
    assert tokens(Counter(), [0], limit=6, **given) == [[9, 4, 4, 8, 9, EOS]]


def test_a_prefix_holds_against_every_filter():
    opts = SampleOptions(temperature=0.0, no_repeat_ngram=1, repetition_penalty=9.0)
    [row] = tokens(Counter(), [0], opts, prefix=[5, 5, 5], opening=np.ones(V, bool))
    assert row[:3] == [5, 5, 5]


# Log-probabilities.


@pytest.mark.parametrize("opts", [GREEDY, SampleOptions(temperature=3.0, top_k=4)])
def test_log_probabilities_are_the_models_own_whatever_the_filters(opts):
    logits = (0, 0.5, 0, 0, 1.0, 0.9, 0.8, 0.7, -1.0, 0.2)
    for output in outputs(Counter(given=logits), [0] * 8, opts):
        own = np.array(logits) - np.log(np.exp(logits).sum())
        expected = own[output.token_ids]
        np.testing.assert_allclose(
            output.token_log_probabilities, expected, atol=1e-5, rtol=0
        )
        assert output.log_probability == pytest.approx(expected.sum(), abs=1e-5)
        assert output.score == output.log_probability


# Chance.


def test_tokens_that_are_all_but_equal_are_drawn_alike_whichever_is_ahead():
    """A batch of another size rounds differently, in the last digit."""
    opts = SampleOptions(temperature=1.0, top_k=3)
    logits = np.full(V, -1.0)
    logits[[4, 6, 8]] = 2.0, 2.0, 1.0
    drawn = []
    for ahead in (4, 6):
        given = logits + 1e-6 * (np.arange(V) == ahead)
        model = Counter(given=tuple(given.tolist()))
        drawn.append([o.token_ids for o in outputs(model, [0] * 64, opts, limit=4)])
    assert drawn[0] == drawn[1]
    assert {token for row in drawn[0] for token in row} == {4, 6, 8}


def test_the_same_seed_draws_the_same_and_another_seed_another():
    opts, flat = SampleOptions(), Counter(flat=True)
    drawn = tokens(flat, [0] * 4, opts, seed=3)
    assert drawn == tokens(flat, [0] * 4, opts, seed=3)
    assert drawn != tokens(flat, [0] * 4, opts, seed=4)
    assert len({tuple(row) for row in drawn}) > 1  # lines differ as well


def test_a_sample_does_not_depend_on_its_neighbours():
    opts, flat = SampleOptions(top_k=6), Counter(flat=True)
    together = tokens(flat, [0] * 4, opts, seed=5)
    for line in range(4):
        assert tokens(flat, [0], opts, seed=5, lines=[line]) == [together[line]]


NUM_DRAWS = 6000
LOGITS = (0, 0.5, 0, 0, 1.0, 0.9, 0.8, 0.7, -1.0, 0.2)


@pytest.mark.parametrize(
    "opts",
    [
        SampleOptions(repetition_penalty=1.2),  # the tutorial's way
        SampleOptions(repetition_penalty=1.2, temperature=0.7, top_k=3),
        SampleOptions(repetition_penalty=2.0, top_p=0.7, min_p=0.05),
    ],
)
def test_second_tokens_are_drawn_from_the_distribution_that_is_described(opts):
    """Against float64 NumPy, by chi-square; the first token is given, and penalized."""
    given = {"prefix": [4], "opening": np.ones(V, bool)}
    drawn = tokens(Counter(given=LOGITS), [0] * NUM_DRAWS, opts, limit=2, **given)
    counts = np.bincount([row[1] for row in drawn], minlength=V)
    used = np.arange(V)[None] == 4
    possible = np.where(IDS.forbidden(V)[None], -np.inf, np.array([LOGITS]))
    expected = NUM_DRAWS * reference_distribution(possible, used, opts)[0]
    assert not counts[expected == 0].any()
    kept = expected > 0
    chi_square = ((counts - expected)[kept] ** 2 / expected[kept]).sum()
    # p = 0.001 for 1 to 6 degrees of freedom.
    bounds = [10.8, 13.8, 16.3, 18.5, 20.5, 22.5]
    assert chi_square < bounds[kept.sum() - 2]


def test_draws_at_two_positions_are_independent():
    opts, flat = SampleOptions(), (0, -np.inf, 0, 0, 0, 0, *[-np.inf] * 4)
    drawn = tokens(Counter(given=flat), [0] * NUM_DRAWS, opts, limit=2)
    table = np.zeros((2, 2))
    for first, second in drawn:
        table[first - 4, second - 4] += 1
    expected = NUM_DRAWS / 4
    assert ((table - expected) ** 2 / expected).sum() < 16.3  # three, p = 0.001


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 130])
def test_keys_are_those_of_their_lines_however_many_there_are(count):
    keys = piece_keys(1, lines=list(range(count)), places=[0] * count)
    assert keys.shape == (count, 2)
    assert len({tuple(key) for key in keys.tolist()}) == count
    for line in range(0, count, 50):
        [alone] = piece_keys(1, lines=[line], places=[0])
        np.testing.assert_array_equal(alone, keys[line])


def test_the_pieces_of_a_text_have_keys_of_their_own():
    keys = piece_keys(1, lines=[5] * 3, places=[0, 1, 2])
    assert len({tuple(key) for key in keys.tolist()}) == 3


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"temperature": -0.1}, "temperature must be 0"),
        ({"temperature": 1e-40}, "temperature must be 0"),
        ({"temperature": float("nan")}, "temperature must be"),
        ({"top_k": -1}, "top_k must be at least 0"),
        ({"top_p": 0.0}, "top_p must be above 0"),
        ({"top_p": 1.1}, "top_p must be above 0"),
        ({"min_p": -0.1}, "min_p must be 0 to 1"),
        ({"min_length": -1}, "min_length must be at least 0"),
        ({"no_repeat_ngram": -1}, "no_repeat_ngram must be at least 0"),
        ({"repetition_window": -1}, "repetition_window must be at least 0"),
        ({"repetition_penalty": 0.0}, "repetition_penalty must be 0.001 to"),
        ({"repetition_penalty": float("inf")}, "repetition_penalty must be"),
    ],
)
def test_sampling_options_out_of_range_are_refused(options, expected):
    with pytest.raises(InputError, match=expected):
        SampleOptions(**options)
