"""Checkpoints that survive kills, full disks and flipped bits.

Orbax writes the arrays; this package decides which of them count. A step exists only if
its manifest exists, and the manifest is written last, when everything it names is safe
on the disk. Under `<run>/checkpoints/`:

    steps/step_000000123/params      all that a translation needs       (Orbax)
    steps/step_000000123/training    optimizer state and the like       (Orbax)
    manifests/step_000000123.json    run record, shapes, the SHA-256 of every file
    trash/                           steps on their way out
    lock, lock.pid                   held by the one process that writes

Orbax has no checksum for weights, deletes file by file, and lets a NaN loss push out
the best step. Hence the hashes, the trash (one rename takes a step away whole) and our
own choice of what to keep. Orbax is handed nested dicts of NumPy arrays and nothing
else: such a checkpoint remembers no device and loads on any machine.
"""

import contextlib
import dataclasses
import logging
import math
import operator
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp

from flaxformer_mt.errors import InputError, StorageError
from flaxformer_mt.training import manifests, named_arrays, storage
from flaxformer_mt.training.manifests import Damaged, Manifest, Note, Which
from flaxformer_mt.training.named_arrays import Arrays
from flaxformer_mt.training.storage import Folder, Place

_log = logging.getLogger(__name__)
# Orbax logs each of its moves, and the traceback of every error that it raises anyway.
logging.getLogger("absl").addFilter(lambda record: "orbax" not in record.pathname)
# And asyncio logs an array that could not be written after the first that could not.
logging.getLogger("asyncio").addFilter(
    lambda record: "OCDBT database" not in record.getMessage()
)


def _silence_orphans() -> None:
    """Keeps to one sentence what is said of a disk that fills up while arrays are
    written, or of a step that is dropped while it is read.

    TensorStore handles all arrays at once. At the first that fails, Orbax raises and
    closes its event loop; the others then report to that loop, past anyone who could
    catch it, with a traceback each.
    """
    show = sys.unraisablehook
    if getattr(show, "knows_orphans", False):
        return

    def show_others(unraisable: Any) -> None:
        error = unraisable.exc_value
        orphan = isinstance(error, RuntimeError) and unraisable.object is None
        if not (orphan and str(error) == "Event loop is closed"):
            show(unraisable)

    show_others.knows_orphans = True
    sys.unraisablehook = show_others


class Loaded(NamedTuple):
    """What a translation needs."""

    params: dict[str, Any]  # nested dicts of NumPy arrays
    record: dict[str, Any]
    step: int


class LoadedArrays(NamedTuple):
    """All that a step holds, as it is stored."""

    arrays: dict[str, Arrays]  # "params", "training" -> name -> array
    record: dict[str, Any]
    step: int


class Restored(NamedTuple):
    """What a resumed training needs; the leaves of both trees are NumPy arrays."""

    params: Any
    training: Any
    record: dict[str, Any]
    step: int


# --- writing ------------------------------------------------------------------------


class CheckpointStore:
    """The one writer of a run folder: `with CheckpointStore(run) as store: ...`.

    Two steps are kept: the latest and the best, which is the one with the lowest
    finite loss (the earliest, if several have it). While the latest is also the best,
    the second is the one before it: there is always a step to fall back on. "Latest"
    is the step saved last, even if the run had gone back and its number is smaller.
    More may be kept beside them, to average (see average.py).
    """

    def __init__(
        self,
        run_folder: Folder,
        *,
        guarded_files: Sequence[str] = (),
        note: Note = _log.warning,
        keep_last: int = 0,
        keep_best: int = 0,
    ):
        """Returns a store that is not open yet.

        Args:
          guarded_files: paths inside run_folder without which the parameters mean
            nothing, such as vocabularies. No step loads after one has changed.
          note: is told, in one sentence, of a damaged step that was passed over.
          keep_last, keep_best: how many steps with a finite loss are kept besides,
            the last ones and the best ones; the two that are kept anyway count.

        Raises:
          InputError: one of these numbers is below 0.
        """
        if min(keep_last, keep_best) < 0:
            raise InputError(
                f"keep_last and keep_best must be 0 or more; got {keep_last} and "
                f"{keep_best}."
            )
        self._keep_last, self._keep_best = keep_last, keep_best
        self._place = Place.of(run_folder)
        self._guarded = {Path(name).as_posix(): "" for name in guarded_files}
        self._note = note
        self._manager: ocp.CheckpointManager | None = None

    def __enter__(self) -> "CheckpointStore":
        """Returns the store, locked and swept of what a killed process left.

        Raises:
          RunBusyError: another process writes to this run folder.
          InputError: the path cannot be a folder.
          StorageError: the folder cannot be written.
        """
        place = self._place
        with (
            contextlib.ExitStack() as stack,
            storage.one_sentence(f"cannot write to {place.run}"),
        ):
            place.make_folders()
            stack.enter_context(storage.lock(place))
            storage.sweep(place)
            self._manager = stack.enter_context(_orbax_manager(place.steps))
            self._open = stack.pop_all()
        return self

    def __exit__(self, *exception) -> None:
        self._manager = None
        with contextlib.suppress(OSError):  # not empty: the next sweep will see to it
            self._place.trash.rmdir()
        self._open.close()

    def steps(self) -> list[int]:
        """Returns the acknowledged steps, damaged or not, in rising order."""
        return saved_steps(self._place.run)

    def save(
        self,
        step: int,
        params: Any,
        training: Any,
        record: Mapping[str, Any],
        *,
        loss: float | None,
    ) -> None:
        """Returns once the step is safe on the disk; only then may older steps go.

        Args:
          params: nested dicts of arrays.
          training: any pytree of arrays, or None.
          record: whatever JSON can hold; a NaN or infinity in it becomes null.
          loss: decides which step is the best; None or not finite never is.

        Raises:
          DivergedError: a parameter is not finite.
          InputError: something here cannot be stored.
          StorageError: the disk did not take it; earlier steps are intact.
        """
        if self._manager is None:
            raise RuntimeError("open the store first: with CheckpointStore(...)")
        arrays = named_arrays.flatten_items(params, training)
        named_arrays.check_params(step, params, arrays.get("params"))
        manifest = self._draft(step, arrays, record, loss)
        try:
            is_there = self._write_record(manifest, arrays)
            if not is_there:
                # Before Orbax: it would fill the disk for everyone else.
                storage.check_room(self._place.steps, _num_bytes(arrays))
        except OSError as error:
            raise StorageError(_not_saved(step, error, arrays)) from error
        try:
            if not is_there:
                # Saved again with other numbers, a step is replaced.
                storage.discard(self._place, manifest.step)
                self._write(manifest, arrays)
        except Exception as error:  # Orbax has a ValueError for a full disk
            with contextlib.suppress(OSError):
                storage.discard(self._place, manifest.step)
                storage.sweep(self._place)  # gives the space back at once
            raise StorageError(_not_saved(step, error, arrays)) from error
        self._prune(manifest.step)

    def restore(
        self, template_params: Any, template_training: Any, which: Which = "latest"
    ) -> Restored:
        """Returns a verified step in the tree structure of the templates.

        Args:
          template_params, template_training: trees of arrays or ShapeDtypeStructs, of
            which only structure, shapes and dtypes count. None is left unread.

        Raises:
          InputError: the step does not fit the templates, or does not exist.
          StorageError: there is no checkpoint, or none is undamaged.
        """
        items = {"params": template_params, "training": template_training}
        templates = {
            item: tree for item, tree in items.items() if jax.tree.leaves(tree)
        }

        def read(manifest: Manifest) -> Restored:
            manifests.verify(self._place, manifest, templates)
            # What was found right now is what the next save vouches for.
            known = {k: v for k, v in manifest.guarded.items() if k in self._guarded}
            self._guarded.update(known)
            trees = dict(items)
            for item, template in templates.items():
                named_arrays.check_fits(manifest.step, manifest.arrays, item, template)
                named = _read_arrays(self._place, manifest, item)
                trees[item] = named_arrays.like(template, named)
            return Restored(**trees, record=manifest.record, step=manifest.step)

        return manifests.first_good(self._place, which, read, self._note)

    def _draft(
        self,
        step: int,
        arrays: Mapping[str, Arrays],
        record: Mapping[str, Any],
        loss: float | None,
    ) -> Manifest:
        """Returns all of the manifest but the files, which are not written yet."""
        if (step := operator.index(step)) < 0:
            raise InputError(f"steps count from 0; got {step}.")
        readable = manifests.parse(manifests.manifest_texts(self._place))[0].values()
        orders = [m.order for m in readable]
        return Manifest(
            step=step,
            order=1 + max(orders, default=0),
            loss=None if loss is None else manifests.plain(float(loss), "the loss"),
            record=manifests.plain(record, "the record"),
            arrays={
                item: named_arrays.describe(named) for item, named in arrays.items()
            },
            files={},
            guarded=self._hash_guarded(),
        )

    def _hash_guarded(self) -> dict[str, str]:
        """Returns the guarded files' hashes, as they were at the first save: a new run
        writes them between opening the store and saving."""
        for name, known in self._guarded.items():
            path = self._place.run / name
            self._guarded[name] = known or storage.hash_file(path)
            if not self._guarded[name]:
                raise InputError(f"{path} is missing or not readable.")
        return dict(self._guarded)

    def _write_record(self, manifest: Manifest, arrays: Mapping[str, Arrays]) -> bool:
        """Gives a step that is there with the same numbers another record, in one
        rename, so that it is there at any moment; False where there is none such."""
        readable, _ = manifests.parse(manifests.manifest_texts(self._place))
        before = readable.get(manifest.step)
        if before is None or before.arrays != manifest.arrays:
            return False
        try:
            manifests.verify(self._place, before, before.arrays)
            for item, named in arrays.items():
                stored = _read_arrays(self._place, before, item)
                if any(stored[n].tobytes() != x.tobytes() for n, x in named.items()):
                    return False
        except Damaged:
            return False
        manifest = dataclasses.replace(manifest, files=before.files)
        storage.replace_text(self._place.manifest(manifest.step), manifest.to_text())
        return True

    def _write(self, manifest: Manifest, arrays: Mapping[str, Arrays]) -> None:
        step, folder = manifest.step, self._place.step(manifest.step)
        items = {
            k: ocp.args.StandardSave(named_arrays.nest(named))
            for k, named in arrays.items()
        }
        self._manager.reload()  # Orbax would remember steps that we have taken away
        # Without force, Orbax answers False to a number below its newest step.
        if not self._manager.save(step, args=ocp.args.Composite(**items), force=True):
            raise OSError(f"Orbax passed over step {step}")
        for path in list(folder.rglob("commit_success.txt")):
            path.unlink()  # no local reader needs it, and it names this machine's paths
        files = storage.sync_and_hash(folder)
        storage.sync_folder(self._place.steps)
        manifest = dataclasses.replace(manifest, files=files)
        storage.replace_text(self._place.manifest(step), manifest.to_text())

    def _prune(self, newest: int) -> None:
        keep = self._steps_to_keep(newest)
        for step in self.steps():
            if step not in keep:
                # Windows does not move what a reader has open: the sweep gets it later.
                with contextlib.suppress(OSError):
                    storage.discard(self._place, step)

    def _steps_to_keep(self, newest: int) -> set[int]:
        """Returns the newest step and the best, or the one before if they are one, and
        what was asked for besides.

        An older step has to be whole: a damaged best would otherwise be kept for ever
        in the place of one that loads. Of the best, parameters are enough. One that
        cannot be read at the moment is kept beside those that can.
        """
        readable = manifests.parse(manifests.manifest_texts(self._place))[0].values()
        lost: dict[tuple[int, Which], bool | None] = {}

        def first_whole(which: Which, among: Iterable[Manifest], count: int) -> set:
            steps, unread = set(), set()
            for manifest in manifests.in_order(among, which):
                if len(steps) == count:
                    break
                step, key = manifest.step, (manifest.step, which)
                if key not in lost:
                    items = ("params",) if which == "best" else manifest.arrays
                    found = manifests.is_lost(self._place, manifest, items)
                    lost[key] = found if step != newest else False  # just written
                if lost[key] is None:
                    unread.add(step)
                elif not lost[key]:
                    steps.add(step)
            return steps | unread

        best_is_newest = manifests.in_order(readable, "best")[0].step == newest
        older = [m for m in readable if m.step != newest]
        rated = [m for m in readable if m.loss is not None]
        return {newest}.union(
            first_whole("latest" if best_is_newest else "best", older, 1),
            first_whole("latest", rated, self._keep_last),
            first_whole("best", rated, self._keep_best),
        )


def _num_bytes(arrays: Mapping[str, Arrays]) -> int:
    return sum(x.nbytes for named in arrays.values() for x in named.values())


def _not_saved(step: int, error: Exception, arrays: Mapping[str, Arrays]) -> str:
    return (
        f"step {step} was not saved: {storage.reason(error)} (needs about "
        f"{math.ceil(_num_bytes(arrays) / 1e6)} MB); earlier checkpoints are intact."
    )


# --- reading: takes no lock, writes nothing -----------------------------------------


def load_params(
    run_folder: Folder, which: Which = "best", *, note: Note = _log.warning
) -> Loaded:
    """Returns the parameters of a step, with its run record and its number.

    The files are compared with their SHA-256 first. A damaged "best" or "latest" gives
    way to the next good step, and `note` is told so in one sentence. While no step has
    a finite loss, "best" is the latest.

    Raises:
      InputError: there is no such folder, or no such step.
      StorageError: there is no checkpoint, or none is undamaged.
    """
    manifest, params = _load(Place.of(run_folder), which, note)
    return Loaded(named_arrays.nest(params), manifest.record, manifest.step)


def load_arrays(
    run_folder: Folder, which: Which = "latest", *, note: Note = _log.warning
) -> LoadedArrays:
    """Returns every array of a step, the optimizer's too, by name; see load_params.

    For comparing runs bit by bit: a training resumes with CheckpointStore.restore.
    """
    place = Place.of(run_folder)

    def read(manifest: Manifest) -> LoadedArrays:
        manifests.verify(place, manifest, manifest.arrays)
        arrays = {item: _read_arrays(place, manifest, item) for item in manifest.arrays}
        return LoadedArrays(arrays, manifest.record, manifest.step)

    return manifests.first_good(place, which, read, note)


def saved_steps(run_folder: Folder) -> list[int]:
    """Returns the acknowledged steps, damaged or not, in rising order.

    Raises:
      StorageError: the folder is there and cannot be read.
    """
    return sorted(manifests.manifest_texts(Place.of(run_folder)))


def rated_steps(run_folder: Folder, which: Which) -> list[int]:
    """Returns the steps that have a finite loss, the "latest" or the "best" first.

    Damaged ones are among them, unless it is their manifest that cannot be read.

    Raises:
      StorageError: the folder is there and cannot be read.
    """
    readable = manifests.parse(manifests.manifest_texts(Place.of(run_folder)))[0]
    rated = [m for m in readable.values() if m.loss is not None]
    return [manifest.step for manifest in manifests.in_order(rated, which)]


def export(
    run_folder: Folder,
    target_folder: Folder,
    *,
    which: Which = "best",
    record: Mapping[str, Any] | None = None,
    note: Note = _log.warning,
) -> int:
    """Returns the step that it published: parameters, manifest and guarded files.

    Args:
      target_folder: becomes a run folder to translate with, not to resume from.
      record: takes the place of the run's record, for instance to leave out history.

    Raises:
      InputError: there is no such run or step, or the target holds a checkpoint.
      StorageError: nothing undamaged to publish, or the target cannot be written.
    """
    refuse_taken(target_folder)
    manifest, params = _load(Place.of(run_folder), which, note)
    publish(
        *(run_folder, target_folder, named_arrays.nest(params)),
        record=manifest.record if record is None else record,
        guarded_files=tuple(manifest.guarded),
        step=manifest.step,
        loss=manifest.loss,
    )
    return manifest.step


def refuse_taken(target_folder: Folder) -> None:
    """Raises InputError if a model cannot be put there, for there is one already."""
    if saved_steps(target_folder):
        path = Place.of(target_folder).run
        raise InputError(f"{path} already holds a checkpoint: choose another.")


def publish(
    run_folder: Folder,
    target_folder: Folder,
    params: Any,
    *,
    record: Mapping[str, Any],
    guarded_files: Sequence[str],
    step: int,
    loss: float | None,
) -> None:
    """Returns once the target is a run folder to translate with, not to resume from.

    Args:
      run_folder: where guarded_files are copied from.

    Raises:
      InputError: the target holds a checkpoint.
      DivergedError: a parameter is not finite.
      StorageError: the target cannot be written.
    """
    refuse_taken(target_folder)
    source, target = Place.of(run_folder), Place.of(target_folder)
    with storage.one_sentence(f"cannot write to {target.run}"):
        for name in guarded_files:
            (target.run / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source.run / name, target.run / name)
    with CheckpointStore(target.run, guarded_files=guarded_files) as store:
        store.save(step, params, None, record, loss=loss)
    (target.checkpoints / "lock").unlink(missing_ok=True)  # not for publication


def _load(place: Place, which: Which, note: Note) -> tuple[Manifest, Arrays]:
    def read(manifest: Manifest) -> tuple[Manifest, Arrays]:
        manifests.verify(place, manifest, ("params",))
        return manifest, _read_arrays(place, manifest, "params")

    return manifests.first_good(place, which, read, note)


# --- Orbax --------------------------------------------------------------------------


def _orbax_manager(steps: Path) -> ocp.CheckpointManager:
    """Returns a manager that only writes: what to keep and to delete is ours."""
    _silence_orphans()
    options = ocp.CheckpointManagerOptions(
        step_prefix="step",
        step_format_fixed_length=9,
        create=False,
        # An asynchronous save that nobody waits for is lost without a word.
        enable_async_checkpointing=False,
        save_decision_policy=ocp.checkpoint_managers.FixedIntervalPolicy(1),
        multiprocessing_options=_only_this_process(),
    )
    items = ("params", "training")
    return ocp.CheckpointManager(steps, item_names=items, options=options)


def _only_this_process() -> ocp.options.MultiprocessingOptions:
    """Without it, Orbax waits for all hosts; here one host writes, any one reads."""
    me = jax.process_index()
    return ocp.options.MultiprocessingOptions(primary_host=me, active_processes={me})


def _read_arrays(place: Place, manifest: Manifest, item: str) -> Arrays:
    """Returns the arrays of a verified item, on no device."""
    _silence_orphans()
    spec = manifest.arrays[item]
    as_numpy = {name: ocp.RestoreArgs(restore_type=np.ndarray) for name in spec}
    mine = {"multiprocessing_options": _only_this_process()}
    handler = ocp.PyTreeCheckpointHandler(**mine)
    try:
        args = ocp.args.PyTreeRestore(
            named_arrays.nest(dict.fromkeys(spec, 0)), named_arrays.nest(as_numpy)
        )
        with ocp.Checkpointer(handler, **mine) as orbax:
            tree = orbax.restore(place.step(manifest.step) / item, args=args)
        named = named_arrays.flatten(tree)
    except Exception as error:  # Orbax has eight types for a file that is not there
        raise Damaged(f"Orbax cannot read its {item}") from error
    if named_arrays.describe(named) != spec:
        raise Damaged(f"its {item} arrays are not those of its manifest")
    return named
