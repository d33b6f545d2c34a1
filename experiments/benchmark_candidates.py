"""What might make a step faster on a GPU, each beside the step as it is.

    python -m experiments.benchmark_candidates [--repeats 7]

attention  as one kernel, experiments.fused_attention, first compared with the plain
           operations
norm       a gradient of the layer norm that reads its input and what comes back, and
           keeps two numbers a row, where JAX's own writes a float32 product for the
           scale's gradient
both       together

The preset `base` in bfloat16, an update's tokens at a time, in turns. Whatever is
faster belongs into the package, and the rest out of here. Results go to
experiments/results/candidates.json.
"""

import argparse
import contextlib
import functools
import json
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp

from experiments import fused_attention
from experiments.benchmark import (
    BASE,
    ROOT,
    Training,
    compare,
    model_config,
    operations,
    random_batch,
)
from experiments.turns import in_turns, matrix_product_speed, timed, write_result
from flaxformer_mt.model import layer_norm
from flaxformer_mt.model.attention import MultiHeadAttention, attention_weights
from flaxformer_mt.model.dropout import hash_bits, row_key
from flaxformer_mt.model.layer_norm import row_mean
from flaxformer_mt.model.masks import causal, keys

RESULT = ROOT / "experiments" / "results" / "candidates.json"
STEPS = 20

# ---- the norm ------------------------------------------------------------------------


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def lean_norm(
    x: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float, dtype: Any
) -> jax.Array:
    """layer_norm of the same arguments, with a gradient of its own."""
    return _norm_forward(x, scale, bias, epsilon, dtype)[0]


def _norm_forward(
    x: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float, dtype: Any
) -> tuple[jax.Array, tuple]:
    x32 = x.astype(jnp.float32)
    mean = row_mean(x32)
    rate = jax.lax.rsqrt(row_mean(jnp.square(x32 - mean)) + epsilon)
    shape = (1,) * (x.ndim - 1) + scale.shape
    y = (x32 - mean) * rate * scale.reshape(shape) + bias.reshape(shape)
    return y.astype(dtype), (x, scale, mean, rate)


def _norm_backward(
    epsilon: float, dtype: Any, kept: tuple, gradient: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    x, scale, mean, rate = kept
    gradient = gradient.astype(jnp.float32)
    normal = (x.astype(jnp.float32) - mean) * rate
    of_normal = gradient * scale.reshape((1,) * (x.ndim - 1) + scale.shape)
    # Neither the mean of a row nor its variance can be changed through the norm.
    of_x = of_normal - row_mean(of_normal) - normal * row_mean(of_normal * normal)
    rows = tuple(range(x.ndim - 1))
    of_scale, of_bias = (gradient * normal).sum(axis=rows), gradient.sum(axis=rows)
    return (rate * of_x).astype(x.dtype), of_scale, of_bias


lean_norm.defvjp(_norm_forward, _norm_backward)

# ---- each in its place ---------------------------------------------------------------

CANDIDATES = {
    "as it is": (),
    "attention": ((MultiHeadAttention, "attend", fused_attention.attend),),
    "norm": ((layer_norm, "layer_norm", lean_norm),),
}
CANDIDATES["both"] = CANDIDATES["attention"] + CANDIDATES["norm"]


@contextlib.contextmanager
def in_place(name: str) -> Iterator[None]:
    """The package with a candidate in it; what was traced before is forgotten."""
    before = [
        (owner, part, getattr(owner, part)) for owner, part, _ in CANDIDATES[name]
    ]
    jax.clear_caches()
    for owner, part, new in CANDIDATES[name]:
        setattr(owner, part, new)
    try:
        yield
    finally:
        for owner, part, old in before:
            setattr(owner, part, old)
        jax.clear_caches()


def errors_of_kernel(rows: int = 8, length: int = 64, size: int = 64) -> list[float]:
    """How far value and gradients of the kernel, in bfloat16 with dropout, are from the
    plain operations in float32, as a share of their length."""
    heads, rate = 8, 0.1
    draws = jax.random.split(jax.random.key(0), 4)
    shape = rows, length, heads * size
    *inputs, gradient = (
        jax.random.normal(draw, shape).astype(jnp.bfloat16) for draw in draws
    )
    lengths = jnp.arange(rows)[:, None] * length // (rows - 1)  # none, to all
    mask = keys(jnp.arange(length)[None] < lengths) & causal(length)
    key = row_key(jax.random.key(1), 3)
    plan = fused_attention.Plan(heads, rate)
    words = jax.random.key_data(key)

    def fused(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
        return fused_attention.fused_read(q, k, v, mask, words, plan)

    def plain(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
        q, k, v = (
            x.reshape(rows, length, heads, size).swapaxes(1, 2) for x in (q, k, v)
        )
        weights = attention_weights(q, k, mask)
        kept = hash_bits(key, weights.shape) >= jnp.uint32(round(rate * 2**32))
        weights = jnp.where(kept, weights / (1 - rate), 0.0)
        read = jnp.einsum("bhts,bhsk->bhtk", weights, v)
        return read.swapaxes(1, 2).reshape(shape)

    def both_ways(function: Any, *arrays: jax.Array) -> tuple:
        out, back = jax.vjp(function, *arrays[:3])
        return out, *back(arrays[3])

    ours = jax.jit(functools.partial(both_ways, fused))(*inputs, gradient)
    exact = [x.astype(jnp.float32) for x in (*inputs, gradient)]
    with jax.default_matmul_precision("highest"):
        expected = jax.jit(functools.partial(both_ways, plain))(*exact)

    def error(a: jax.Array, b: jax.Array) -> float:
        return float(jnp.linalg.norm(a.astype(jnp.float32) - b) / jnp.linalg.norm(b))

    return [error(a, b) for a, b in zip(ours, expected, strict=True)]


def main() -> None:
    """python -m experiments.benchmark_candidates"""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--only", nargs="+", choices=CANDIDATES, default=CANDIDATES)
    asked = parser.parse_args()
    if jax.default_backend() != "gpu":
        parser.exit(2, "error: the candidates are for a GPU, and JAX finds none\n")
    errors = errors_of_kernel()
    print("the kernel's errors:", *(f"{error:.1e}" for error in errors), flush=True)
    if max(errors) > 2e-2:
        raise SystemExit("The kernel computes something else than attention.")
    cfg, vocab_size = model_config(BASE.preset)
    batch = random_batch(BASE.shape, vocab_size, smallest=1)
    sides, losses = {}, {}
    for name in asked.only:
        with in_place(name):
            training = Training(
                cfg,
                rows=BASE.shape.rows,
                label_smoothing=0.1,
                dtype=jnp.bfloat16,
                device="gpu",
            )
            losses[name] = training.run([batch])  # compiles
        side = "ours" if name == "as it is" else name
        sides[side] = timed(lambda training=training: training.run([batch] * STEPS))
        print(f"{name}: ready, loss {losses[name]:.4f}", flush=True)
    seconds = in_turns(sides, asked.repeats, pause=0.05)
    rate, needed = matrix_product_speed(jnp.bfloat16), operations(cfg, batch)
    measured = compare(seconds, STEPS) if "ours" in seconds else {"ms": {}}
    measured |= {
        "device": training.devices.describe(),
        "case": BASE.name,
        "errors_of_kernel": errors,
        "losses": losses,
        "matrix_product_gflops": round(rate / 1e9),
        "share_of_matrix_rate": {
            name: round(needed * STEPS / min(runs) / rate, 3)
            for name, runs in seconds.items()
        },
    }
    command = ["--repeats", str(asked.repeats)]
    write_result("step", measured, command, module="benchmark_candidates", file=RESULT)
    print(json.dumps(measured, indent=1))


if __name__ == "__main__":
    main()
