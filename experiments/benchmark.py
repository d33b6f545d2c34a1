"""How fast a model is trained and translates, beside the same model in PyTorch.

    pip install torch==2.13.0          (into this Python, or into another one)
    python -m experiments.benchmark --torch-python /tmp/peers/bin/python [--quick]

step       a training step at equal shapes, dropout on, beside good eager torch (fused
           attention, fused Adam), torch.compile, and the tutorial's way. Bar: never
           slower than the faster of the first two, 1.3 times as fast at the first two
epoch      one epoch of Tatoeba (6,893 pairs), batch 64, the tutorial's model; ours in
           its few shapes, the tutorial's way at 128. Bar: 10 times as fast
memorise   2,500 updates on one sentence, compilation included. Bar: 5 times
loss       the time to a validation loss of 2.2 nats a character on Tatoeba
translate  one sentence, and 64 in a batch, 40 tokens forced, greedily
rate       the whole step at `small`, 8,000 pieces, 4,096 tokens: the share of this
           machine's own rate of large float32 products. Bar: 35%

Both sides have the same cores, the same parameters to begin with, the same batches and
a process of their own; they run in turns after a warm-up, and a ratio is the median of
those of neighbouring runs, with the quarters beside it. Compilation is reported apart,
and so are memory, floating point operations and bytes. `--device gpu` measures a step
of each preset, an update's tokens at a time, in float32 and in bfloat16 (`--cases base
bfloat16`: only those), and the rate at `base`.

Results go to experiments/results/benchmark.json, and as a picture to
docs/images/benchmark.png; those of other measures stay.
"""

import argparse
import dataclasses
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

from experiments.benchmark_decode import Ours, random_sources
from experiments.benchmark_multi30k import ROOT
from experiments.decode_peers import BOS, EOS, PAD, UNK
from experiments.turns import (
    THREADS,
    Peer,
    in_turns,
    matrix_product_speed,
    milliseconds,
    ratio,
    share_cores,
    timed,
    write_result,
)
from flaxformer_mt.config import DataConfig, ModelConfig, TrainConfig
from flaxformer_mt.errors import InputError
from flaxformer_mt.evaluation import plots
from flaxformer_mt.evaluation.pictures import Picture, plots_available
from flaxformer_mt.model.transformer import (
    count_parameters,
    init_params,
    make_model,
)
from flaxformer_mt.presets import preset
from flaxformer_mt.text.batching import (
    Batch,
    EpochBatches,
    Shape,
    SpecialIds,
    choose_shapes,
    make_batch,
)
from flaxformer_mt.text.preparation import prepare
from flaxformer_mt.text.prepared import Prepared
from flaxformer_mt.training.devices import Devices, divide_cpu
from flaxformer_mt.training.named_arrays import flatten
from flaxformer_mt.training.optimizer import make_optimizer
from flaxformer_mt.training.parts import parts_of
from flaxformer_mt.training.programs import CompileCount
from flaxformer_mt.training.step import (
    STEPS_IN_FLIGHT,
    StepOptions,
    compile_step,
    compiling_init,
    eval_step,
    state_of,
)

RESULT = ROOT / "experiments" / "results" / "benchmark.json"
PICTURE = ROOT / "docs" / "images" / "benchmark.png"
SPECIALS = SpecialIds(src_eos=EOS, src_pad=PAD, tgt_bos=BOS, tgt_eos=EOS, tgt_pad=PAD)
LEARNING_RATE = 1e-4
CHARACTERS, PIECES = 83, 8000
WIDTH = 128  # to which the tutorial pads everything

# ---- models and batches --------------------------------------------------------------


def model_config(name: str) -> tuple[ModelConfig, int]:
    """(a preset's model as it is trained, the size of its vocabularies)."""
    size = CHARACTERS if name == "tutorial" else PIECES
    sizes = {"src_vocab_size": size, "tgt_vocab_size": size}
    return dataclasses.replace(preset(name).model, **sizes), size


@dataclasses.dataclass(frozen=True)
class Case:
    """A model and the shape of its batches."""

    preset: str
    shape: Shape
    bar: float  # how many times as fast as the best of torch's

    @property
    def name(self) -> str:
        """As in "tutorial, 64 x 48/64"."""
        rows, source, target = self.shape
        widths = f"{source}" if source == target else f"{source}/{target}"
        return f"{self.preset}, {rows} x {widths}"


CASES = (
    Case("tutorial", Shape(1, 128, 128), 1.3),
    Case("tutorial", Shape(64, 48, 64), 1.3),
    Case("tutorial", Shape(64, 128, 128), 1.0),
    Case("tiny", Shape(128, 24, 24), 1.0),
)
SMALL = Case("small", Shape(128, 32, 32), 1.0)
# On a GPU each preset has the tokens of one of its updates.
BASE = Case("base", Shape(384, 64, 64), 1.2)
GPU_CASES = (CASES[1], CASES[3], SMALL, BASE)


def random_batch(
    shape: Shape, vocab_size: int, seed: int = 0, smallest: int = 2
) -> Batch:
    """Rows of random ids, from a part of their width to all of it."""
    rng = np.random.default_rng(seed)

    def side(width: int) -> list[list[int]]:
        lengths = rng.integers(max(width // smallest - 1, 1), width, shape.rows)
        lengths[0] = width - 1
        return [rng.integers(UNK + 1, vocab_size, n).tolist() for n in lengths]

    pairs = list(zip(side(shape.src_width), side(shape.tgt_width), strict=True))
    return make_batch(pairs, shape, SPECIALS)


# ---- our side ------------------------------------------------------------------------


class Training:
    """Our training, as a run does it: one device a core where the rows are worth it."""

    def __init__(
        self,
        cfg: ModelConfig,
        *,
        rows: int,
        label_smoothing: float = 0.0,
        learning_rate: float = LEARNING_RATE,
        dtype: Any = jnp.float32,
        device: str = "cpu",
        cores: int = 0,  # 0: as many as so many rows keep busy
        first: Batch | None = None,  # to compile for while the parameters are begun
    ) -> None:
        cores = cores or max(min(THREADS, rows // 8), 1)
        self.devices = Devices.of(device, cores=cores)
        sizes = {"src_vocab_size": cfg.src_vocab_size}
        sizes["tgt_vocab_size"] = cfg.tgt_vocab_size
        self.model = make_model(cfg, dtype=dtype, **sizes)
        optimizer = TrainConfig(
            learning_rate=learning_rate, schedule="constant", warmup_steps=0, steps=1
        )
        self.tx = make_optimizer(optimizer, num_steps=None)
        self.options = StepOptions(label_smoothing=label_smoothing)
        key = jax.random.key(0)
        self.key = self.devices.place_state(key)
        self.programs: dict[tuple, Any] = {}
        self.compile_seconds, self.parts = 0.0, 1
        if first is not None:
            with compiling_init(self.model, key):
                self.program_for(self.devices.place_batch(first))
        self.params = init_params(self.model, key)
        self.begin()

    def begin(self) -> None:
        """Back to the first parameters."""
        params = jax.tree.map(jnp.copy, self.params)
        self.state = self.devices.place_state(state_of(params, self.tx))
        self.in_flight: deque[jax.Array] = deque()

    def program_for(self, placed: Batch) -> Any:
        """The program for a batch of this shape, compiled once."""
        shape = (*placed.src_ids.shape, placed.tgt_in_ids.shape[1])
        if shape not in self.programs:
            started = time.perf_counter()
            state = jax.eval_shape(
                lambda: state_of(init_params(self.model, jax.random.key(0)), self.tx)
            )
            self.programs[shape] = compile_step(
                *(self.devices.like_placed(state), placed, self.key),
                **{"model": self.model, "tx": self.tx, "options": self.options},
                by_core=self.devices.by_core,
            )
            self.compile_seconds += time.perf_counter() - started
            of_one = jax.tree.map(lambda x: x[:: self.devices.count], placed)
            size = count_parameters(state.params)
            self.parts = parts_of(of_one, self.model.cfg, size)
        return self.programs[shape]

    def step(self, batch: Batch) -> Any:
        """The batch's sums, after an update."""
        placed = self.devices.place_batch(batch)
        program = self.program_for(placed)
        self.state, totals = program(self.state, placed, self.key)
        # As in a run: the host is never far ahead. XLA's threads would all wait for
        # each other where hundreds of steps are under way on two devices.
        self.in_flight.append(totals.nats)
        if len(self.in_flight) > STEPS_IN_FLIGHT:
            self.in_flight.popleft().block_until_ready()
        return totals

    def run(self, batches: Sequence[Batch]) -> float:
        """Nats a token of the last of the batches."""
        for batch in batches:
            totals = self.step(batch)
        return float(totals.mean_loss())

    def validate(self, batches: Sequence[Batch]) -> float:
        """Nats a token over all batches."""
        params = jax.device_get(self.state.params)
        sums = [eval_step(params, batch, model=self.model) for batch in batches]
        nats = sum(float(s.nats) for s in sums)
        return nats / sum(float(s.num_tokens) for s in sums)

    def costs(self) -> dict[str, float]:
        """What XLA counts for the last program that was compiled, on each device:
        operations and bytes, of one part of the rows where a device takes them in
        several, and the memory that it needs."""
        program = list(self.programs.values())[-1]
        counted, memory = program.cost_analysis(), program.memory_analysis()
        return {
            "devices": self.devices.count,
            "parts": self.parts,
            "gflop_a_device": round(counted.get("flops", 0.0) / 1e9, 3),
            "gigabytes_a_device": round(counted.get("bytes accessed", 0.0) / 1e9, 3),
            "memory_mib_a_device": round(memory.temp_size_in_bytes / 2**20, 1),
        }


def operations(cfg: ModelConfig, batch: Batch) -> float:
    """Floating point operations that a step has to do, nothing computed again: six a
    matrix parameter a real token, and attention.

    Target tokens count for the decoder and the output layer, source tokens for the
    encoder and for the keys and values of cross-attention; no embedding is looked up in
    a product.
    """
    d, ff = cfg.d_model, cfg.d_ff
    src, tgt = batch.src_mask.sum(axis=1), batch.tgt_mask.sum(axis=1)
    layers_in, layers_out = cfg.num_encoder_layers, cfg.num_decoder_layers
    of_source = layers_in * (4 * d * d + 2 * d * ff) + layers_out * 2 * d * d
    of_target = layers_out * (6 * d * d + 2 * d * ff) + d * cfg.tgt_vocab_size
    products = 6.0 * (of_source * src.sum() + of_target * tgt.sum())
    # Scores and weighted sums, 2 * L * S * D each; three times with their gradients. A
    # target position reads half of the others on average.
    pairs = layers_in * (src**2).sum()
    pairs += layers_out * ((tgt**2).sum() / 2 + (src * tgt).sum())
    return float(products + 12.0 * d * pairs)


# ---- their side ----------------------------------------------------------------------


@contextmanager
def open_torch(
    python: str, training: Training, ways: Sequence[str], **more: Any
) -> Iterator[tuple[Peer, dict[str, str]]]:
    """The torch process with our parameters, and its versions."""
    peer = Peer(python, "torch_peer")
    with tempfile.TemporaryDirectory() as folder:
        weights = f"{folder}/weights.npz"
        np.savez(weights, **flatten(training.params))
        config = dataclasses.asdict(training.model.cfg)
        arguments = {"config": config, "threads": THREADS, "ways": list(ways)}
        versions, _ = peer.ask("open", weights=weights, **arguments, **more)
    try:
        yield peer, versions
    finally:
        peer.process.stdin.close()
        peer.process.wait()


def send(peer: Peer, batches: Sequence[Batch]) -> None:
    """Has the peer read these batches."""
    arrays = {
        f"{field}/{i}": array
        for i, batch in enumerate(batches)
        for field, array in zip(Batch._fields, batch, strict=True)
    }
    with tempfile.TemporaryDirectory() as folder:
        np.savez(f"{folder}/batches.npz", **arrays)
        peer.ask("read", file=f"{folder}/batches.npz")


def quarters(seconds: dict[str, list[float]], theirs: str) -> list[float]:
    """The first and the third quarter of the ratios of neighbouring runs."""
    ratios = sorted(
        a / b for a, b in zip(seconds[theirs], seconds["ours"], strict=True)
    )
    if len(ratios) < 2:
        return ratios * 2
    low, _, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return [round(low, 3), round(high, 3)]


def compare(seconds: dict[str, list[float]], each: float = 1.0) -> dict[str, Any]:
    """The result of a measure: times, and how many times as fast we are."""
    others = [name for name in seconds if name != "ours"]
    return {
        "ms": milliseconds(seconds, each),
        "times_as_fast": {name: ratio(seconds, name, "ours") for name in others},
        "quarters": {name: quarters(seconds, name) for name in others},
    }


# ---- the measures --------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Setting:
    """What the person asked for."""

    python: str
    repeats: int
    quick: bool
    tatoeba: Path | None
    device: str = "cpu"
    cases: tuple[str, ...] = ()  # words of a case's name; none: all cases

    @property
    def on_gpu(self) -> bool:
        """Whether a GPU is measured."""
        return self.device == "gpu"


def peak_mebibytes(setting: Setting) -> float:
    """The most memory that this process had, of the GPU where one is measured."""
    if setting.on_gpu:
        return round(jax.devices()[0].memory_stats()["peak_bytes_in_use"] / 2**20, 1)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)


def step_cases(setting: Setting) -> dict[str, tuple[Case, str]]:
    """The cases of the measure step, and the type of their products."""
    if setting.on_gpu:
        found = {
            f"step, {case.name}, {dtype}": (case, dtype)
            for case in GPU_CASES
            for dtype in ("bfloat16", "float32")
        }
    else:
        cases = CASES[1:2] if setting.quick else CASES
        found = {f"step, {case.name}": (case, "float32") for case in cases}
    asked = setting.cases
    return {n: c for n, c in found.items() if all(word in n for word in asked)}


def measure_case(case: Case, setting: Setting, *, dtype: str = "float32") -> dict:
    """A training step beside torch's."""
    cfg, vocab_size = model_config(case.preset)
    training = Training(
        cfg, rows=case.shape.rows, dtype=getattr(jnp, dtype), device=setting.device
    )
    batches = [random_batch(case.shape, vocab_size, seed) for seed in range(4)]
    ways = ["eager"] if setting.quick else ["eager", "compile"]
    if case.preset == "tutorial" and not setting.quick:
        ways.append("tutorial")
    first = training.run(batches[:1])
    steps = 20 if setting.on_gpu else 8 if case.shape.rows == 1 else 2
    more = {"device": "cuda"} if setting.on_gpu else {}
    with open_torch(setting.python, training, ways, dtype=dtype, **more) as opened:
        peer, versions = opened
        send(peer, batches)
        start = {way: peer.ask("steps", way=way) for way in ways}
        for loss, _ in start.values():  # dropout differs; the same model all the same
            if abs(loss - first) > 0.2 * first:
                raise SystemExit(f"torch begins with loss {loss}, ours with {first}.")

        def theirs(way: str) -> Callable[[], float]:
            return lambda: peer.seconds("steps", way=way, count=steps)

        ours = timed(
            lambda: training.run(batches[:steps] * (steps // len(batches) or 1))
        )
        sides = {"ours": ours, **{way: theirs(way) for way in ways}}
        seconds = in_turns(sides, setting.repeats)
        their_peak, _ = peer.ask("peak_mebibytes")
    speed = matrix_product_speed(dtype)
    mean_step = statistics.median(seconds["ours"]) / steps
    best = min(
        ("eager", "compile")[: len(ways)],
        key=lambda w: statistics.median(seconds.get(w, [float("inf")])),
    )
    needed = statistics.mean(operations(cfg, batch) for batch in batches)
    return {
        "peer": versions,
        "device": training.devices.describe(),
        **compare(seconds, steps),
        "best_of_torch": best,
        "bar": case.bar,
        "compile_seconds": {
            "ours": round(training.compile_seconds, 2),
            **{way: round(spent, 2) for way, (_, spent) in start.items()},
        },
        "peak_mib": {
            "ours": peak_mebibytes(setting),
            "torch, all ways": round(their_peak, 1),
        },
        **training.costs(),
        "gflop_needed": round(needed / 1e9, 3),
        "matrix_product_gflops": round(speed / 1e9),
        "share_of_matrix_rate": round(needed / mean_step / speed, 3),
    }


# ---- the tutorial's job --------------------------------------------------------------


def tutorials_job(zip_file: Path) -> tuple[Prepared, EpochBatches, ModelConfig]:
    """Tatoeba en-fa in characters, in batches of 64, and the tutorial's model."""
    data = DataConfig(src=f"{zip_file}:en.txt", tgt=f"{zip_file}:fa.txt")
    prepared = prepare(data, max_length=WIDTH)
    shapes = choose_shapes(prepared.lengths, batch_sentences=64, max_length=WIDTH)
    batches = EpochBatches(prepared.train, shapes, prepared.specials, seed=0)
    cfg = dataclasses.replace(
        preset("tutorial").model,
        max_length=WIDTH,
        src_vocab_size=len(prepared.src_tokenizer.vocabulary),
        tgt_vocab_size=len(prepared.tgt_tokenizer.vocabulary),
    )
    return prepared, batches, cfg


def measure_epoch(setting: Setting) -> dict[str, Any]:
    """An epoch, batches made and sent to the device included. Its batches cost the
    tutorial's way the same each, padded to 128 as they are: every eighth is timed."""
    _, batches, cfg = tutorials_job(setting.tatoeba)
    training, epoch = Training(cfg, rows=64), list(batches.epoch(0))
    training.run(epoch)  # compiles every shape
    some = epoch[::8]
    ways = ("eager", "tutorial")
    with open_torch(setting.python, training, ways) as (peer, versions):
        send(peer, epoch)
        peer.ask("steps", way="eager", count=2)
        numbers = range(0, len(epoch), 8)

        def tutorial() -> float:
            spent = sum(peer.seconds("steps", way="tutorial", first=i) for i in numbers)
            return spent * len(epoch) / len(some)

        sides = {
            "ours": timed(lambda: training.run(list(batches.epoch(1)))),
            "eager": lambda: peer.seconds("steps", way="eager", count=len(epoch)),
            "tutorial": tutorial,
        }
        seconds = in_turns(sides, min(setting.repeats, 3), warm_up=1)
    return {
        "peer": versions,
        "pairs": len(batches.pairs),
        "updates": len(epoch),
        "compile_seconds": round(training.compile_seconds, 1),
        **compare(seconds),
        "bar": 10,
    }


def measure_memorise(setting: Setting) -> dict[str, Any]:
    """The one-sentence experiment, from nothing to the last update."""
    cfg, vocab_size = model_config("tutorial")
    rng = np.random.default_rng(0)
    # As long as the tutorial's sentence, in the narrowest shape that holds it.
    pair = [rng.integers(UNK + 1, vocab_size, n).tolist() for n in (34, 31)]
    [shape] = choose_shapes(
        np.array([[len(side) + 1 for side in pair]]),
        batch_sentences=1,
        max_length=WIDTH,
    )
    batch = make_batch([tuple(pair)], shape, SPECIALS)
    updates, compiling = 2500, []

    def ours() -> float:
        jax.clear_caches()
        with CompileCount() as count:
            started = time.perf_counter()
            training = Training(cfg, rows=1, first=batch)
            for _ in range(updates):
                totals = training.step(batch)
            totals.nats.block_until_ready()
            spent = time.perf_counter() - started
        compiling.append(count.seconds)
        return spent

    training, some = Training(cfg, rows=1), updates // 10
    with open_torch(setting.python, training, ["tutorial"]) as (peer, versions):
        send(peer, [batch])

        def tutorial() -> float:
            spent = peer.seconds("steps", way="tutorial", count=some)
            return spent * updates / some

        sides = {"ours": ours, "tutorial": tutorial}
        seconds = in_turns(sides, min(setting.repeats, 5), warm_up=1)
    return {
        "peer": versions,
        "updates": updates,
        "tutorial_updates_timed": some,
        "seconds_xla_compiles_of_ours": round(statistics.median(compiling), 1),
        **compare(seconds),
        "bar": 5,
    }


def measure_loss(setting: Setting) -> dict[str, Any]:
    """The time to a validation loss; the same batches and learning rate on both sides,
    validated after each quarter of an epoch, compilation apart."""
    prepared, batches, cfg = tutorials_job(setting.tatoeba)
    held_out = EpochBatches(
        prepared.validation, batches.shapes, prepared.specials, seed=0
    )
    validation = [batch for _, batch in held_out.in_order()]
    epochs = [batch for number in range(8) for batch in batches.epoch(number)]
    wanted, every = 2.2, len(batches) // 4
    training = Training(cfg, rows=64, learning_rate=1e-3)
    training.run(list(batches.epoch(0)))
    training.validate(validation)
    training.begin()

    def reach(steps: Callable[[int], Any], validate: Callable[[], float]) -> dict:
        started, first = time.perf_counter(), 0
        while first < len(epochs):
            steps(first)
            first += every
            if (loss := validate()) <= wanted:
                break
        spent = time.perf_counter() - started
        return {"seconds": round(spent, 1), "updates": first, "loss": round(loss, 3)}

    with open_torch(setting.python, training, ["eager"], learning_rate=1e-3) as (
        peer,
        versions,
    ):
        send(peer, [*epochs, *validation])
        theirs = reach(
            lambda first: peer.ask("steps", way="eager", first=first, count=every),
            lambda: peer.ask("validate", way="eager", first=len(epochs))[0],
        )
    ours = reach(
        lambda first: training.run(epochs[first : first + every]),
        lambda: training.validate(validation),
    )
    return {
        "peer": versions,
        "validation_loss": wanted,
        "compile_seconds": round(training.compile_seconds, 1),
        "ours": ours,
        "eager": theirs,
        "times_as_fast": round(theirs["seconds"] / ours["seconds"], 2),
    }


# ---- translating, and the share of the machine ---------------------------------------

FORCED = 40  # tokens


def measure_translate(setting: Setting) -> dict[str, Any]:
    """One sentence and 64, beside good torch with a cache and the tutorial's way."""
    cfg, vocab_size = model_config("tutorial")
    ours, training = Ours(cfg, vocab_size), Training(cfg, rows=1)
    training.params = ours.params
    result: dict[str, Any] = {}
    with open_torch(setting.python, training, ["eager", "tutorial"]) as opened:
        peer, versions = opened
        for name, rows in [("one", 1), ("batch", 64)][: 1 if setting.quick else 2]:
            src = random_sources([31] * rows, vocab_size)
            asked = {"src": src, "length": FORCED}
            expected, _ = peer.ask("translate", way="eager", **asked)
            same = np.mean(np.array(expected) == np.array(ours.translate(src, FORCED)))
            if same < 0.95:  # a near tie may fall either way
                raise SystemExit(
                    f"torch translates otherwise: {same:.0%} are the same."
                )

            def theirs(way: str, asked: dict = asked) -> Callable[[], float]:
                return lambda: peer.seconds("translate", way=way, **asked)

            sides = {
                "ours": timed(lambda src=src: ours.translate(src, FORCED)),
                "eager": theirs("eager"),
            }
            if rows == 1:
                sides["tutorial"] = theirs("tutorial")
            seconds = in_turns(sides, setting.repeats)
            result[name] = compare(seconds, rows * FORCED)
    return {"peer": versions, "tokens": FORCED, **result}


def measure_rate(setting: Setting) -> dict[str, Any]:
    """The share of the machine's rate of products that a whole step has, at `small`, or
    on a GPU at `base`."""
    case, dtype = (BASE, jnp.bfloat16) if setting.on_gpu else (SMALL, jnp.float32)
    cfg, vocab_size = model_config(case.preset)
    training = Training(
        cfg,
        rows=case.shape.rows,
        label_smoothing=0.1,
        dtype=dtype,
        device=setting.device,
    )
    batch, steps = random_batch(case.shape, vocab_size, smallest=1), 1
    training.run([batch])
    if setting.on_gpu:
        steps = 20  # several are under way at a time, as in a run
    needed = operations(cfg, batch)
    sides = {
        "step": timed(lambda: training.run([batch] * steps)),
        "product": lambda: 1 / matrix_product_speed(dtype),
    }
    seconds = in_turns(sides, setting.repeats, pause=0.0)
    best = 1 / min(seconds["product"])
    step = statistics.median(seconds["step"]) / steps
    return {
        "case": case.name,
        "device": training.devices.describe(),
        "target_tokens": int(batch.tgt_mask.sum()),
        "step_ms": round(step * 1e3, 1),
        "gflop_needed": round(needed / 1e9, 1),
        "matrix_product_gflops": round(best / 1e9),
        "share_of_matrix_rate": round(needed / step / best, 3),
        "floor_ms": round(needed / best * 1e3, 1),
        "bar": 0.40 if setting.on_gpu else 0.35,
        **training.costs(),
    }


# ---- the whole -----------------------------------------------------------------------

MEASURES: dict[str, Callable[[Setting], dict[str, Any]]] = {
    "epoch": measure_epoch,
    "memorise": measure_memorise,
    "loss": measure_loss,
    "translate": measure_translate,
    "rate": measure_rate,
}
NAMES = ("step", *MEASURES)


def measure_here(name: str, setting: Setting) -> dict[str, Any]:
    """One measure, or one case of a step, in this process."""
    if setting.on_gpu:
        # torch has a process of its own beside this one, on the same card.
        os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.45")
    else:
        share_cores()
        jax.config.update("jax_platforms", "cpu")
        if name != "translate":  # which has no use for a device a core
            divide_cpu(THREADS, rows=THREADS * 8)
    if name in MEASURES:
        return MEASURES[name](setting)
    case, dtype = step_cases(setting)[name]
    return measure_case(case, setting, dtype=dtype)


def measure_apart(name: str) -> dict[str, Any]:
    """One measure by a process of its own, which has its own memory and devices."""
    command = [sys.executable, "-m", "experiments.benchmark", *sys.argv[1:]]
    done = subprocess.run(
        [*command, "--here", name], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    if done.returncode:
        raise SystemExit(done.returncode)
    measured = json.loads(done.stdout.strip().split("\n")[-1])
    print(json.dumps({name: measured}, indent=1), file=sys.stderr)
    return measured


def rows_of(name: str, measured: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """(what, our milliseconds, against whom, how many times as fast, quarters, bar)."""
    if "ms" in measured:
        for other, times in measured["times_as_fast"].items():
            low, high = measured["quarters"][other]
            spread = f"{low:.2f} to {high:.2f}"
            ours = f"{measured['ms']['ours']:.4g}"
            yield (
                name,
                ours,
                other,
                f"{times:.2f}",
                spread,
                str(measured.get("bar", "")),
            )
    elif "share_of_matrix_rate" in measured:
        share = f"{measured['share_of_matrix_rate']:.0%}"
        step = str(measured["step_ms"])
        yield name, step, "matrix product", share, "", f"{measured['bar']:.0%}"
    elif "validation_loss" in measured:
        ours = f"{measured['ours']['seconds'] * 1e3:.0f}"
        yield name, ours, "eager", str(measured["times_as_fast"]), "", ""
    else:
        for inner, value in measured.items():
            if isinstance(value, dict) and "ms" in value:
                yield from rows_of(f"{name}: {inner}", value)


def show_table(results: dict[str, dict[str, Any]]) -> None:
    """Prints what was measured."""
    table = Table(title="times as fast as PyTorch")
    for column in ("measure", "ours, ms", "beside", "times", "quarters", "bar"):
        table.add_column(column, justify="left" if column == "measure" else "right")
    for name, measured in results.items():
        for row in rows_of(name, measured):
            table.add_row(*row)
    Console().print(table)


OPPONENTS = {
    "eager": "PyTorch, fused attention and Adam",
    "compile": "the same, compiled",
    "tutorial": "the tutorial's way",
}


def times_as_fast(results: dict[str, Any]) -> dict[str, dict[str, float]]:
    """What a picture shows: how many times as fast as whom, for each measure."""
    measures = {
        f"a step,\n{case}".replace(", 1 x", ",\n1 x").replace(
            ", 64 x", ",\n64 x"
        ): found
        for case, found in results.get("step", {}).items()
        if isinstance(found, dict) and "times_as_fast" in found
    }
    measures["an epoch\nof Tatoeba"] = results.get("epoch", {})
    measures["one sentence,\n2,500 updates"] = results.get("memorise", {})
    for name, what in (
        ("one", "one sentence\ntranslated"),
        ("batch", "64 sentences\nat once"),
    ):
        measures[what] = results.get("translate", {}).get(name, {})
    return {
        name: {OPPONENTS[way]: times for way, times in found["times_as_fast"].items()}
        for name, found in measures.items()
        if "times_as_fast" in found
    }


def draw(results: dict[str, Any]) -> Picture:
    """The picture of what was measured on a CPU, of now and of before."""
    return plots.benchmark_bars(
        times_as_fast(results),
        title="How many times as fast as PyTorch, two CPU cores, float32",
        baseline_name="as fast as each other",
    )


def main() -> None:
    """python -m experiments.benchmark"""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", choices=NAMES, default=[])
    parser.add_argument(
        "--repeats", type=int, default=9, help="turns of each side; 3 with --quick"
    )
    parser.add_argument("--quick", action="store_true", help="a minute; writes nothing")
    parser.add_argument("--tatoeba", type=Path, help="Tatoeba.zip, for epoch and loss")
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument(
        "--cases", nargs="+", default=[], help="steps whose names hold all these words"
    )
    parser.add_argument(
        "--torch-python",
        default=sys.executable,
        help="a Python with torch (default: this one)",
    )
    parser.add_argument("--here", default="", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.repeats < 1:
        parser.error(f"--repeats must be 1 or more; got {asked.repeats}")
    repeats = 3 if asked.quick else asked.repeats
    setting = Setting(
        asked.torch_python,
        repeats,
        asked.quick,
        asked.tatoeba,
        asked.device,
        tuple(asked.cases),
    )
    if "step" in (asked.only or NAMES) and not step_cases(setting):
        names = "; ".join(step_cases(dataclasses.replace(setting, cases=())))
        parser.error(
            f"no step has all of {', '.join(asked.cases)} in its name; there are: "
            f"{names}"
        )
    if asked.here:
        try:
            print(json.dumps(measure_here(asked.here, setting)))
        except InputError as error:  # no GPU, say
            parser.exit(2, f"error: {error}\n")
        return
    needs_corpus = ("epoch", "loss")
    if not asked.tatoeba and set(needs_corpus) & set(asked.only):
        parser.error("epoch and loss need --tatoeba Tatoeba.zip (tatoeba.org)")
    names = asked.only or [
        name
        for name in (("step", "translate") if asked.quick else NAMES)
        if asked.tatoeba or name not in needs_corpus
    ]
    command = ["--only", *names, "--repeats", str(repeats), "--device", asked.device]
    command += ["--cases", *asked.cases] if asked.cases else []
    command += ["--tatoeba", asked.tatoeba.name] if asked.tatoeba else []
    results = {}
    for name in names:
        if name == "step":
            results[name] = {
                case.removeprefix("step, "): measure_apart(case)
                for case in step_cases(setting)
            }
        else:
            results[name] = measure_apart(name)
        if not asked.quick:
            of_gpu = ["gpu"] if setting.on_gpu else []
            key = ", ".join([name, *of_gpu, *asked.cases])
            write_result(key, results[name], command, module="benchmark", file=RESULT)
    show_table(results)
    if not asked.quick and asked.device == "cpu" and plots_available():
        draw(json.loads(RESULT.read_text("utf-8"))).save(PICTURE)


if __name__ == "__main__":
    main()
