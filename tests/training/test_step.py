"""A pure step: the same in, the same out; nothing that is not a number gets in."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from flaxformer_mt.config import TrainConfig
from flaxformer_mt.model.transformer import Transformer, init_params, make_model
from flaxformer_mt.text.batching import Batch, Shape, make_batch
from flaxformer_mt.training import step as step_module
from flaxformer_mt.training.optimizer import make_optimizer
from flaxformer_mt.training.programs import CompileCount
from flaxformer_mt.training.step import (
    StepOptions,
    _norm,
    compiling_init,
    eval_step,
    init_state,
    train_step,
    update,
)
from tests.conftest import SPECIALS, V, leaves, tiny_batch, tiny_config

MODEL = make_model(tiny_config(), src_vocab_size=V, tgt_vocab_size=V)
TX = optax.adam(1e-2)
KEY = jax.random.key(1)


def start():
    return init_state(MODEL, TX, jax.random.key(0))


def step(state, batch, key=KEY):
    return train_step(state, batch, key, model=MODEL, tx=TX)


def assert_same(a, b):
    for x, y in zip(leaves(a), leaves(b), strict=True):
        np.testing.assert_array_equal(x, y)


def test_the_same_inputs_give_the_same_bits_and_another_key_others():
    a, _ = step(start(), tiny_batch())
    b, _ = step(start(), tiny_batch())
    assert_same(a, b)
    c, _ = step(start(), tiny_batch(), jax.random.key(2))
    assert any((x != y).any() for x, y in zip(leaves(a), leaves(c), strict=True))


def test_dropout_differs_from_step_to_step():
    state, first = step(start(), tiny_batch())
    again = start().replace(step=jnp.asarray(1))
    _, second = step(again, tiny_batch())
    assert float(first.nats) != float(second.nats)
    assert int(state.step) == 1


def test_an_empty_row_changes_neither_loss_nor_gradient():
    model = make_model(
        tiny_config(dropout_rate=0.0), src_vocab_size=V, tgt_vocab_size=V
    )
    sgd = optax.sgd(1.0)  # its update is the gradient itself
    outcomes = []
    for rows in (2, 5):
        state = init_state(model, sgd, jax.random.key(0))
        outcomes.append(
            train_step(state, tiny_batch(rows=rows), KEY, model=model, tx=sgd)
        )
    (a, loss_a), (b, loss_b) = outcomes
    np.testing.assert_allclose(loss_a.nats, loss_b.nats, rtol=1e-6)
    for x, y in zip(leaves(a.params), leaves(b.params), strict=True):
        np.testing.assert_allclose(x, y, atol=1e-6)


def test_a_batch_without_a_token_changes_no_parameter_and_is_not_an_error():
    empty = Batch(*(np.zeros_like(rows) for rows in tiny_batch()))
    state, totals = step(start(), empty)
    assert float(totals.num_tokens) == 0 and float(totals.nats) == 0
    assert_same(state.params, start().params)
    assert_same(state.opt_state, start().opt_state)
    assert int(state.skipped.total) == 0


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_gradient_that_is_not_finite_is_skipped_and_counted(value):
    """Row N1: parameters and optimizer are as if the batch had not been there."""

    def poison(params):
        return jax.tree.map(lambda x: x, params) | {
            "src_embed": {
                "embedding": params["src_embed"]["embedding"].at[4].set(value)
            }
        }

    state = start()
    good = jax.tree.map(jnp.copy, state.opt_state)
    state = state.replace(params=poison(state.params))
    before = leaves(state.params)
    state, totals = step(state, tiny_batch())
    for x, y in zip(leaves(state.params), before, strict=True):
        np.testing.assert_array_equal(x, y)
    assert_same(state.opt_state, good)
    assert (int(state.skipped.total), int(state.skipped.in_row)) == (1, 1)
    assert int(state.skipped.last_step) == 1
    assert not np.isfinite(float(state.skipped.last_norm))
    assert float(totals.nats) == 0 and float(totals.num_tokens) == 0
    # The next batch does not hold token 4, so its gradient is finite again.
    other = tiny_batch()
    other.src_ids[other.src_ids == 4] = 5
    state, _ = step(state, other)
    assert (int(state.skipped.total), int(state.skipped.in_row)) == (1, 0)


def test_validation_is_without_dropout_and_repeatable():
    params = start().params
    a = eval_step(params, tiny_batch(), model=MODEL)
    b = eval_step(params, tiny_batch(width=12), model=MODEL)
    np.testing.assert_allclose(a.nats, b.nats, rtol=1e-5)
    assert int(a.num_tokens) == int(tiny_batch().tgt_mask.sum())


def many_rows(num_rows=8):
    """A batch whose rows have different lengths, the last of them empty."""
    rng = np.random.default_rng(0)
    pairs = [
        (
            [int(x) for x in rng.integers(4, V, n)],
            [int(x) for x in rng.integers(4, V, n)],
        )
        for n in range(1, num_rows)
    ]
    return make_batch(pairs, Shape(num_rows, 9, 9), SPECIALS)


@pytest.mark.parametrize("parts", [2, 4])
def test_accumulated_parts_make_the_update_of_the_whole_batch(parts):
    """Not the mean of the parts' means: they have different numbers of tokens."""
    model = make_model(
        tiny_config(dropout_rate=0.0), src_vocab_size=V, tgt_vocab_size=V
    )
    sgd = optax.sgd(1.0)  # its update is the gradient itself
    outcomes = []
    for accumulate in (1, parts):
        state = init_state(model, sgd, jax.random.key(0))
        options = StepOptions(accumulate=accumulate, label_smoothing=0.1)
        outcomes.append(
            train_step(state, many_rows(), KEY, model=model, tx=sgd, options=options)
        )
    (a, loss_a), (b, loss_b) = outcomes
    np.testing.assert_allclose(loss_a.nats, loss_b.nats, rtol=1e-6)
    assert float(loss_a.num_tokens) == float(loss_b.num_tokens)
    for x, y in zip(leaves(a.params), leaves(b.params), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("parts", [2, 3])
def test_dropout_is_the_same_in_however_many_parts_a_batch_is_computed(parts):
    """An odd number of parts leaves a part that empty rows fill up."""
    sgd = optax.sgd(1.0)  # its update is the gradient itself
    outcomes = []
    for accumulate in (1, parts):
        state = init_state(MODEL, sgd, jax.random.key(0))
        options = StepOptions(accumulate=accumulate)
        outcomes.append(
            train_step(state, many_rows(), KEY, model=MODEL, tx=sgd, options=options)
        )
    (a, loss_a), (b, loss_b) = outcomes
    np.testing.assert_allclose(loss_a.nats, loss_b.nats, rtol=1e-6)
    for x, y in zip(leaves(a.params), leaves(b.params), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=2e-6)


def test_the_norm_of_a_gradient_is_that_of_all_its_numbers():
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=shape) for shape in ((3, 5), (7,), (2, 3, 4))]
    expected = np.sqrt(sum((x**2).sum() for x in arrays))
    tree = [jnp.asarray(x, jnp.float32) for x in arrays]
    np.testing.assert_allclose(_norm(tree), expected, rtol=1e-6)
    assert not np.isfinite(_norm([*tree, jnp.array([1.0, jnp.inf])]))


def clipped_adamw():
    return make_optimizer(TrainConfig(clip_norm=0.1, weight_decay=0.1), num_steps=None)


def compiled_update(tx):
    """A fresh program, whatever has been traced before."""
    jitted = jax.jit(functools.partial(update, model=MODEL, tx=tx), donate_argnums=0)
    return jitted.lower(init_state(MODEL, tx, KEY), tiny_batch(), KEY).compile()


@pytest.mark.parametrize("tx", [TX, clipped_adamw()], ids=["adam", "clipped adamw"])
def test_moments_are_written_over_the_old_ones_without_a_copy_of_them(tx):
    entry = compiled_update(tx).as_text().partition("\nENTRY")[2]
    copies = [line for line in entry.splitlines() if " copy(" in line]
    # Counters have copies; of each array's two moments there were as many as of arrays.
    assert len(copies) < len(leaves(start().params)) / 2


@pytest.mark.parametrize("tx", [TX, clipped_adamw()], ids=["adam", "clipped adamw"])
def test_moments_that_wait_for_the_parameters_are_the_optimizer_s_own(tx, monkeypatch):
    waited, _ = compiled_update(tx)(init_state(MODEL, tx, KEY), tiny_batch(), KEY)
    monkeypatch.setattr(
        step_module, "_moments_after", lambda params, opt_state, tx: opt_state
    )
    plain, _ = compiled_update(tx)(init_state(MODEL, tx, KEY), tiny_batch(), KEY)
    for x, y in zip(leaves(waited.opt_state), leaves(plain.opt_state), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-8)


def test_a_part_that_is_not_finite_costs_the_whole_update():
    state = start()
    broken = jax.tree.map(lambda x: x * jnp.inf, state.params)
    state = state.replace(params=broken)
    before = leaves(state.params)
    options = StepOptions(accumulate=2)
    state, totals = train_step(
        state, many_rows(), KEY, model=MODEL, tx=TX, options=options
    )
    for x, y in zip(before, leaves(state.params), strict=True):
        np.testing.assert_array_equal(x, y)
    assert int(state.skipped.total) == 1 and float(totals.num_tokens) == 0


def test_the_moving_average_is_a_mean_at_first_and_then_forgets():
    state = init_state(MODEL, TX, jax.random.key(0), keep_ema=True)
    options = StepOptions(ema=0.75)
    seen = []
    for _ in range(6):
        state, _ = train_step(
            state, tiny_batch(), KEY, model=MODEL, tx=TX, options=options
        )
        seen.append(leaves(state.params))
    expected = seen[0]
    for number, new in enumerate(seen[1:], start=2):
        decay = min(0.75, (number - 1) / number)
        expected = [
            decay * old + (1 - decay) * x for old, x in zip(expected, new, strict=False)
        ]
    for x, y in zip(leaves(state.best_params), expected, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-6)


def test_bfloat16_learns_as_float32_does():
    """Fifty steps on one batch: finite, near the other; the parameters stay float32
    (rows N16 of the fault table)."""
    ends = []
    for dtype in (jnp.float32, jnp.bfloat16):
        model = make_model(
            tiny_config(), src_vocab_size=V, tgt_vocab_size=V, dtype=dtype
        )
        state = init_state(model, TX, jax.random.key(0))
        for _ in range(50):
            state, _totals = train_step(state, tiny_batch(), KEY, model=model, tx=TX)
        assert int(state.skipped.total) == 0
        assert {leaf.dtype for leaf in leaves(state.params)} == {np.dtype("float32")}
        ends.append(float(eval_step(state.params, tiny_batch(), model=model).nats))
    assert ends[0] < 6 and ends[1] == pytest.approx(ends[0], abs=1.0)


@pytest.mark.parametrize("tying", ["target", "all"])
def test_one_table_serves_embedding_and_output_and_the_first_loss_is_near_log_v(tying):
    model = make_model(
        tiny_config(tied_embeddings=tying), src_vocab_size=V, tgt_vocab_size=V
    )
    state = init_state(model, TX, jax.random.key(0))
    tables = [x.shape for x in leaves(state.params) if V in x.shape and x.ndim == 2]
    assert tables == [(V, 16)] * (1 if tying == "all" else 2)
    totals = eval_step(state.params, tiny_batch(), model=model)
    assert float(totals.mean_loss()) == pytest.approx(np.log(V), abs=0.8)
    state, first = train_step(state, tiny_batch(), KEY, model=model, tx=TX)
    for _ in range(80):
        state, last = train_step(state, tiny_batch(), KEY, model=model, tx=TX)
    assert float(last.mean_loss()) < 0.5 * float(first.mean_loss())


def test_what_draws_the_parameters_is_compiled_beside_the_step_and_once():
    cfg = tiny_config(d_model=24, src_vocab_size=19, tgt_vocab_size=21)
    model = Transformer(cfg)  # of sizes that no other test has
    key = jax.random.key(0)
    with CompileCount() as count:
        with compiling_init(model, key):
            pass
        assert count.compiled["init_params"] == 1
        init_params(model, key)
    assert count.compiled["init_params"] == 1


def test_a_step_that_cannot_be_compiled_says_so_though_parameters_are_under_way():
    model = Transformer(tiny_config(d_model=24, src_vocab_size=19, tgt_vocab_size=22))
    key = jax.random.key(0)
    with pytest.raises(ValueError, match="too large"), compiling_init(model, key):
        raise ValueError("too large")
