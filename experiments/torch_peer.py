"""PyTorch as the opponent of experiments.benchmark, in a process of its own.

    python -m experiments.torch_peer

It needs no JAX: `pip install torch==2.13.0 numpy pyyaml tyro`. Requests come a line
each, as `experiments.decode_peers` says; the first is "open".

Three ways of training the same model, from the same parameters:

eager     the plain twin of experiments.torch_baseline: fused attention, fused Adam
compile   the same under torch.compile
tutorial  the tutorial's way: everything padded to max_length, dense masks made on the
          host, attention written out, Adam as it is by default

Batches come as .npz files, with the names of our Batch's fields and a number behind.
"""

import resource
import time
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from experiments.decode_peers import BOS, EOS, PAD, UNK, answer_requests, unflatten
from experiments.torch_baseline import (
    Specials,
    TorchTransformer,
    TutorialTransformer,
    cross_entropy,
    fuse_projections,
    sample_without_cache,
    to_torch,
)
from flaxformer_mt.config import ModelConfig

FIELDS = ("src_ids", "src_mask", "tgt_in_ids", "label_ids", "tgt_mask")
SPECIALS = Specials(pad=PAD, bos=BOS, eos=EOS, unk=UNK)


class TorchPeer:
    """The model in torch, trained and decoded in each of the three ways."""

    def open(
        self,
        *,
        weights: str,
        config: dict[str, Any],
        threads: int,
        ways: list[str],
        device: str = "cpu",
        dtype: str = "float32",
        learning_rate: float = 1e-4,
        label_smoothing: float = 0.0,
    ) -> dict[str, str]:
        """Loads the parameters into a model for each way; the versions there are."""
        torch.set_num_threads(threads)
        torch.manual_seed(0)
        if device != "cpu":  # products of float32 numbers in TF32, as JAX makes them
            torch.set_float32_matmul_precision("high")
        self.device, self.dtype = torch.device(device), getattr(torch, dtype)
        self.label_smoothing = label_smoothing
        cfg = ModelConfig(**config)
        tree = unflatten(dict(np.load(weights)))
        self.models: dict[str, Any] = {}
        self.forward: dict[str, Any] = {}
        self.optimizers: dict[str, torch.optim.Optimizer] = {}
        adam = {"lr": learning_rate, "betas": (0.9, 0.98), "eps": 1e-9}
        for way in ways:
            model = TorchTransformer(cfg)
            model.load_state_dict(to_torch(tree, model))
            if way == "tutorial":
                state = fuse_projections(model.state_dict())
                model = TutorialTransformer(cfg)
                model.load_state_dict(state)
            self.models[way] = model = model.to(self.device)
            self.forward[way] = torch.compile(model) if way == "compile" else model
            more = {"fused": True} if way != "tutorial" else {}
            self.optimizers[way] = torch.optim.Adam(model.parameters(), **adam, **more)
        return {"torch": version("torch")}

    def read(self, *, file: str) -> int:
        """Reads the batches of a file; how many there are."""
        arrays = np.load(file)
        count = len({name.rpartition("/")[2] for name in arrays})
        self.batches = [
            [torch.tensor(arrays[f"{field}/{i}"]).to(self.device) for field in FIELDS]
            for i in range(count)
        ]
        return count

    def steps(self, *, way: str, first: int = 0, count: int = 1) -> float:
        """The last loss of so many updates, one a batch, round and round."""
        self.models[way].train()
        loss = torch.tensor(0.0)
        for i in range(first, first + count):
            loss = self.update(way, self.batches[i % len(self.batches)])
        return float(loss)  # waits for a GPU

    def update(self, way: str, batch: list[Tensor]) -> Tensor:
        """The loss of a batch, before the update that it brings about."""
        self.optimizers[way].zero_grad(set_to_none=True)
        nats, num_tokens = self.loss(way, batch, self.label_smoothing)
        loss = nats / num_tokens
        loss.backward()
        self.optimizers[way].step()
        return loss.detach()

    def loss(
        self, way: str, batch: list[Tensor], label_smoothing: float = 0.0
    ) -> tuple[Tensor, Tensor]:
        """(nats, tokens) of a batch."""
        if way == "tutorial":
            batch = list(self.padded(batch))
        src_ids, src_mask, tgt_in_ids, label_ids, tgt_mask = batch
        half = self.dtype != torch.float32
        with torch.autocast(self.device.type, dtype=self.dtype, enabled=half):
            logits = self.forward[way](src_ids, tgt_in_ids, src_mask, tgt_mask)
        return cross_entropy(
            logits, label_ids, tgt_mask, label_smoothing=label_smoothing
        )

    def padded(self, batch: list[Tensor]) -> Iterator[Tensor]:
        """The arrays of a batch, filled up to the model's width."""
        width = self.models["tutorial"].max_length
        for array in batch:
            value = False if array.dtype == torch.bool else PAD
            yield F.pad(array, (0, width - array.shape[1]), value=value)

    @torch.no_grad()
    def validate(self, *, way: str, first: int) -> float:
        """Nats a token over the batches from `first` on."""
        self.models[way].eval()
        sums = [self.loss(way, batch) for batch in self.batches[first:]]
        nats, num_tokens = map(sum, zip(*sums, strict=True))
        return float(nats / num_tokens)

    def translate(
        self, *, way: str, src: list[list[int]], length: int
    ) -> list[list[int]]:
        """Exactly `length` tokens a source, greedily: all at once with a cache, or one
        by one the tutorial's way."""
        model = self.models[way].eval()
        if way == "tutorial":
            options = {"temperature": 0.0, "repetition_penalty": 1.0}
            options |= {"length": length, "min_length": length}
            return [
                sample_without_cache(model, row, SPECIALS, **options) for row in src
            ]
        width = max(map(len, src))
        ids = torch.full((len(src), width), PAD)
        for row, source in zip(ids, src, strict=True):
            row[: len(source)] = torch.tensor(source)
        lengths = torch.tensor(list(map(len, src)))
        mask = torch.arange(width)[None] < lengths[:, None]
        arguments = ids.to(self.device), mask.to(self.device), SPECIALS
        return model.translate(*arguments, length=length, min_length=length).tolist()

    def product(self, *, size: int, repeats: int) -> float:
        """Operations a second of a large product in the type of the model."""
        x = torch.ones(size, size, device=self.device, dtype=self.dtype)
        best = float("inf")
        for _ in range(repeats):
            started = time.perf_counter()
            (x @ x)[0, 0].item()
            best = min(best, time.perf_counter() - started)
        return 2 * size**3 / best

    def peak_mebibytes(self) -> float:
        """The most memory that this process had."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated() / 2**20
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """python -m experiments.torch_peer"""
    answer_requests(TorchPeer())


if __name__ == "__main__":
    main()
