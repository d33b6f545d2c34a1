"""How fast translations are made, beside the tutorial's way and CTranslate2.

    pip install torch==2.13.0 ctranslate2==4.8.5     (into this Python, or another one)
    python -m experiments.benchmark_decode --torch-python /tmp/peers/bin/python

one    sentences of 30 characters one at a time, 40 tokens forced, preset tutorial,
       sampled with the tutorial's options; beside the tutorial's way. Bar: 30 times as
       fast
many   256 such sentences in one call, beside one by one its way (8 of them timed).
       Bar: 300 times
step   a training step of its way beside the plain torch twin's, one sentence 128 wide,
       so that the opponent is no straw man. Bar: 1 to 1.6
ct2    CTranslate2, float32: 4+4 layers, d_model 128, 14 source tokens, 24 target tokens
       forced; greedy at batch 128 and one at a time, beam 5 at batch 128. Bar: 1
topk   a step of sampling with top-k at V 8,000, in greedy steps. Bar: at most 1.3

Both sides have two cores, the same random weights and a process of their own; they run
in turns, ours, theirs, ours, ..., after a warm-up. A ratio is the median of those of
neighbouring runs. `ct2` first checks that CTranslate2 computes what we do: the same
greedy tokens, forced scores within 1e-3. CTranslate2 shares its cores in two ways (two
batches at once, or two threads a product); the better one counts. One sentence at a
time means eight calls in a turn, one after the other: the first of them finds cold
caches and sleeping threads, on either side.

Results go to experiments/results/decode.json, those of other measures stay.
"""

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

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
from flaxformer_mt.config import ModelConfig
from flaxformer_mt.decoding.beam_search import BeamOptions, BeamSearch
from flaxformer_mt.decoding.call import BATCH_TOKENS
from flaxformer_mt.decoding.frames import Frame, Source, ladder, plan
from flaxformer_mt.decoding.sampling import GREEDY, SampleOptions, Sampler, piece_keys
from flaxformer_mt.decoding.search import Output, Search, TokenIds, decode
from flaxformer_mt.decoding.weights import weights_of
from flaxformer_mt.model.masks import make_masks
from flaxformer_mt.model.transformer import init_params, make_model, sinusoids
from flaxformer_mt.presets import preset
from flaxformer_mt.training.named_arrays import flatten

RESULT = ROOT / "experiments" / "results" / "decode.json"
CALLS = 8  # of a turn that translates one sentence at a time
IDS = TokenIds(bos=BOS, eos=EOS, pad=PAD, unk=UNK)
TUTORIALS = SampleOptions(temperature=1.0, top_k=0, repetition_penalty=1.2)
Rows = list[list[int]]

# ---- our side ------------------------------------------------------------------------


class Ours:
    """Our model with random weights. Its special tokens have so low a bias that forcing
    a length changes no other choice on either side."""

    def __init__(self, cfg: ModelConfig, vocab_size: int) -> None:
        sizes = {"src_vocab_size": vocab_size, "tgt_vocab_size": vocab_size}
        self.workers = ThreadPoolExecutor(THREADS)
        self.model = make_model(cfg, **sizes)
        self.params = init_params(self.model, jax.random.key(0))
        layer = self.params["decoder"]["logits"]
        layer["bias"] = layer["bias"].at[jnp.array([PAD, BOS, EOS, UNK])].set(-30.0)
        self.weights = weights_of(self.params, self.model)

    def translate(
        self,
        src: Rows,
        length: int,
        opts: SampleOptions = GREEDY,
        *,
        beam_size: int = 1,
    ) -> Rows:
        """Exactly `length` tokens a source, planned and shared among two workers as a
        Translator does it; a beam larger than 1 takes the place of the options."""
        search = self.search(length, opts, beam_size)
        tokens, max_length = BATCH_TOKENS["cpu"], self.model.cfg.max_length
        frames = ladder(max_length, tokens, hypotheses=beam_size)
        keys = piece_keys(0, lines=list(range(len(src))), places=[0] * len(src))
        sources = list(map(Source, src, map(tuple, keys.tolist())))

        def decode_batch(batch: tuple[Frame, list[int]]) -> list[list[Output]]:
            frame, rows = batch
            return decode(
                *(self.weights, [sources[row] for row in rows]),
                search=search,
                frame=frame,
                frames=frames,
                limit=length,
            )

        batches = plan(sources, frames)
        results: Rows = [[] for _ in src]
        share = self.workers.map if len(batches) > 1 else map
        outputs = share(decode_batch, batches)
        for (_, rows), some in zip(batches, outputs, strict=True):
            for row, hypotheses in zip(rows, some, strict=True):
                results[row] = hypotheses[0].token_ids
        return results

    def search(self, length: int, opts: SampleOptions, beam_size: int) -> Search:
        """The search of exactly `length` tokens."""
        if beam_size == 1:
            return Sampler(self.model, replace(opts, min_length=length), IDS)
        beam = BeamOptions(beam_size=beam_size, min_length=length)
        return BeamSearch(self.model, beam, IDS, limit=length)

    def score(self, src: Rows, tgt: Rows) -> np.ndarray:
        """[B, T + 1], the log-probability of each target token and of the end; targets
        of one length."""
        src_ids, src_mask = padded(src)
        tgt_in_ids = np.array([[BOS, *row] for row in tgt], np.int32)
        label_ids = np.array([[*row, EOS] for row in tgt], np.int32)
        masks = make_masks(src_mask, np.ones(tgt_in_ids.shape, bool))
        logits = self.model.apply({"params": self.params}, src_ids, tgt_in_ids, masks)
        chances = jax.nn.log_softmax(logits)
        return np.take_along_axis(np.asarray(chances), label_ids[..., None], 2)[..., 0]

    def floor_seconds(self, src: Rows, rows: int, length: int, speed: float) -> float:
        """What the matrix products alone would take: two operations a parameter a token
        (attention left out), `rows` target rows in all, at `speed` operations a second.
        """
        encoder, decoder = (
            sum(leaf.size for leaf in jax.tree.leaves(self.params[stack]))
            for stack in ("encoder", "decoder")
        )
        tokens = sum(map(len, src))
        return 2 * (encoder * tokens + decoder * rows * length) / speed


def padded(rows: Rows, multiple: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """(ids [B, S] int32, mask [B, S] bool), S a multiple of 16."""
    width = -(-max(map(len, rows)) // multiple) * multiple
    ids = np.full((len(rows), width), PAD, np.int32)
    mask = np.zeros(ids.shape, bool)
    for i, row in enumerate(rows):
        ids[i, : len(row)], mask[i, : len(row)] = row, True
    return ids, mask


def random_sources(lengths: list[int], vocab_size: int) -> Rows:
    """Sources of so many tokens, EOS included."""
    rng = np.random.default_rng(0)
    return [[*rng.integers(UNK + 1, vocab_size, n - 1).tolist(), EOS] for n in lengths]


# ---- their side ----------------------------------------------------------------------


@contextmanager
def open_peer(python: str, name: str, ours: Ours) -> Iterator[tuple[Peer, dict]]:
    """A peer with our parameters, and the versions that it has."""
    cfg = ours.model.cfg
    peer = Peer(python, "decode_peers", name)
    with tempfile.TemporaryDirectory() as folder:
        weights, positions = f"{folder}/weights.npz", f"{folder}/positions.npy"
        np.savez(weights, **flatten(ours.params))
        np.save(positions, sinusoids(cfg.max_length, cfg.d_model))
        more = {"positions": positions} if name == "ctranslate2" else {}
        arguments = {"config": asdict(cfg), "threads": THREADS, **more}
        versions, _ = peer.ask("open", weights=weights, **arguments)
    try:
        yield peer, versions
    finally:
        peer.process.stdin.close()
        peer.process.wait()


# ---- the measures --------------------------------------------------------------------

CHARACTERS, FORCED = 83, 40  # of the tutorial: vocabulary, and tokens a translation


def tutorial_model() -> Ours:
    """The preset, at its own width of 128."""
    return Ours(preset("tutorial").model, CHARACTERS)


def measure_one(python: str, repeats: int) -> dict[str, Any]:
    """One sentence, beside the tutorial's way."""
    ours, src = tutorial_model(), random_sources([31] * CALLS, CHARACTERS)
    with open_peer(python, "tutorial", ours) as (peer, versions):
        greedy, _ = peer.ask("translate", src=src, length=FORCED, greedy=True)
        if greedy != ours.translate(src, FORCED):
            raise SystemExit("The tutorial's way does not translate as ours does.")
        sides = {
            "ours": timed(
                lambda: [ours.translate([row], FORCED, TUTORIALS) for row in src]
            ),
            "tutorial": lambda: peer.seconds("translate", src=src, length=FORCED),
        }
        seconds = in_turns(sides, repeats)
    return {
        "peer": versions,
        "ms_a_token": milliseconds(seconds, FORCED * CALLS),
        "times_as_fast": ratio(seconds, "tutorial", "ours"),
        "bar": 30,
    }


def measure_many(python: str, repeats: int) -> dict[str, Any]:
    """256 sentences in one call, beside one by one the tutorial's way."""
    rows, timed_rows = 256, 8
    lengths = np.random.default_rng(1).integers(16, 46, rows).tolist()
    ours, src = tutorial_model(), random_sources(lengths, CHARACTERS)
    with open_peer(python, "tutorial", ours) as (peer, versions):

        def one_by_one() -> float:
            some = src[:timed_rows]
            spent = peer.seconds("translate", src=some, length=FORCED)
            return spent * rows / timed_rows

        sides = {
            "ours": timed(lambda: ours.translate(src, FORCED, TUTORIALS)),
            "tutorial": one_by_one,
        }
        seconds = in_turns(sides, repeats)
    return {
        "peer": versions,
        "sentences": rows,
        "ms": milliseconds(seconds),
        "times_as_fast": ratio(seconds, "tutorial", "ours"),
        "bar": 300,
    }


def measure_step(python: str, repeats: int) -> dict[str, Any]:
    """A training step of the tutorial's way, beside the plain torch twin's."""
    ours = tutorial_model()
    src, tgt = random_sources([31, 31], CHARACTERS)
    sentence = {"src": src, "tgt": tgt[:-1]}
    with open_peer(python, "tutorial", ours) as (peer, versions):
        sides = {
            model: lambda model=model: peer.seconds(
                "train_step", model=model, **sentence
            )
            for model in ("twin", "tutorial")
        }
        # One process and one framework: nobody's threads wait for another's.
        seconds = in_turns(sides, 20 * repeats, pause=0.0)
    return {
        "peer": versions,
        "ms": milliseconds(seconds),
        "twin_steps": ratio(seconds, "tutorial", "twin"),
        "bar": [1.0, 1.6],
    }


VOCABULARY, SOURCE, TARGET = 8000, 14, 24


def large_model() -> Ours:
    """The architecture of the comparison with CTranslate2."""
    sizes = {"d_model": 128, "d_ff": 256, "num_heads": 4, "max_length": 64}
    layers = {"num_encoder_layers": 4, "num_decoder_layers": 4}
    return Ours(ModelConfig(**sizes, **layers, norm="pre"), VOCABULARY)


def check_conversion(ours: Ours, peer: Peer, src: Rows) -> dict[str, float]:
    """How far two frameworks agree on the same weights; ends where they do not."""
    way = {"length": TARGET, "threads": f"1 x {THREADS}"}
    shares = {}
    for beam_size in (1, 5):
        rows = ours.translate(src, TARGET, beam_size=beam_size)
        theirs, _ = peer.ask("translate", src=src, beam_size=beam_size, **way)
        equal = np.mean([a == b for a, b in zip(rows, theirs, strict=True)])
        shares[f"equal_rows_beam_{beam_size}"] = float(equal)
    scores, _ = peer.ask("score", src=src, tgt=rows)
    apart = np.abs(ours.score(src, rows) - np.array(scores)).max()
    if min(shares.values()) < 0.95 or apart > 1e-3:  # a tie may fall either way
        raise SystemExit(
            f"CTranslate2 does not compute what we do: {shares}, and scores differ by "
            f"up to {apart:.2g}."
        )
    return {**shares, "scores_apart": float(f"{apart:.2g}")}


def measure_ct2(python: str, repeats: int) -> dict[str, Any]:
    """Greedy and beam search, beside CTranslate2."""
    ours, speed = large_model(), matrix_product_speed()
    src = random_sources([SOURCE] * 128, VOCABULARY)
    result: dict[str, Any] = {"matrix_product_gflops": round(speed / 1e9)}
    with open_peer(python, "ctranslate2", ours) as (peer, versions):
        result |= {"peer": versions, **check_conversion(ours, peer, src)}
        for name, rows, at_once, beam_size in (
            ("greedy_128", src, 128, 1),
            ("greedy_one", src[:CALLS], 1, 1),
            ("beam5_128", src, 128, 5),
        ):
            sides = sides_of_ct2(ours, peer, rows, at_once, beam_size)
            seconds = in_turns(sides, repeats)
            best = min(
                (side for side in seconds if side != "ours"),
                key=lambda side: statistics.median(seconds[side]),
            )
            tokens = len(rows) * TARGET
            floor = ours.floor_seconds(rows, len(rows) * beam_size, TARGET, speed)
            result[name] = {
                "tokens_a_second": {
                    side: round(tokens / statistics.median(runs))
                    for side, runs in seconds.items()
                },
                "ms_a_token": milliseconds(seconds, tokens),
                "floor_ms_a_token": float(f"{floor / tokens * 1e3:.3g}"),
                "best_of_theirs": best,
                "times_as_fast": ratio(seconds, best, "ours"),
                "bar": 1.0,
            }
            print(json.dumps({name: result[name]}), file=sys.stderr)
    return result


def sides_of_ct2(
    ours: Ours, peer: Peer, rows: Rows, at_once: int, beam_size: int
) -> dict[str, Callable[[], float]]:
    """Our decoding of the rows, so many in a call, and CTranslate2's, with either use
    of two cores."""
    calls = [rows[i : i + at_once] for i in range(0, len(rows), at_once)]

    def theirs(threads: str) -> Callable[[], float]:
        arguments = {"length": TARGET, "beam_size": beam_size, "threads": threads}
        return lambda: sum(
            peer.seconds("translate", src=call, **arguments) for call in calls
        )

    return {
        "ours": timed(
            lambda: [
                ours.translate(call, TARGET, beam_size=beam_size) for call in calls
            ]
        ),
        **{
            f"ctranslate2 {batches} x {THREADS // batches}": theirs(
                f"{batches} x {THREADS // batches}"
            )
            for batches in (1, THREADS)
        },
    }


def measure_topk(python: str, repeats: int) -> dict[str, Any]:
    """A step of sampling, in greedy steps."""
    del python  # nobody else takes part
    ours = large_model()
    result: dict[str, Any] = {}
    for rows in (128, 1):
        src = random_sources([SOURCE] * rows, VOCABULARY)

        def step(opts: SampleOptions, src: Rows = src) -> Callable[[], float]:
            """The seconds of one step: what 24 more of them take."""
            long = timed(lambda: ours.translate(src, 32, opts))
            short = timed(lambda: ours.translate(src, 8, opts))
            return lambda: (long() - short()) / 24

        sides = {
            "greedy": step(GREEDY),
            "top_k_10": step(SampleOptions(top_k=10)),
            "top_k_40": step(SampleOptions(top_k=40)),
        }
        seconds = in_turns(sides, repeats, pause=0.0)
        result[f"batch_{rows}"] = {
            "ms_a_step": milliseconds(seconds),
            "greedy_steps": {
                name: ratio(seconds, name, "greedy") for name in list(sides)[1:]
            },
            "bar": 1.3,
        }
    return result


# ---- the whole -----------------------------------------------------------------------

MEASURES: dict[str, Callable[[str, int], dict[str, Any]]] = {
    "one": measure_one,
    "many": measure_many,
    "step": measure_step,
    "ct2": measure_ct2,
    "topk": measure_topk,
}


def main() -> None:
    """python -m experiments.benchmark_decode"""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", choices=MEASURES, default=list(MEASURES))
    parser.add_argument("--repeats", type=int, default=11)
    parser.add_argument(
        "--torch-python",
        default=sys.executable,
        help="a Python with torch and ctranslate2 (default: this one)",
    )
    options = parser.parse_args()
    share_cores()
    jax.config.update("jax_platforms", "cpu")
    command = ["--only", *options.only, "--repeats", str(options.repeats)]
    for name in options.only:
        measured = MEASURES[name](options.torch_python, options.repeats)
        write_result(name, measured, command, module="benchmark_decode", file=RESULT)
        print(json.dumps({name: measured}, indent=1))


if __name__ == "__main__":
    main()
