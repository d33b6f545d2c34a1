"""Training beside JoeyNMT 2.3: the same pieces and model, batches of 4,096 tokens.

    pip install joeynmt==2.3.0 sentencepiece==0.2.0 torch==2.13.0 importlib_metadata \
        'setuptools<81'                                     (into a Python of its own)
    python -m experiments.benchmark_joeynmt --joeynmt-python /tmp/joey/bin/python \
        --prepared multi30k-prepared [--turns 5]

`--prepared` is a folder of flaxformer_mt.prepare (Multi30k en-de, 8,000 shared pieces).
JoeyNMT is given the same pieces as words, so that nothing depends on how it cuts text.
Both train `tiny` with its dropout and label smoothing, on the same cores, in turns. The
figure is real target tokens a second, as JoeyNMT logs it: batches are made in that
time, compilation and the first updates are not in it. Bar: 3 times theirs.

The result goes to experiments/results/benchmark.json.
"""

import argparse
import dataclasses
import json
import os
import re
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import jax

from experiments.benchmark import RESULT, Training
from experiments.turns import PAUSE, THREADS, share_cores, write_result
from flaxformer_mt.presets import preset
from flaxformer_mt.text.batching import EpochBatches, Prefetch, choose_shapes
from flaxformer_mt.text.prepared import Prepared, open_prepared
from flaxformer_mt.training.devices import divide_cpu

BATCH_TOKENS = 4096
THEIR_UPDATES, OURS = 10, 60  # that are timed, a turn
UPDATES_BEFORE = 5  # of theirs, which are not
SPECIALS = ("<unk>", "<pad>", "<s>", "</s>")


def write_pieces(prepared: Prepared, folder: Path) -> None:
    """The pairs as lines of numbered words, and the list of the words."""
    specials = set(prepared.specials)
    sides: tuple[list[str], list[str]] = ([], [])
    for i in range(len(prepared.train)):
        for lines, ids in zip(sides, prepared.train[i], strict=True):
            lines.append(" ".join(f"w{k}" for k in ids if k not in specials))
    for name, lines in zip(("src", "tgt"), sides, strict=True):
        for part, kept in (("train", lines), ("dev", lines[:8])):
            text = "\n".join(kept) + "\n"
            (folder / f"{part}.{name}").write_text(text, encoding="utf-8")
    size = len(prepared.src_tokenizer.vocabulary)
    words = [*SPECIALS, *(f"w{k}" for k in range(size) if k not in specials)]
    (folder / "words.txt").write_text("\n".join(words) + "\n", encoding="utf-8")


def joeynmt_config(folder: Path) -> dict[str, Any]:
    """The model of the preset and its training, in JoeyNMT's words."""
    config = preset("tiny")
    c, t = config.model, config.train

    def side(name: str) -> dict[str, Any]:
        words = str(folder / "words.txt")
        return {"lang": name, "level": "word", "voc_file": words, "max_length": 200}

    def stack(layers: int) -> dict[str, Any]:
        return {
            "type": "transformer",
            "num_layers": layers,
            "num_heads": c.num_heads,
            "embeddings": {"embedding_dim": c.d_model, "scale": True, "dropout": 0.0},
            "hidden_size": c.d_model,
            "ff_size": c.d_ff,
            "dropout": c.dropout_rate,
            "layer_norm": c.norm,
        }

    return {
        "name": "tiny",
        "joeynmt_version": "2.3.0",
        "model_dir": str(folder / "model"),
        "use_cuda": False,
        "fp16": False,
        "random_seed": 42,
        "data": {
            "train": str(folder / "train"),
            "dev": str(folder / "dev"),
            "dataset_type": "plain",
            "src": side("src"),
            "trg": side("tgt"),
            "special_symbols": {
                **{"unk_token": "<unk>", "unk_id": 0, "pad_token": "<pad>"},
                **{"pad_id": 1, "bos_token": "<s>", "bos_id": 2},
                **{"eos_token": "</s>", "eos_id": 3},
            },
        },
        "testing": {"n_best": 1, "beam_size": 1, "batch_size": 8, "eval_metrics": []},
        "training": {
            "optimizer": "adam",
            "adam_betas": [t.adam_b1, t.adam_b2],
            "learning_rate": 1e-4,
            "scheduling": "warmupinversesquareroot",
            "learning_rate_warmup": 400,
            "loss": "crossentropy",
            "label_smoothing": t.label_smoothing,
            "normalization": "tokens",
            "batch_type": "token",
            "batch_size": BATCH_TOKENS,
            "updates": UPDATES_BEFORE + THEIR_UPDATES,
            "epochs": 100,
            "logging_freq": UPDATES_BEFORE,
            "validation_freq": 10**6,
            "early_stopping_metric": "loss",
            "shuffle": True,
            "overwrite": True,
            "keep_best_ckpts": 1,
            "print_valid_sents": [],
        },
        "model": {
            "initializer": "xavier_uniform",
            "embed_initializer": "normal",
            "tied_embeddings": c.tied_embeddings == "all",
            "tied_softmax": c.tied_embeddings != "none",
            "encoder": stack(c.num_encoder_layers),
            "decoder": stack(c.num_decoder_layers),
        },
    }


def joeynmt_speed(python: str, folder: Path) -> float:
    """Target tokens a second of JoeyNMT, from its log."""
    path = folder / "tiny.yaml"  # JSON is YAML
    path.write_text(json.dumps(joeynmt_config(folder)), encoding="utf-8")
    command = [python, "-m", "joeynmt", "train", str(path), "--skip-test"]
    environment = {**os.environ, "OMP_NUM_THREADS": str(THREADS)}
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, cwd=folder
    )
    log = done.stdout + done.stderr
    speeds = [float(s) for s in re.findall(r"Tokens per Sec:\s+([\d.]+)", log)][1:]
    if not speeds:
        raise SystemExit(f"JoeyNMT has not trained:\n{log[-3000:]}")
    # Each over as many updates: together, tokens by time.
    return statistics.harmonic_mean(speeds)


class Ours:
    """Our training on the prepared pairs, as a run does it."""

    def __init__(self, prepared: Prepared) -> None:
        config = preset("tiny")
        cfg = dataclasses.replace(
            config.model,
            src_vocab_size=len(prepared.src_tokenizer.vocabulary),
            tgt_vocab_size=len(prepared.tgt_tokenizer.vocabulary),
        )
        shapes = choose_shapes(
            prepared.lengths,
            batch_sentences=1,  # the tokens decide
            batch_tokens=BATCH_TOKENS,
            max_length=cfg.max_length,
        )
        specials = prepared.specials
        self.batches = EpochBatches(prepared.train, shapes, specials, seed=0)
        rows = min(shape.rows for shape in shapes)
        smoothing = config.train.label_smoothing
        self.training = Training(cfg, rows=rows, label_smoothing=smoothing)
        seen = set()
        for batch in self.batches.epoch(0):  # compiles every shape
            shape = (*batch.src_ids.shape, batch.tgt_in_ids.shape[1])
            if shape not in seen:
                self.training.run([batch])
            seen.add(shape)
        self.epoch = 0

    def speed(self) -> float:
        """Target tokens a second, over a part of an epoch."""
        self.epoch += 1
        tokens = 0
        with Prefetch(self.batches.onwards(self.epoch, 0)) as ready:
            started = time.perf_counter()
            for _ in range(OURS):
                batch = next(ready)
                tokens += int(batch.tgt_mask.sum())
                totals = self.training.step(batch)
            totals.nats.block_until_ready()
            return tokens / (time.perf_counter() - started)


def main() -> None:
    """python -m experiments.benchmark_joeynmt"""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--joeynmt-python", required=True)
    parser.add_argument("--prepared", type=Path, required=True)
    parser.add_argument("--turns", type=int, default=5)
    asked = parser.parse_args()
    share_cores()
    jax.config.update("jax_platforms", "cpu")
    divide_cpu(THREADS, rows=THREADS * 8)
    prepared = open_prepared(asked.prepared)
    ours, speeds = Ours(prepared), {"ours": [], "joeynmt": []}
    with tempfile.TemporaryDirectory() as folder:
        write_pieces(prepared, Path(folder))
        for turn in range(asked.turns):
            theirs = joeynmt_speed(asked.joeynmt_python, Path(folder))
            time.sleep(PAUSE)
            speeds["joeynmt"].append(theirs)
            speeds["ours"].append(ours.speed())
            print(f"turn {turn + 1}: {speeds['ours'][-1]:,.0f} and {theirs:,.0f}")
    pairs = zip(speeds["ours"], speeds["joeynmt"], strict=True)
    ratios = [mine / theirs for mine, theirs in pairs]
    measured = {
        "peer": {"joeynmt": "2.3.0"},
        "tokens_a_second": {k: [round(s) for s in v] for k, v in speeds.items()},
        "turns": [round(each, 3) for each in ratios],
        "times_as_fast": round(statistics.median(ratios), 2),
        "bar": 3,
    }
    print(json.dumps(measured, indent=1))
    write_result(
        *("joeynmt", measured, ["--turns", str(asked.turns)]),
        module="benchmark_joeynmt",
        file=RESULT,
    )


if __name__ == "__main__":
    main()
