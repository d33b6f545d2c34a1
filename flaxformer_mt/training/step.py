"""The pure, jitted training step: state in, state out."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct

from flaxformer_mt.model.dropout import row_key
from flaxformer_mt.model.layer_norm import row_sum
from flaxformer_mt.model.masks import make_masks
from flaxformer_mt.model.processor import on_cpu
from flaxformer_mt.model.transformer import (
    Transformer,
    count_parameters,
    init_params,
    output_layer,
)
from flaxformer_mt.text.batching import Batch
from flaxformer_mt.training.devices import (
    apart_over_rows,
    stay_whole,
    sum_over_rows,
)
from flaxformer_mt.training.loss import Totals, mean_of, output_loss
from flaxformer_mt.training.parts import parts_of


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

    step: jax.Array  # [] int32, updates done, skipped ones included
    params: Any
    opt_state: optax.OptState
    skipped: Skipped
    ema: Any = None  # moving average of the parameters, where one is kept

    @property
    def best_params(self) -> Any:
        """The parameters to validate, save and translate with."""
        return self.params if self.ema is None else self.ema


def init_state(
    model: Transformer,
    tx: optax.GradientTransformation,
    key: jax.Array,
    *,
    keep_ema: bool = False,
) -> TrainState:
    """The state before the first step."""
    return state_of(init_params(model, key), tx, keep_ema=keep_ema)


def state_of(
    params: Any, tx: optax.GradientTransformation, *, keep_ema: bool = False
) -> TrainState:
    """The state before the first step, from given parameters."""
    # One array a counter: a donated buffer may not appear twice.
    none = Skipped(*(jnp.zeros((), jnp.int32) for _ in range(3)), jnp.zeros(()))
    ema = jax.tree.map(jnp.copy, params) if keep_ema else None
    return TrainState(jnp.zeros((), jnp.int32), params, tx.init(params), none, ema)


@dataclasses.dataclass(frozen=True, kw_only=True)
class StepOptions:
    """What an update is, beside model and optimizer; hashable, so that a step is
    compiled for it."""

    label_smoothing: float = 0.0  # share of the target spread over the vocabulary
    accumulate: int = 1  # parts of a batch, at least, computed one after another
    ema: float = 0.0  # decay of the parameters' moving average; 0 keeps none


PLAIN = StepOptions()


def update(
    state: TrainState,
    batch: Batch,
    key: jax.Array,
    *,
    model: Transformer,
    tx: optax.GradientTransformation,
    options: StepOptions = PLAIN,
) -> tuple[TrainState, Totals]:
    """The state after one batch, and the batch's loss as sums; `train_step` is this,
    jitted.

    The same inputs give the same outputs: dropout's key is derived from `key` and the
    step. Where the gradient is not finite (or no token is real) parameters and
    optimizer stay as they are; a non-finite batch is counted in `state.skipped` and
    left out of the loss.
    """
    key = jax.random.fold_in(key, state.step)
    grads, totals = _sum_gradients(state.params, batch, key, model, options)
    # Sums are divided once: parts with fewer tokens count for less.
    grads = jax.tree.map(lambda g: g / jnp.maximum(totals.num_tokens, 1), grads)
    norm = _norm(grads)
    finite = jnp.isfinite(norm) & jnp.isfinite(totals.nats)
    use = finite & (totals.num_tokens > 0)

    def keep(use_new: jax.Array, new: Any, old: Any) -> Any:
        return jax.tree.map(lambda a, b: jax.lax.select(use_new, a, b), new, old)

    updates, opt_state = tx.update(grads, state.opt_state, state.params)
    params = keep(use, optax.apply_updates(state.params, updates), state.params)
    if on_cpu():  # the same moments, without copies
        moments = _moments_after(params, state.opt_state, tx)
        _, opt_state = tx.update(grads, moments, state.params)
    step = state.step + 1
    seen = state.skipped
    skipped = Skipped(
        total=seen.total + ~finite,
        in_row=jnp.where(finite, 0, seen.in_row + 1),
        last_step=jnp.where(finite, seen.last_step, step),
        last_norm=jnp.where(finite, seen.last_norm, norm),
    )
    before = state
    state = TrainState(
        step=step,
        params=params,
        opt_state=keep(use, opt_state, state.opt_state),
        skipped=skipped,
        ema=_moving_average(state.ema, params, step, options.ema),
    )
    totals = keep(finite, totals, jax.tree.map(jnp.zeros_like, totals))
    return stay_whole((state, totals), like=before)


def _moments_after(
    params: Any, opt_state: Any, tx: optax.GradientTransformation
) -> Any:
    """The optimizer's state, of which no moment can be read before the new parameter
    that it belongs to has been computed.

    A CPU computes a parameter and each of its moments in a loop of its own. A moment is
    written over the old one, so XLA copies that first, unless it knows that the
    parameter's loop, which reads it too, has been run by then. It is told by a
    condition that holds for every number, which it does not see.
    """

    def after(moment: jax.Array, param: jax.Array) -> jax.Array:
        number = param.reshape(-1)[0]
        is_any = (number <= np.inf) | (number != number)
        return jax.lax.select(is_any, moment, jnp.zeros_like(moment))

    return optax.tree_map_params(tx, after, opt_state, params)


def _norm(tree: Any) -> jax.Array:
    """The length of all arrays together. With rows added up as `row_sum` does it is 16
    times as fast on a CPU as optax.tree.norm."""

    def squares(x: jax.Array) -> jax.Array:
        return row_sum(jnp.square(x).reshape(-1, x.shape[-1]))

    rows = jnp.concatenate([squares(x) for x in jax.tree.leaves(tree)])  # [R, 1]
    return jnp.sqrt(row_sum(rows.T)[0, 0])


STATIC = ("model", "tx", "options")
train_step = jax.jit(update, static_argnames=STATIC, donate_argnames="state")
# For a CPU whose cores are each a device: none of them waits for others' threads, and a
# program compiles in two thirds of the time for the same speed.
BY_CORE = {
    "xla_cpu_multi_thread_eigen": False,
    "xla_llvm_disable_expensive_passes": True,
}
train_step_by_core = jax.jit(
    update,
    static_argnames=STATIC,
    donate_argnames="state",
    compiler_options=BY_CORE,
)


def compile_step(*arguments: Any, by_core: bool, **static: Any) -> jax.stages.Compiled:
    """The program of a step, which a call with such arguments then runs; arrays may be
    ShapeDtypeStructs."""
    step = train_step_by_core if by_core else train_step
    return step.lower(*arguments, **static).compile()


@contextlib.contextmanager
def compiling_init(model: Transformer, key: jax.Array) -> Iterator[None]:
    """While it is open, a thread compiles `init_params` of such a model and key: on two
    cores two seconds of a first start are hidden behind the step's compilation."""
    with ThreadPoolExecutor(1) as pool:
        init = pool.submit(lambda: init_params.lower(model, key).compile())
        yield
        init.result()


def _sum_gradients(
    params: Any, batch: Batch, key: jax.Array, model: Transformer, options: StepOptions
) -> tuple[Any, Totals]:
    """(gradient of the batch's smoothed nats, its Totals): each device goes through its
    rows, a part after another."""
    gradient = jax.grad(_smoothed_nats, has_aux=True)

    def of_rows(params: Any, batch: Batch, first_row: jax.Array) -> tuple[Any, Totals]:
        size = count_parameters(params)
        parts = parts_of(batch, model.cfg, size, fewest=options.accumulate)
        if parts == 1:
            return gradient(params, batch, row_key(key, first_row), model, options)

        def add(sums: tuple, part: tuple) -> tuple[tuple, None]:
            number, rows = part
            part_key = row_key(key, first_row + number * len(rows.src_ids))
            new = gradient(params, rows, part_key, model, options)
            return jax.tree.map(jnp.add, sums, new), None

        zeros = jax.tree.map(jnp.zeros_like, params), Totals(*jnp.zeros(2))
        split = jax.tree.map(lambda rows: _split_rows(rows, parts), batch)
        sums, _ = jax.lax.scan(add, zeros, (jnp.arange(parts), split))
        return sums

    return sum_over_rows(of_rows, params, batch)


def _split_rows(rows: jax.Array, parts: int) -> jax.Array:
    """[B, ...] as [P, B / P, ...], filled up with empty rows, which count for nothing,
    where they do not divide."""
    spare = ((0, -len(rows) % parts), *((0, 0),) * (rows.ndim - 1))
    return jnp.pad(rows, spare).reshape(parts, -1, *rows.shape[1:])


def _smoothed_nats(
    params: Any, batch: Batch, key: jax.Array, model: Transformer, options: StepOptions
) -> tuple[jax.Array, Totals]:
    """(what is learned from, what is told)"""
    more = {"deterministic": False, "rngs": {"dropout": key}}
    hidden = _hidden(params, batch, model, **more)
    return output_loss(
        hidden,
        *output_layer(params, model.cfg),
        *(jnp.asarray(batch.label_ids), jnp.asarray(batch.tgt_mask)),
        options.label_smoothing,
    )


def _moving_average(ema: Any, params: Any, step: jax.Array, decay: float) -> Any:
    """The average after a step: a true mean at first, so that the random start is soon
    forgotten."""
    if ema is None:
        return None
    decay = jnp.minimum(decay, (step - 1) / step)
    return jax.tree.map(lambda old, new: old + (1 - decay) * (new - old), ema, params)


def validate(params: Any, batch: Batch, *, model: Transformer) -> Totals:
    """A batch's loss as sums, without dropout or smoothing; `eval_step` is this,
    jitted."""
    return sum_over_rows(_evaluate(model), params, batch)


def validate_apart(params: Any, batch: Batch, *, model: Transformer) -> Totals:
    """The sums of each device, [devices], which the host adds up."""
    return apart_over_rows(_evaluate(model), params, batch)


def _evaluate(model: Transformer) -> Callable[[Any, Batch, jax.Array], Totals]:
    def of_rows(params: Any, batch: Batch, first_row: jax.Array) -> Totals:
        hidden = _hidden(params, batch, model)
        _, totals = output_loss(
            hidden,
            *output_layer(params, model.cfg),
            *(jnp.asarray(batch.label_ids), jnp.asarray(batch.tgt_mask)),
        )
        return totals

    return of_rows


def _hidden(params: Any, batch: Batch, model: Transformer, **more: Any) -> jax.Array:
    """What the output layer reads, [B, T, D]."""
    masks = make_masks(batch.src_mask, batch.tgt_mask)
    arguments = batch.src_ids, batch.tgt_in_ids, masks
    return model.apply({"params": params}, *arguments, **more, method="hidden")


eval_step = jax.jit(validate, static_argnames="model")
eval_step_by_core = jax.jit(validate, static_argnames="model", compiler_options=BY_CORE)
eval_step_apart = jax.jit(
    validate_apart, static_argnames="model", compiler_options=BY_CORE
)

# Steps, of training or validation, handed to the device before the host waits for the
# oldest of them: never for the newest, so the device always has the next one. XLA's
# threads, two on two cores, once waited for each other for ever where a hundred were.
STEPS_IN_FLIGHT = 4


def loss_over(
    params: Any,
    batches: Iterable[Batch],
    *,
    model: Transformer,
    by_core: bool = False,
) -> float:
    """Nats a token over all the batches."""
    step = eval_step_by_core if by_core else eval_step
    if by_core and jax.process_count() == 1:
        step = eval_step_apart  # cores that never wait for each other
    sums: list[Totals] = []
    for batch in batches:
        sums.append(step(params, batch, model=model))
        if len(sums) > STEPS_IN_FLIGHT:
            sums[-1 - STEPS_IN_FLIGHT].nats.block_until_ready()
    return mean_of(sums)
