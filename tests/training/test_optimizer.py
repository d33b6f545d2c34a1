"""The learning rate climbs, then moves as its schedule says."""

import jax.numpy as jnp
import numpy as np
import pytest

from flaxformer_mt.config import TrainConfig
from flaxformer_mt.training.optimizer import make_optimizer, make_schedule


def rates(cfg: TrainConfig, num_steps: int | None, *steps: int) -> list[float]:
    schedule = make_schedule(cfg, num_steps=num_steps)
    return [float(schedule(step)) for step in steps]


def test_cosine_climbs_to_the_peak_and_ends_at_two_per_cent():
    cfg = TrainConfig(learning_rate=1.0, warmup_steps=10, schedule="cosine")
    assert rates(cfg, 110, 0, 5, 10, 60, 110, 500) == pytest.approx(
        [0, 0.5, 1, 0.51, 0.02, 0.02]
    )


def test_inverse_square_root_halves_when_the_steps_are_four_times_as_many():
    cfg = TrainConfig(learning_rate=1.0, warmup_steps=100, schedule="inverse_sqrt")
    assert rates(cfg, None, 100, 400, 1600) == pytest.approx([1, 0.5, 0.25])


def test_constant_stays_and_needs_no_warm_up():
    cfg = TrainConfig(learning_rate=0.3, warmup_steps=0, schedule="constant")
    assert rates(cfg, None, 0, 1, 10**6) == pytest.approx([0.3, 0.3, 0.3])


def test_auto_takes_cosine_where_the_end_is_known():
    cfg = TrainConfig(learning_rate=1.0, warmup_steps=10)
    assert rates(cfg, 100, 100) == pytest.approx([0.02])
    assert rates(cfg, None, 40) == pytest.approx([0.5])


def test_a_run_shorter_than_its_warm_up_still_reaches_its_peak():
    cfg = TrainConfig(learning_rate=1.0, warmup_steps=200)
    assert max(rates(cfg, 40, *range(41))) == pytest.approx(1.0)


def test_the_same_config_gives_the_same_optimizer_so_that_a_step_compiles_once():
    a, b = (make_optimizer(TrainConfig(steps=5), num_steps=5) for _ in range(2))
    assert a is b


def test_linear_falls_to_nothing_at_the_end():
    cfg = TrainConfig(learning_rate=1.0, warmup_steps=10, schedule="linear")
    assert rates(cfg, 110, 5, 10, 60, 110, 200) == pytest.approx([0.5, 1, 0.5, 0, 0])


def one_update(cfg, params, grads):
    tx = make_optimizer(cfg, num_steps=10)
    updates, _ = tx.update(grads, tx.init(params), params)
    return updates


def test_weights_decay_and_biases_do_not():
    """With a gradient of 0 the update is the decay alone (AdamW)."""
    params = {"kernel": jnp.full((2, 2), 3.0), "bias": jnp.full(2, 3.0)}
    grads = {"kernel": jnp.zeros((2, 2)), "bias": jnp.zeros(2)}
    cfg = TrainConfig(
        learning_rate=0.1, schedule="constant", warmup_steps=0, weight_decay=0.5
    )
    updates = one_update(cfg, params, grads)
    np.testing.assert_allclose(updates["kernel"], -0.1 * 0.5 * 3.0, rtol=1e-6)
    np.testing.assert_array_equal(updates["bias"], 0.0)


def test_a_long_gradient_is_shortened_and_a_short_one_left():
    """Seen in Adam's first moment, since its update hides the gradient's length."""
    cfg = TrainConfig(clip_norm=1.0, adam_b1=0.5)
    params = {"a": jnp.zeros(1), "b": jnp.zeros(1)}
    for length, expected in ((10.0, [0.3, 0.4]), (0.5, [0.15, 0.2])):
        grads = {"a": jnp.full(1, 0.6 * length), "b": jnp.full(1, 0.8 * length)}
        tx = make_optimizer(cfg, num_steps=None)
        _, opt_state = tx.update(grads, tx.init(params), params)
        mu = opt_state[1][0].mu
        np.testing.assert_allclose([mu["a"][0], mu["b"][0]], expected, rtol=1e-5)
