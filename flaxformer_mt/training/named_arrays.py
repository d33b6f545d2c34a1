"""Named arrays: trees of arrays by the names of their leaves, and back.

What is stored is "decoder/layer_0/kernel" -> NumPy array; a training has its own trees.
Here one becomes the other, is described in words, and is refused if it cannot be stored
or does not fit.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from flaxformer_mt.errors import DivergedError, InputError

Arrays = dict[str, np.ndarray]  # "decoder/layer_0/kernel" -> array


def flatten(tree: Any) -> Arrays:
    """Returns name -> NumPy array."""
    arrays = {}
    for name, leaf in _named_leaves(tree).items():
        try:
            arrays[name] = np.asarray(leaf)
        except (TypeError, RuntimeError) as error:  # typed keys; arrays of other hosts
            raise InputError(f"cannot store {name}: {error}.") from error
        if arrays[name].dtype.kind in "OSU" or arrays[name].size == 0:
            raise InputError(f"cannot store {name}: it does not hold any number.")
    return arrays


def flatten_items(params: Any, training: Any) -> dict[str, Arrays]:
    """Returns item -> its named arrays, without the items that hold none."""
    items = {"params": params, "training": training}
    return {k: flatten(tree) for k, tree in items.items() if jax.tree.leaves(tree)}


def _named_leaves(tree: Any) -> dict[str, Any]:
    """Returns "opt_state/0/mu/encoder/kernel" -> leaf, for any pytree."""
    named, orbax_names = {}, set()
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        # Orbax joins with dots: it would write {"a.b": {"c"}} over {"a": {"b": {"c"}}}.
        orbax_name = name.replace("/", ".")
        if name.count("/") != len(path) - 1 or orbax_name in orbax_names:
            raise InputError(f"cannot store an array under the name '{name}'.")
        orbax_names.add(orbax_name)
        named[name] = leaf
    return named


def nest(named: Mapping[str, Any]) -> dict[str, Any]:
    """Returns {"a": {"b": leaf}} of {"a/b": leaf}."""
    tree: dict[str, Any] = {}
    for name, leaf in named.items():
        *parents, last = name.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = leaf
    return tree


def like(template: Any, named: Arrays) -> Any:
    """Returns the arrays in the tree structure of the template."""
    in_order = [named[name] for name in _named_leaves(template)]
    return jax.tree.unflatten(jax.tree.structure(template), in_order)


def describe(named: Mapping[str, Any]) -> dict[str, str]:
    """Returns name -> "float32[512, 64]"."""
    leaves = {k: x if hasattr(x, "dtype") else np.asarray(x) for k, x in named.items()}
    return {k: f"{jnp.dtype(x.dtype).name}{list(x.shape)}" for k, x in leaves.items()}


def check_params(step: int, params: Any, arrays: Arrays | None) -> None:
    """Raises if these are no parameters, or one of them is not finite."""
    paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(params)]
    keys = {type(key) for path in paths for key in path}
    if not arrays or keys != {jax.tree_util.DictKey}:
        raise InputError("parameters must be nested dicts with an array in them.")
    for name, array in arrays.items():
        if jnp.issubdtype(array.dtype, jnp.inexact) and not np.isfinite(array).all():
            raise DivergedError(
                f"step {step} was not saved: parameter {name} is not finite; earlier "
                "checkpoints are intact."
            )


def check_fits(
    step: int, arrays: Mapping[str, Mapping[str, str]], item: str, template: Any
) -> None:
    """Raises InputError unless the item, as described, has the template's arrays."""
    if item not in arrays:
        raise InputError(
            f"step {step} holds no {item} state: it was published for "
            "translation, and training cannot be resumed from it."
        )
    theirs, ours = arrays[item], describe(_named_leaves(template))
    names = sorted({*theirs, *ours})
    differ = [name for name in names if theirs.get(name) != ours.get(name)]
    if differ:
        name = differ[0]
        raise InputError(
            f"step {step} does not fit this model: {len(differ)} of "
            f"{len(names)} arrays differ, e.g. {item}/{name}: checkpoint "
            f"{theirs.get(name, 'missing')}, this model {ours.get(name, 'missing')} "
            "(was the vocabulary, the size or the optimizer changed?)."
        )
