"""The learning rate climbs, then moves as its schedule says."""

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
