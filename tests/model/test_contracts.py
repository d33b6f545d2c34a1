"""The five contracts that every encoder-decoder owes (DESIGN: model).

Each was seen to fail with the tutorial's mistakes put back; the last tests of this file
put two of them back on purpose, so that the contracts are known to notice.
"""

import dataclasses
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from flaxformer_mt.decoding.beam_search import lineage_mask
from flaxformer_mt.model.attention import MultiHeadAttention
from flaxformer_mt.model.masks import Masks, causal_row, keys, make_masks
from flaxformer_mt.model.transformer import (
    DecodeCache,
    Transformer,
    init_params,
    make_model,
)
from flaxformer_mt.text.batching import Batch
from flaxformer_mt.training.step import init_state, train_step
from tests.conftest import BOS, PAIRS, V, tiny_batch, tiny_config

LENGTH = 8  # places of a target


@partial(jax.jit, static_argnums=0)
def logits_from(model: Transformer, params: dict, batch: Batch) -> jax.Array:
    masks = make_masks(batch.src_mask, batch.tgt_mask)
    return model.apply({"params": params}, batch.src_ids, batch.tgt_in_ids, masks)


def gradients(
    model: Transformer, params: dict, batch: Batch, *, side: str, position: int
) -> np.ndarray:
    """[B, L]: how strongly each token of a side moves its row's logits at a target
    position. Only the encoder can inform the first one, which has BOS alone."""

    def logits_at(bump: jax.Array) -> jax.Array:
        def embed_with_bump(next_fun, args, kwargs, context):
            out = next_fun(*args, **kwargs)
            embeds = context.module.name == f"{side}_embed"
            return out + bump if embeds and context.method_name == "__call__" else out

        with nn.intercept_methods(embed_with_bump):
            logits = logits_from.__wrapped__(model, params, batch)
        return (logits[:, position] * weights).sum()

    weights = jax.random.normal(jax.random.key(7), (1, V))
    ids = batch.src_ids if side == "src" else batch.tgt_in_ids
    bump = jnp.zeros((*ids.shape, model.cfg.d_model))
    gradient = jax.jit(jax.grad(logits_at))(bump)
    return np.asarray(jnp.abs(gradient).sum(axis=-1))


def test_every_source_token_reaches_the_logits(model, params):
    batch = tiny_batch()
    strength = gradients(model, params, batch, side="src", position=0)
    assert (strength[batch.src_mask] > 1e-6).all()
    assert (strength[~batch.src_mask] == 0).all(), "padding reached the logits"


@pytest.mark.parametrize("position", [0, 1, 2])
def test_no_target_position_sees_a_later_one(model, params, position):
    strength = gradients(model, params, tiny_batch(), side="tgt", position=position)
    assert (strength[:, position + 1 :] == 0).all()
    assert (strength[0, : position + 1] > 1e-6).all()


def test_padding_is_invisible(model, params):
    batch = tiny_batch(width=8)
    wider, more_rows = tiny_batch(width=12), tiny_batch(width=8, rows=5)
    logits = logits_from(model, params, batch)
    for other in (wider, more_rows):
        same = logits_from(model, params, other)[: len(PAIRS), : logits.shape[1]]
        np.testing.assert_allclose(
            logits[batch.tgt_mask], same[batch.tgt_mask], atol=1e-5
        )
    alone = Batch(*(rows[1:] for rows in batch))
    real = alone.tgt_mask
    np.testing.assert_allclose(
        logits_from(model, params, alone)[real], logits[1:][real], atol=1e-5
    )


def start(model: Transformer, params: dict, batch: Batch, size: int) -> DecodeCache:
    where = (batch.src_ids, batch.src_mask, LENGTH, size)
    return model.apply({"params": params}, *where, method="start_cache")


def test_a_source_is_read_alike_in_half_of_its_places():
    cfg = tiny_config(max_length=32, num_encoder_layers=1, num_decoder_layers=1)
    model = make_model(cfg, src_vocab_size=V, tgt_vocab_size=V)
    params = init_params(model, jax.random.key(0))
    src_ids = np.random.default_rng(0).integers(4, V, (2, 32)).astype(np.int32)
    short = np.arange(32)[None] < np.array([[16], [9]])
    long = np.arange(32)[None] < np.array([[16], [17]])  # one that needs the rest
    caches = [
        model.apply({"params": params}, src_ids, mask, LENGTH, method="start_cache")
        for mask in (short, long)
    ]
    kvs = [np.stack(jax.tree.leaves(cache.memory_kv)) for cache in caches]
    real = (slice(None), 0, slice(None), slice(16))  # of the row that is in both
    np.testing.assert_allclose(kvs[0][real], kvs[1][real], atol=1e-5)
    assert not kvs[0][:, :, :, 16:].any(), "places that no source has were read"
    assert kvs[1][:, 1, :, 16].any()


@partial(jax.jit, static_argnums=0)
def step(
    model: Transformer,
    params: dict,
    ids: jax.Array,
    t: jax.Array,
    cache: DecodeCache,
    mask: jax.Array,
) -> tuple[jax.Array, DecodeCache]:
    return model.apply({"params": params}, ids, t, cache, mask, method="decode_step")


def test_cached_decoding_equals_teacher_forcing(model, params):
    batch = tiny_batch(LENGTH)
    full = logits_from(model, params, batch)
    cache = start(model, params, batch, 1)
    assert (batch.tgt_in_ids[:, 0] == BOS).all()
    for t in range(3):  # both rows are real up to here
        ids, position = batch.tgt_in_ids[:, t : t + 1], jnp.asarray(t)
        mask = causal_row(position, LENGTH)
        logits, cache = step(model, params, ids, position, cache, mask)
        np.testing.assert_allclose(logits[:, 0], full[:, t], atol=1e-5)


def test_hypotheses_decoded_together_get_the_logits_that_each_gets_alone(model, params):
    """As in a beam search: each goes on from another one at every step."""
    rng, rows, size = np.random.default_rng(0), len(PAIRS), 3
    batch = tiny_batch(LENGTH)
    cache = start(model, params, batch, size)
    tokens = np.full((rows, size, LENGTH), BOS)
    lineage = np.zeros((rows, size, LENGTH), np.int32)
    for t in range(5):
        lineage[:, :, t] = range(size)
        mask = lineage_mask(jnp.asarray(lineage), jnp.asarray(t))
        ids = tokens[:, :, t]
        logits, cache = step(model, params, ids, jnp.asarray(t), cache, mask)
        for n in range(size):
            real = np.arange(LENGTH) <= t
            alone = batch._replace(
                tgt_in_ids=tokens[:, n], tgt_mask=np.tile(real[None], (rows, 1))
            )
            expected = logits_from(model, params, alone)[:, t]
            np.testing.assert_allclose(logits[:, n], expected, atol=1e-5)
        parents = rng.integers(size, size=(rows, size))[:, :, None]
        tokens = np.take_along_axis(tokens, parents, 1)
        lineage = np.take_along_axis(lineage, parents, 1)
        tokens[:, :, t + 1] = rng.integers(4, V, size=(rows, size))


def test_loss_starts_near_log_v_and_one_batch_can_be_memorised(model):
    model = Transformer(dataclasses.replace(model.cfg, dropout_rate=0.0))
    tx = optax.adam(1e-2)
    state = init_state(model, tx, jax.random.key(0))
    batch, key, losses = tiny_batch(), jax.random.key(1), []
    for _ in range(120):
        state, totals = train_step(state, batch, key, model=model, tx=tx)
        losses.append(float(totals.mean_loss()))
    assert abs(losses[0] - np.log(V)) < 1.0
    assert losses[-1] < 0.1
    assert int(state.step) == 120


# ---- the tutorial's mistakes, put back -----------------------------------------------


@pytest.fixture
def fresh():
    """A model of its own: a traced function must not be shared with a broken one."""
    model = make_model(tiny_config(), src_vocab_size=V, tgt_vocab_size=V)
    return model, init_params(model, jax.random.key(0))


def test_the_contracts_notice_cross_attention_that_ignores_the_encoder(
    fresh, monkeypatch
):
    """q, k and v all from the decoder's own state: the encoder's output goes unused."""
    model, params = fresh
    attend = MultiHeadAttention.attend

    def attend_to_itself(self, x, kv, mask, *, deterministic=True):
        if self.name == "cross_attn":
            kv, mask = self.project_kv(x), jnp.ones((1, 1, 1, x.shape[1]), bool)
        return attend(self, x, kv, mask, deterministic=deterministic)

    monkeypatch.setattr(MultiHeadAttention, "attend", attend_to_itself)
    strength = gradients(model, params, tiny_batch(), side="src", position=0)
    assert (strength == 0).all(), "contract 1 would have failed"
    strength = gradients(model, params, tiny_batch(), side="tgt", position=0)
    assert (strength[:, 1:] > 0).any(), "contract 2 would have failed"


def test_the_contracts_notice_a_missing_causal_mask(fresh):
    model, params = fresh
    batch = tiny_batch()
    ahead = keys(jnp.asarray(batch.tgt_mask)) & jnp.ones((1, 1, 8, 8), bool)
    right = make_masks(batch.src_mask, batch.tgt_mask)
    masks = Masks(right.encoder, ahead, right.cross)
    changed = batch.tgt_in_ids.copy()
    changed[0, 3] = 5
    a, b = (
        model.apply({"params": params}, batch.src_ids, ids, masks)
        for ids in (batch.tgt_in_ids, changed)
    )
    assert np.abs(a[0, 0] - b[0, 0]).max() > 1e-4
