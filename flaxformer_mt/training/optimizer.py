"""The learning rate's schedule and the optax chain."""

import functools
from typing import Any

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
    elif name in ("cosine", "linear"):
        steps = max((num_steps or 10**9) - warmup, 1)
        if name == "linear":
            after = optax.linear_schedule(peak, 0.0, steps)
        else:
            after = optax.cosine_decay_schedule(peak, steps, alpha=FINAL_SHARE)
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
    """Adam (Kingma and Ba 2015) or, with weight decay, AdamW (Loshchilov and Hutter
    2019) under the config's schedule, gradients clipped by their global norm (Pascanu
    et al. 2013) where that is asked for.

    Biases and the scales of norms do not decay: they are no matrices.
    """
    schedule = make_schedule(cfg, num_steps=num_steps)
    moments = {"b1": cfg.adam_b1, "b2": cfg.adam_b2, "eps": 1e-9}
    if cfg.weight_decay:
        adam = optax.adamw(
            schedule, **moments, weight_decay=cfg.weight_decay, mask=_matrices
        )
    else:
        adam = optax.adam(schedule, **moments)
    if not cfg.clip_norm:
        return adam
    return optax.chain(optax.clip_by_global_norm(cfg.clip_norm), adam)


def _matrices(params: Any) -> Any:
    return jax.tree.map(lambda x: x.ndim > 1, params)
