"""What changes a token's chance: pure functions logits -> logits, one for each idea.

Axes: B batch, T places of the target, V vocabulary. tokens[:, t] is the token that
stands at place t; places from `position` on are not there yet.

A token at -inf can never be drawn, and none of these brings it back. Where tokens are
equally likely, the lower id counts as the likelier one.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

# Logits are float32. A sum of probabilities that lies this near to a bound counts as
# having reached it: 0.5 + 0.3 should be enough for 0.8.
ROUNDING = 1e-6
MASS = 1 << 30  # probability 1 as an integer, with room for rounding in int32
# The logit of what may come where nothing else can. No temperature makes it -inf.
LAST_RESORT = -1e30
HALVINGS = 32  # of the int32 numbers, until one is left


def forbid(
    logits: Float[Array, "B V"], forbidden: Bool[Array, " V"]
) -> Float[Array, "B V"]:
    """Sets the forbidden tokens to -inf."""
    return jnp.where(forbidden[None], -jnp.inf, logits)


def forbid_early_end(
    logits: Float[Array, "B V"], position: Int[Array, ""], min_length: int, eos: int
) -> Float[Array, "B V"]:
    """Sets EOS to LAST_RESORT before place min_length, which gives that many tokens
    before it.

    Not to -inf: a row in which EOS alone is possible keeps it, since something must be
    drawn. So this filter comes after the others that forbid.
    """
    is_eos = jnp.arange(logits.shape[-1])[None] == eos
    too_early = is_eos & (position < min_length) & (logits > -jnp.inf)
    return jnp.where(too_early, LAST_RESORT, logits)


def forbid_repeated_ngrams(
    logits: Float[Array, "B V"],
    tokens: Int[Array, "B T"],
    position: Int[Array, ""],
    n: int,
    eos: int,
) -> Float[Array, "B V"]:
    """Sets to -inf what would complete an n-gram that the row holds already.

    EOS is never forbidden, so that a row has a way out where all else is. n = 1
    forbids every token that the row holds. Paulus et al. 2017, section 2.5.
    """
    num_starts = tokens.shape[1] - n + 1
    if num_starts < 1:
        return logits
    last = jax.lax.dynamic_slice_in_dim(tokens, position - (n - 1), n - 1, axis=1)
    # An n-gram that starts at s is there already if its last token, at s + n - 1, is.
    # Before place n none is, and then it does not matter what `last` holds.
    is_there = jnp.arange(num_starts) + n - 1 < position
    matches = jnp.broadcast_to(is_there[None], (len(tokens), num_starts))
    for j in range(n - 1):
        matches &= tokens[:, j : j + num_starts] == last[:, j : j + 1]
    forbidden = _held(tokens[:, n - 1 :], matches, logits.shape[-1])
    return jnp.where(forbidden.at[:, eos].set(False), -jnp.inf, logits)


def used_in_window(
    tokens: Int[Array, "B T"], position: Int[Array, ""], window: int, vocab_size: int
) -> Bool[Array, "B V"]:
    """The tokens of the last `window` places before `position`; 0 means all of them."""
    places = jnp.arange(tokens.shape[1])
    counts = places < position
    if window > 0:
        counts &= places >= position - window
    return _held(tokens, jnp.broadcast_to(counts[None], tokens.shape), vocab_size)


def _held(
    tokens: Int[Array, "B T"], counts: Bool[Array, "B T"], vocab_size: int
) -> Bool[Array, "B V"]:
    """Which tokens a row holds at the places that count."""
    # XLA's scatter is one loop on the CPU, and still the best way at every size. For
    # B = T = 128, in milliseconds, V = 100 / 1,000 / 8,000: scatter 0.09 / 0.07 / 0.3;
    # tokens == iota(V), then any() over T: 0.24 / 3.4 / 92; a loop over T: 0.14 / 1.2
    # / 14. (Two cores with a training beside.)
    rows = jnp.arange(len(tokens))[:, None]
    ids = jnp.where(counts, tokens, vocab_size)  # an id too high is dropped
    held = jnp.zeros((len(tokens), vocab_size), bool)
    return held.at[rows, ids].set(True, mode="drop")


def penalize_repetition(
    logits: Float[Array, "B V"], used: Bool[Array, "B V"], penalty: float
) -> Float[Array, "B V"]:
    """Makes used tokens less likely by a penalty above 1 (Keskar et al. 2019, 4.1)."""
    lowered = jnp.where(logits > 0, logits / penalty, logits * penalty)
    return jnp.where(used, lowered, logits)


def scale_temperature(
    logits: Float[Array, "B V"], temperature: float
) -> Float[Array, "B V"]:
    """Sharpens (below 1) or flattens (above 1) the distribution."""
    return logits / temperature


def keep_top_k(logits: Float[Array, "B V"], k: int) -> Float[Array, "B V"]:
    """Sets all but the k likeliest of each row to -inf; 0, or k above V, keeps all.

    Fan et al. 2018.
    """
    if k == 0 or k >= logits.shape[-1]:
        return logits
    # Without the barrier XLA takes TopK and the slice together for a sort: 220 ms
    # instead of 4 for [128, 8000].
    largest, _ = jax.lax.optimization_barrier(jax.lax.top_k(logits, k))
    above, ties = logits > largest[:, -1:], logits == largest[:, -1:]
    num_above, num_ties = _sums(above, ties)
    return _keep(logits, above, ties, num_ties, k - num_above)


def keep_top_p(logits: Float[Array, "B V"], p: float) -> Float[Array, "B V"]:
    """Keeps the fewest likeliest tokens that have a probability of p together.

    At least one is kept; p = 1 keeps all. Nucleus sampling: Holtzman et al. 2020,
    section 3.1.
    """
    if p >= 1:
        return logits
    order, mass = _order(logits), _mass(logits)
    needed = max(1, int((p - ROUNDING) * MASS))
    threshold = _threshold(order, mass, needed)
    above, ties = order > threshold, order == threshold
    mass_above, mass_ties, num_ties = _sums(above * mass, ties * mass, ties)
    # All ties have the same mass; there are none where nothing is possible.
    each = jnp.maximum(mass_ties // jnp.maximum(num_ties, 1), 1)
    number = (needed - mass_above + each - 1) // each  # rounded up
    return _keep(logits, above, ties, num_ties, number)


def keep_min_p(logits: Float[Array, "B V"], p: float) -> Float[Array, "B V"]:
    """Keeps tokens that are at least p times as likely as the likeliest; 0 keeps all.

    Min-p sampling: Nguyen et al. 2024.
    """
    if p == 0:
        return logits
    bound = logits.max(axis=-1, keepdims=True) + (math.log(p) - ROUNDING)
    return jnp.where(logits < bound, -jnp.inf, logits)


def _keep(
    logits: Float[Array, "B V"],
    above: Bool[Array, "B V"],
    ties: Bool[Array, "B V"],
    num_ties: Int[Array, "B 1"],
    number: Int[Array, "B 1"],
) -> Float[Array, "B V"]:
    """Keeps what is above a threshold, and the first `number` of a row's ties at it."""
    # Counting ties along V takes 7 ms for [128, 8000], as long as all else, and is
    # hardly ever needed: logits of a trained model are not equal.
    first = jax.lax.cond(
        (num_ties <= number).all(),
        lambda: ties,
        lambda: ties & (jnp.cumsum(ties, axis=-1, dtype=jnp.int32) <= number),
    )
    return jnp.where(above | first, logits, -jnp.inf)


# How keep_top_p finds its threshold without a sort, which takes 256 ms for [128, 8000]
# on the CPU: as one looks up a word, by halving. 32 halvings of the integers find a
# float32 exactly, and each needs but a sum over V: a twentieth of that in all.


def _order(logits: Float[Array, "B V"]) -> Int[Array, "B V"]:
    """Integers in the order of the float32 logits; equal ones for equal logits."""
    # IEEE 754: the bits of floats above zero rise with them, those below zero fall.
    zero_once = jnp.where(logits == 0, 0.0, logits)  # -0.0 has other bits than 0.0
    bits = jax.lax.bitcast_convert_type(zero_once.astype(jnp.float32), jnp.int32)
    return jnp.where(bits < 0, bits ^ 0x7FFFFFFF, bits)


def _mass(logits: Float[Array, "B V"]) -> Int[Array, "B V"]:
    """Probabilities in units of 1 / MASS; a row without a possible token has none.

    Integers can be added in any order, eight at a time. Floats cannot.
    """
    largest = logits.max(axis=-1, keepdims=True)
    weights = jnp.exp(logits - jnp.where(largest > -jnp.inf, largest, 0.0))
    # The likeliest token's weight is 1: the sum is less only where nothing is possible.
    total = jnp.maximum(weights.sum(axis=-1, keepdims=True), 1.0)
    return jnp.round(weights * (MASS / total)).astype(jnp.int32)


def _threshold(
    order: Int[Array, "B V"], mass: Int[Array, "B V"], needed: int
) -> Int[Array, "B 1"]:
    """The highest t for which the tokens with order >= t have the needed mass.

    The lowest integer where all of a row's tokens do not have it.
    """

    def halve_twice(i: Int[Array, ""], low: Int[Array, "B 1"]) -> Int[Array, "B 1"]:
        quarter = jnp.left_shift(1, HALVINGS - 2 * (i + 1))
        bounds = [low + quarter * j for j in (1, 2, 3)]
        sums = _sums(*((order >= bound) * mass for bound in bounds))
        return low + quarter * sum(
            (found >= needed).astype(jnp.int32) for found in sums
        )

    lowest = jnp.full((len(order), 1), -(1 << 31), jnp.int32)
    return jax.lax.fori_loop(0, HALVINGS // 2, halve_twice, lowest)


def _sums(*rows: Array) -> list[Int[Array, "B 1"]]:
    """The sum over V of each of several [B, V], integers or bool."""
    # In one pass, which XLA makes a vector loop on the CPU: three take 0.3 ms for
    # [128, 8000]; one alone, which it does not, takes 1 ms.
    sums = jax.lax.reduce(
        tuple(row.astype(jnp.int32) for row in rows),
        (jnp.int32(0),) * len(rows),
        lambda left, right: tuple(map(jnp.add, left, right)),
        dimensions=(1,),
    )
    return [one[:, None] for one in sums]
