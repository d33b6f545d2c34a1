"""The loop: rows may leave, move and split, and nobody can tell from the output."""

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxformer_mt.decoding import search
from flaxformer_mt.decoding.beam_search import BeamOptions, BeamSearch
from flaxformer_mt.decoding.frames import Frame, Source, move, special
from flaxformer_mt.decoding.sampling import GREEDY, SampleOptions, Sampler, piece_keys
from flaxformer_mt.decoding.search import TOKENS_BETWEEN_CHECKS, decode
from flaxformer_mt.decoding.translator import Translator
from flaxformer_mt.model.transformer import init_params, make_model
from flaxformer_mt.text.normalize import Normalizer
from flaxformer_mt.text.tokenizer import CharacterTokenizer
from flaxformer_mt.text.vocabulary import Specials, Vocabulary
from flaxformer_mt.training.programs import CompileCount
from tests.conftest import tiny_config
from tests.decoding.test_sampling import IDS, Counter

V, LIMIT = 8, 32
ONE = (Frame(16, 32),)
# Shorter ones to grow out of, and smaller ones to be split into.
SMALL = (Frame(16, 8), Frame(4, 16), Frame(2, 32))
BEAM = BeamOptions(beam_size=3, n_best=2)
WAYS = [GREEDY, SampleOptions(no_repeat_ngram=3), SampleOptions(top_k=3), BEAM]


@pytest.fixture(autouse=True)
def no_program_is_too_dear(monkeypatch):
    """Rows move as soon as they had better, as after some minutes of a large file."""
    monkeypatch.setattr(search, "WORTH_COMPILING", -1)


@functools.cache
def model():
    cfg = tiny_config(max_length=32, num_encoder_layers=1, num_decoder_layers=1)
    return make_model(cfg, src_vocab_size=10, tgt_vocab_size=V)


@functools.cache
def params(more: float) -> dict:
    """With another logit for EOS, so that some rows are short and some long."""
    params = init_params(model(), jax.random.key(0))
    bias = params["decoder"]["logits"]["bias"]
    params["decoder"]["logits"]["bias"] = bias.at[IDS.eos].add(more)
    return params


def sources_of(count: int) -> list[Source]:
    rng = np.random.default_rng(0)
    keys = piece_keys(0, lines=list(range(count)), places=[0] * count).tolist()
    return [
        Source([*rng.integers(4, 10, size=rng.integers(1, 7)).tolist(), 1], tuple(key))
        for key in keys
    ]


def found(sources, opts, frames, *, frame=None, limit=LIMIT, watch=None):
    if isinstance(opts, BeamOptions):
        search = BeamSearch(model(), opts, IDS, limit)
    else:
        search = Sampler(model(), opts, IDS, True)
    return decode(
        *(params(-0.5 if opts == GREEDY else -1.5), sources),
        search=search,
        frame=frame or frames[0],
        frames=frames,
        limit=limit,
        has=special(sources),
        watch=watch,
    )


def assert_same(some, others):
    for row, other in zip(some, others, strict=True):
        assert [o.token_ids for o in row] == [o.token_ids for o in other]
        assert [o.truncated for o in row] == [o.truncated for o in other]
        for one, two in zip(row, other, strict=True):
            assert one.score == pytest.approx(two.score, abs=1e-4)
            assert one.token_log_probabilities == pytest.approx(
                two.token_log_probabilities, abs=1e-4
            )


@pytest.mark.parametrize("opts", WAYS)
def test_rows_that_move_between_frames_come_to_the_same(opts):
    sources = sources_of(14)
    together = found(sources, opts, ONE)
    lengths = [len(row[0].token_ids) for row in together]
    assert min(lengths) < 9 and max(lengths) > 16  # so that they do move
    assert_same(found(sources, opts, SMALL), together)


@pytest.mark.parametrize("opts", [GREEDY, BEAM])
def test_a_row_with_a_prefix_moves_with_it(opts):
    """Of 10 tokens, beside rows with a short one and with none."""
    opening = np.zeros(V, bool)
    opening[[4, 6]] = True
    begins = itertools.cycle([([5, 6, 4] * 3 + [7], opening), ([7], None), ([], None)])
    sources = [
        source._replace(prefix=prefix, opening=after)
        for source, (prefix, after) in zip(sources_of(9), begins, strict=False)
    ]
    together = found(sources, opts, ONE)
    assert max(len(row[0].token_ids) for row in together) > 16
    moved = []
    for start in range(0, len(sources), 4):
        moved += found(sources[start : start + 4], opts, SMALL, frame=SMALL[1])
    assert_same(moved, together)
    for source, row in zip(sources, moved, strict=True):
        num = len(source.prefix)
        assert all(o.token_ids[:num] == source.prefix for o in row)
        if source.opening is not None:
            assert all(o.token_ids[num] in (4, 6) for o in row)


def test_a_row_alone_comes_to_what_it_comes_to_among_others():
    sources = sources_of(14)
    for opts in WAYS:
        together = found(sources, opts, ONE)
        for i in (0, 5, 13):
            assert_same(found([sources[i]], opts, SMALL), [together[i]])


@pytest.mark.parametrize("limit", [1, 7, 8, 9, 32])
def test_no_row_is_longer_than_the_limit(limit):
    endless = Counter(favoured=7)
    for frames in (ONE, SMALL):
        outputs = decode(
            *({}, [Source([0]), Source([3])]),
            search=Sampler(endless, GREEDY, IDS),
            **{"frame": frames[0], "frames": frames, "limit": limit},
        )
        assert [row[0].token_ids for row in outputs] == [[7] * limit] * 2
        assert all(row[0].truncated for row in outputs)


@dataclasses.dataclass(frozen=True)
class EndlessForSome(Counter):
    """Counts, but for a source that begins with 0 it writes 7 for ever."""

    def apply(self, variables, *args, method):
        result = super().apply(variables, *args, method=method)
        if method == "start_cache":
            return result
        logits, cache = result
        sevens = jax.nn.one_hot(7, V + 2)[None, None]
        is_endless = (cache.memory_mask[:, :1] == 0)[..., None]
        return jnp.where(is_endless, sevens, logits), cache


def test_rows_that_have_ended_cost_no_more_steps(monkeypatch):
    """The loop looks every eight tokens, and ends where no row is alive."""
    steps = []
    step = Sampler.step

    def counted(self, params, state, position):
        steps.append((int(position), len(state.alive)))
        return step(self, params, state, position)

    monkeypatch.setattr(Sampler, "step", counted)
    monkeypatch.setattr(search, "_compile_step", lambda *_: None)  # takes one itself
    decode(
        *({}, [Source([5])] * 8 + [Source([0])]),
        search=Sampler(Counter(), GREEDY, IDS),
        **{"frame": ONE[0], "frames": ONE, "limit": 32},
    )
    assert len(steps) == 8
    steps.clear()
    frames = (Frame(16, 32), Frame(1, 32))
    decode(
        *({}, [Source([5])] * 8 + [Source([0])]),
        search=Sampler(EndlessForSome(), GREEDY, IDS),
        **{"frame": frames[0], "frames": frames, "limit": 32},
    )
    assert [rows for _, rows in steps] == [16] * 8 + [1] * 24


def test_a_program_that_rows_can_do_without_is_compiled_when_often_missed(monkeypatch):
    monkeypatch.setattr(search, "WORTH_COMPILING", 3)
    frames = (Frame(16, 32), Frame(1, 32))
    # A model of its own, for which nothing is compiled.
    sampler = Sampler(EndlessForSome(from_place=98), GREEDY, IDS, True)
    num_moves, outputs = [], []

    def counted(state, rows, like):
        num_moves[-1] += 1
        return move(state, rows, like)

    monkeypatch.setattr(search, "move", counted)
    for _ in range(3):
        num_moves.append(0)
        outputs.append(
            decode(
                *({}, [Source([5])] * 8 + [Source([0])]),
                search=sampler,
                **{"frame": frames[0], "frames": frames, "limit": 32},
            )
        )
    assert num_moves == [0, 1, 1]  # it is missed three times a batch
    assert_same(outputs[1] + outputs[2], outputs[0] * 2)


LETTERS = Vocabulary.with_specials("ab c", Specials())


@pytest.mark.parametrize(
    "opts", [GREEDY, SampleOptions(top_k=3), BeamOptions(beam_size=2)]
)
def test_a_run_compiles_eight_programs_at_most(opts):
    tokenizer = CharacterTokenizer(LETTERS, Normalizer("basic"))
    # Sizes of its own, so that no other test has compiled for it.
    cfg = tiny_config(
        max_length=200, d_ff=24, num_encoder_layers=1, num_decoder_layers=1
    )
    sizes = {"src_vocab_size": len(LETTERS), "tgt_vocab_size": len(LETTERS)}
    net = make_model(cfg, **sizes)
    params = init_params(net, jax.random.key(0))
    translator = Translator(net, params, tokenizer, tokenizer)
    lengths = [1, 190, 60, 25, 31, 32, 33, 127, 130, 199, 400, *range(1, 100, 2)]
    texts = [("ab c" * 100)[:length] for length in lengths]
    with CompileCount() as count:
        translator.decode(texts, opts)
        translator.decode(texts[:1], opts)
        translator.decode(texts[1:3], opts)
    programs = count.compiled + count.loaded
    assert programs and sum(programs.values()) <= 8, programs


# ---- somebody who looks --------------------------------------------------------------


@pytest.mark.parametrize("opts", WAYS, ids=str)
def test_who_watches_sees_beginnings_and_changes_nothing(opts):
    sources, seen = sources_of(16), {}

    def watch(owners, so_far):
        for owner in owners:
            seen.setdefault(owner, []).append(so_far(owner)[0].token_ids)
        return True

    plain, watched = (found(sources, opts, SMALL, watch=w) for w in (None, watch))
    assert_same(plain, watched)
    long = [i for i, outputs in enumerate(plain) if len(outputs[0].token_ids) > 8]
    assert long and set(long) <= set(seen)
    for owner, parts in seen.items():
        lengths = [len(part) for part in parts]
        assert lengths == sorted(lengths) and lengths[0] >= 8
        if opts != BEAM:  # there another hypothesis may become the best
            for part in parts:
                assert plain[owner][0].token_ids[: len(part)] == part


@pytest.mark.parametrize("opts", WAYS, ids=str)
@pytest.mark.parametrize("frames", [ONE, SMALL], ids=["one", "small"])
def test_who_watches_may_ask_for_what_has_ended(opts, frames):
    sources, known = sources_of(16), {}

    def watch(owners, so_far):
        for owner in set(range(16)) - set(owners):
            if outputs := so_far(owner):
                known.setdefault(owner, outputs)
            assert outputs or owner not in known
        return True

    ended = found(sources, opts, frames, watch=watch)
    assert known
    for owner, outputs in known.items():
        assert_same([outputs], [ended[owner]])


@pytest.mark.parametrize("opts", WAYS, ids=str)
def test_what_has_ended_is_kept_when_nobody_wants_the_rest(opts):
    sources = sources_of(16)
    plain = found(sources, opts, ONE)
    lengths = [max(len(o.token_ids) for o in outputs) for outputs in plain]
    # Somebody looks at every eighth token; at one look some have ended, not all.
    looks = -(-min(lengths) // TOKENS_BETWEEN_CHECKS)
    assert looks * TOKENS_BETWEEN_CHECKS < max(lengths)
    left = iter([True] * (looks - 1))
    given_up = found(sources, opts, ONE, watch=lambda *_: next(left, False))
    for before, after in zip(plain, given_up, strict=True):
        assert after == [] or after == before
    assert [] in given_up and any(given_up)


def test_what_a_watch_raises_ends_the_call():
    calls = []

    def watch(owners, so_far):
        calls.append(owners)
        raise TimeoutError

    with pytest.raises(TimeoutError):
        found(sources_of(16), GREEDY, ONE, watch=watch)
    assert len(calls) == 1
