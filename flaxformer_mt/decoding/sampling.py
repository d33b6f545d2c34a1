"""Greedy decoding and sampling: one jitted step a token, under the loop of `search`.

Axes: B batch, S source places, T (or L) target places, V target vocabulary.
"""

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Bool, Float, Int

from flaxformer_mt.decoding import filters, selection
from flaxformer_mt.decoding.frames import Rows
from flaxformer_mt.decoding.search import HashedOnce, Output, TokenIds
from flaxformer_mt.decoding.step import apply_step, in_one_kernel, run_step
from flaxformer_mt.decoding.weights import Packed
from flaxformer_mt.errors import InputError
from flaxformer_mt.model.masks import causal_row
from flaxformer_mt.model.transformer import DecodeCache, Transformer

LATER_PIECES = 1 << 30  # beyond any position


@dataclasses.dataclass(frozen=True, kw_only=True)
class SampleOptions:
    """How the next token is chosen: by these filters, in this order but for the
    temperature, which comes before top_k."""

    temperature: float = 1.0  # 0 takes the likeliest token: greedy
    repetition_penalty: float = 1.0  # above 1 makes already used tokens less likely
    repetition_window: int = 0  # used among the last so many tokens; 0: in all
    no_repeat_ngram: int = 0  # never the same so many tokens twice; 0: no matter
    min_length: int = 0  # tokens before the end may come
    top_k: int = 0  # draw among the k likeliest; 0, or more than there are, keeps all
    top_p: float = 1.0  # among the likeliest that make up this share; 1 keeps all
    min_p: float = 0.0  # among those at least this share as likely as the likeliest

    def __post_init__(self) -> None:
        # Beyond a factor of a thousand float32 runs out of numbers.
        usual = lambda value: 1e-3 <= value <= 1e3  # noqa: E731
        for name, is_right, remark in (
            (
                "temperature",
                lambda t: t == 0 or usual(t),
                "0 (greedy) or 0.001 to 1000",
            ),
            ("repetition_penalty", usual, "0.001 to 1000 (1 changes nothing)"),
            ("repetition_window", lambda n: n >= 0, "at least 0 (0 is all tokens)"),
            ("no_repeat_ngram", lambda n: n >= 0, "at least 0 (0 forbids none)"),
            ("min_length", lambda n: n >= 0, "at least 0"),
            ("top_k", lambda k: k >= 0, "at least 0 (0 keeps all)"),
            ("top_p", lambda p: 0 < p <= 1, "above 0 and at most 1 (1 keeps all)"),
            ("min_p", lambda p: 0 <= p <= 1, "0 to 1 (0 keeps all)"),
        ):
            value = getattr(self, name)
            if not is_right(value):
                raise InputError(f"{name} must be {remark}; got {value}.")


GREEDY = SampleOptions(temperature=0.0)


@struct.dataclass
class SampleState:
    """What one token hands to the next."""

    cache: DecodeCache | None
    tokens: jax.Array  # [B, L] int32, those of each row so far
    lengths: jax.Array  # [B] int32, how many they are, EOS included
    alive: jax.Array  # [B] bool, rows that have had no EOS
    failed: jax.Array  # [B] bool, rows for which the model returned no number
    keys: jax.Array  # [B, 2] uint32
    log_probs: jax.Array | None  # [B, L] nats of each token, where asked for
    prefix: jax.Array | None  # [B, L] int32, the given token + 1; 0: none
    opening: jax.Array | None  # [B, V] bool, what may follow the prefix


@dataclasses.dataclass(frozen=True)
class Sampler(HashedOnce):
    """Greedy decoding and sampling, as `search.decode` asks for them."""

    model: Transformer
    opts: SampleOptions
    ids: TokenIds
    scored: bool = False  # whether log-probabilities are wanted

    # The decorator would write one that hashes the model every time.
    __hash__ = HashedOnce.__hash__

    def start(self, params: Any, rows: Rows) -> SampleState:
        """The state of a batch before its first token."""
        return start(params, rows, model=self.model, scored=self.scored)

    def step(self, params: Packed, state: SampleState, position: Any) -> SampleState:
        """The state after one more token a row."""
        rows = len(state.alive)
        return run_step(sample_step, params, state, position, sampler=self, rows=rows)

    def outputs(self, state: SampleState, row: int) -> list[Output]:
        """The one translation of a row, from a state on the host."""
        length = int(state.lengths[row])
        token_ids = state.tokens[row, :length].tolist()
        ended = bool(token_ids) and token_ids[-1] == self.ids.eos
        failed = bool(state.failed[row])
        if state.log_probs is None:
            nan = float("nan")
            return [Output(token_ids, nan, nan, [], not ended, failed)]
        each = state.log_probs[row, :length].tolist()
        whole = float(np.sum(each, dtype=np.float64))
        return [Output(token_ids, whole, whole, each, not ended, failed)]


@partial(jax.jit, static_argnames=("model", "scored"))
def start(params: Any, rows: Rows, *, model: Transformer, scored: bool) -> SampleState:
    """The state of a batch of sources before its first token; rows without a source are
    not alive."""
    num_rows, length = rows.src_ids.shape
    cache = model.apply(
        *({"params": params}, rows.src_ids, rows.src_mask, length),
        method="start_cache",
    )
    return SampleState(
        cache=cache,
        tokens=jnp.zeros((num_rows, length), jnp.int32),
        lengths=jnp.zeros(num_rows, jnp.int32),
        alive=rows.src_mask.any(axis=1),
        failed=jnp.zeros(num_rows, bool),
        keys=jnp.asarray(rows.keys),
        log_probs=jnp.zeros((num_rows, length)) if scored else None,
        prefix=None if rows.prefix is None else jnp.asarray(rows.prefix),
        opening=None if rows.opening is None else jnp.asarray(rows.opening),
    )


@partial(jax.jit, static_argnames=("sampler", "one_kernel"), donate_argnames="state")
def sample_step(
    params: Packed,
    state: SampleState,
    position: Int[Array, ""],
    *,
    sampler: Sampler,
    one_kernel: bool,
) -> SampleState:
    """The state after one more token a row; rows that have ended stay as they are."""
    opts, vocab_size = sampler.opts, sampler.model.cfg.tgt_vocab_size
    used = used_tokens(state.tokens, position, vocab_size, opts=opts)
    # Drawing, too, is many small operations; some of them have to be kernels.
    whole = one_kernel and not (opts.top_k or opts.no_repeat_ngram)
    add = partial(_add_token, sampler=sampler, one_kernel=one_kernel and not whole)
    add = in_one_kernel(add) if whole else add
    return add(params, state, position, used)


def _add_token(
    params: Packed,
    state: SampleState,
    position: Int[Array, ""],
    used: Bool[Array, "B V"] | None,
    *,
    sampler: Sampler,
    one_kernel: bool,
) -> SampleState:
    """The state after one more token a row, where `used` is what a row holds."""
    opts, ids = sampler.opts, sampler.ids
    last = token_before(state.tokens, position, bos=ids.bos)
    raw, cache = apply_step(
        sampler.model,
        *(params, last[:, None], position, state.cache),
        causal_row(position, state.tokens.shape[1]),
        one_kernel=one_kernel,
    )
    raw = raw[:, 0].astype(jnp.float32)  # [B, V]
    logits = filters.forbid(raw, jnp.asarray(ids.forbidden(raw.shape[-1])))
    logits = shape_by_history(
        logits, state.tokens, position, used, opts=opts, eos=ids.eos
    )
    logits = allow_prefix(logits, state.prefix, state.opening, position, raw)
    best, drawn = selection.likeliest(logits)
    if opts.temperature != 0.0:
        drawn = draw(logits, state.keys, position, opts=opts)
    # A row without a number to go by ends here, and is reported.
    failed = state.alive & ~jnp.isfinite(best)
    drawn = jnp.where(failed, ids.eos, drawn)
    drawn = jnp.where(state.alive, drawn, 0)
    log_probs = state.log_probs
    if log_probs is not None:
        chosen = jnp.take_along_axis(raw, drawn[:, None], axis=1)[:, 0]
        chosen -= selection.log_normalizer(raw)
        log_probs = put(log_probs, chosen, position)
    return state.replace(
        cache=cache,
        tokens=put(state.tokens, drawn, position),
        lengths=state.lengths + state.alive.astype(jnp.int32),
        alive=state.alive & (drawn != ids.eos),
        failed=state.failed | failed,
        log_probs=log_probs,
    )


def token_before(
    tokens: Int[Array, "B L"], position: Int[Array, ""], *, bos: int
) -> Int[Array, " B"]:
    """The token that stands before a position, BOS before the first."""
    last = jax.lax.dynamic_index_in_dim(
        tokens, jnp.maximum(position - 1, 0), axis=-1, keepdims=False
    )
    return jnp.where(position == 0, bos, last)


def put(
    row: Int[Array, "B L"] | Float[Array, "B L"],
    values: Int[Array, " B"] | Float[Array, " B"],
    position: Int[Array, ""],
) -> Array:
    """The rows with one more value each, at a position."""
    return jax.lax.dynamic_update_slice_in_dim(
        row, values[..., None].astype(row.dtype), position, axis=-1
    )


def allow_prefix(
    logits: Float[Array, "B V"],
    prefix: Int[Array, "B L"] | None,
    opening: Bool[Array, "B V"] | None,
    position: Int[Array, ""],
    raw: Float[Array, "B V"],
) -> Float[Array, "B V"]:
    """Where a prefix is given: its token alone, and right after it only what may follow
    it; elsewhere the logits as they are.

    raw: the logits before they were filtered.
    """
    if prefix is None or opening is None:
        return logits
    given, num_given = given_at(prefix, position)
    places = jnp.arange(logits.shape[-1])[None]
    allowed = jnp.where(given >= 0, places == given, opening | (position != num_given))
    # What is given holds against every filter, the beginning of a token too.
    logits = jnp.where((given >= 0) & ~jnp.isfinite(logits), 0.0, logits)
    begins = (position == num_given) & opening & ~opening.all(axis=-1, keepdims=True)
    is_open = (begins & (logits > -jnp.inf)).any(axis=-1, keepdims=True)
    logits = jnp.where(begins & ~is_open, raw, logits)
    return jnp.where(allowed, logits, -jnp.inf)


def given_at(
    prefix: Int[Array, "B L"], position: Int[Array, ""]
) -> tuple[Int[Array, "B 1"], Int[Array, "B 1"]]:
    """(the token given for a position, -1 where there is none; how many are given)."""
    given = jax.lax.dynamic_index_in_dim(prefix, position, axis=-1) - 1
    return given, (prefix > 0).sum(axis=-1, keepdims=True, dtype=jnp.int32)


def used_tokens(
    tokens: Int[Array, "B L"], position: Int[Array, ""], vocab_size: int, *, opts: Any
) -> Bool[Array, "B V"] | None:
    """The tokens that the repetition penalty is for; None without one.

    opts: SampleOptions, or others that have the same fields.
    """
    if opts.repetition_penalty == 1.0:
        return None
    window = opts.repetition_window
    return filters.used_in_window(tokens, position, window, vocab_size)


def shape_by_history(
    logits: Float[Array, "B V"],
    tokens: Int[Array, "B L"],
    position: Int[Array, ""],
    used: Bool[Array, "B V"] | None,
    *,
    opts: Any,
    eos: int,
) -> Float[Array, "B V"]:
    """The filters that look at what a row holds already, those that are asked for.

    used, opts: as in used_tokens.
    """
    if used is not None:
        logits = filters.penalize_repetition(logits, used, opts.repetition_penalty)
    if opts.no_repeat_ngram:
        logits = filters.forbid_repeated_ngrams(
            logits, tokens, position, opts.no_repeat_ngram, eos
        )
    if opts.min_length:
        logits = filters.forbid_early_end(logits, position, opts.min_length, eos)
    return logits


def draw(
    logits: Float[Array, "B V"],
    keys: Array,
    position: Int[Array, ""],
    *,
    opts: SampleOptions,
) -> Int[Array, " B"]:
    """A token of each row at random, as the options say.

    After top_k only k values a row are left, which is what makes it cheap.
    """
    logits = filters.scale_temperature(logits, opts.temperature)
    places = None
    if 0 < opts.top_k < logits.shape[-1]:
        logits, places = selection.top_k(logits, opts.top_k)
        # In the vocabulary's order: in that of their values, two tokens that are all
        # but equal would change places with how a batch rounds, and so would the draw.
        places, logits = jax.lax.sort((places, logits), num_keys=1)
    logits = filters.keep_top_p(logits, opts.top_p)
    logits = filters.keep_min_p(logits, opts.min_p)
    # One key a row and position: a row's draw does not depend on its neighbours.
    row_keys = jax.random.wrap_key_data(keys)
    row_keys = jax.vmap(jax.random.fold_in, (0, None))(row_keys, position)
    drawn = selection.draw(logits, jax.vmap(jax.random.uniform)(row_keys))
    if places is not None:
        drawn = jnp.take_along_axis(places, drawn[:, None], axis=1)[:, 0]
    return drawn


def piece_keys(seed: int, *, lines: list[int], places: list[int]) -> np.ndarray:
    """[B, 2] uint32, the words of fold_in(key(seed), line): the same whatever else is
    translated.

    On the host, where any number of them takes no program.

    places: a row's place among the pieces of its text; pieces after the first, which
    only texts longer than the model have, fold in a number that is no position.
    """
    key = np.array([0, seed], np.uint32)  # jax.random.key(seed)
    keys = fold_in(key[None], np.asarray(lines, np.uint32))
    later = np.asarray(places, np.uint32)
    return np.where(later[:, None] > 0, fold_in(keys, LATER_PIECES + later), keys)


def fold_in(keys: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """What jax.random.fold_in makes of keys [B|1, 2] and numbers [B]: Threefry-2x32 in
    20 rounds (Salmon et al. 2011), keyed by the key, of the number."""
    first, second = keys.astype(np.uint32).T
    schedule = (first, second, first ^ second ^ np.uint32(0x1BD11BDA))
    a = np.zeros(len(numbers), np.uint32) + schedule[0]
    b = numbers.astype(np.uint32) + schedule[1]
    for i in range(5):
        for distance in ((13, 15, 26, 6), (17, 29, 16, 24))[i % 2]:
            a = a + b
            b = (b << np.uint32(distance)) | (b >> np.uint32(32 - distance))
            b = b ^ a
        a = a + schedule[(i + 1) % 3]
        b = b + schedule[(i + 2) % 3] + np.uint32(i + 1)
    return np.stack([a, b], axis=1)
