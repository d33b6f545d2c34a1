"""The encoder-decoder Transformer of Vaswani et al. 2017, pre-norm or post-norm.

Axes: B batch, S source length, T target length, L either, H heads, K head size,
D d_model, E = D + 1, V target vocabulary, N hypotheses of a source that are decoded
together.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Bool, Float, Int

from flaxformer_mt.config import ModelConfig
from flaxformer_mt.model.attention import KV, MultiHeadAttention
from flaxformer_mt.model.dense import Dense
from flaxformer_mt.model.dropout import Dropout
from flaxformer_mt.model.layer_norm import LayerNorm
from flaxformer_mt.model.masks import AnyArray, Masks, keys, make_masks

Dtype = Any  # jnp.float32 or jnp.bfloat16
SHORTEST_HALF = 16  # places of a source; to leave out fewer saves nothing


def sinusoids(length: int, d_model: int) -> np.ndarray:
    """[L, D] float32 position table (Vaswani et al. 2017, section 3.5)."""
    rates = np.exp(np.arange(0, d_model, 2) * (-np.log(1e4) / d_model))
    angles = np.arange(length)[:, None] * rates  # [L, D/2]
    table = np.stack([np.sin(angles), np.cos(angles)], axis=-1)
    return table.reshape(length, d_model).astype(np.float32)


class FeedForward(nn.Module):
    """Two dense layers with a ReLU between (Vaswani et al. 2017, section 3.3)."""

    cfg: ModelConfig
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "B L D"], *, deterministic: bool
    ) -> Float[Array, "B L D"]:
        hidden = nn.relu(Dense(self.cfg.d_ff, name="wide", dtype=self.dtype)(x))
        dropout = Dropout(self.cfg.feed_forward_dropout_rate)
        hidden = dropout(hidden, deterministic=deterministic)
        return Dense(self.cfg.d_model, name="narrow", dtype=self.dtype)(hidden)


class Residual(nn.Module):
    """x + sublayer(x), normalised before the sublayer (pre) or after the sum (post)."""

    cfg: ModelConfig
    dtype: Dtype = jnp.float32

    def setup(self) -> None:
        self.norm = LayerNorm(dtype=self.dtype)
        self.dropout = Dropout(self.cfg.dropout_rate)

    def __call__(
        self,
        x: Float[Array, "B L D"],
        sublayer: Callable[[jax.Array], jax.Array],
        *,
        deterministic: bool,
    ) -> Float[Array, "B L D"]:
        if self.cfg.norm == "pre":
            update = sublayer(self.norm(x))
            return x + self.dropout(update, deterministic=deterministic)
        return self.norm(x + self.dropout(sublayer(x), deterministic=deterministic))


class EncoderLayer(nn.Module):
    """Self-attention, then feed-forward."""

    cfg: ModelConfig
    dtype: Dtype = jnp.float32

    def setup(self) -> None:
        options = (self.cfg, self.dtype)
        self.self_attn = MultiHeadAttention(*options)
        self.feed_forward = FeedForward(*options)
        self.self_attn_residual = Residual(*options)
        self.feed_forward_residual = Residual(*options)

    def __call__(
        self,
        x: Float[Array, "B S D"],
        mask: Bool[Array, "B 1 1 S"],
        *,
        deterministic: bool,
    ) -> Float[Array, "B S D"]:
        def read_source(x: jax.Array) -> jax.Array:
            kv = self.self_attn.project_kv(x)
            return self.self_attn.attend(x, kv, mask, deterministic=deterministic)

        def think(x: jax.Array) -> jax.Array:
            return self.feed_forward(x, deterministic=deterministic)

        x = self.self_attn_residual(x, read_source, deterministic=deterministic)
        return self.feed_forward_residual(x, think, deterministic=deterministic)


class DecoderLayer(nn.Module):
    """Self-attention, cross-attention to the encoder's output, then feed-forward."""

    cfg: ModelConfig
    dtype: Dtype = jnp.float32

    def setup(self) -> None:
        options = (self.cfg, self.dtype)
        self.self_attn = MultiHeadAttention(*options)
        self.cross_attn = MultiHeadAttention(*options)
        self.feed_forward = FeedForward(*options)
        self.self_attn_residual = Residual(*options)
        self.cross_attn_residual = Residual(*options)
        self.feed_forward_residual = Residual(*options)

    def __call__(
        self,
        y: Float[Array, "B T D"],
        read_target: Callable[[jax.Array], jax.Array],
        memory_kv: KV,
        memory_mask: Bool[Array, "B 1 1 S"],
        *,
        deterministic: bool,
    ) -> Float[Array, "B T D"]:
        """`read_target` is the self-attention, over the whole target or a cache."""

        def read_memory(y: jax.Array) -> jax.Array:
            return self.cross_attn.attend(
                y, memory_kv, memory_mask, deterministic=deterministic
            )

        def think(y: jax.Array) -> jax.Array:
            return self.feed_forward(y, deterministic=deterministic)

        y = self.self_attn_residual(y, read_target, deterministic=deterministic)
        y = self.cross_attn_residual(y, read_memory, deterministic=deterministic)
        return self.feed_forward_residual(y, think, deterministic=deterministic)

    def read_whole(
        self, mask: Bool[Array, "B 1 T T"], *, deterministic: bool
    ) -> Callable:
        """Self-attention over a target that is all there, as in training."""

        def read(y: jax.Array) -> jax.Array:
            kv = self.self_attn.project_kv(y)
            return self.self_attn.attend(y, kv, mask, deterministic=deterministic)

        return read


class Encoder(nn.Module):
    """A stack of encoder layers; pre-norm ends in a norm of its own."""

    cfg: ModelConfig
    dtype: Dtype = jnp.float32

    def setup(self) -> None:
        self.layers = [
            EncoderLayer(self.cfg, self.dtype)
            for _ in range(self.cfg.num_encoder_layers)
        ]
        self.norm = LayerNorm(dtype=self.dtype) if self.cfg.norm == "pre" else None

    def __call__(
        self,
        x: Float[Array, "B S D"],
        mask: Bool[Array, "B 1 1 S"],
        *,
        deterministic: bool,
    ) -> Float[Array, "B S D"]:
        for layer in self.layers:
            x = layer(x, mask, deterministic=deterministic)
        return x if self.norm is None else self.norm(x)


@struct.dataclass
class DecodeCache:
    """What the decoder remembers of a source and of the target so far."""

    self_kv: tuple[KV, ...]  # a layer each, [B, H, L * N, K], N places a position
    memory_kv: tuple[KV, ...]  # a layer each, [B, H, S, K], computed once
    memory_mask: Any  # [B, 1, 1, S]


class Decoder(nn.Module):
    """A stack of decoder layers, and the output layer where it is not tied."""

    cfg: ModelConfig
    dtype: Dtype = jnp.float32

    def setup(self) -> None:
        c = self.cfg
        self.layers = [DecoderLayer(c, self.dtype) for _ in range(c.num_decoder_layers)]
        self.norm = LayerNorm(dtype=self.dtype) if c.norm == "pre" else None
        self.logits = OutputLayer(c) if c.tied_embeddings == "none" else None
        if c.tied_embeddings != "none":
            zeros = nn.initializers.zeros_init()
            self.logits_bias = self.param("logits_bias", zeros, (c.tgt_vocab_size,))

    def __call__(
        self,
        y: Float[Array, "B T D"],
        memory: Float[Array, "B S D"],
        masks: Masks,
        *,
        deterministic: bool,
    ) -> Float[Array, "B T D"]:
        """Teacher forcing: what the output layer reads, every position at once."""
        for layer, memory_kv in zip(
            self.layers, self.project_memory(memory), strict=True
        ):
            read_target = layer.read_whole(masks.decoder, deterministic=deterministic)
            y = layer(
                y, read_target, memory_kv, masks.cross, deterministic=deterministic
            )
        return y if self.norm is None else self.norm(y)

    def project_memory(self, memory: Float[Array, "B S D"]) -> tuple[KV, ...]:
        """The encoder's keys and values for each layer: once a sentence."""
        return tuple(layer.cross_attn.project_kv(memory) for layer in self.layers)

    def step(
        self,
        y: Float[Array, "B N D"],
        position: Int[Array, ""],
        cache: DecodeCache,
        mask: Bool[Array, "..."],
    ) -> tuple[Float[Array, "B N D"], DecodeCache]:
        """One position with a cache: what the output layer reads of it, and the cache
        with it filled in. See Transformer.decode_step."""
        filled: list[KV] = []
        for layer, kv, memory_kv in zip(
            self.layers, cache.self_kv, cache.memory_kv, strict=True
        ):

            def read_cache(y: jax.Array, layer=layer, kv=kv) -> jax.Array:
                new = layer.self_attn.project_kv(y)
                filled.append(kv.write(new, position * y.shape[1]))
                return layer.self_attn.attend(y, filled[-1], mask, deterministic=True)

            y = layer(y, read_cache, memory_kv, cache.memory_mask, deterministic=True)
        y = y if self.norm is None else self.norm(y)
        return y, cache.replace(self_kv=tuple(filled))


class OutputLayer(nn.Module):
    """The kernel and bias of logits = hidden @ kernel + bias."""

    cfg: ModelConfig

    def setup(self) -> None:
        shape = (self.cfg.d_model, self.cfg.tgt_vocab_size)
        self.kernel = self.param("kernel", nn.initializers.lecun_normal(), shape)
        self.bias = self.param("bias", nn.initializers.zeros_init(), shape[1:])


class Transformer(nn.Module):
    """Embeddings with sinusoidal positions, an encoder and a decoder.

    Embeddings of their own start as N(0, 1), as torch starts them, so that they stand
    beside the positions, whose elements are up to 1, without a scale. One that is also
    the output layer starts as N(0, 1/D) and is multiplied by sqrt(D) where it is read
    (Vaswani et al. 2017, section 3.4; Press and Wolf 2017).

    dtype: of the matrix products; parameters, norms, softmax and loss are float32.
    """

    cfg: ModelConfig
    dtype: Dtype = jnp.float32

    def setup(self) -> None:
        c = self.cfg
        own = nn.initializers.normal(1.0)
        tied = nn.initializers.normal(c.d_model**-0.5)

        def table(size: int, init: nn.initializers.Initializer) -> nn.Embed:
            return nn.Embed(size, c.d_model, embedding_init=init)

        if c.tied_embeddings == "all":
            self.embed = table(c.tgt_vocab_size, tied)
        else:
            self.src_embed = table(c.src_vocab_size, own)
            is_tied = c.tied_embeddings == "target"
            self.tgt_embed = table(c.tgt_vocab_size, tied if is_tied else own)
        self.encoder, self.decoder = Encoder(c, self.dtype), Decoder(c, self.dtype)
        self.dropout = Dropout(c.dropout_rate)
        self.positions = sinusoids(c.max_length, c.d_model)  # [L, D]

    def __call__(
        self,
        src_ids: Int[AnyArray, "B S"],
        tgt_in_ids: Int[AnyArray, "B T"],
        masks: Masks,
        *,
        deterministic: bool = True,
    ) -> Float[Array, "B T V"]:
        """Teacher forcing: the logits of every target position."""
        return self.read_out(
            self.hidden(src_ids, tgt_in_ids, masks, deterministic=deterministic)
        )

    def hidden(
        self,
        src_ids: Int[AnyArray, "B S"],
        tgt_in_ids: Int[AnyArray, "B T"],
        masks: Masks,
        *,
        deterministic: bool = True,
    ) -> Float[Array, "B T D"]:
        """Teacher forcing up to the output layer, which the loss applies in pieces."""
        memory = self.encode(src_ids, masks.encoder, deterministic=deterministic)
        y = self.embed_tgt(tgt_in_ids) + self.positions[None, : tgt_in_ids.shape[1]]
        y = self.dropout(y.astype(self.dtype), deterministic=deterministic)
        return self.decoder(y, memory, masks, deterministic=deterministic)

    def embed_src(self, ids: Int[AnyArray, "..."]) -> Float[Array, "... D"]:
        """The source's embeddings."""
        if self.cfg.tied_embeddings == "all":
            return self.embed(ids) * np.float32(np.sqrt(self.cfg.d_model))
        return self.src_embed(ids)

    def embed_tgt(self, ids: Int[AnyArray, "..."]) -> Float[Array, "... D"]:
        """The target's embeddings."""
        if self.cfg.tied_embeddings == "none":
            return self.tgt_embed(ids)
        table = self.embed if self.cfg.tied_embeddings == "all" else self.tgt_embed
        return table(ids) * np.float32(np.sqrt(self.cfg.d_model))

    def read_out(self, hidden: Float[Array, "... D"]) -> Float[Array, "... V"]:
        """The logits of what the decoder made."""
        if self.cfg.tied_embeddings == "none":
            kernel, bias = self.decoder.logits.kernel, self.decoder.logits.bias
        else:
            table = self.embed if self.cfg.tied_embeddings == "all" else self.tgt_embed
            kernel, bias = table.embedding.T, self.decoder.logits_bias
        logits = jnp.dot(hidden, kernel.astype(hidden.dtype))
        return logits.astype(jnp.float32) + bias.reshape(
            (1,) * (hidden.ndim - 1) + (-1,)
        )

    def encode(
        self,
        src_ids: Int[AnyArray, "B S"],
        mask: Bool[Array, "B 1 1 S"],
        *,
        deterministic: bool = True,
    ) -> Float[Array, "B S D"]:
        """The memory: what the encoder makes of a source."""
        x = self.embed_src(src_ids) + self.positions[None, : src_ids.shape[1]]
        x = self.dropout(x.astype(self.dtype), deterministic=deterministic)
        return self.encoder(x, mask, deterministic=deterministic)

    def start_cache(
        self,
        src_ids: Int[AnyArray, "B S"],
        src_mask: Bool[AnyArray, "B S"],
        length: int,
        hypotheses: int = 1,
    ) -> DecodeCache:
        """What a source costs once: its memory's K and V, and empty places for `length`
        target positions of each of its hypotheses."""
        c = self.cfg
        memory_kv = self.read_sources(src_ids, src_mask)
        places = length * hypotheses
        shape = (len(src_ids), c.num_heads, places, c.d_model // c.num_heads)

        # A fresh buffer each: the step donates its cache, and JAX refuses to donate
        # one buffer twice.
        def empty() -> jax.Array:
            return jnp.zeros(shape, self.dtype)

        self_kv = tuple(KV(empty(), empty()) for _ in range(c.num_decoder_layers))
        return DecodeCache(self_kv, memory_kv, keys(src_mask))

    def read_sources(
        self, src_ids: Int[AnyArray, "B S"], src_mask: Bool[AnyArray, "B S"]
    ) -> tuple[KV, ...]:
        """The memory's K and V for each layer of the decoder, in S places. Where every
        source fits into the first half of them, only that half is computed."""
        width = src_ids.shape[1]

        def read(model: "Transformer", some: int) -> tuple[KV, ...]:
            memory = model.encode(src_ids[:, :some], keys(src_mask[:, :some]))
            places = ((0, 0), (0, 0), (0, width - some), (0, 0))
            return jax.tree.map(
                lambda x: jnp.pad(x, places), model.decoder.project_memory(memory)
            )

        half = width // 2
        if half < SHORTEST_HALF:
            return read(self, width)
        return nn.cond(
            jnp.asarray(src_mask)[:, half:].any(),
            lambda model: read(model, width),
            lambda model: read(model, half),
            self,
        )

    def decode_step(
        self,
        token_ids: Int[AnyArray, "B N"],
        position: Int[Array, ""],
        cache: DecodeCache,
        mask: Bool[Array, "..."],
        output: Float[Array, "E V"] | None = None,
    ) -> tuple[Float[Array, "B N V"], DecodeCache]:
        """The logits after one more token, and the cache with that token in it.

        A source has N hypotheses, which all stand at the same position and share their
        source's memory: 1 when decoding greedily or sampling, the beam's in a beam
        search. They stand side by side in the cache, at N * position + 0 .. N - 1.

        Args:
          token_ids: the last token of each hypothesis.
          mask: [B|1, 1, N|1, L * N], which of the places in the cache belong to each
            hypothesis; with one, `causal_row(position, L)`.
          output: what `stacked_output` makes of the output layer, which then need not
            be among the parameters. It saves a pass over the logits, a tenth of a step.
        """
        y = self.embed_tgt(token_ids)  # [B, N, D]
        y = y + jnp.asarray(self.positions)[position][None, None]
        y, cache = self.decoder.step(y.astype(self.dtype), position, cache, mask)
        if output is None:
            return self.read_out(y), cache
        ones = jnp.ones((*y.shape[:-1], 1), y.dtype)
        return jnp.dot(jnp.concatenate([y, ones], axis=-1), output), cache


def output_layer(params: dict, cfg: ModelConfig) -> tuple[Any, Any]:
    """(kernel [D, V], bias [V]) of the output layer, tied or its own."""
    if cfg.tied_embeddings == "none":
        layer = params["decoder"]["logits"]
        return layer["kernel"], layer["bias"]
    table = "embed" if cfg.tied_embeddings == "all" else "tgt_embed"
    return params[table]["embedding"].T, params["decoder"]["logits_bias"]


def stacked_output(params: dict, cfg: ModelConfig) -> Float[Array, "E V"]:
    """The output layer's kernel with its bias as one more row: hidden states that end
    in a 1 are multiplied by it and have their logits."""
    kernel, bias = output_layer(params, cfg)
    return jnp.concatenate([kernel, bias[None]])


def count_parameters(params: dict) -> int:
    """How many numbers a model learns."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def make_model(
    cfg: ModelConfig,
    *,
    src_vocab_size: int,
    tgt_vocab_size: int,
    dtype: Dtype = jnp.float32,
) -> Transformer:
    """The model of a config whose vocabulary sizes are known by now."""
    sizes = {"src_vocab_size": src_vocab_size, "tgt_vocab_size": tgt_vocab_size}
    return Transformer(dataclasses.replace(cfg, **sizes), dtype)


@functools.partial(jax.jit, static_argnums=0)
def init_params(model: Transformer, key: jax.Array) -> dict:
    """Fresh parameters; their values do not depend on any batch."""
    ids, real = jnp.zeros((1, 2), jnp.int32), jnp.ones((1, 2), bool)
    return model.init(key, ids, ids, make_masks(real, real))["params"]
