"""What a model thinks of a translation that is given: forced decoding.

All positions at once, as in training: the log-probabilities are those that decoding
step by step comes to.

Axes: B rows, S source places, T target places, V target vocabulary, H heads.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from flaxformer_mt.decoding import selection
from flaxformer_mt.decoding.frames import Frame
from flaxformer_mt.decoding.search import TokenIds, compile_once
from flaxformer_mt.model.masks import make_masks
from flaxformer_mt.model.transformer import Transformer
from flaxformer_mt.text.batching import pad

# Logits are worked out for so many positions at a time: [64, 32, 8,000] would be 65 MB.
POSITIONS_AT_ONCE = 512


class Pair(NamedTuple):
    """A source and its translation in ids."""

    src_ids: list[int]  # EOS included
    tgt_ids: list[int]  # EOS included

    @property
    def places(self) -> int:
        """Positions that the longer side needs."""
        return max(len(self.src_ids), len(self.tgt_ids))


class PairRows(NamedTuple):
    """Pairs as arrays."""

    src_ids: np.ndarray  # [B, S] int32
    src_mask: np.ndarray  # [B, S] bool
    tgt_in_ids: np.ndarray  # [B, T] int32
    label_ids: np.ndarray  # [B, T] int32
    tgt_mask: np.ndarray  # [B, T] bool


class View(NamedTuple):
    """How a model comes to a translation."""

    log_probs: np.ndarray  # [T] nats of each token
    likeliest: np.ndarray  # [T, k] int32, the likeliest tokens of each position
    likeliest_log_probs: np.ndarray  # [T, k]
    attention: np.ndarray  # [layers, H, T, S], of the decoder to the source


def pair_rows(pairs: Sequence[Pair], frame: Frame, ids: TokenIds) -> PairRows:
    """The arrays of some pairs, filled up with rows that have none."""
    empty = [[]] * (frame.rows - len(pairs))
    width, pad_id = frame.length, ids.pad
    src_ids, src_mask = pad([p.src_ids for p in pairs] + empty, width, pad_id)
    label_ids, tgt_mask = pad([p.tgt_ids for p in pairs] + empty, width, pad_id)
    inputs = [[ids.bos, *pair.tgt_ids[:-1]] for pair in pairs]
    tgt_in_ids, _ = pad(inputs + empty, width, pad_id)
    return PairRows(src_ids, src_mask, tgt_in_ids, label_ids, tgt_mask)


def score_batch(
    params: Any,
    pairs: Sequence[Pair],
    *,
    model: Transformer,
    frame: Frame,
    ids: TokenIds,
) -> list[list[float]]:
    """The log-probabilities of the tokens of each pair's target, in nats.

    pairs: at most as many as the frame has rows, and no longer than it.
    """
    rows = pair_rows(pairs, frame, ids)
    call = partial(forced_log_probs, params, rows, model=model)
    log_probs = np.asarray(compile_once(("score", model, frame), call))
    return [
        row[: len(pair.tgt_ids)].tolist()
        for row, pair in zip(log_probs, pairs, strict=False)
    ]


@partial(jax.jit, static_argnames="model")
def forced_log_probs(
    params: Any, rows: PairRows, *, model: Transformer
) -> Float[Array, "B T"]:
    """The log-probability of each label, whatever stands where there is none."""
    masks = make_masks(rows.src_mask, rows.tgt_mask)
    hidden = model.apply(
        {"params": params}, rows.src_ids, rows.tgt_in_ids, masks, method="hidden"
    )
    size = min(POSITIONS_AT_ONCE, rows.label_ids.size)
    flat_hidden = hidden.reshape(-1, hidden.shape[-1])
    flat_labels = jnp.asarray(rows.label_ids).reshape(-1)
    missing = -len(flat_labels) % size
    chunks = (
        jnp.pad(flat_hidden, ((0, missing), (0, 0))).reshape(
            -1, size, hidden.shape[-1]
        ),
        jnp.pad(flat_labels, (0, missing)).reshape(-1, size),
    )

    def of_chunk(chunk: tuple[Array, Array]) -> Array:
        hidden, labels = chunk
        logits = model.apply({"params": params}, hidden, method="read_out")
        return label_log_probs(logits, labels)

    log_probs = jax.lax.map(of_chunk, chunks).reshape(-1)
    return log_probs[: rows.label_ids.size].reshape(rows.label_ids.shape)


def label_log_probs(
    logits: Float[Array, "M V"], labels: Int[Array, " M"]
) -> Float[Array, " M"]:
    """The log-probability of one token a row."""
    chosen = jnp.take_along_axis(logits, labels[:, None], axis=1)[:, 0]
    return chosen - selection.log_normalizer(logits)


def look(
    params: Any, pair: Pair, *, model: Transformer, length: int, ids: TokenIds, k: int
) -> View:
    """How the model comes to the target of a pair.

    length: positions to compute, at least those that the pair needs.
    k: likeliest tokens to give for each position.
    """
    rows = pair_rows([pair], Frame(1, length), ids)
    log_probs, values, places, attention = jax.device_get(
        _look(params, rows, model=model, k=k)
    )
    num_src, num_tgt = len(pair.src_ids), len(pair.tgt_ids)
    return View(
        log_probs[:num_tgt],
        places[:num_tgt],
        values[:num_tgt],
        attention[:, :, :num_tgt, :num_src],
    )


@partial(jax.jit, static_argnames=("model", "k"))
def _look(
    params: Any, rows: PairRows, *, model: Transformer, k: int
) -> tuple[Array, ...]:
    masks = make_masks(rows.src_mask, rows.tgt_mask)
    logits, found = model.apply(
        {"params": params},
        *(rows.src_ids, rows.tgt_in_ids, masks),
        mutable=["intermediates"],
    )
    layers = found["intermediates"]["decoder"]
    attention = [
        layers[f"layers_{i}"]["cross_attn"]["weights"][0][0]
        for i in range(model.cfg.num_decoder_layers)
    ]
    logits = logits[0]
    log_probs = label_log_probs(logits, jnp.asarray(rows.label_ids)[0])
    values, places = selection.top_k(logits, k)
    values -= selection.log_normalizer(logits)[:, None]
    return log_probs, values, places, jnp.stack(attention).astype(jnp.float32)
