"""Beam search beside its own rules in plain Python, and beside all there is."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxformer_mt.decoding.beam_search import BeamOptions, BeamSearch
from flaxformer_mt.decoding.frames import Frame, Rows, Source, special
from flaxformer_mt.decoding.sampling import GREEDY, Sampler
from flaxformer_mt.decoding.scoring import Pair, score_batch
from flaxformer_mt.decoding.search import TokenIds, decode
from flaxformer_mt.decoding.weights import pack
from flaxformer_mt.errors import InputError
from flaxformer_mt.model.masks import make_masks
from flaxformer_mt.model.transformer import Transformer, init_params, make_model
from tests.conftest import tiny_config
from tests.decoding.test_sampling import IDS, Counter

FRAME = Frame(4, 8)
SOURCES = [[5, 7, 1], [4, 6, 1], [8, 8, 1], [9, 4, 1]]
LIMIT = 4
EXACT = {"abs": 2e-4, "rel": 0}


@functools.cache
def model_with(vocab_size: int) -> Transformer:
    cfg = tiny_config(num_encoder_layers=1, num_decoder_layers=1)
    return make_model(cfg, src_vocab_size=10, tgt_vocab_size=vocab_size)


@functools.cache
def params_of(vocab_size: int, seed: int) -> dict:
    """Twice as large as fresh ones, so that some tokens are much likelier."""
    params = init_params(model_with(vocab_size), jax.random.key(seed))
    return jax.tree.map(lambda leaf: 2 * leaf, params)


def found(model, params, opts, sources, *, limit=LIMIT, ids=IDS, **options):
    """The outputs of a beam search, or of greedy decoding, for each source."""
    sources = [s if isinstance(s, Source) else Source(s) for s in sources]
    if isinstance(opts, BeamOptions):
        search = BeamSearch(model, opts, ids, limit, **options)
    else:
        search = Sampler(model, opts, ids, True)
    return decode(
        *(params, sources),
        search=search,
        frame=FRAME,
        frames=[FRAME],
        limit=limit,
        has=special(sources),
    )


# The rules of beam_search's docstring, in plain Python.


@functools.partial(jax.jit, static_argnums=0)
def all_log_probs(model, params, src_ids, tgt_in_ids):
    real = jnp.ones(tgt_in_ids.shape, bool)
    masks = make_masks(jnp.ones(src_ids.shape, bool), real)
    logits = model.apply({"params": params}, src_ids, tgt_in_ids, masks)
    return jax.nn.log_softmax(logits)


def table_of(model, params, src_ids, ordinary, limit=LIMIT) -> dict:
    """The log-probabilities of the next token after each beginning, float64 [V]."""
    every = list(itertools.product(ordinary, repeat=limit - 1))
    inputs = np.array([[IDS.bos, *row] for row in every])
    tiled = np.tile(np.array(src_ids)[None], (len(every), 1))
    log_probs = np.asarray(all_log_probs(model, params, tiled, inputs), np.float64)
    return {
        row[:t]: log_probs[i, t] for i, row in enumerate(every) for t in range(limit)
    }


def score_of(log_probability, length, opts):
    norm = (5 + length) / 6 if opts.length_norm == "gnmt" else length
    return log_probability / norm**opts.length_penalty


def by_the_rules(table, opts, *, ids=IDS, limit=LIMIT, given=(), opening=None):
    """[(token ids, score, log-probability, truncated)], best first."""
    size = opts.beam_size
    going, done = [((), 0.0)], []
    for position in range(limit):
        ways = []
        for parent, (tokens, whole) in enumerate(going):
            for token, step in enumerate(table[tokens]):
                if position < len(given):
                    allowed = token == given[position]
                elif position == len(given) and opening is not None:
                    allowed = opening[token]
                else:
                    allowed = True
                if allowed and token not in (ids.bos, ids.pad, ids.unk):
                    ways.append((-(whole + step), token, parent, tokens))
        ways.sort()
        for minus, token, _, tokens in ways[:size]:
            if token == ids.eos:
                score = score_of(-minus, position + 1, opts)
                done.append(((*tokens, token), score, -minus, False))
        others = [way for way in ways if way[1] != ids.eos][:size]
        going = [((*tokens, token), -minus) for minus, token, _, tokens in others]
        if len(done) >= size or not going:
            break
    done.sort(key=lambda output: -output[1])
    for tokens, whole in going:
        done.append((tokens, score_of(whole, limit, opts), whole, True))
    return done[: opts.n_best]


def assert_same(outputs, expected):
    """expected: as `by_the_rules` gives it."""
    assert [o.token_ids for o in outputs] == [list(e[0]) for e in expected]
    assert [o.truncated for o in outputs] == [e[3] for e in expected]
    assert [o.score for o in outputs] == pytest.approx(
        [e[1] for e in expected], **EXACT
    )
    wholes = [o.log_probability for o in outputs]
    assert wholes == pytest.approx([e[2] for e in expected], **EXACT)


NORMS = [("gnmt", 0.0), ("gnmt", 0.6), ("gnmt", 1.0), ("plain", 0.6), ("plain", 1.0)]


@pytest.mark.parametrize(("norm", "alpha"), NORMS)
def test_a_beam_that_holds_everything_finds_the_best_there_is(norm, alpha):
    """Two tokens and EOS, four places: 15 translations, 24 ways at the last place."""
    opts = BeamOptions(beam_size=32, n_best=12, length_norm=norm, length_penalty=alpha)
    model = model_with(6)
    for seed in range(4):
        params = params_of(6, seed)
        outputs = found(model, params, opts, SOURCES)
        for src_ids, row in zip(SOURCES, outputs, strict=True):
            table = table_of(model, params, src_ids, (4, 5))
            every = [
                (*tokens, IDS.eos)
                for length in range(LIMIT)
                for tokens in itertools.product((4, 5), repeat=length)
            ]
            assert len(every) == 15
            best = []
            for tokens in every:
                steps = [table[tokens[:t]][tokens[t]] for t in range(len(tokens))]
                score = score_of(sum(steps), len(tokens), opts)
                best.append((tokens, score, sum(steps), False))
            best.sort(key=lambda output: -output[1])
            assert_same(row, best[:12])


@pytest.mark.parametrize(
    ("size", "n_best", "norm", "alpha"),
    [
        (2, 1, "gnmt", 1.0),
        (2, 2, "plain", 1.0),
        (3, 2, "plain", 3.0),
        (5, 5, "gnmt", 0.0),
    ],
)
def test_a_narrow_beam_finds_what_its_rules_say(size, n_best, norm, alpha):
    opts = BeamOptions(
        beam_size=size, n_best=n_best, length_norm=norm, length_penalty=alpha
    )
    model = model_with(7)
    for seed in range(8):
        params = params_of(7, seed)
        outputs = found(model, params, opts, SOURCES)
        for src_ids, row in zip(SOURCES, outputs, strict=True):
            table = table_of(model, params, src_ids, (4, 5, 6))
            assert_same(row, by_the_rules(table, opts))


def test_a_beam_of_one_is_greedy():
    model = model_with(7)
    opts = BeamOptions(beam_size=1)
    for seed in range(6):
        params = params_of(7, seed)
        beams = found(model, params, opts, SOURCES, limit=8)
        greedy = found(model, params, GREEDY, SOURCES, limit=8)
        for (one,), (other,) in zip(beams, greedy, strict=True):
            assert one.token_ids == other.token_ids
            assert one.truncated == other.truncated
            assert one.log_probability == pytest.approx(other.log_probability, **EXACT)


@pytest.mark.parametrize(
    ("n_best", "norm", "alpha"),
    [(1, "gnmt", 0.0), (3, "gnmt", 1.0), (2, "plain", 2.0)],
)
def test_early_stopping_never_changes_what_is_found(n_best, norm, alpha):
    model = model_with(7)
    opts = BeamOptions(
        beam_size=3, n_best=n_best, length_norm=norm, length_penalty=alpha
    )
    for seed in range(20):
        params = params_of(7, seed)
        early, late = (
            found(model, params, opts, SOURCES, limit=8, stops_early=stops)
            for stops in (True, False)
        )
        for one, other in zip(early, late, strict=True):
            assert [o.token_ids for o in one] == [o.token_ids for o in other]
            scores = [o.score for o in other]
            assert [o.score for o in one] == pytest.approx(scores, **EXACT)


@pytest.mark.parametrize(("stops_early", "steps"), [(True, 1), (False, 2)])
def test_a_search_stops_as_soon_as_nothing_can_win(stops_early, steps):
    """EOS is all but certain: one hypothesis is complete after the first step, and what
    goes on can never reach it; two are complete after the second."""
    logits = np.zeros(10)
    logits[IDS.eos] = 20.0
    model = Counter(given=tuple(logits))
    search = BeamSearch(model, BeamOptions(beam_size=2), IDS, 8, stops_early)
    src_mask = np.ones((1, 8), bool)
    rows = rows_of(np.full((1, 8), 4, np.int32), src_mask)
    state = search.start({}, rows)
    taken = 0
    while state.alive.any():
        state = search.step(pack({}), state, np.int32(taken))
        taken += 1
    assert taken == steps


def rows_of(src_ids, src_mask):
    keys = np.zeros((len(src_ids), 2), np.uint32)
    return Rows(src_ids, src_mask, keys, None, None, None)


# Equal scores.


FLAT = {eos: TokenIds(bos=0, eos=eos, pad=2, unk=3) for eos in (1, 9)}
FLAT[5] = TokenIds(bos=0, eos=5, pad=1, unk=2)


@pytest.mark.parametrize("eos", [1, 5, 9])
@pytest.mark.parametrize("size", [1, 3])
def test_of_equal_continuations_the_lower_token_id_comes_first(eos, size):
    """Wherever EOS stands among the ids."""
    ids = FLAT[eos]
    opts = BeamOptions(beam_size=size, n_best=size)
    equal = np.full(10, -np.log(10.0))
    [outputs] = found(Counter(flat=True), {}, opts, [[5, 1]], ids=ids)
    ordinary = [i for i in range(10) if i not in ids]
    table = {
        tokens: equal
        for length in range(LIMIT)
        for tokens in itertools.product(ordinary, repeat=length)
    }
    expected = by_the_rules(table, opts, ids=ids)
    assert [o.token_ids for o in outputs] == [list(e[0]) for e in expected]


# Scores.


@pytest.mark.parametrize("opts", [GREEDY, BeamOptions(beam_size=3, n_best=3)])
def test_scores_are_the_sums_of_their_tokens_and_those_of_forced_decoding(opts):
    model, params = model_with(7), params_of(7, 3)
    outputs = found(model, params, opts, SOURCES, limit=8)
    for src_ids, row in zip(SOURCES, outputs, strict=True):
        pairs = [Pair(src_ids, o.token_ids) for o in row]
        forced = score_batch(params, pairs, model=model, frame=FRAME, ids=IDS)
        for output, log_probs in zip(row, forced, strict=True):
            each = output.token_log_probabilities
            assert each == pytest.approx(log_probs, **EXACT)
            assert output.log_probability == pytest.approx(sum(each), **EXACT)
            if isinstance(opts, BeamOptions):
                expected = score_of(sum(each), len(each), opts)
                assert output.score == pytest.approx(expected, **EXACT)


def test_hypotheses_are_given_best_first_and_each_once():
    opts = BeamOptions(beam_size=3, n_best=3)
    for seed in range(4):
        outputs = found(model_with(7), params_of(7, seed), opts, SOURCES, limit=8)
        for row in outputs:
            assert len(row) == 3
            assert len({tuple(o.token_ids) for o in row}) == 3
            complete = [o.score for o in row if not o.truncated]
            assert complete == sorted(complete, reverse=True)
            assert [o.truncated for o in row] == sorted(o.truncated for o in row)
            for o in row:
                assert (o.token_ids[-1] == IDS.eos) == (not o.truncated)


# Prefix, filters, failure.


def test_a_prefix_begins_every_hypothesis_and_is_worth_what_the_model_gives_it():
    model, opts = model_with(7), BeamOptions(beam_size=3, n_best=3)
    opening = np.zeros(7, bool)
    opening[[4, 6]] = True
    begins = [((5, 4), opening), ((), opening), ((6,), None), ((), None)]
    for seed in range(6):
        params = params_of(7, seed)
        sources = [
            Source(src_ids, prefix=list(given), opening=after)
            for src_ids, (given, after) in zip(SOURCES, begins, strict=True)
        ]
        outputs = found(model, params, opts, sources)
        for src_ids, (given, after), row in zip(SOURCES, begins, outputs, strict=True):
            table = table_of(model, params, src_ids, (4, 5, 6))
            expected = by_the_rules(table, opts, given=given, opening=after)
            assert_same(row, expected)


def test_a_prefix_that_a_filter_would_forbid_is_worth_what_the_model_gives_it():
    model, params = model_with(7), params_of(7, 0)
    opts = BeamOptions(beam_size=3, n_best=3, no_repeat_ngram=1)
    source = Source(SOURCES[0], prefix=[5, 5])
    [row] = found(model, params, opts, [source], limit=8)
    pairs = [Pair(SOURCES[0], o.token_ids) for o in row]
    forced = score_batch(params, pairs, model=model, frame=FRAME, ids=IDS)
    for output, log_probs in zip(row, forced, strict=True):
        assert output.token_ids[:2] == [5, 5]
        assert output.token_log_probabilities == pytest.approx(log_probs, **EXACT)


def test_no_hypothesis_ends_before_the_least_length():
    opts = BeamOptions(beam_size=3, n_best=3, min_length=4)
    for row in found(model_with(7), params_of(7, 0), opts, SOURCES, limit=8):
        assert all(len(o.token_ids) >= 5 for o in row)


def test_no_hypothesis_holds_an_ngram_twice():
    opts = BeamOptions(beam_size=3, n_best=3, no_repeat_ngram=1)
    for row in found(model_with(7), params_of(7, 0), opts, SOURCES, limit=8):
        for o in row:
            assert len(set(o.token_ids)) == len(o.token_ids)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("from_place", [0, 1])
def test_a_model_that_returns_no_number_ends_the_row_and_is_reported(value, from_place):
    """Row N14."""
    broken = Counter(value=value, from_place=from_place)
    opts = BeamOptions(beam_size=2, n_best=1)
    [[output]] = found(broken, {}, opts, [[0]], limit=8)
    assert output.failed
    assert len(output.token_ids) <= from_place + 1


def test_a_row_that_fails_gives_the_same_whatever_its_neighbours():
    """Row N14: whose search goes on longer."""
    broken = Counter(value=np.nan, from_place=2)
    opts = BeamOptions(beam_size=2, n_best=1)
    alone = found(broken, {}, opts, [[0]], limit=8)
    frame = Frame(4, 32)
    for limit in (8, 20):
        [[output]] = decode(
            *({}, [Source([0])]),
            search=BeamSearch(broken, opts, IDS, limit),
            **{"frame": frame, "frames": [frame], "limit": limit},
        )
        assert output.token_ids == alone[0][0].token_ids


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"beam_size": 0}, "beam_size must be 1 to 64"),
        ({"beam_size": 65}, "beam_size must be 1 to 64"),
        ({"beam_size": 2, "n_best": 3}, "n_best must be 1 to beam_size, 2"),
        ({"n_best": 0}, "n_best must be 1 to beam_size"),
        ({"length_penalty": -0.1}, "length_penalty must be 0 to 10"),
        ({"length_penalty": float("nan")}, "length_penalty must be 0 to 10"),
        ({"length_norm": "other"}, "length_norm must be gnmt or plain"),
        ({"no_repeat_ngram": -1}, "no_repeat_ngram must be at least 0"),
        ({"min_length": -1}, "min_length must be at least 0"),
    ],
)
def test_beam_options_out_of_range_are_refused(options, expected):
    with pytest.raises(InputError, match=expected):
        BeamOptions(**options)
