"""Damages a run's files, fills its disk, and looks at what still loads.

    python -m experiments.damage_runs --flips 1000       (about 2 minutes on two cores)

A tiny run is trained through `train`; it holds two steps. Then, each time on the intact
run: one random bit is flipped, in any file of the run; every file is deleted, halved
and emptied; and a third step is saved on disks of twenty sizes, from one that has no
room at all to one that has enough (as root on Linux a tmpfs; elsewhere a limit on the
size of a file). Each time the best step is loaded as for a translation, and the latest,
with the optimizer's state, as for a resumption. What may come of it:

    unharmed      the same step, the same numbers, and nothing was damaged that counts
    told          another step, the damaged one named in one sentence
    gone          another step, for the step's manifest was deleted: it was never saved
    refused       one sentence that names the file; config.json and the tokenizers exist
                  only once, and a model is nothing without them
and what may not:
    silent        other numbers, another config or other tokenizers
    locked out    refused, although another step is whole
    crashed       an error that is not one of ours

A damaged `held_out.jsonl`, the pairs for evaluate, has to be refused as such, and must
not keep the model from loading. `metrics.jsonl` has no checksum: it is written anew
from a checkpoint, and is counted apart. What was measured goes to
`results/damage_runs.json`; a failure makes the exit code 1.
"""

import argparse
import collections
import contextlib
import dataclasses
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from experiments.kill_runs import ROOT, command, digests, write_result
from flaxformer_mt import train
from flaxformer_mt.errors import FlaxformerError, StorageError
from flaxformer_mt.text.prepared import HELD_OUT
from flaxformer_mt.training import checkpoints, named_arrays
from flaxformer_mt.training.checkpoints import CheckpointStore
from flaxformer_mt.training.run_folder import GUARDED, METRICS, RunFolder

RESULT = ROOT / "experiments" / "results" / "damage_runs.json"
UNCHECKED = (METRICS,)
FAILURES = ("silent", "locked out", "crashed")
NUM_DISKS = 20
Say = Callable[[str], None]


# ---- a run, and what loads of it ---------------------------------------------------


def train_run(folder: Path) -> Path:
    """A run folder with two steps."""
    run = folder / "run"
    with contextlib.redirect_stderr(None):
        train.train(command(folder, run, ("--train.steps", "4")))
    return run


def files_of(run: Path) -> list[Path]:
    """Every file of a run that holds something."""
    files = (path for path in run.rglob("*") if path.is_file())
    return sorted(path for path in files if path.stat().st_size)


def surroundings(run: Path) -> list[Any]:
    """Config and tokenizers, as they are read."""
    folder = RunFolder.of(run)
    return [folder.config().to_dict(), *(t.to_dict() for t in folder.tokenizers())]


def kept_out(run: Path) -> list[Any]:
    """The pairs for evaluate."""
    folder = RunFolder.of(run)
    return [folder.held_out(part) for part in ("validation", "test")]


@dataclasses.dataclass(frozen=True)
class Intact:
    """What the run holds while nothing is damaged."""

    digests: dict[int, dict[str, str]]  # of each step
    first: dict[str, int]  # the step that is loaded as "best", as "latest"
    surroundings: list[Any]
    kept_out: list[Any]

    @classmethod
    def of(cls, run: Path) -> "Intact":
        """The run as it is now."""
        steps = checkpoints.saved_steps(run)
        loaded = {step: checkpoints.load_arrays(run, step) for step in steps}
        return cls(
            digests={
                s: digests(x.arrays, x.record["history"]) for s, x in loaded.items()
            },
            first={w: checkpoints.load_params(run, w).step for w in ("best", "latest")},
            surroundings=surroundings(run),
            kept_out=kept_out(run),
        )

    def outcome(self, run: Path, damaged: Path, which: str) -> tuple[str, str]:
        """(what came of a damage, the sentence that told it)."""
        notes: list[str] = []
        try:
            around = surroundings(run)
            step, shas = self._load(run, which, notes.append)
        except FlaxformerError as error:
            only_once = damaged.relative_to(run).as_posix() in GUARDED
            return "refused" if only_once else "locked out", str(error)
        except Exception as error:
            return "crashed", repr(error)
        known = self.digests[step]
        if around != self.surroundings or any(known[k] != v for k, v in shas.items()):
            return "silent", " ".join(notes)
        if damaged.name == HELD_OUT:
            return self._outcome_of_pairs(run, damaged)
        if notes:
            return "told", " ".join(notes)
        if step == self.first[which]:
            return "unharmed", ""
        return ("gone" if not damaged.exists() else "silent"), ""

    def _outcome_of_pairs(self, run: Path, damaged: Path) -> tuple[str, str]:
        """What came of a damage to the pairs for evaluate; the model has loaded."""
        try:
            same = kept_out(run) == self.kept_out
        except FlaxformerError as error:
            return "refused", str(error)
        except Exception as error:
            return "crashed", repr(error)
        if same:
            return "unharmed", ""
        # A model without them: evaluate asks for pairs.
        return ("silent" if damaged.exists() else "gone"), ""

    @staticmethod
    def _load(run: Path, which: str, note: Say) -> tuple[int, dict[str, str]]:
        if which == "latest":
            loaded = checkpoints.load_arrays(run, which, note=note)
            return loaded.step, digests(loaded.arrays, loaded.record["history"])
        model = checkpoints.load_params(run, which, note=note)
        arrays = {"params": named_arrays.flatten(model.params)}
        return model.step, digests(arrays, model.record["history"])


@dataclasses.dataclass
class Tally:
    """What came of the damages so far."""

    outcomes: collections.Counter = dataclasses.field(
        default_factory=collections.Counter
    )
    failures: list[str] = dataclasses.field(default_factory=list)
    unchecked: int = 0

    def add(self, run: Path, intact: Intact, path: Path, how: str) -> None:
        """Loads the best and the latest step of a run with one damaged file."""
        name = path.relative_to(run).as_posix()
        self.unchecked += name in UNCHECKED
        for which in ("best", "latest"):
            kind, told = intact.outcome(run, path, which)
            self.outcomes[kind] += 1
            if kind in FAILURES:
                self.failures.append(f"{which}: {how} {name}: {kind}: {told}")

    def figures(self) -> dict[str, Any]:
        """For the result's file."""
        failures = {kind: self.outcomes[kind] for kind in FAILURES}
        return {
            "loads": dict(sorted(self.outcomes.items())) | failures,
            "in_files_without_a_checksum": self.unchecked,
            "first_failures": self.failures[:10],
        }


# ---- flipped bits, and files cut ---------------------------------------------------


@contextlib.contextmanager
def damaged(path: Path, content: bytes | None) -> Iterator[None]:
    """The file with another content, or without the file (None), for a while."""
    before = path.read_bytes()
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    try:
        yield
    finally:
        path.write_bytes(before)


def flip_bits(run: Path, flips: int, seed: int) -> dict[str, Any]:
    """What came of flipping one bit at a time, each file as likely as any other."""
    intact, tally, dice = Intact.of(run), Tally(), random.Random(seed)
    for _ in range(flips):
        path = dice.choice(files_of(run))
        content = bytearray(path.read_bytes())
        place, bit = dice.randrange(len(content)), dice.randrange(8)
        content[place] ^= 1 << bit
        with damaged(path, bytes(content)):
            tally.add(run, intact, path, f"bit {bit} of byte {place} of")
    return {"flips": flips, "seed": seed, **tally.figures()}


def cut_files(run: Path) -> dict[str, Any]:
    """What came of deleting, halving and emptying each file."""
    intact, tally, files = Intact.of(run), Tally(), files_of(run)
    for path in files:
        whole = path.read_bytes()
        for how, content in (
            ("deleted", None),
            ("halved", whole[: len(whole) // 2]),
            ("emptied", b""),
        ):
            with damaged(path, content):
                tally.add(run, intact, path, how)
    return {"files": len(files), "damages": 3 * len(files), **tally.figures()}


# ---- full disks --------------------------------------------------------------------


class SmallDisk:
    """A tmpfs that holds so many bytes: `with SmallDisk(folder) as disk: ...`."""

    kind = "tmpfs"

    def __init__(self, folder: Path, num_bytes: int) -> None:
        self.folder, self.num_bytes = folder, num_bytes

    def mount(self, *options: str) -> None:
        """Mounts it, or, with "remount", changes its options."""
        command = ["mount", "-t", "tmpfs", "-o", ",".join(options)]
        subprocess.run(
            [*command, "flaxformer-test", str(self.folder)],
            check=True,
            capture_output=True,
        )

    def __enter__(self) -> "SmallDisk":
        self.folder.mkdir(exist_ok=True)
        self.mount(f"size={self.num_bytes}")
        return self

    def grow(self) -> None:
        """Makes room."""
        self.mount("remount", f"size={10**8}")

    def __exit__(self, *exception: object) -> None:
        subprocess.run(["umount", str(self.folder)], check=True)


class SmallFiles:
    """A folder, and a limit on the size of any file that this process writes."""

    kind = "a limit on the size of a file"

    def __init__(self, folder: Path, num_bytes: int) -> None:
        self.folder, self.num_bytes = folder, num_bytes

    def __enter__(self) -> "SmallFiles":
        import resource  # Windows has none

        self.folder.mkdir(exist_ok=True)
        self.before = resource.getrlimit(resource.RLIMIT_FSIZE)
        limits = (self.num_bytes, self.before[1])
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        return self

    def grow(self) -> None:
        """Lifts the limit."""
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, self.before)

    def __exit__(self, *exception: object) -> None:
        self.grow()


def small_disk_kind(folder: Path) -> type[SmallDisk] | type[SmallFiles]:
    """What can be had here: mounting takes root on Linux."""
    try:
        with SmallDisk(folder / "trial", 10**5):
            return SmallDisk
    except (OSError, subprocess.CalledProcessError):
        return SmallFiles


def sizes(run: Path, kind: type, count: int) -> list[int]:
    """So many bytes, from no room for a further step to enough."""
    files = files_of(run)
    if kind is SmallFiles:
        largest = max(path.stat().st_size for path in files)
        return [1 + largest * 2 * i // max(count - 1, 1) for i in range(count)]
    page = 4096  # a tmpfs gives no less to a file or a folder
    used = sum(-(-path.stat().st_size // page) * page for path in files)
    used += sum(page for path in run.rglob("*") if path.is_dir())
    return [used + used * i // count for i in range(count)]


def fill_disks(run: Path, count: int = NUM_DISKS) -> dict[str, Any]:
    """What came of saving a third step on disks of so many sizes."""
    kind, intact = small_disk_kind(run.parent), Intact.of(run)
    outcomes: collections.Counter = collections.Counter()
    failures, given = [], sizes(run, kind, count)
    for num_bytes in given:
        disk_folder = run.parent / f"disk{num_bytes}"
        home = disk_folder / "run"
        if kind is SmallFiles:
            shutil.copytree(run, home)
        with kind(disk_folder, num_bytes) as disk:
            try:
                if kind is SmallDisk:
                    shutil.copytree(run, home)
                outcome = save_third(home, intact, disk)
            except (OSError, shutil.Error) as error:
                outcome = f"no room for the run itself: {error!r}"[:100]
            outcomes[outcome] += 1
            if outcome not in ("saved", "refused"):
                failures.append(f"{num_bytes} bytes: {outcome}")
    return {
        "kind": kind.kind,
        "sizes": given,
        "outcomes": dict(sorted(outcomes.items())),
        "first_failures": failures[:10],
    }


def save_third(run: Path, intact: Intact, disk: SmallDisk | SmallFiles) -> str:
    """ "saved", "refused" (in one sentence, and nothing lost), or what went wrong."""
    loaded = checkpoints.load_arrays(run, "latest")
    params, training = (
        named_arrays.nest(loaded.arrays[item]) for item in ("params", "training")
    )
    step, history = loaded.step + 2, loaded.record["history"]

    def save(store: CheckpointStore) -> None:
        store.save(step, params, training, {"history": history}, loss=1e9)

    def is_intact() -> bool:
        if checkpoints.saved_steps(run) != [*intact.digests]:
            return False
        return intact.outcome(run, run / "nothing", "latest") == ("unharmed", "")

    try:
        with CheckpointStore(run, guarded_files=GUARDED) as store:
            save(store)
        return "saved"
    except StorageError as error:
        if "\n" in str(error):
            return f"more than a sentence: {error}"
    except Exception as error:
        return f"crashed: {error!r}"
    if not is_intact():
        return "lost a step"
    disk.grow()
    with CheckpointStore(run, guarded_files=GUARDED) as store:
        save(store)
    return "refused" if step in checkpoints.saved_steps(run) else "saves no more"


# ---- the command -------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs what the command line asks for; returns the exit code."""
    parser = argparse.ArgumentParser(
        description="Damages a run's files, fills its disk, and loads what is left."
    )
    parser.add_argument("--flips", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--result", type=Path, default=RESULT)
    given = sys.argv[1:] if arguments is None else [*arguments]
    opts = parser.parse_args(given)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="damage-runs-") as folder:
        run = train_run(Path(folder))
        figures = {
            "bit_flips": flip_bits(run, opts.flips, opts.seed),
            "cut_files": cut_files(run),
            "full_disks": fill_disks(run),
        }
    figures["seconds"] = round(time.monotonic() - began, 1)
    write_result(opts.result, "damage_runs", given, figures)
    failed = 0
    for name, part in figures.items():
        print(name, part)
        failed += bool(isinstance(part, dict) and part["first_failures"])
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
