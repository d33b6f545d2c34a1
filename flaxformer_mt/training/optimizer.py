"""The learning rate's schedule and the optax chain."""

import functools

import jax
import jax.numpy as jnp
import optax

from flaxformer_mt.config import TrainConfig

FINAL_SHARE = 0.02  # of the peak, where cosine ends: more steps can still learn


def make_schedule(cfg: TrainConfig, *, num_steps: int | None) -> optax.Schedule:
    """The learning rate after so many updates.

    num_steps: length of the whole run, which `cosine` needs; None where it is not
    known because the run ends after some minutes.
    """
    name = cfg.schedule
    if name == "auto":
        name = "inverse_sqrt" if num_steps is None else "cosine"
    peak = cfg.learning_rate
    # A run shorter than its warm-up would never reach its peak.
    warmup = min(cfg.warmup_steps, num_steps // 4 if num_steps else cfg.warmup_steps)
    if name == "constant":
        after = optax.constant_schedule(peak)
    elif name == "cosine":
        steps = (num_steps or 10**9) - warmup
        after = optax.cosine_decay_schedule(peak, max(steps, 1), alpha=FINAL_SHARE)
    else:
        offset = max(warmup, 1)

        def after(count: jax.Array) -> jax.Array:
            # It is also evaluated during warm-up, at counts below 0.
            return peak * jnp.sqrt(offset / (jnp.maximum(count, 0) + offset))

    climb = optax.linear_schedule(0.0, peak, max(warmup, 1))
    return optax.join_schedules([climb, after], [warmup]) if warmup else after


@functools.cache  # the same object for the same config: a step compiles once for it
def make_optimizer(
    cfg: TrainConfig, *, num_steps: int | None
) -> optax.GradientTransformation:
    """Adam (Kingma and Ba 2015) under the config's schedule."""
    schedule = make_schedule(cfg, num_steps=num_steps)
    return optax.adam(schedule, b1=cfg.adam_b1, b2=cfg.adam_b2, eps=1e-9)
