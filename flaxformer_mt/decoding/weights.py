"""The parameters as decoding wants them: in few arrays, and ready for the step.

Handing an array to a program takes microseconds, and a step of a small model for a
single sentence takes not much longer than handing it all of its parameters. Two thirds
of them are vectors: biases and norms. So a step gets these in one, and takes it apart
inside the program, where that costs nothing.

The output layer comes with its bias as one more row of its matrix, where a CPU decodes:
adding the bias to the logits of 64 rows takes as long as half of their product.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from flaxformer_mt.model.transformer import Transformer, stacked_output


@struct.dataclass
class Packed:
    """The decoder's parameters; vectors are one array."""

    matrices: tuple[jax.Array, ...]  # as they are, in the tree's order
    vectors: jax.Array  # [n], one after the other
    output: jax.Array | None  # [D + 1, V]; None: the output layer is in the tree
    tree: Any = struct.field(pytree_node=False)  # how the whole tree is built
    # The length of each vector, and None where a matrix stands.
    lengths: tuple[int | None, ...] = struct.field(pytree_node=False)


class Weights(NamedTuple):
    """What one model is decoded with."""

    whole: Any  # to read sources with
    decoder: Packed  # for the steps


def weights_of(params: Any, model: Transformer) -> Weights:
    """The parameters of a model, for `search.decode`; to be made once."""
    if not isinstance(params, dict) or not params:  # a model that has none
        return Weights(params, pack(params))
    decoder = {k: v for k, v in params.items() if k not in ("encoder", "src_embed")}
    if jnp.dtype(model.dtype) != jnp.float32:  # which would round the bias
        return Weights(params, pack(decoder))
    output = stacked_output(params, model.cfg)
    layers = {k: v for k, v in decoder["decoder"].items() if k != "logits"}
    return Weights(params, pack({**decoder, "decoder": layers}, output))


def pack(params: Any, output: jax.Array | None = None) -> Packed:
    """The parameters in few arrays."""
    leaves, tree = jax.tree.flatten(params)
    vectors = [leaf for leaf in leaves if leaf.ndim == 1]
    joined = np.concatenate([np.zeros(0, np.float32), *jax.device_get(vectors)])
    return Packed(
        matrices=tuple(leaf for leaf in leaves if leaf.ndim != 1),
        # Not put onto a device of its own: an array that is bound to one would have
        # the step compiled again for what it returns.
        vectors=jax.device_put(joined),
        output=output,
        tree=tree,
        lengths=tuple(len(leaf) if leaf.ndim == 1 else None for leaf in leaves),
    )


def unpack(packed: Packed) -> Any:
    """The parameters as the model knows them, but for an output layer that stands
    apart; inside a program."""
    matrices, start, leaves = iter(packed.matrices), 0, []
    for length in packed.lengths:
        if length is None:
            leaves.append(next(matrices))
        else:
            stop = start + length
            leaves.append(jax.lax.slice(packed.vectors, (start,), (stop,)))
            start = stop
    return jax.tree.unflatten(packed.tree, leaves)
