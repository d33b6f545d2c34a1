"""The loop, with a model that counts, so that its output is known beforehand."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxformer_mt.config import ModelConfig
from flaxformer_mt.decoding.sampling import (
    GREEDY,
    SampleOptions,
    TokenIds,
    piece_keys,
    sample,
)
from flaxformer_mt.errors import InputError
from flaxformer_mt.model.transformer import DecodeCache

IDS = TokenIds(bos=0, eos=1, pad=2, unk=3)
V = 10


@dataclasses.dataclass(frozen=True)
class Counter:
    """Counts up from 4 + the first source id; after 9 it prefers EOS. Its logits may
    be flat, or favour what must not be drawn."""

    favoured: int = -1  # a token that always has the highest logit
    flat: bool = False

    @property
    def cfg(self):
        return ModelConfig(src_vocab_size=V, tgt_vocab_size=V, max_length=32)

    def apply(self, variables, *args, method):
        if method == "start_cache":
            # All that this model remembers of its source is the first id.
            return DecodeCache((), (), memory_mask=jnp.asarray(args[0]))
        token_ids, _, cache = args
        first = 4 + cache.memory_mask[:, 0]
        following = jnp.where(token_ids == IDS.bos, first, token_ids + 1)
        following = jnp.where(following > 9, IDS.eos, following)
        logits = jax.nn.one_hot(following, V) * (0.0 if self.flat else 5.0)
        if self.favoured >= 0:
            logits = logits.at[:, self.favoured].set(9.0)
        return logits, cache


def decode(model, src, opts=GREEDY, seed=0, length=16, lines=None):
    src_ids = np.array(src)[:, None]
    real = src_ids >= 0
    lines = list(range(len(src))) if lines is None else lines
    keys = piece_keys(seed, lines=lines, places=[0] * len(src))
    return sample(
        *(None, np.where(real, src_ids, 0), real, keys),
        model=model,
        opts=opts,
        ids=IDS,
        length=length,
    )


def test_a_row_ends_with_eos_and_then_pads():
    np.testing.assert_array_equal(
        decode(Counter(), [2, 5]),
        [[6, 7, 8, 9, IDS.eos], [9, IDS.eos, IDS.pad, IDS.pad, IDS.pad]],
    )


def test_a_row_without_a_source_token_has_no_output():
    tokens = decode(Counter(), [-1, 4])
    np.testing.assert_array_equal(tokens, [[IDS.pad] * 3, [8, 9, IDS.eos]])


def test_a_row_that_never_ends_stops_at_the_length():
    tokens = decode(Counter(favoured=7), [0], length=11)
    np.testing.assert_array_equal(tokens, [[7] * 11])


@pytest.mark.parametrize("special", [IDS.bos, IDS.pad, IDS.unk])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_bos_pad_and_unk_are_never_drawn(special, temperature):
    opts = SampleOptions(temperature=temperature)
    tokens = decode(Counter(favoured=special), [0, 3], opts)
    before_end = np.cumsum(tokens == IDS.eos, axis=1) == 0
    assert not np.isin(tokens[before_end], [IDS.bos, IDS.pad, IDS.unk]).any()


def test_the_same_seed_draws_the_same_and_another_seed_another():
    opts = SampleOptions()
    flat = Counter(flat=True)
    np.testing.assert_array_equal(
        decode(flat, [0] * 4, opts, 3), decode(flat, [0] * 4, opts, 3)
    )
    a, b = decode(flat, [0] * 4, opts, 3), decode(flat, [0] * 4, opts, 4)
    assert a.shape != b.shape or (a != b).any()


def test_a_sample_does_not_depend_on_its_neighbours():
    opts, flat = SampleOptions(top_k=6), Counter(flat=True)
    together = decode(flat, [0] * 4, opts, seed=5)
    for line in range(4):
        alone = decode(flat, [0], opts, seed=5, lines=[line])[0]
        np.testing.assert_array_equal(alone, together[line, : len(alone)])
        assert (together[line, len(alone) :] == IDS.pad).all()


def test_top_k_one_is_greedy():
    opts = SampleOptions(top_k=1, temperature=5.0)
    np.testing.assert_array_equal(
        decode(Counter(), [1, 2], opts), decode(Counter(), [1, 2])
    )


def test_the_tutorials_way_draws_from_the_distribution_it_describes():
    """Penalty 1.2, temperature 0.7, top-k 3, against NumPy, over 4,000 first tokens."""
    logits = np.array([0, 0.5, 0, 0, 1.0, 0.9, 0.8, 0.7, -1.0, 0.2])

    @dataclasses.dataclass(frozen=True)
    class Fixed(Counter):
        def apply(self, variables, *args, method):
            if method == "start_cache":
                return super().apply(variables, *args, method=method)
            token_ids, _, cache = args
            return jnp.tile(jnp.asarray(logits)[None], (len(token_ids), 1)), cache

    opts = SampleOptions(repetition_penalty=1.2, temperature=0.7, top_k=3)
    drawn = decode(Fixed(), [0] * 4000, opts, length=1)[:, 0]
    kept = [4, 5, 6]  # the three largest of those that may be drawn
    expected = np.exp(logits[kept] / 0.7)
    expected = 4000 * expected / expected.sum()
    counts = np.bincount(drawn, minlength=V)
    assert counts[kept].sum() == 4000
    chi_square = ((counts[kept] - expected) ** 2 / expected).sum()
    assert chi_square < 13.8  # two degrees of freedom: p = 0.001


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"temperature": -0.1}, "temperature must be 0"),
        ({"temperature": 1e-40}, "temperature must be 0"),
        ({"temperature": float("nan")}, "temperature must be"),
        ({"top_k": -1}, "top_k must be at least 0"),
        ({"repetition_penalty": 0.0}, "repetition_penalty must be 0.001 to"),
        ({"repetition_penalty": float("inf")}, "repetition_penalty must be"),
    ],
)
def test_sampling_options_out_of_range_are_refused(options, expected):
    with pytest.raises(InputError, match=expected):
        SampleOptions(**options)
