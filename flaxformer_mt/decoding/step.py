"""One token of the model: what every search's program is built around.

Axes: B rows, N hypotheses of each, V target vocabulary.
"""

from collections.abc import Callable
from typing import Any

import jax
from jax.experimental.xla_metadata import set_xla_metadata
from jaxtyping import Array, Bool, Float, Int

from flaxformer_mt.decoding.weights import Packed, unpack
from flaxformer_mt.model.processor import on_cpu
from flaxformer_mt.model.transformer import DecodeCache, Transformer

# A call that is marked so becomes one function for a CPU, where XLA would run a kernel
# for each operation: for one row, starting 200 kernels takes as long as their work. XLA
# cannot do so with the products of more rows.
ONE_KERNEL = {"xla_cpu_small_call": "true", "inlineable": "false"}
_refused: set[str] = set()  # has something in it once XLA would not


def apply_step(
    model: Transformer,
    params: Packed,
    token_ids: Int[Array, "B N"],
    position: Int[Array, ""],
    cache: DecodeCache,
    mask: Bool[Array, "..."],
    *,
    one_kernel: bool = False,
) -> tuple[Float[Array, "B N V"], DecodeCache]:
    """What Transformer.decode_step returns, of packed parameters."""

    def step(params: Packed, *arguments: Any) -> tuple[Array, DecodeCache]:
        more = {} if params.output is None else {"output": params.output}
        tree = {"params": unpack(params)}
        return model.apply(tree, *arguments, **more, method="decode_step")

    arguments = (params, token_ids, position, cache, mask)
    return in_one_kernel(step)(*arguments) if one_kernel else step(*arguments)


def in_one_kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, to be one kernel of the program that calls it. It may hold no
    scatter, sort or top_k."""

    def call(*arguments: Any) -> Any:
        with set_xla_metadata(**ONE_KERNEL):
            return jax.jit(function)(*arguments)

    return call


def run_step(
    program: Callable[..., Any], *arguments: Any, rows: int, **more: Any
) -> Any:
    """What the jitted program of a step returns, given `one_kernel` where that is
    faster. The mark is no promise of XLA: where it is refused, all goes on without."""
    if rows == 1 and on_cpu() and not _refused:
        try:
            return program(*arguments, one_kernel=True, **more)
        except jax.errors.JaxRuntimeError as error:
            _refused.add(str(error))
    return program(*arguments, one_kernel=False, **more)
