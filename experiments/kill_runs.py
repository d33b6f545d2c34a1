"""Kills a training at random moments until it ends, and compares it bit for bit.

    python -m experiments.kill_runs --kills 200         (about 10 minutes on two cores)
    python -m experiments.kill_runs --kills 20 --signal term
    python -m experiments.kill_runs --kills 20 -- --model.norm post      (more options)

A tiny model is trained once undisturbed, through `python -m flaxformer_mt.train`'s own
`main()`, with dropout, gradient accumulation, a moving average of the parameters and
batches made ahead. Then the same command is started in a new folder, killed (SIGKILL),
started again, and so on until it ends; then in a further folder, until there were as
many kills as were asked for. The moments are drawn with a seed, over starting up,
steps, saves and deletes. After each kill

- no acknowledged checkpoint is lost: the latest is at least the last step that the run
  had told, or whose manifest was seen while it ran;
- none is damaged: every step that is listed loads, with the SHA-256 over parameters,
  optimizer and history that the undisturbed run had at that step;
- the best is the step with the lowest loss so far, by the undisturbed run's losses;

and at the end of each folder the SHA-256 of parameters, of optimizer state and of
history, the best step and the log are those of the undisturbed run.

Starts are cheap: a server that has imported everything, but never touched a device,
forks a child for each, and compiled programs are kept in a folder between the starts.
What was measured goes to `results/kill_runs.json`; a failure makes the exit code 1.
"""

import argparse
import collections
import contextlib
import dataclasses
import datetime
import hashlib
import json
import os
import platform
import random
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from flaxformer_mt import __version__, train
from flaxformer_mt.errors import FlaxformerError
from flaxformer_mt.logbook import CLOCKED
from flaxformer_mt.training import checkpoints, named_arrays
from flaxformer_mt.training.run_folder import METRICS

ROOT = Path(__file__).resolve().parent.parent
RESULT = ROOT / "experiments" / "results" / "kill_runs.json"
Say = Callable[[str], None]

VALIDATE_STEPS, NUM_VALIDATIONS = 2, 20  # each validation saves
TINY_MODEL = (
    *("--model.max-length", "12", "--model.d-model", "16", "--model.d-ff", "32"),
    *("--model.num-heads", "2", "--model.num-encoder-layers", "1"),
    *("--model.num-decoder-layers", "1", "--model.dropout-rate", "0.2"),
)
TRAINING = (
    *("--train.batch-sentences", "4", "--train.max-shapes", "1"),
    # So high that the loss goes up and down, and astray once it is reached: the best
    # step is seldom the latest. Another seed may have its best step elsewhere.
    *("--train.learning-rate", "0.8", "--train.schedule", "constant"),
    *("--train.warmup-steps", "10", "--seed", "1"),
    *("--train.validate-steps", str(VALIDATE_STEPS), "--train.show-sentences", "0"),
    *("--train.steps", str(VALIDATE_STEPS * NUM_VALIDATIONS)),
)
# An average that forgets soon: a long one would be best at the end.
FEATURES = ("--train.accumulate", "2", "--train.ema", "0.3")
CLOCKS = CLOCKED  # of the history: what no two runs share


# ---- the fork server ---------------------------------------------------------------


def serve() -> None:
    """Forks a child that trains for every line on stdin, and tells its pid and exit."""
    # JAX warns of its threads; it has none yet, for nothing is computed in here.
    warnings.filterwarnings("ignore", message=r"os\.fork", category=RuntimeWarning)
    for line in sys.stdin:
        order = json.loads(line)
        if (pid := os.fork()) == 0:
            _be_a_training(**order)
        os.write(1, f"{pid}\n".encode())
        os.write(1, f"{os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}\n".encode())


def _be_a_training(arguments: list[str], told: str, spy: str) -> None:
    """Does what `python -m flaxformer_mt.train ARGUMENTS >told 2>&1` does."""
    code: Any = 1
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        out = os.open(told, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(out, 1)
        os.dup2(out, 2)
        if spy:
            _tell_of_every_save(spy)
        sys.argv = ["flaxformer_mt.train", *arguments]
        train.main()
        code = 0
    except SystemExit as stop:
        code = stop.code or 0
    except KeyboardInterrupt:  # after the last of our own lines
        code = 130
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _tell_of_every_save(path: str) -> None:
    """Writes a line for each save: its step, loss and digests."""
    save = checkpoints.CheckpointStore.save

    def told(store: Any, step: int, params: Any, training: Any, record: Any, **loss):
        arrays = named_arrays.flatten_items(params, training)
        line = {"step": step, "digests": digests(arrays, record["history"]), **loss}
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        save(store, step, params, training, record, **loss)

    checkpoints.CheckpointStore.save = told


class Server:
    """Starts trainings, one at a time: `with Server(cache) as server: ...`."""

    def __init__(self, cache: Path) -> None:
        """cache: a folder for compiled programs."""
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "JAX_PLATFORMS": "cpu",
            "FLAXFORMER_MT_CACHE": str(cache),
            "JAX_COMPILATION_CACHE_DIR": str(cache),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        }
        self.pid = 0  # of the child that runs

    def __enter__(self) -> "Server":
        self.process = subprocess.Popen(
            [sys.executable, "-m", "experiments.kill_runs", "--serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=self.environment,
            cwd=ROOT,
            bufsize=0,  # so that what select() sees is all there is
        )
        return self

    def __exit__(self, *exception: object) -> None:
        if self.pid:
            self.signal(signal.SIGKILL)
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()

    def start(self, arguments: Sequence[str], told: Path, spy: Path | None = None):
        """Returns once a child has been started."""
        order = {"arguments": [*arguments], "told": str(told), "spy": str(spy or "")}
        self.process.stdin.write(f"{json.dumps(order)}\n".encode())
        self.pid = int(self.process.stdout.readline())

    def signal(self, number: int) -> None:
        """Sends a signal; a child that has just ended does not mind."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def has_ended(self) -> bool:
        """Whether there is an exit code to be had."""
        return bool(select.select([self.process.stdout], [], [], 0)[0])

    def wait(self) -> int:
        """The child's exit code, minus the signal's number where one ended it."""
        code = int(self.process.stdout.readline())
        self.pid = 0
        return code


# ---- a tiny training ---------------------------------------------------------------


def command(folder: Path, run: Path, extra: Sequence[str] = ()) -> list[str]:
    """The arguments of train, for a corpus that is made if it is not there yet."""
    corpus = folder / "pairs.tsv"
    if not corpus.exists():
        words = [
            "".join(w) for w in zip("abcdefgh", "ijklmnop", "qrstuvwx", strict=True)
        ]
        rows = (f"{a} {b}\t{b[::-1]}.{a[0]}\n" for a in words for b in words)
        corpus.write_text("".join(rows), encoding="utf-8")
    return [
        *("--run", str(run), "--device", "cpu"),
        *("--data.src", f"{corpus}:0", "--data.tgt", f"{corpus}:1"),
        *("--data.validation-fraction", "0.2", "--data.processes", "1"),
        *(*TINY_MODEL, *TRAINING, *FEATURES, *extra),
    ]


def digests(
    arrays: Mapping[str, named_arrays.Arrays], history: Sequence[Mapping[str, Any]]
) -> dict[str, str]:
    """SHA-256 of each item's arrays, and of the history but for its clocks."""
    shas = {}
    for item, named in arrays.items():
        sha = hashlib.sha256()
        for name in sorted(named):
            array = named[name]
            sha.update(f"{name} {array.dtype} {array.shape}".encode())
            sha.update(array.tobytes())
        shas[item] = sha.hexdigest()
    timeless = [{k: v for k, v in e.items() if k not in CLOCKS} for e in history]
    text = json.dumps(timeless, sort_keys=True)
    return {**shas, "history": hashlib.sha256(text.encode()).hexdigest()}


def digests_of(run: Path, step: int | str, note: Say) -> tuple[int, dict[str, str]]:
    """(the step that was loaded, its digests)."""
    loaded = checkpoints.load_arrays(run, step, note=note)
    return loaded.step, digests(loaded.arrays, loaded.record["history"])


@dataclasses.dataclass(frozen=True)
class Truth:
    """What the undisturbed run had at each save, and at its end."""

    digests: dict[int, dict[str, str]]
    losses: dict[int, float]
    end: dict[str, Any]

    def best(self, latest: int) -> int:
        """The step that is the best of those up to `latest`."""
        saved = [step for step in self.losses if step <= latest]
        return min(saved, key=lambda step: (self.losses[step], step), default=latest)


def end_of(run: Path) -> dict[str, Any]:
    """All by which two runs are compared."""
    notes: list[str] = []
    step, shas = digests_of(run, "latest", notes.append)
    best = checkpoints.load_params(run, "best", note=notes.append).step
    with open(run / METRICS, encoding="utf-8") as file:
        logged = [json.loads(line)["step"] for line in file]
    end = {"step": step, **shas, "best_step": best, "logged": logged, "notes": notes}
    return end


def undisturbed(server: Server, folder: Path, extra: Sequence[str]) -> Truth:
    """Trains once to the end, with a spy at every save."""
    run, told, spy = (folder / name for name in ("whole", "whole.told", "whole.saves"))
    server.start(command(folder, run, extra), told, spy)
    if code := server.wait():
        raise RuntimeError(f"exit code {code}: {told.read_text(encoding='utf-8')}")
    lines = [
        json.loads(line) for line in spy.read_text(encoding="utf-8").split("\n")[:-1]
    ]
    return Truth(
        digests={line["step"]: line["digests"] for line in lines},
        losses={line["step"]: line["loss"] for line in lines},
        end=end_of(run),
    )


# ---- kills -------------------------------------------------------------------------


@dataclasses.dataclass
class Disturbed:
    """One run folder, its starts and kills."""

    server: Server
    arguments: list[str]
    run: Path
    told: Path
    truth: Truth
    acknowledged: set[int] = dataclasses.field(default_factory=set)

    def start(self) -> None:
        """Starts the command once more."""
        self.told.write_bytes(b"")
        self.server.start(self.arguments, self.told)

    def new_acknowledged(self) -> set[int]:
        """Steps told, or whose manifest is there, that were not seen before."""
        text = self.told.read_text(encoding="utf-8", errors="replace")
        told = re.findall(
            r"step ([\d,]+), .*: training loss|saved step ([\d,]+),", text
        )
        steps = {int((a or b).replace(",", "")) for a, b in told}
        manifests = checkpoints.Place.of(self.run).manifests.glob("step_*.json")
        steps |= {int(path.stem.removeprefix("step_")) for path in manifests}
        new = steps - self.acknowledged
        self.acknowledged |= new
        return new

    def wait(self, num_saves: int, seconds: float) -> bool:
        """Whether it still runs so many saves, and then so many seconds, later."""
        self.new_acknowledged()  # what is there from the start before is no news
        while num_saves > 0 and not self.server.has_ended():
            num_saves -= len(self.new_acknowledged())
            time.sleep(0.003)
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not self.server.has_ended():
            self.new_acknowledged()
            time.sleep(min(left, 0.003))
        return not self.server.has_ended()

    def where(self) -> str:
        """Where it was when it was killed, from what it left."""
        place = checkpoints.Place.of(self.run)
        saved = checkpoints.saved_steps(self.run)
        names = {entry.name for entry in _entries(place.steps)}
        whole = {place.step(step).name for step in saved}
        unfinished = [
            n for n in names - whole if "tmp" in n or n > max(whole, default="")
        ]
        if unfinished or any(e.suffix == ".tmp" for e in _entries(place.manifests)):
            return "saving"
        if names - whole or _entries(place.trash):
            return "deleting"
        told = self.told.read_text(encoding="utf-8", errors="replace")
        return "steps" if "the best checkpoint is" in told else "starting up"

    def problems(self) -> Iterator[str]:
        """What a kill has broken, a sentence each."""
        saved = checkpoints.saved_steps(self.run)
        if not saved:
            if self.acknowledged:
                yield f"lost: step {max(self.acknowledged)} and all others"
            return
        notes: list[str] = []
        for step in saved:
            _, shas = digests_of(self.run, step, notes.append)
            # A step saved at a signal is not among those of the undisturbed run.
            if shas != self.truth.digests.get(step, shas):
                yield f"damaged: step {step} is not what it was in the undisturbed run"
        latest = checkpoints.load_params(self.run, "latest", note=notes.append).step
        if latest < max(self.acknowledged, default=0):
            yield f"lost: step {max(self.acknowledged)}; the latest is {latest}"
        best = checkpoints.load_params(self.run, "best", note=notes.append).step
        if best != self.truth.best(latest):
            yield f"best: step {best}, expected {self.truth.best(latest)}"
        yield from (f"damaged: {note}" for note in notes)


def _entries(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def checked(run: Disturbed) -> list[str]:
    """The problems of a run folder; what cannot be loaded at all is one, too."""
    try:
        return list(run.problems())
    except FlaxformerError as error:
        return [f"damaged: {error}"]


# How a command may end after a signal: killed, killed before it listened, or in order.
ALLOWED = {
    signal.SIGKILL: (-signal.SIGKILL,),
    signal.SIGTERM: (-signal.SIGTERM, 128 + signal.SIGTERM),
    signal.SIGINT: (130,),
}


@dataclasses.dataclass
class Tally:
    """What happened so far."""

    starts: int = 0
    kills: int = 0
    runs: int = 0
    where: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    acknowledged: int = 0
    problems: list[str] = dataclasses.field(default_factory=list)


def disturb(
    run: Disturbed, tally: Tally, max_kills: int, number: int, dice: random.Random
) -> None:
    """Starts and kills one run folder until it ends, undisturbed after max_kills."""
    start_up, between = 3.0, 0.3  # seconds, at first; then as they were measured
    while True:
        run.start()
        tally.starts += 1
        if tally.kills >= max_kills:
            break
        early = dice.random() < 0.5
        num_saves = 0 if early else dice.randint(1, 2)
        began = time.monotonic()
        running = run.wait(num_saves, dice.uniform(0, start_up if early else between))
        if not running:
            break
        if not early:  # the last save was within `between` of now
            start_up = max(time.monotonic() - began - between, 0.5)
        run.server.signal(number)
        code = run.server.wait()
        run.new_acknowledged()  # a signal that saves says so
        if code == 0:  # the signal came behind its last step
            _check_end(run, tally, 0)
            return
        tally.kills += 1
        tally.where[run.where()] += 1
        tally.problems += checked(run)
        if code not in ALLOWED[number]:
            tally.problems.append(f"exit: {code} after signal {number}")
    _check_end(run, tally, run.server.wait())


def _check_end(run: Disturbed, tally: Tally, code: int) -> None:
    run.new_acknowledged()
    tally.runs += 1
    tally.acknowledged += len(run.acknowledged)
    tally.problems += checked(run)
    if code:
        text = run.told.read_text(encoding="utf-8", errors="replace")
        tally.problems.append(f"exit: {code}: {text[-500:]}")
    elif (end := end_of(run.run)) != run.truth.end:
        differ = [name for name in end if end[name] != run.truth.end[name]]
        tally.problems.append(
            f"end: {', '.join(differ)} differ from the undisturbed run"
        )


def disturbed_runs(
    server: Server,
    folder: Path,
    truth: Truth,
    kills: int,
    *,
    seed: int = 0,
    number: int = signal.SIGKILL,
    extra: Sequence[str] = (),
    say: Say = print,
) -> Tally:
    """What came of so many kills, in as many run folders as it takes."""
    tally, dice = Tally(), random.Random(seed)
    while tally.kills < kills and not tally.problems:
        path = folder / f"run{number}.{tally.runs}"
        arguments, told = command(folder, path, extra), folder / "told"
        run = Disturbed(server, arguments, path, told, truth)
        disturb(run, tally, kills, number, dice)
        say(
            f"{tally.kills} kills, {tally.runs} runs ended, "
            f"{len(tally.problems)} problems, {dict(tally.where)}"
        )
    return tally


def kill_runs(
    kills: int, *, seed: int, number: int, extra: Sequence[str], say: Say = print
) -> dict[str, Any]:
    """The figures of so many kills; "problems" is empty where all promises were kept.

    Args:
      number: the signal.
      extra: further options of train.
    """
    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="kill-runs-") as name,
        Server(Path(name) / "cache") as server,
    ):
        folder = Path(name)
        truth = undisturbed(server, folder, extra)
        say(f"undisturbed: {truth.end['step']} steps, best {truth.end['best_step']}")
        tally = disturbed_runs(
            *(server, folder, truth, kills),
            seed=seed,
            number=number,
            extra=extra,
            say=say,
        )
    return {
        "seed": seed,
        "signal": signal.Signals(number).name,
        "kills": tally.kills,
        "killed_while": dict(sorted(tally.where.items())),
        "starts": tally.starts,
        "runs_to_the_end": tally.runs,
        "acknowledged_checkpoints": tally.acknowledged,
        "lost": _count(tally, "lost"),
        "damaged": _count(tally, "damaged"),
        "best_wrong": _count(tally, "best"),
        "ends_that_differ": _count(tally, "end") + _count(tally, "exit"),
        "problems": tally.problems[:20],
        "undisturbed": truth.end,
        "seconds": round(time.monotonic() - began, 1),
    }


def _count(tally: Tally, kind: str) -> int:
    return sum(problem.startswith(f"{kind}:") for problem in tally.problems)


# ---- the command -------------------------------------------------------------------


def environment() -> dict[str, str]:
    """Versions that a bit may depend on."""
    packages = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
    return {
        "flaxformer-mt": __version__,
        "python": platform.python_version(),
        **{package: version(package) for package in packages},
    }


def machine() -> str:
    """The machine in words, without its name."""
    return f"{os.cpu_count()} cores, {platform.machine()} ({platform.system()})"


def write_result(
    path: Path, module: str, given: Sequence[str], figures: Mapping[str, Any]
) -> None:
    """Writes what was measured, with all that is needed to measure it again."""
    facts = {
        "command": " ".join([f"python -m experiments.{module}", *given]),
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
        "environment": environment(),
        **figures,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(facts, ensure_ascii=False, indent=1)
    path.write_text(text + "\n", encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs what the command line asks for; returns the exit code."""
    given = sys.argv[1:] if arguments is None else [*arguments]
    if given == ["--serve"]:
        serve()
        return 0
    parser = argparse.ArgumentParser(
        description="Kills a training at random moments, and compares it bit for bit."
    )
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--signal", choices=("kill", "term", "int"), default="kill")
    parser.add_argument("--result", type=Path, default=RESULT)
    parser.add_argument("options", nargs="*", help="further options of train, after --")
    opts = parser.parse_args(given)
    figures = kill_runs(
        opts.kills,
        seed=opts.seed,
        number=signal.Signals[f"SIG{opts.signal.upper()}"],
        extra=opts.options,
    )
    write_result(opts.result, "kill_runs", given, figures)
    print(json.dumps(figures, indent=1))
    return 1 if figures["problems"] else 0


if __name__ == "__main__":
    sys.exit(main())
