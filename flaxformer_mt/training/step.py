"""The pure, jitted training step: state in, state out."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct

from flaxformer_mt.model.masks import make_masks
from flaxformer_mt.model.transformer import Transformer, init_params
from flaxformer_mt.text.batching import Batch
from flaxformer_mt.training.loss import Totals, cross_entropy


@struct.dataclass
class Skipped:
    """Batches whose gradient was not finite: they changed no parameter."""

    total: jax.Array  # [] int32
    in_row: jax.Array  # [] int32, up to now without a good one between
    last_step: jax.Array  # [] int32, 0 where there was none
    last_norm: jax.Array  # [] float32, of that gradient: inf or nan


@struct.dataclass
class TrainState:
    """All that a training step reads and writes."""

    step: jax.Array  # [] int32, batches seen, skipped ones included
    params: Any
    opt_state: optax.OptState
    skipped: Skipped


def init_state(
    model: Transformer, tx: optax.GradientTransformation, key: jax.Array
) -> TrainState:
    """The state before the first step."""
    params = init_params(model, key)
    # One array a counter: a donated buffer may not appear twice.
    none = Skipped(*(jnp.zeros((), jnp.int32) for _ in range(3)), jnp.zeros(()))
    return TrainState(jnp.zeros((), jnp.int32), params, tx.init(params), none)


@partial(
    jax.jit,
    static_argnames=("model", "tx", "label_smoothing"),
    donate_argnames="state",
)
def train_step(
    state: TrainState,
    batch: Batch,
    key: jax.Array,
    *,
    model: Transformer,
    tx: optax.GradientTransformation,
    label_smoothing: float = 0.0,
) -> tuple[TrainState, Totals]:
    """The state after one batch, and the batch's loss as sums.

    The same inputs give the same outputs: dropout's key is derived from `key` and the
    step. Where the gradient is not finite (or no token is real) parameters and
    optimizer stay as they are; a non-finite batch is counted in `state.skipped` and
    left out of the loss.
    """
    masks = make_masks(batch.src_mask, batch.tgt_mask)
    dropout_key = jax.random.fold_in(key, state.step)

    def loss_fn(params: Any) -> tuple[jax.Array, Totals]:
        logits = model.apply(
            {"params": params},
            batch.src_ids,
            batch.tgt_in_ids,
            masks,
            deterministic=False,
            rngs={"dropout": dropout_key},
        )
        smoothed = cross_entropy(
            logits, batch.label_ids, batch.tgt_mask, label_smoothing=label_smoothing
        )
        plain = smoothed
        if label_smoothing:
            plain = cross_entropy(logits, batch.label_ids, batch.tgt_mask)
        return smoothed.mean_loss(), plain

    (_, totals), grads = jax.value_and_grad(loss_fn, has_aux=True)(state.params)
    norm = optax.tree.norm(grads)
    finite = jnp.isfinite(norm) & jnp.isfinite(totals.nats)
    updates, opt_state = tx.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)

    def keep(use_new: jax.Array, new: Any, old: Any) -> Any:
        return jax.tree.map(lambda a, b: jnp.where(use_new, a, b), new, old)

    use = finite & (totals.num_tokens > 0)
    step = state.step + 1
    seen = state.skipped
    skipped = Skipped(
        total=seen.total + ~finite,
        in_row=jnp.where(finite, 0, seen.in_row + 1),
        last_step=jnp.where(finite, seen.last_step, step),
        last_norm=jnp.where(finite, seen.last_norm, norm),
    )
    state = TrainState(
        step=step,
        params=keep(use, params, state.params),
        opt_state=keep(use, opt_state, state.opt_state),
        skipped=skipped,
    )
    return state, keep(finite, totals, jax.tree.map(jnp.zeros_like, totals))


@partial(jax.jit, static_argnames="model")
def eval_step(params: Any, batch: Batch, *, model: Transformer) -> Totals:
    """A batch's loss as sums, without dropout or smoothing."""
    masks = make_masks(batch.src_mask, batch.tgt_mask)
    logits = model.apply({"params": params}, batch.src_ids, batch.tgt_in_ids, masks)
    return cross_entropy(logits, batch.label_ids, batch.tgt_mask)
