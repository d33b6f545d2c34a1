"""Dropout whose random bits come from an integer hash.

The bits need to be reproducible and well mixed, not secret. A counter run through a
multiply-xorshift hash costs a tenth of threefry on a CPU, where threefry takes a
quarter of a small model's training step.
"""

import math

import flax.linen as nn
import jax
import jax.extend.random
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt32


def row_key(key: jax.Array, first_row: jax.Array | int = 0) -> jax.Array:
    """A key for some rows of a batch, the first of which has this number in the batch.

    An element's bits depend on the key and on its place in the whole batch: rows get
    the same bits on whatever device they are, and whatever is computed beside them.
    Modules fold their names into it as into any other key.
    """
    words = jax.random.key_data(key).reshape(-1)[-2:]
    row = jnp.asarray(first_row, jnp.uint32).reshape(1)
    return jax.random.wrap_key_data(jnp.concatenate([words, row]), impl=_ROW_KEYS)


def hash_bits(key: jax.Array, shape: tuple[int, ...]) -> UInt32[Array, "..."]:
    """32 well mixed bits for each element, a pure function of key and place.

    Args:
      key: of `row_key`, or any other, which stands for row 0 and on.
      shape: rows first.
    """
    if jax.random.key_data(key).shape != (3,):
        key = row_key(key)
    first, second, first_row = jax.random.key_data(key)
    size = math.prod(shape)
    counter = jax.lax.iota(jnp.uint32, size) + first_row * (size // max(shape[0], 1))
    return hash_of(counter, first, second).reshape(shape)


def hash_of(
    counter: UInt32[Array, "..."], first: UInt32[Array, ""], second: UInt32[Array, ""]
) -> UInt32[Array, "..."]:
    """The bits of elements by their number, under the first two words of a key.

    The finaliser is `lowbias32` (C. Wellons, "Prospecting for Hash Functions", 2018),
    run once over the counter and once more with the key's second word.
    """
    return _mix(_mix(counter ^ first) + second)


def _mix(x: UInt32[Array, "..."]) -> UInt32[Array, "..."]:
    # Of NumPy: a kernel may hold no array of JAX's.
    x = (x ^ (x >> np.uint32(16))) * np.uint32(0x7FEB352D)
    x = (x ^ (x >> np.uint32(15))) * np.uint32(0x846CA68B)
    return x ^ (x >> np.uint32(16))


def _fold_in(words: UInt32[Array, "3"], data: UInt32[Array, ""]) -> UInt32[Array, "3"]:
    """Another key for the same rows. Hashed too: there is a key for each module."""
    first = _mix(words[0] ^ _mix(data))
    return jnp.stack([first, _mix(words[1] + first), words[2]])


def _unsupported(*_: object) -> jax.Array:
    raise TypeError("a row key is made by row_key, folded into, and read by hash_bits")


# Two words of a key and the number of the first row.
_ROW_KEYS = jax.extend.random.define_prng_impl(
    key_shape=(3,),
    seed=_unsupported,
    split=_unsupported,
    random_bits=_unsupported,
    fold_in=_fold_in,
    name="rows",
)


class Dropout(nn.Module):
    """Sets a share `rate` of the elements to 0 and scales up the others (Srivastava et
    al. 2014, in the inverted form), from the rng stream "dropout"."""

    rate: float

    @nn.compact
    def __call__(
        self, x: Float[Array, "..."], *, deterministic: bool
    ) -> Float[Array, "..."]:
        if deterministic or self.rate == 0.0:
            return x
        bits = hash_bits(self.make_rng("dropout"), x.shape)
        threshold = jnp.uint32(min(round(self.rate * 2**32), 2**32 - 1))
        return jnp.where(bits >= threshold, x / (1.0 - self.rate), 0.0)
