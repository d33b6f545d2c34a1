"""Whether this machine computes what NumPy computes, asked before hours are spent.

jax 0.10.2 does not: `jit(vmap(...))` of a sum of squares is wrong in a fifth of 40,001
rows, without a word (jax-ml/jax#39103). A list of versions knows yesterday's mistakes;
this also notices one that nobody has reported yet, or a broken processor.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from flaxformer_mt.errors import InputError
from flaxformer_mt.training.devices import describe_device

NUM_ROWS = 40_001  # odd, so that the last vector of any width is not full


class Case(NamedTuple):
    """A program, what to give it and what NumPy makes of that in float64."""

    what: str
    program: Callable[..., Any]
    arrays: tuple[np.ndarray, ...]
    expected: np.ndarray
    tolerance: float  # absolute; 0 where every number on the way is a whole one


def check_numbers(device: jax.Device) -> None:
    """Returns, within two seconds, if the device computes a few programs right.

    Raises:
      InputError: it does not.
    """
    for case in make_cases():
        got = run_on(device, case.program, case.arrays).astype(np.float64)
        # Not "above the tolerance", which a NaN is not.
        wrong = ~(np.abs(got - case.expected) <= case.tolerance)
        if wrong.any():
            raise InputError(
                f"jax {jax.__version__} computes wrong numbers on "
                f"{describe_device(device)}: {case.what} differs from NumPy in "
                f"{wrong.sum():,} of {wrong.size:,} places; install another version, "
                "as in pip install 'jax==0.10.1' 'jaxlib==0.10.1', or use another "
                "--device."
            )


def run_on(
    device: jax.Device, program: Callable[..., Any], arrays: tuple[np.ndarray, ...]
) -> np.ndarray:
    """What a program, compiled for the device, makes of arrays."""
    return np.asarray(jax.jit(program)(*jax.device_put(arrays, device)))


def make_cases() -> list[Case]:
    """A sum in each of many rows, a product of matrices, attention with its norm."""
    rng = np.random.default_rng(0)

    # Whole numbers up to 8 are exact in every format that a device may multiply in.
    def whole(*shape: int) -> np.ndarray:
        return rng.integers(-8, 9, size=shape).astype(np.float32)

    weights, rows = whole(3, 3), whole(NUM_ROWS, 3)
    a, b = whole(67, 129), whole(129, 65)
    x = rng.normal(size=(5, 33, 64)).astype(np.float32)
    return [
        Case(
            "a sum of squares in each of many rows",
            lambda w, v: jax.vmap(lambda row: jnp.sum((w @ row) ** 2))(v),
            (weights, rows),
            ((np.float64(rows) @ np.float64(weights).T) ** 2).sum(1),
            tolerance=0,
        ),
        Case("a product of matrices", jnp.matmul, (a, b), np.float64(a) @ b, 0),
        Case("softmax after layer norm", _attend, (x,), _attend_in_numpy(x), 1e-4),
    ]


def _attend(x: jax.Array) -> jax.Array:
    centred = x - x.mean(axis=-1, keepdims=True)
    normed = centred * jax.lax.rsqrt(x.var(axis=-1, keepdims=True) + 1e-5)
    return jax.nn.softmax(3 * normed, axis=-1)


def _attend_in_numpy(x: np.ndarray) -> np.ndarray:
    x = x.astype(np.float64)
    centred = x - x.mean(axis=-1, keepdims=True)
    normed = centred / np.sqrt(x.var(axis=-1, keepdims=True) + 1e-5)
    raised = np.exp(3 * normed)
    return raised / raised.sum(axis=-1, keepdims=True)
