"""The opponents of experiments.benchmark_decode, each in a process of its own.

    python -m experiments.decode_peers ctranslate2|tutorial

It needs no JAX, so that a peer may have a Python of its own:

    pip install torch==2.13.0 ctranslate2==4.8.5 numpy pyyaml tyro

Reads a request a line and answers each with a line, both JSON:

    {"do": "translate", "with": {"src": [[17, 5, 2]], "length": 24, ...}}
    {"result": [[40, 8, ...]], "seconds": 0.31}

The first request is "open". Weights come as an .npz under the names of the flax
parameters ("encoder/layers_0/self_attn/key/kernel").
"""

import json
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from flaxformer_mt.config import ModelConfig

# The special ids of every model in the benchmark.
PAD, BOS, EOS, UNK = 0, 1, 2, 3
SPECIAL_TOKENS = ["<pad>", "<s>", "</s>", "<unk>"]

Weights = dict[str, np.ndarray]


# ---- CTranslate2 ---------------------------------------------------------------------


def tokens_of(vocab_size: int) -> list[str]:
    """A token for each id: CTranslate2 reads and writes tokens, not ids."""
    return [*SPECIAL_TOKENS, *(f"t{i}" for i in range(len(SPECIAL_TOKENS), vocab_size))]


def set_linear(spec: Any, weights: Weights, *names: str) -> None:
    """Fills a LinearSpec; several layers that read the same input become one."""
    kernels = [weights[f"{name}/kernel"].T for name in names]  # [out, in]
    spec.weight = np.concatenate(kernels)
    spec.bias = np.concatenate([weights[f"{name}/bias"] for name in names])


def set_layer_norm(spec: Any, weights: Weights, name: str) -> None:
    """Fills a LayerNormSpec."""
    spec.gamma, spec.beta = weights[f"{name}/scale"], weights[f"{name}/bias"]


def set_attention(spec: Any, weights: Weights, layer: str, which: str) -> None:
    """Fills a MultiHeadAttentionSpec: q, k and v in one product where the queries read
    what the keys read, else q alone."""
    q, k, v = (f"{layer}/{which}/{name}" for name in ("query", "key", "value"))
    products = [(q, k, v)] if which == "self_attn" else [(q,), (k, v)]
    products.append((f"{layer}/{which}/out",))
    for linear, names in zip(spec.linear, products, strict=True):
        set_linear(linear, weights, *names)
    set_layer_norm(spec.layer_norm, weights, f"{layer}/{which}_residual/norm")


def set_feed_forward(spec: Any, weights: Weights, layer: str) -> None:
    """Fills a FeedForwardSpec."""
    set_linear(spec.linear_0, weights, f"{layer}/feed_forward/wide")
    set_linear(spec.linear_1, weights, f"{layer}/feed_forward/narrow")
    set_layer_norm(spec.layer_norm, weights, f"{layer}/feed_forward_residual/norm")


def set_stack(spec: Any, weights: Weights, stack: str, positions: np.ndarray) -> None:
    """Fills what an encoder and a decoder have in common."""
    spec.scale_embeddings = False  # ours start as N(0, 1) and are not scaled
    spec.position_encodings.encodings = positions
    set_layer_norm(spec.layer_norm, weights, f"{stack}/norm")
    for number, layer in enumerate(spec.layer):
        name = f"{stack}/layers_{number}"
        set_attention(layer.self_attention, weights, name, "self_attn")
        if stack == "decoder":
            set_attention(layer.attention, weights, name, "cross_attn")
        set_feed_forward(layer.ffn, weights, name)


def to_ctranslate2(
    weights: Weights, cfg: ModelConfig, positions: np.ndarray, folder: Path
) -> None:
    """Writes our parameters as a CTranslate2 model.

    Args:
      weights: flax parameters by name; embeddings that are not tied, pre-norm.
      positions: [L, D] float32, the sinusoids as our model computes them.
    """
    from ctranslate2.specs import TransformerSpec

    layers = cfg.num_encoder_layers, cfg.num_decoder_layers
    spec = TransformerSpec.from_config(layers, cfg.num_heads, pre_norm=True)
    set_stack(spec.encoder, weights, "encoder", positions)
    set_stack(spec.decoder, weights, "decoder", positions)
    spec.encoder.embeddings[0].weight = weights["src_embed/embedding"]
    spec.decoder.embeddings.weight = weights["tgt_embed/embedding"]
    set_linear(spec.decoder.projection, weights, "decoder/logits")
    spec.register_source_vocabulary(tokens_of(cfg.src_vocab_size))
    spec.register_target_vocabulary(tokens_of(cfg.tgt_vocab_size))
    spec.config.layer_norm_epsilon = 1e-5  # ours
    spec.validate()
    folder.mkdir(parents=True, exist_ok=True)
    spec.save(str(folder))


class CTranslate2Peer:
    """CTranslate2 with our parameters, in float32."""

    def open(
        self, *, weights: str, config: dict[str, Any], positions: str, threads: int
    ) -> dict[str, str]:
        """Converts the parameters; the versions of what computes."""
        import ctranslate2

        cfg = ModelConfig(**config)
        self.tokens = tokens_of(cfg.tgt_vocab_size)
        self.ids = {token: i for i, token in enumerate(self.tokens)}
        with tempfile.TemporaryDirectory() as folder:
            model = Path(folder)
            to_ctranslate2(dict(np.load(weights)), cfg, np.load(positions), model)
            # Two ways of using so many cores: the batch in parts, or each product.
            self.translators = {
                f"{inter} x {threads // inter}": ctranslate2.Translator(
                    str(model),
                    compute_type="float32",
                    inter_threads=inter,
                    intra_threads=threads // inter,
                )
                for inter in (1, threads)
            }
        return {"ctranslate2": version("ctranslate2")}

    def spelled(self, rows: list[list[int]]) -> list[list[str]]:
        """Ids as tokens."""
        return [[self.tokens[i] for i in row] for row in rows]

    def translate(
        self, *, src: list[list[int]], length: int, beam_size: int, threads: str
    ) -> list[list[int]]:
        """Exactly `length` tokens a source."""
        translator = self.translators[threads]
        parts = translator.num_translators if len(src) > 1 else 1
        results = translator.translate_batch(
            self.spelled(src),
            beam_size=beam_size,
            min_decoding_length=length,
            max_decoding_length=length,
            max_batch_size=len(src) // parts if parts > 1 else 0,
        )
        return [[self.ids[t] for t in r.hypotheses[0]] for r in results]

    def score(self, *, src: list[list[int]], tgt: list[list[int]]) -> list[list[float]]:
        """The log-probability of each target token, and of the end."""
        translator = next(iter(self.translators.values()))
        results = translator.score_batch(self.spelled(src), self.spelled(tgt))
        return [list(r.log_probs) for r in results]


# ---- the tutorial's way, and the plain torch twin ------------------------------------


def unflatten(weights: Weights) -> dict[str, Any]:
    """Arrays under "a/b" as nested dicts."""
    tree: dict[str, Any] = {}
    for name, array in weights.items():
        *path, leaf = name.split("/")
        branch = tree
        for part in path:
            branch = branch.setdefault(part, {})
        branch[leaf] = array
    return tree


class TutorialPeer:
    """The tutorial's way of working (see experiments.torch_baseline)."""

    def open(
        self, *, weights: str, config: dict[str, Any], threads: int
    ) -> dict[str, str]:
        """Loads the parameters; the versions of what computes."""
        import torch

        from experiments import torch_baseline

        torch.set_num_threads(threads)
        torch.manual_seed(0)
        cfg = ModelConfig(**config)
        twin = torch_baseline.TorchTransformer(cfg)
        tree = unflatten(dict(np.load(weights)))
        twin.load_state_dict(torch_baseline.to_torch(tree, twin))
        tutorial = torch_baseline.TutorialTransformer(cfg)
        tutorial.load_state_dict(torch_baseline.fuse_projections(twin.state_dict()))
        self.models = {"twin": twin, "tutorial": tutorial}
        self.optimizers = {
            # Each as it is usual there: the good twin has torch's fastest Adam.
            "twin": torch.optim.Adam(twin.parameters(), lr=1e-4, fused=True),
            "tutorial": torch.optim.Adam(tutorial.parameters(), lr=1e-4),
        }
        return {"torch": version("torch")}

    def translate(
        self, *, src: list[list[int]], length: int, greedy: bool = False
    ) -> list[list[int]]:
        """Exactly `length` tokens a source, one source after the other."""
        from experiments.torch_baseline import Specials, sample_without_cache

        options = {"temperature": 0.0, "repetition_penalty": 1.0} if greedy else {}
        tutorial = self.models["tutorial"].eval()
        specials = Specials(pad=PAD, bos=BOS, eos=EOS, unk=UNK)
        return [
            sample_without_cache(
                *(tutorial, row, specials),
                length=length,
                min_length=length,
                **options,
            )
            for row in src
        ]

    def train_step(self, *, model: str, src: list[int], tgt: list[int]) -> float:
        """The loss of one sentence, padded to the model's width, after an update."""
        from experiments.torch_baseline import cross_entropy, pad_to

        optimizer, model = self.optimizers[model], self.models[model].train()
        width = len(model.positions)
        src_ids, src_mask = pad_to(src, width, PAD)
        tgt_in_ids, tgt_mask = pad_to([BOS, *tgt], width, PAD)
        label_ids, _ = pad_to([*tgt, EOS], width, PAD)
        optimizer.zero_grad(set_to_none=True)
        logits = model(src_ids, tgt_in_ids, src_mask, tgt_mask)
        nats, num_tokens = cross_entropy(logits, label_ids, tgt_mask)
        loss = nats / num_tokens
        loss.backward()
        optimizer.step()
        return loss.item()


# ---- the process ---------------------------------------------------------------------

PEERS = {"ctranslate2": CTranslate2Peer, "tutorial": TutorialPeer}


def answer_requests(peer: Any) -> None:
    """Has the peer's methods called as standard input asks, until that ends."""
    for line in sys.stdin:
        request = json.loads(line)
        started = time.perf_counter()
        result = getattr(peer, request["do"])(**request["with"])
        seconds = time.perf_counter() - started
        print(json.dumps({"result": result, "seconds": seconds}), flush=True)


def main() -> None:
    """python -m experiments.decode_peers"""
    answer_requests(PEERS[sys.argv[1]]())


if __name__ == "__main__":
    main()
