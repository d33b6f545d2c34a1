"""One program draws for all options, and draws what a Sampler of those options does."""

import pytest

from flaxformer_mt.decoding.lines import Line
from flaxformer_mt.decoding.sampling import SampleOptions
from flaxformer_mt.serving.free_sampling import FreeSampler, free_step
from tests.decoding.test_translator import (  # noqa: F401  a fixture
    TEXTS,
    translator,
)

WAYS = [
    SampleOptions(),
    SampleOptions(temperature=0.0),
    SampleOptions(temperature=0.7, repetition_penalty=1.2),
    SampleOptions(top_k=3),
    SampleOptions(top_k=100),
    SampleOptions(top_p=0.5),
    SampleOptions(top_p=1e-7),
    SampleOptions(min_p=0.5),
    SampleOptions(temperature=1.5, top_k=5, top_p=0.9, min_p=0.05),
]


def drawn(translator, opts, lines):  # noqa: F811
    search = FreeSampler.of(translator.model, translator.ids, opts)
    return translator.together(lines, search, scores=True)


@pytest.mark.parametrize("opts", WAYS, ids=range(len(WAYS)))
def test_it_draws_what_a_sampler_of_the_same_options_draws(translator, opts):  # noqa: F811
    lines = [Line(text, seed=7, number=i) for i, text in enumerate(TEXTS)]
    free = drawn(translator, opts, lines)
    usual = list(translator.stream(TEXTS, opts, seed=7, scores=True))
    assert [each.text for each in free] == [each.text for each in usual]
    for one, other in zip(free, usual, strict=True):
        assert one.hypotheses[0].log_probability == pytest.approx(
            other.hypotheses[0].log_probability, abs=1e-3
        )


def test_all_options_share_their_programs(translator):  # noqa: F811
    drawn(translator, WAYS[0], [Line("abc")])
    before = free_step._cache_size()
    for opts in WAYS[1:]:
        drawn(translator, opts, [Line("abc")])
    assert free_step._cache_size() == before
    searches = {FreeSampler.of(translator.model, translator.ids, opts) for opts in WAYS}
    assert len(searches) == 1


def test_a_sample_depends_on_its_seed_and_line_and_not_on_its_neighbours(translator):  # noqa: F811
    lines = [Line("abc.", seed=seed, number=n) for seed in (1, 2) for n in (0, 1)]
    together = [each.text for each in drawn(translator, WAYS[0], lines * 6)]
    alone = [drawn(translator, WAYS[0], [line])[0].text for line in lines]
    assert together == alone * 6
    assert len(set(alone)) == 4
