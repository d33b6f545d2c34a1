"""The Transformer of flaxformer_mt.model.transformer once more, in plain PyTorch.

It is a second opinion, and an opponent. Two implementations that share no line and
agree on logits, loss, gradients and updates are unlikely to share a mistake; and a
benchmark against it compares frameworks, since model and weights are the same.

It is written the way one would write good PyTorch for its own sake: fused attention,
`train()` and `eval()` for dropout, `load_state_dict` for weights. It imports no JAX, so
that a benchmark can time it in a process of its own:

    model = TorchTransformer(cfg)  # the ModelConfig of the flax model
    model.load_state_dict(to_torch(params, model))
    nats, num_tokens = cross_entropy(model(*inputs), label_ids, tgt_mask)

Checked by tests/experiments/test_torch_parity.py in float32 on a CPU, pre-norm and
post-norm: at equal weights, logits, loss, gradients and Adam's updates agree to 1e-4,
dropout acts at the same places, and weights survive the way there and back bit for bit.
At d_model 128, 4+4 layers and V 8,000 logits of size 5 differ by at most 4e-6 (torch
2.13, jax 0.10.1), and torch takes its fused attention kernel on the CPU.

Two things differ on purpose: dropout's random bits, and what a row without a single
real token computes, which nobody reads (see `never_empty`).

The last section is a second opponent, the way in which the tutorial works:

    tutorial = TutorialTransformer(cfg)
    tutorial.load_state_dict(fuse_projections(model.state_dict()))
    token_ids = sample_without_cache(tutorial, src_ids, specials, length=40)

Axes: B batch, S source length, T target length, L either, H heads, K head size,
D d_model, V target vocabulary.
"""

import math
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flaxformer_mt.config import ModelConfig

# ---- masks: bool, True = may attend, [B, 1, query|1, key] ----------------------------


class Masks(NamedTuple):
    """What each of the three attentions may look at."""

    encoder: Tensor  # [B, 1, 1, S]: every real source token
    decoder: Tensor  # [B, 1, T, T]: real target tokens, none later than the query
    cross: Tensor  # [B, 1, 1, S]: every real source token


def never_empty(mask: Tensor) -> Tensor:
    """The mask, but a query that may attend to nothing attends to everything.

    Such queries stand only in rows that are padding throughout, whose results nobody
    reads. A softmax over no keys is 0/0: torch's attention kernels have returned NaN
    for it or 0, depending on the version and the kernel, and a NaN spreads to every
    weight, because its gradient is NaN too, even where the loss is masked. With a mask
    that always has a True the question never reaches the kernel.
    """
    return mask | ~mask.any(dim=-1, keepdim=True)


def make_masks(src_mask: Tensor, tgt_mask: Tensor) -> Masks:
    """The three masks of a batch, from its real-token vectors [B, S] and [B, T]."""
    src_keys = never_empty(src_mask[:, None, None, :])
    length = tgt_mask.shape[1]
    causal = tgt_mask.new_ones(length, length).tril()
    tgt_keys = tgt_mask[:, None, None, :]
    return Masks(src_keys, never_empty(tgt_keys & causal), src_keys)


# ---- layers --------------------------------------------------------------------------


class KV(NamedTuple):
    """Keys and values of some positions."""

    k: Tensor  # [B, H, L, K]
    v: Tensor  # [B, H, L, K]


class MultiHeadAttention(nn.Module):
    """Vaswani et al. 2017, section 3.2.2, with the queries' side and the keys' side
    apart: `attend(x, project_kv(memory), mask)`."""

    def __init__(self, cfg: ModelConfig) -> None:
        super().__init__()
        self.num_heads = cfg.num_heads
        self.query = nn.Linear(cfg.d_model, cfg.d_model)
        self.key = nn.Linear(cfg.d_model, cfg.d_model)
        self.value = nn.Linear(cfg.d_model, cfg.d_model)
        self.out = nn.Linear(cfg.d_model, cfg.d_model)
        self.dropout_rate = cfg.attention_dropout_rate

    def split_heads(self, x: Tensor) -> Tensor:
        """[B, L, D] -> [B, H, L, K]."""
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)

    def project_kv(self, x: Tensor) -> KV:
        """What `x` ([B, L, D]) offers to be attended to."""
        return KV(self.split_heads(self.key(x)), self.split_heads(self.value(x)))

    def attend(self, x: Tensor, kv: KV, mask: Tensor | None) -> Tensor:
        """What each position of `x` ([B, L, D]) reads from `kv` under the mask."""
        q = self.split_heads(self.query(x))
        rate = self.dropout_rate if self.training else 0.0
        read = F.scaled_dot_product_attention(
            q, kv.k, kv.v, attn_mask=mask, dropout_p=rate
        )
        return self.out(read.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """Two linear layers with a ReLU between (Vaswani et al. 2017, section 3.3)."""

    def __init__(self, cfg: ModelConfig) -> None:
        super().__init__()
        self.wide = nn.Linear(cfg.d_model, cfg.d_ff)
        self.narrow = nn.Linear(cfg.d_ff, cfg.d_model)
        self.dropout = nn.Dropout(cfg.feed_forward_dropout_rate)

    def forward(self, x: Tensor) -> Tensor:
        return self.narrow(self.dropout(F.relu(self.wide(x))))


def layer_norm(cfg: ModelConfig) -> nn.LayerNorm:
    """The norm of every place; its epsilon is our model's, and torch's default."""
    return nn.LayerNorm(cfg.d_model, eps=1e-5)


def last_norm(cfg: ModelConfig) -> nn.Module:
    """What ends a stack: a norm where the layers left their sums without one."""
    return layer_norm(cfg) if cfg.norm == "pre" else nn.Identity()


class Residual(nn.Module):
    """x + sublayer(x), normalised before the sublayer (pre) or after the sum (post)."""

    def __init__(self, cfg: ModelConfig) -> None:
        super().__init__()
        self.norm_first = cfg.norm == "pre"
        self.norm = layer_norm(cfg)
        self.dropout = nn.Dropout(cfg.dropout_rate)

    def forward(self, x: Tensor, sublayer: Callable[[Tensor], Tensor]) -> Tensor:
        if self.norm_first:
            return x + self.dropout(sublayer(self.norm(x)))
        return self.norm(x + self.dropout(sublayer(x)))


class EncoderLayer(nn.Module):
    """Self-attention, then feed-forward."""

    def __init__(self, cfg: ModelConfig) -> None:
        super().__init__()
        self.self_attn = MultiHeadAttention(cfg)
        self.feed_forward = FeedForward(cfg)
        self.self_attn_residual = Residual(cfg)
        self.feed_forward_residual = Residual(cfg)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        def read_source(x: Tensor) -> Tensor:
            return self.self_attn.attend(x, self.self_attn.project_kv(x), mask)

        x = self.self_attn_residual(x, read_source)
        return self.feed_forward_residual(x, self.feed_forward)


class DecoderLayer(nn.Module):
    """Self-attention, cross-attention to the encoder's output, then feed-forward."""

    def __init__(self, cfg: ModelConfig) -> None:
        super().__init__()
        self.self_attn = MultiHeadAttention(cfg)
        self.cross_attn = MultiHeadAttention(cfg)
        self.feed_forward = FeedForward(cfg)
        self.self_attn_residual = Residual(cfg)
        self.cross_attn_residual = Residual(cfg)
        self.feed_forward_residual = Residual(cfg)

    def forward(self, y: Tensor, mask: Tensor, memory_kv: KV, memory_mask: Tensor):
        def read_target(y: Tensor) -> Tensor:
            return self.self_attn.attend(y, self.self_attn.project_kv(y), mask)

        return self.go_on(y, read_target, memory_kv, memory_mask)

    def step(
        self, y: Tensor, cache: KV, position: int, memory_kv: KV, memory_mask: Tensor
    ) -> Tensor:
        """One position, [B, 1, D], whose key and value are put into the cache."""

        def read_cache(y: Tensor) -> Tensor:
            for old, new in zip(cache, self.self_attn.project_kv(y), strict=True):
                old[:, :, position : position + 1] = new
            seen = KV(*(x[:, :, : position + 1] for x in cache))
            return self.self_attn.attend(y, seen, None)

        return self.go_on(y, read_cache, memory_kv, memory_mask)

    def go_on(
        self,
        y: Tensor,
        read_target: Callable[[Tensor], Tensor],
        memory_kv: KV,
        memory_mask: Tensor,
    ) -> Tensor:
        """The layer, whatever the self-attention reads."""

        def read_memory(y: Tensor) -> Tensor:
            return self.cross_attn.attend(y, memory_kv, memory_mask)

        y = self.self_attn_residual(y, read_target)
        y = self.cross_attn_residual(y, read_memory)
        return self.feed_forward_residual(y, self.feed_forward)


# ---- the model -----------------------------------------------------------------------


def sinusoids(length: int, d_model: int) -> Tensor:
    """[L, D] float32 position table (Vaswani et al. 2017, section 3.5).

    Sines stand at the even places and cosines at the odd ones. The angles are float64,
    since float32 would be 1e-5 off at position 128 already.
    """
    even = torch.arange(0, d_model, 2, dtype=torch.float64)
    position = torch.arange(length, dtype=torch.float64)[:, None]
    angles = position / 10_000 ** (even / d_model)  # [L, D/2]
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1).float()


class Encoder(nn.Module):
    """A stack of encoder layers."""

    def __init__(self, cfg: ModelConfig) -> None:
        super().__init__()
        layers = [EncoderLayer(cfg) for _ in range(cfg.num_encoder_layers)]
        self.layers = nn.ModuleList(layers)
        self.norm = last_norm(cfg)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x, mask)
        return self.norm(x)


class Decoder(nn.Module):
    """A stack of decoder layers, and the output layer where it is not tied."""

    def __init__(self, cfg: ModelConfig) -> None:
        super().__init__()
        layers = [DecoderLayer(cfg) for _ in range(cfg.num_decoder_layers)]
        self.layers = nn.ModuleList(layers)
        self.norm = last_norm(cfg)
        if cfg.tied_embeddings == "none":
            self.logits = nn.Linear(cfg.d_model, cfg.tgt_vocab_size)
        else:
            self.logits_bias = nn.Parameter(torch.zeros(cfg.tgt_vocab_size))

    def forward(self, y: Tensor, memory: Tensor, masks: Masks) -> Tensor:
        """Teacher forcing: [B, T, D], what the output layer reads."""
        for layer in self.layers:
            memory_kv = layer.cross_attn.project_kv(memory)
            y = layer(y, masks.decoder, memory_kv, masks.cross)
        return self.norm(y)


class TorchTransformer(nn.Module):
    """Embeddings with sinusoidal positions, an encoder and a decoder.

    An embedding that is also the output layer is multiplied by sqrt(D) where it is read
    (Vaswani et al. 2017, section 3.4).
    """

    def __init__(self, cfg: ModelConfig) -> None:
        super().__init__()
        self.tied, self.scale = cfg.tied_embeddings, math.sqrt(cfg.d_model)
        if self.tied == "all":
            self.embed = nn.Embedding(cfg.tgt_vocab_size, cfg.d_model)
        else:
            self.src_embed = nn.Embedding(cfg.src_vocab_size, cfg.d_model)
            self.tgt_embed = nn.Embedding(cfg.tgt_vocab_size, cfg.d_model)
        self.encoder, self.decoder = Encoder(cfg), Decoder(cfg)
        self.dropout = nn.Dropout(cfg.dropout_rate)
        positions = sinusoids(cfg.max_length, cfg.d_model)  # [L, D]
        # Not learned, and no part of the state dict: flax has no array to match it.
        self.register_buffer("positions", positions, persistent=False)
        self.apply(start_as_flax_does)
        if self.tied != "none":
            nn.init.normal_(self.tgt_table.weight, std=1 / self.scale)

    @property
    def tgt_table(self) -> nn.Embedding:
        """The target's embedding, which is the output layer too where that is tied."""
        return self.embed if self.tied == "all" else self.tgt_embed

    def forward(
        self, src_ids: Tensor, tgt_in_ids: Tensor, src_mask: Tensor, tgt_mask: Tensor
    ) -> Tensor:
        """Teacher forcing: the logits of every target position.

        Args:
          src_ids, tgt_in_ids: [B, S] and [B, T] int, as a `Batch` holds them.
          src_mask, tgt_mask: [B, S] and [B, T] bool, True = real token.

        Returns:
          [B, T, V] float. Dropout acts unless the model is in `eval()` mode.
        """
        masks = make_masks(src_mask, tgt_mask)
        memory = self.encode(src_ids, masks.encoder)
        y = self.decoder(self.embed_tgt(tgt_in_ids), memory, masks)
        return self.read_out(y)

    def encode(self, src_ids: Tensor, mask: Tensor) -> Tensor:
        """The memory, [B, S, D]: what the encoder makes of a source."""
        table = self.embed if self.tied == "all" else self.src_embed
        x = table(src_ids) * (self.scale if self.tied == "all" else 1.0)
        return self.encoder(self.dropout(x + self.positions[: src_ids.shape[1]]), mask)

    def embed_tgt(self, ids: Tensor, position: int = 0) -> Tensor:
        """[B, L] ids, the first at `position`, as [B, L, D]."""
        y = self.tgt_table(ids) * (1.0 if self.tied == "none" else self.scale)
        return self.dropout(y + self.positions[position : position + ids.shape[1]])

    def read_out(self, y: Tensor) -> Tensor:
        """The logits, [..., V], of what the decoder made."""
        if self.tied == "none":
            return self.decoder.logits(y)
        return F.linear(y, self.tgt_table.weight, self.decoder.logits_bias)

    @torch.inference_mode()
    def translate(
        self,
        src_ids: Tensor,
        src_mask: Tensor,
        specials: "Specials",
        *,
        length: int,
        min_length: int = 0,
    ) -> Tensor:
        """[B, length] greedy translations with a cache; PAD after EOS.

        Args:
          src_ids, src_mask: [B, S].
          length: most tokens that one may get. min_length: before EOS may come.
        """
        masks = make_masks(src_mask, src_mask[:, :1])
        memory = self.encode(src_ids, masks.encoder)
        layers, rows = self.decoder.layers, len(src_ids)
        memory_kv = [layer.cross_attn.project_kv(memory) for layer in layers]
        shape = (rows, memory_kv[0].k.shape[1], length, memory_kv[0].k.shape[3])
        caches = [KV(memory.new_zeros(shape), memory.new_zeros(shape)) for _ in layers]
        tokens = torch.full((rows, length), specials.pad, device=src_ids.device)
        last = torch.full((rows, 1), specials.bos, device=src_ids.device)
        alive = torch.ones(rows, dtype=torch.bool, device=src_ids.device)
        never = [specials.pad, specials.bos, specials.unk]
        for position in range(length):
            y = self.embed_tgt(last, position)
            for layer, cache, kv in zip(layers, caches, memory_kv, strict=True):
                y = layer.step(y, cache, position, kv, masks.cross)
            logits = self.read_out(self.decoder.norm(y))[:, 0]
            early = [specials.eos] if position < min_length else []
            logits[:, never + early] = -torch.inf
            chosen = logits.argmax(dim=-1).where(alive, specials.pad)
            tokens[:, position] = chosen
            alive &= chosen != specials.eos
            last = chosen[:, None]
            if not alive.any():
                break
        return tokens


def start_as_flax_does(module: nn.Module) -> None:
    """Draws a linear layer's first weights from the distribution that flax uses.

    That is a normal of variance 1/fan_in, cut at two deviations and widened to keep its
    variance (LeCun et al. 1998, section 4.6), and zero biases. torch's own start has a
    third of that variance. Embeddings are N(0, 1) in both.
    """
    if isinstance(module, nn.Linear):
        deviation_when_cut = 0.87962566103423978  # of a N(0, 1) between -2 and 2
        std = 1 / math.sqrt(module.in_features) / deviation_when_cut
        nn.init.trunc_normal_(module.weight, std=std, a=-2 * std, b=2 * std)
        nn.init.zeros_(module.bias)


# ---- the loss ------------------------------------------------------------------------


def cross_entropy(
    logits: Tensor, label_ids: Tensor, mask: Tensor, *, label_smoothing: float = 0.0
) -> tuple[Tensor, Tensor]:
    """(nats, num_tokens): the labels' negative log-likelihood, over the True positions.

    Both are float32 sums: add them over batches and divide once, as
    flaxformer_mt.training.loss says.

    Args:
      logits: [B, T, V].
      label_ids: [B, T] int.
      mask: [B, T] bool, True = real token.
      label_smoothing: share of the target distribution that is spread evenly over the
        vocabulary.
    """
    ignored = -100
    nats = F.cross_entropy(
        logits.float().flatten(0, 1),
        label_ids.long().masked_fill(~mask, ignored).flatten(),
        ignore_index=ignored,
        reduction="sum",
        label_smoothing=label_smoothing,
    )
    return nats, mask.sum(dtype=torch.float32)


# ---- weights, both ways --------------------------------------------------------------

# Modules have the names that they have in flax, apart from a layer's number
# (layers.0 here, layers_0 there). Arrays are named by the kind of their module:
FLAX_LEAF = {
    (nn.Embedding, "weight"): "embedding",
    (nn.LayerNorm, "weight"): "scale",
    (nn.LayerNorm, "bias"): "bias",
    (nn.Linear, "weight"): "kernel",
    (nn.Linear, "bias"): "bias",
    (Decoder, "logits_bias"): "logits_bias",
}


def flax_names(model: nn.Module) -> dict[str, str]:
    """The flax name of each parameter, under its torch name.

    As in {"encoder.layers.0.self_attn.key.bias": "encoder/layers_0/self_attn/key/bias"}
    """
    names = {}
    for path, module in model.named_modules():
        for leaf, _ in module.named_parameters(recurse=False):
            flax_path = re.sub(r"\.(\d+)", r"_\1", path).replace(".", "/")
            names[f"{path}.{leaf}"] = f"{flax_path}/{FLAX_LEAF[type(module), leaf]}"
    return names


def swap_layout(array: np.ndarray, flax_name: str) -> np.ndarray:
    """An array in the other framework's layout: a kernel is [in, out] in flax, and the
    weight that corresponds to it [out, in] in torch."""
    return array.T if flax_name.endswith("/kernel") else array


def to_torch(params: dict[str, Any], model: nn.Module) -> dict[str, Tensor]:
    """A state dict for `model.load_state_dict`, from a flax parameter tree.

    Args:
      params: nested dicts of arrays, JAX's or NumPy's.
      model: tells which parameters there are, and of which shapes; it is not changed.

    Raises:
      ValueError: an array is left over, missing, or of another shape or type.
    """
    arrays = dict(flatten(params))
    names = flax_names(model)
    expected = {names[name]: x.numpy() for name, x in detached(model).items()}
    complaints = [
        *(f"{name} is left over" for name in arrays if name not in expected),
        *(f"{name} is missing" for name in expected if name not in arrays),
    ]
    for name in expected.keys() & arrays.keys():
        want, got = describe(swap_layout(expected[name], name)), describe(arrays[name])
        if got != want:
            complaints.append(f"{name} is {got} where the model has {want}")
    if complaints:
        raise ValueError(
            "the flax parameters do not fit the torch model: "
            f"{'; '.join(sorted(complaints))}. Build both from one ModelConfig."
        )
    return {
        # A copy, since JAX takes its memory to be constant; and one in C order, since
        # torch's fused Adam is silently wrong where a weight and its gradient differ in
        # strides, which a transposed copy would bring about.
        name: torch.tensor(
            np.ascontiguousarray(swap_layout(arrays[flax_name], flax_name))
        )
        for name, flax_name in names.items()
    }


def to_flax(model: nn.Module) -> dict[str, Any]:
    """The model's parameters as a flax parameter tree: nested dicts of NumPy arrays,
    which are copies."""
    names = flax_names(model)
    tree: dict[str, Any] = {}
    for name, tensor in detached(model).items():
        *path, leaf = names[name].split("/")
        branch = tree
        for part in path:
            branch = branch.setdefault(part, {})
        branch[leaf] = swap_layout(tensor.numpy(), names[name]).copy()
    return tree


def detached(model: nn.Module) -> dict[str, Tensor]:
    """The parameters on the CPU, out of reach of autograd."""
    return {name: x.detach().cpu() for name, x in model.named_parameters()}


def flatten(tree: dict[str, Any], path: str = "") -> Iterator[tuple[str, np.ndarray]]:
    """The arrays of nested dicts, each with its keys joined by "/"."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from flatten(value, f"{path}{key}/")
        else:
            yield f"{path}{key}", np.asarray(value)


def describe(array: np.ndarray) -> str:
    """Type and shape, as in "float32[16, 32]"."""
    return f"{array.dtype}{list(array.shape)}"


# ---- the tutorial's way of working ---------------------------------------------------

# The PyTorch tutorial that this project grew from, with its wiring corrected: the
# decoder sees no later character, and its cross-attention reads the encoder. What is
# kept is how it works. Everything is padded to `max_length`; masks are dense floats,
# [B, L, L], made on the host and added to the scores; attention is written out, with
# one large projection where several read the same; and a translation runs the whole
# model, encoder too, over the whole padded prefix again for every character, one
# sentence at a time. Norms, feed-forward layers and loss are those above, and as fast.

UNSEEN = -1e9  # added to a score: far below all others, and finite


class Specials(NamedTuple):
    """The ids of the target's special tokens; PAD fills the source up too."""

    pad: int
    bos: int
    eos: int
    unk: int


class DenseMasks(NamedTuple):
    """What is added to the scores of each of the three attentions: 0 or UNSEEN."""

    encoder: Tensor  # [B, L, L]
    decoder: Tensor  # [B, L, L]
    cross: Tensor  # [B, L, L]


def make_dense_masks(src_mask: Tensor, tgt_mask: Tensor) -> DenseMasks:
    """The three masks of a batch, from its real-token vectors, both [B, L]."""
    length = src_mask.shape[1]
    future = torch.full((length, length), True).triu(diagonal=1)
    src_unseen = ~src_mask[:, None, :].repeat(1, length, 1)
    tgt_unseen = ~tgt_mask[:, None, :].repeat(1, length, 1) | future
    encoder = torch.where(src_unseen, UNSEEN, 0.0)
    return DenseMasks(encoder, torch.where(tgt_unseen, UNSEEN, 0.0), encoder.clone())


def dense_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(K) + mask) v, as it stands in the paper.

    q, k, v: [B, H, L, K]; mask: [B, L, L].
    """
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1]) + mask[:, None]
    return scores.softmax(dim=-1) @ v


class SelfAttention(nn.Module):
    """Queries, keys and values of one input, in one product."""

    def __init__(self, cfg: ModelConfig) -> None:
        super().__init__()
        self.num_heads = cfg.num_heads
        self.qkv = nn.Linear(cfg.d_model, 3 * cfg.d_model)
        self.out = nn.Linear(cfg.d_model, cfg.d_model)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        qkv = self.qkv(x).unflatten(-1, (3, self.num_heads, -1))  # [B, L, 3, H, K]
        read = dense_attention(*qkv.permute(2, 0, 3, 1, 4), mask)
        return self.out(read.transpose(1, 2).flatten(2))


class CrossAttention(nn.Module):
    """Queries of the target; keys and values of the memory, in one product."""

    def __init__(self, cfg: ModelConfig) -> None:
        super().__init__()
        self.num_heads = cfg.num_heads
        self.query = nn.Linear(cfg.d_model, cfg.d_model)
        self.kv = nn.Linear(cfg.d_model, 2 * cfg.d_model)
        self.out = nn.Linear(cfg.d_model, cfg.d_model)

    def forward(self, y: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
        q = self.query(y).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
        kv = self.kv(memory).unflatten(-1, (2, self.num_heads, -1))  # [B, L, 2, H, K]
        read = dense_attention(q, *kv.permute(2, 0, 3, 1, 4), mask)
        return self.out(read.transpose(1, 2).flatten(2))


class TutorialEncoderLayer(nn.Module):
    """Self-attention, then feed-forward."""

    def __init__(self, cfg: ModelConfig) -> None:
        super().__init__()
        self.self_attn = SelfAttention(cfg)
        self.feed_forward = FeedForward(cfg)
        self.self_attn_residual = Residual(cfg)
        self.feed_forward_residual = Residual(cfg)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = self.self_attn_residual(x, lambda x: self.self_attn(x, mask))
        return self.feed_forward_residual(x, self.feed_forward)


class TutorialDecoderLayer(nn.Module):
    """Self-attention, cross-attention, then feed-forward."""

    def __init__(self, cfg: ModelConfig) -> None:
        super().__init__()
        self.self_attn = SelfAttention(cfg)
        self.cross_attn = CrossAttention(cfg)
        self.feed_forward = FeedForward(cfg)
        self.self_attn_residual = Residual(cfg)
        self.cross_attn_residual = Residual(cfg)
        self.feed_forward_residual = Residual(cfg)

    def forward(self, y: Tensor, memory: Tensor, masks: DenseMasks) -> Tensor:
        y = self.self_attn_residual(y, lambda y: self.self_attn(y, masks.decoder))
        y = self.cross_attn_residual(
            y, lambda y: self.cross_attn(y, memory, masks.cross)
        )
        return self.feed_forward_residual(y, self.feed_forward)


class TutorialEncoder(nn.Module):
    """A stack of encoder layers."""

    def __init__(self, cfg: ModelConfig) -> None:
        super().__init__()
        layers = [TutorialEncoderLayer(cfg) for _ in range(cfg.num_encoder_layers)]
        self.layers = nn.ModuleList(layers)
        self.norm = last_norm(cfg)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x, mask)
        return self.norm(x)


class TutorialDecoder(nn.Module):
    """A stack of decoder layers and the output layer."""

    def __init__(self, cfg: ModelConfig) -> None:
        super().__init__()
        layers = [TutorialDecoderLayer(cfg) for _ in range(cfg.num_decoder_layers)]
        self.layers = nn.ModuleList(layers)
        self.norm = last_norm(cfg)
        self.logits = nn.Linear(cfg.d_model, cfg.tgt_vocab_size)

    def forward(self, y: Tensor, memory: Tensor, masks: DenseMasks) -> Tensor:
        for layer in self.layers:
            y = layer(y, memory, masks)
        return self.logits(self.norm(y))


class TutorialTransformer(nn.Module):
    """The same function as TorchTransformer, at one width: `max_length`."""

    def __init__(self, cfg: ModelConfig) -> None:
        super().__init__()
        self.max_length = cfg.max_length
        self.src_embed = nn.Embedding(cfg.src_vocab_size, cfg.d_model)
        self.tgt_embed = nn.Embedding(cfg.tgt_vocab_size, cfg.d_model)
        self.encoder, self.decoder = TutorialEncoder(cfg), TutorialDecoder(cfg)
        self.dropout = nn.Dropout(cfg.dropout_rate)
        positions = sinusoids(cfg.max_length, cfg.d_model)
        self.register_buffer("positions", positions, persistent=False)
        self.apply(start_as_flax_does)

    def forward(
        self, src_ids: Tensor, tgt_in_ids: Tensor, src_mask: Tensor, tgt_mask: Tensor
    ) -> Tensor:
        """[B, L, V], the logits of every target position; all inputs [B, L]."""
        masks = make_dense_masks(src_mask, tgt_mask)
        memory = self.dropout(self.src_embed(src_ids) + self.positions)
        memory = self.encoder(memory, masks.encoder)
        y = self.dropout(self.tgt_embed(tgt_in_ids) + self.positions)
        return self.decoder(y, memory, masks)


def fuse_projections(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A TorchTransformer's state dict as that of a TutorialTransformer: projections
    that read the same input, one above the other."""
    fused: dict[str, list[Tensor]] = {}
    for name, tensor in state.items():
        for part, whole in (
            ("self_attn.query", "self_attn.qkv"),
            ("self_attn.key", "self_attn.qkv"),
            ("self_attn.value", "self_attn.qkv"),
            ("cross_attn.key", "cross_attn.kv"),
            ("cross_attn.value", "cross_attn.kv"),
        ):
            name = name.replace(f".{part}.", f".{whole}.")
        fused.setdefault(name, []).append(tensor)  # query, key, value: in this order
    return {name: torch.cat(parts) for name, parts in fused.items()}


def pad_to(ids: list[int], length: int, pad: int) -> tuple[Tensor, Tensor]:
    """(ids, mask), both [1, L]: a row padded to the length, and where it is real."""
    row = torch.full((1, length), pad)
    row[0, : len(ids)] = torch.tensor(ids)
    return row, torch.arange(length)[None] < len(ids)


@torch.no_grad()
def sample_without_cache(
    model: TutorialTransformer,
    src_ids: list[int],
    specials: Specials,
    *,
    length: int,
    min_length: int = 0,
    temperature: float = 1.0,
    repetition_penalty: float = 1.2,
    generator: torch.Generator | None = None,
) -> list[int]:
    """The tokens of one translation, EOS included, the tutorial's way.

    Args:
      src_ids: of one source, EOS included.
      length: most tokens that it may get.
      min_length: tokens that come before EOS may.
      temperature: 0 takes the likeliest token.
      repetition_penalty: Keskar et al. 2019, section 4.1.
    """
    tgt_in_ids = [specials.bos]
    while len(tgt_in_ids) <= length and tgt_in_ids[-1] != specials.eos:
        src = pad_to(src_ids, model.max_length, specials.pad)
        tgt = pad_to(tgt_in_ids, model.max_length, specials.pad)
        logits = model(src[0], tgt[0], src[1], tgt[1])[0, len(tgt_in_ids) - 1]
        used = torch.tensor(tgt_in_ids)
        logits[used] = torch.where(
            logits[used] > 0,
            logits[used] / repetition_penalty,
            logits[used] * repetition_penalty,
        )
        forbidden = [specials.pad, specials.bos, specials.unk]
        if len(tgt_in_ids) <= min_length:
            forbidden.append(specials.eos)
        logits[forbidden] = -torch.inf
        if temperature == 0.0:
            chosen = logits.argmax()
        else:
            chances = (logits / temperature).softmax(dim=-1)
            chosen = torch.multinomial(chances, 1, generator=generator)
        tgt_in_ids.append(int(chosen))
    return tgt_in_ids[1:]
