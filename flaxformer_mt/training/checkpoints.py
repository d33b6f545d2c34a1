"""Checkpoints that survive kills, full disks and flipped bits.

Orbax writes the arrays; this file decides which of them count. A step exists only if
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
import errno
import hashlib
import json
import logging
import math
import operator
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import filelock
import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from flaxformer_mt.errors import DivergedError, InputError, RunBusyError, StorageError

Which = Literal["best", "latest"] | int
Note = Callable[[str], object]
Folder = str | os.PathLike
Arrays = dict[str, np.ndarray]  # "decoder/layer_0/kernel" -> array

FORMAT = 1  # of the manifest; a reader refuses one that it does not know
_MAX_ATTEMPTS = 50  # of a reader under whose feet a writer replaces the steps

_log = logging.getLogger(__name__)
# Orbax logs each of its moves, and the traceback of every error that it raises anyway.
logging.getLogger("absl").addFilter(lambda record: "orbax" not in record.pathname)


class Loaded(NamedTuple):
    """What a translation needs."""

    params: dict[str, Any]  # nested dicts of NumPy arrays
    record: dict[str, Any]
    step: int


class Restored(NamedTuple):
    """What a resumed training needs; the leaves of both trees are NumPy arrays."""

    params: Any
    training: Any
    record: dict[str, Any]
    step: int


class _Damaged(Exception):
    """This step cannot be used; the text says why, and the next one is tried."""


# --- writing ------------------------------------------------------------------------


class CheckpointStore:
    """The one writer of a run folder: `with CheckpointStore(run) as store: ...`.

    Two steps are kept: the latest and the best, which is the one with the lowest
    finite loss (the earliest, if several have it). While the latest is also the best,
    the second is the one before it: there is always a step to fall back on. "Latest"
    is the step saved last, even if the run had gone back and its number is smaller.
    """

    def __init__(
        self,
        run_folder: Folder,
        *,
        guarded_files: Sequence[str] = (),
        note: Note = _log.warning,
    ):
        """Returns a store that is not open yet.

        Args:
          guarded_files: paths inside run_folder without which the parameters mean
            nothing, such as vocabularies. No step loads after one has changed.
          note: is told, in one sentence, of a damaged step that was passed over.
        """
        self._place = _Place.of(run_folder)
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
            _one_sentence(f"cannot write to {place.run}"),
        ):
            place.make_folders()
            stack.enter_context(_lock(place))
            _sweep(place)
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
        arrays = _flatten_items(params, training)
        _check_params(step, params, arrays.get("params"))
        manifest = self._draft(step, arrays, record, loss)
        try:
            _discard(self._place, manifest.step)  # saved again, it is replaced
            self._write(manifest, arrays)
        except Exception as error:  # Orbax has a ValueError for a full disk
            with contextlib.suppress(OSError):
                _discard(self._place, manifest.step)
                _sweep(self._place)  # gives the space back at once
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

        def read(manifest: _Manifest) -> Restored:
            _verify(self._place, manifest, templates)
            trees = dict(items)
            for item, template in templates.items():
                _check_fits(manifest, item, template)
                named = _read_arrays(self._place, manifest, item)
                trees[item] = _like(template, named)
            return Restored(**trees, record=manifest.record, step=manifest.step)

        return _first_good(self._place, which, read, self._note)

    def _draft(
        self,
        step: int,
        arrays: Mapping[str, Arrays],
        record: Mapping[str, Any],
        loss: float | None,
    ) -> "_Manifest":
        """Returns all of the manifest but the files, which are not written yet."""
        if (step := operator.index(step)) < 0:
            raise InputError(f"steps count from 0; got {step}.")
        orders = [m.order for m in _parse(_manifest_texts(self._place))[0].values()]
        return _Manifest(
            step=step,
            order=1 + max(orders, default=0),
            loss=None if loss is None else _plain(float(loss), "the loss"),
            record=_plain(record, "the record"),
            arrays={item: _describe(named) for item, named in arrays.items()},
            files={},
            guarded=self._hash_guarded(),
        )

    def _hash_guarded(self) -> dict[str, str]:
        """Returns the guarded files' hashes, as they were at the first save: a new run
        writes them between opening the store and saving."""
        for name, known in self._guarded.items():
            path = self._place.run / name
            self._guarded[name] = known or _hash_file(path)
            if not self._guarded[name]:
                raise InputError(f"{path} is missing or not readable.")
        return dict(self._guarded)

    def _write(self, manifest: "_Manifest", arrays: Mapping[str, Arrays]) -> None:
        step, folder = manifest.step, self._place.step(manifest.step)
        items = {k: ocp.args.StandardSave(_nest(named)) for k, named in arrays.items()}
        self._manager.reload()  # Orbax would remember steps that we have taken away
        # Without force, Orbax answers False to a number below its newest step.
        if not self._manager.save(step, args=ocp.args.Composite(**items), force=True):
            raise OSError(f"Orbax passed over step {step}")
        for path in list(folder.rglob("commit_success.txt")):
            path.unlink()  # no local reader needs it, and it names this machine's paths
        files = _sync_and_hash(folder)
        _sync_folder(self._place.steps)
        manifest = dataclasses.replace(manifest, files=files)
        _write_text(self._place.manifest(step), manifest.to_text())

    def _prune(self, newest: int) -> None:
        keep = self._steps_to_keep(newest)
        for step in self.steps():
            if step not in keep:
                # Windows does not move what a reader has open: the sweep gets it later.
                with contextlib.suppress(OSError):
                    _discard(self._place, step)

    def _steps_to_keep(self, newest: int) -> set[int]:
        """Returns the newest step and the best, or the one before if they are one.

        An older step has to be whole: a damaged best would otherwise be kept for ever
        in the place of one that loads.
        """
        manifests = _parse(_manifest_texts(self._place))[0].values()
        best_is_newest = _in_order(manifests, "best")[0].step == newest
        for manifest in _in_order(manifests, "latest" if best_is_newest else "best"):
            if manifest.step != newest:
                with contextlib.suppress(_Damaged):
                    _verify(self._place, manifest, manifest.arrays)
                    return {newest, manifest.step}
        return {newest}


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
    manifest, params = _load(_Place.of(run_folder), which, note)
    return Loaded(_nest(params), manifest.record, manifest.step)


def saved_steps(run_folder: Folder) -> list[int]:
    """Returns the acknowledged steps, damaged or not, in rising order.

    Raises:
      StorageError: the folder is there and cannot be read.
    """
    return sorted(_manifest_texts(_Place.of(run_folder)))


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
    source, target = _Place.of(run_folder), _Place.of(target_folder)
    if saved_steps(target.run):
        raise InputError(f"{target.run} already holds a checkpoint: choose another.")
    manifest, params = _load(source, which, note)
    with _one_sentence(f"cannot write to {target.run}"):
        for name in manifest.guarded:
            (target.run / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source.run / name, target.run / name)
    with CheckpointStore(target.run, guarded_files=tuple(manifest.guarded)) as store:
        record = manifest.record if record is None else record
        store.save(manifest.step, _nest(params), None, record, loss=manifest.loss)
    (target.checkpoints / "lock").unlink(missing_ok=True)  # not for publication
    return manifest.step


def _load(place: "_Place", which: Which, note: Note) -> tuple["_Manifest", Arrays]:
    def read(manifest: _Manifest) -> tuple[_Manifest, Arrays]:
        _verify(place, manifest, ("params",))
        return manifest, _read_arrays(place, manifest, "params")

    return _first_good(place, which, read, note)


def _first_good(place: "_Place", which: Which, read: Callable, note: Note) -> Any:
    """Returns read(manifest) of the first step, in the order of `which`, that is whole.

    A writer may drop a step while it is read here, but the manifest always goes first.
    So a result is believed only if the manifests that led to it are still there,
    unchanged, afterwards; otherwise everything is looked at again.
    """
    if not os.path.isdir(place.run):
        raise InputError(f"there is no run folder {place.run}.")
    for _ in range(_MAX_ATTEMPTS):
        before = _manifest_texts(place)
        manifests, problems = _parse(_chosen(place, before, which))
        good, result = None, None
        for manifest in _in_order(manifests.values(), which):
            try:
                result = read(manifest)
                good = manifest.step
                break
            except _Damaged as damage:
                problems[manifest.step] = str(damage)
        after = _manifest_texts(place)
        looked_at = {*before, *after} if good is None else {*problems, good}
        if any(before.get(step) != after.get(step) for step in looked_at):
            continue
        reasons = [f"step {s} is damaged ({problems[s]})" for s in sorted(problems)]
        if good is None:
            reasons = "; ".join(reasons) or "nothing was saved in it yet"
            raise StorageError(f"no usable checkpoint in {place.run}: {reasons}.")
        for reason in reasons:
            note(f"{reason}, using step {good}.")
        return result
    raise StorageError(f"{place.checkpoints} kept changing while it was read.")


def _chosen(place: "_Place", texts: dict[int, str], which: Which) -> dict[int, str]:
    """Returns the manifests that may serve: all of them, or that of the step named."""
    if which in ("best", "latest"):
        return texts
    if which not in texts:
        have = ", ".join(map(str, sorted(texts))) or "none"
        raise InputError(f"{place.run} has no checkpoint of step {which} (has {have}).")
    return {which: texts[which]}


def _in_order(manifests: Iterable["_Manifest"], which: Which) -> list["_Manifest"]:
    newest_first = sorted(manifests, key=lambda m: -m.order)
    if which != "best":
        return newest_first
    rated = [m for m in newest_first if m.loss is not None]
    unrated = [m for m in newest_first if m.loss is None]
    return sorted(rated, key=lambda m: (m.loss, m.step)) + unrated


# --- manifests ----------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Manifest:
    """What makes a step a checkpoint."""

    step: int
    order: int  # counts the saves: the highest is the latest, whatever its number
    loss: float | None
    record: dict[str, Any]
    arrays: dict[str, dict[str, str]]  # item -> array name -> "float32[512, 64]"
    files: dict[str, str]  # path inside the step -> SHA-256
    guarded: dict[str, str]  # path inside the run folder -> SHA-256

    def to_text(self) -> str:
        body = json.dumps({"format": FORMAT} | dataclasses.asdict(self), sort_keys=True)
        return f'{{"sha256": "{_sha256(body)}",\n"body": {body}}}\n'

    @classmethod
    def from_text(cls, text: str) -> "_Manifest":
        try:
            outer = json.loads(text)
            body = outer["body"]
            if outer["sha256"] != _sha256(json.dumps(body, sort_keys=True)):
                raise _Damaged("its manifest was altered")
            if body.pop("format") != FORMAT:
                raise _Damaged("its manifest has an unknown format")
            return cls(**body)
        except (ValueError, TypeError, LookupError, RecursionError) as error:
            raise _Damaged("its manifest is not readable") from error


def _manifest_texts(place: "_Place") -> dict[int, str]:
    """Returns step -> text of its manifest; nothing where nothing was ever saved."""
    names: list[str] = []
    never_made = contextlib.suppress(FileNotFoundError, NotADirectoryError)
    with _one_sentence(f"cannot read {place.manifests}"), never_made:
        names = os.listdir(place.manifests)
    found = [m for name in names if (m := re.fullmatch(r"step_(\d{9,})\.json", name))]
    texts = {int(m[1]): _read_text(place.manifests / m[0]) for m in found}
    return {step: text for step, text in texts.items() if text is not None}


def _read_text(path: Path) -> str | None:
    """Returns the text, however damaged; None if a writer dropped it just now."""
    try:
        return path.read_bytes().decode("utf-8", errors="replace")
    except FileNotFoundError:
        return None
    except OSError:
        return ""


def _parse(texts: Mapping[int, str]) -> tuple[dict[int, _Manifest], dict[int, str]]:
    """Returns the manifests that can be read, and what is wrong with the others."""
    manifests, problems = {}, {}
    for step, text in texts.items():
        try:
            manifests[step] = _Manifest.from_text(text)
        except _Damaged as damage:
            problems[step] = str(damage)
    return manifests, problems


def _verify(place: "_Place", manifest: _Manifest, items: Iterable[str]) -> None:
    """Raises _Damaged unless what is about to be read is what was written.

    Only these items: a damaged optimizer state does not stop a translation.
    """
    folder = place.step(manifest.step)
    ours = {k: sha for k, sha in manifest.files.items() if k.split("/")[0] in items}
    bad = sorted(k for k, sha in ours.items() if _hash_file(folder / k) != sha)
    if bad:
        count = (
            f"{len(bad)} file differs" if len(bad) == 1 else f"{len(bad)} files differ"
        )
        raise _Damaged(f"{count}, first {bad[0]}")
    for name, sha in sorted(manifest.guarded.items()):
        # A manifest from elsewhere must not make export() write elsewhere.
        if not Path(os.path.abspath(place.run / name)).is_relative_to(place.run):
            raise _Damaged(f"{name} is outside of the run folder")
        if _hash_file(place.run / name) != sha:
            raise _Damaged(f"{name} was changed or removed since")


def _plain(value: Any, name: str) -> Any:
    """Returns the value as JSON gives it back, so that its hash can be checked."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v, f"{name}: {k}") for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v, name) for v in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    if getattr(value, "shape", None) == ():  # a scalar of NumPy or JAX
        return _plain(value.item(), name)
    raise InputError(f"cannot store {name}: JSON has no {type(value).__name__}.")


# --- arrays -------------------------------------------------------------------------


def _named_leaves(tree: Any) -> dict[str, Any]:
    """Returns "opt_state/0/mu/encoder/kernel" -> leaf, for any pytree."""
    named, orbax_names = {}, set()
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        # Orbax joins with dots: it would write {"a.b": {"c"}} over {"a": {"b": {"c"}}}.
        orbax_name = name.replace("/", ".")
        if name.count("/") != len(path) - 1 or orbax_name in orbax_names:
            raise InputError(f"cannot store an array under the name '{name}'.")
        orbax_names.add(orbax_name)
        named[name] = leaf
    return named


def _flatten(tree: Any) -> Arrays:
    """Returns name -> NumPy array."""
    arrays = {}
    for name, leaf in _named_leaves(tree).items():
        try:
            arrays[name] = np.asarray(leaf)
        except (TypeError, RuntimeError) as error:  # typed keys; arrays of other hosts
            raise InputError(f"cannot store {name}: {error}.") from error
        if arrays[name].dtype.kind in "OSU" or arrays[name].size == 0:
            raise InputError(f"cannot store {name}: it does not hold any number.")
    return arrays


def _flatten_items(params: Any, training: Any) -> dict[str, Arrays]:
    items = {"params": params, "training": training}
    return {k: _flatten(tree) for k, tree in items.items() if jax.tree.leaves(tree)}


def _nest(named: Mapping[str, Any]) -> dict[str, Any]:
    """Returns {"a": {"b": leaf}} of {"a/b": leaf}."""
    tree: dict[str, Any] = {}
    for name, leaf in named.items():
        *parents, last = name.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = leaf
    return tree


def _like(template: Any, named: Arrays) -> Any:
    """Returns the arrays in the tree structure of the template."""
    in_order = [named[name] for name in _named_leaves(template)]
    return jax.tree.unflatten(jax.tree.structure(template), in_order)


def _describe(named: Mapping[str, Any]) -> dict[str, str]:
    """Returns name -> "float32[512, 64]"."""
    leaves = {k: x if hasattr(x, "dtype") else np.asarray(x) for k, x in named.items()}
    return {k: f"{jnp.dtype(x.dtype).name}{list(x.shape)}" for k, x in leaves.items()}


def _check_params(step: int, params: Any, arrays: Arrays | None) -> None:
    paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(params)]
    keys = {type(key) for path in paths for key in path}
    if not arrays or keys != {jax.tree_util.DictKey}:
        raise InputError("parameters must be nested dicts with an array in them.")
    for name, array in arrays.items():
        if jnp.issubdtype(array.dtype, jnp.inexact) and not np.isfinite(array).all():
            raise DivergedError(
                f"step {step} was not saved: parameter {name} is not finite; earlier "
                "checkpoints are intact."
            )


def _check_fits(manifest: _Manifest, item: str, template: Any) -> None:
    if item not in manifest.arrays:
        raise InputError(
            f"step {manifest.step} holds no {item} state: it was published for "
            "translation, and training cannot be resumed from it."
        )
    theirs, ours = manifest.arrays[item], _describe(_named_leaves(template))
    names = sorted({*theirs, *ours})
    differ = [name for name in names if theirs.get(name) != ours.get(name)]
    if differ:
        name = differ[0]
        raise InputError(
            f"step {manifest.step} does not fit this model: {len(differ)} of "
            f"{len(names)} arrays differ, e.g. {item}/{name}: checkpoint "
            f"{theirs.get(name, 'missing')}, this model {ours.get(name, 'missing')} "
            "(was the vocabulary, the size or the optimizer changed?)."
        )


def _only_this_process() -> ocp.options.MultiprocessingOptions:
    """Without it, Orbax waits for all hosts; here one host writes, any one reads."""
    me = jax.process_index()
    return ocp.options.MultiprocessingOptions(primary_host=me, active_processes={me})


def _orbax_manager(steps: Path) -> ocp.CheckpointManager:
    """Returns a manager that only writes: what to keep and to delete is ours."""
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


def _read_arrays(place: "_Place", manifest: _Manifest, item: str) -> Arrays:
    """Returns the arrays of a verified item, on no device."""
    spec = manifest.arrays[item]
    as_numpy = {name: ocp.RestoreArgs(restore_type=np.ndarray) for name in spec}
    mine = {"multiprocessing_options": _only_this_process()}
    handler = ocp.PyTreeCheckpointHandler(**mine)
    try:
        args = ocp.args.PyTreeRestore(_nest(dict.fromkeys(spec, 0)), _nest(as_numpy))
        with ocp.Checkpointer(handler, **mine) as orbax:
            tree = orbax.restore(place.step(manifest.step) / item, args=args)
        named = _flatten(tree)
    except Exception as error:  # Orbax has eight types for a file that is not there
        raise _Damaged(f"Orbax cannot read its {item}") from error
    if _describe(named) != spec:
        raise _Damaged(f"its {item} arrays are not those of its manifest")
    return named


# --- files --------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Place:
    """The paths of a run folder."""

    run: Path

    @classmethod
    def of(cls, run_folder: Folder) -> "_Place":
        # Orbax accepts a relative path and then fails at the first save.
        return cls(Path(os.path.abspath(os.path.expanduser(run_folder))))

    checkpoints = property(lambda self: self.run / "checkpoints")
    steps = property(lambda self: self.checkpoints / "steps")
    manifests = property(lambda self: self.checkpoints / "manifests")
    trash = property(lambda self: self.checkpoints / "trash")

    def step(self, step: int) -> Path:
        return self.steps / f"step_{step:09d}"

    def manifest(self, step: int) -> Path:
        return self.manifests / f"step_{step:09d}.json"

    def make_folders(self) -> None:
        for folder in (self.steps, self.manifests, self.trash):
            folder.mkdir(parents=True, exist_ok=True)
        _sync_folder(self.checkpoints)
        _sync_folder(self.run)


def atomic_write_text(path: Folder, text: str) -> None:
    """Returns once `path` holds the text; killed before, it holds what it held.

    Raises:
      InputError: there cannot be such a path.
      StorageError: it cannot be written.
    """
    with _one_sentence(f"cannot write {path}"):
        _write_text(Path(path), text)


def atomic_write_json(path: Folder, value: Any) -> None:
    """Returns once `path` holds the value as indented JSON; see atomic_write_text.

    Raises:
      InputError: JSON cannot hold the value, or there cannot be such a path.
      StorageError: it cannot be written.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(f"cannot write {path} as JSON: {error}.") from error
    atomic_write_text(path, text + "\n")


def _write_text(path: Path, text: str) -> None:
    unfinished = path.with_name(path.name + ".tmp")
    try:
        with open(unfinished, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    except BaseException:
        with contextlib.suppress(OSError):
            unfinished.unlink()
        raise
    _sync_folder(path.parent)


def _discard(place: _Place, step: int) -> None:
    """Takes a step away; killed anywhere in here, what is left is no checkpoint."""
    place.manifest(step).unlink(missing_ok=True)
    _sync_folder(place.manifests)
    trash = place.trash / f"step_{step:09d}"
    shutil.rmtree(trash, ignore_errors=True)
    if place.step(step).exists():
        os.rename(place.step(step), trash)
        shutil.rmtree(trash, ignore_errors=True)


def _sweep(place: _Place) -> None:
    """Removes what is not a checkpoint: trash, unfinished and unacknowledged steps."""
    leftovers = [*place.trash.iterdir(), *place.steps.glob("*.orbax-checkpoint-tmp*")]
    for path in leftovers:
        shutil.rmtree(path, ignore_errors=True)
    for path in place.manifests.glob("*.tmp"):
        path.unlink()
    for path in place.steps.iterdir():
        step = re.fullmatch(r"step_(\d{9,})", path.name)
        if step and not place.manifest(int(step[1])).exists():
            _discard(place, int(step[1]))


@contextlib.contextmanager
def _lock(place: _Place) -> Iterator[None]:
    """Holds the run folder; the system lets go of it when this process dies."""
    lock = filelock.FileLock(place.checkpoints / "lock")
    pid = place.checkpoints / "lock.pid"  # Windows hides the content of a locked file
    try:
        held = lock.acquire(timeout=0)
    except filelock.Timeout as error:
        owner = "pid unknown"
        with contextlib.suppress(OSError):
            owner = f"pid {pid.read_text(encoding='utf-8').strip()}"
        busy = f"another training process ({owner}) is using {place.run}: wait for it."
        raise RunBusyError(busy) from error
    with held:
        try:
            _write_text(pid, f"{os.getpid()}\n")
            yield
        finally:
            pid.unlink(missing_ok=True)


def _sync_and_hash(folder: Path) -> dict[str, str]:
    """Returns path -> SHA-256 once a power cut can no longer empty these files.

    Orbax itself leaves its small files to the system.
    """
    hashes = {}
    for path in sorted(folder.rglob("*")):
        if path.is_dir():
            _sync_folder(path)
            continue
        with open(path, "r+b") as file:  # Windows syncs only what it could write
            os.fsync(file.fileno())
            sha = hashlib.file_digest(file, "sha256").hexdigest()
            hashes[path.relative_to(folder).as_posix()] = sha
    _sync_folder(folder)
    return hashes


def _hash_file(path: Path) -> str:
    """Returns the SHA-256 of a file; "" if it cannot be read."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def _sync_folder(folder: Path) -> None:
    if sys.platform == "win32":  # folders cannot be opened there
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def _one_sentence(what: str) -> Iterator[None]:
    """Turns what the system says into an error that a person can act on."""
    try:
        yield
    except (InputError, StorageError, RunBusyError):
        raise
    except (FileExistsError, NotADirectoryError) as error:
        raise InputError(f"{what}: a file is in the way.") from error
    except (OSError, ValueError) as error:
        impossible = not isinstance(error, OSError) or error.errno == errno.ENAMETOOLONG
        kind = InputError if impossible else StorageError
        raise kind(f"{what}: {_reason(error)}.") from error


def _reason(error: Exception) -> str:
    """Returns a few words; TensorStore hides the system's number in its text."""
    hidden = re.search(r"os_error_code='(\d+)'", str(error))
    number = int(hidden[1]) if hidden else getattr(error, "errno", None)
    if number == errno.ENOSPC:
        return "the disk is full"
    return os.strerror(number).lower() if number else " ".join(str(error).split())[:200]


def _not_saved(step: int, error: Exception, arrays: Mapping[str, Arrays]) -> str:
    num_bytes = sum(x.nbytes for named in arrays.values() for x in named.values())
    return (
        f"step {step} was not saved: {_reason(error)} (needs about "
        f"{math.ceil(num_bytes / 1e6)} MB); earlier checkpoints are intact."
    )
