"""Manifests: a step exists only if its manifest does, and says what the step holds.

Here manifests are written as text and read back, steps are compared with them file by
file, put in the order "best" or "latest", and passed over if they are damaged. Reading
takes no lock and writes nothing.
"""

import contextlib
import dataclasses
import json
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from flaxformer_mt.errors import InputError, StorageError
from flaxformer_mt.training import storage
from flaxformer_mt.training.storage import Place

Which = Literal["best", "latest"] | int
Note = Callable[[str], object]

FORMAT = 1  # of the manifest; a reader refuses one that it does not know
_MAX_ATTEMPTS = 50  # of a reader under whose feet a writer replaces the steps


class Damaged(Exception):
    """This step cannot be used; the text says why, and the next one is tried."""


@dataclasses.dataclass(frozen=True)
class Manifest:
    """What makes a step a checkpoint."""

    step: int
    order: int  # counts the saves: the highest is the latest, whatever its number
    loss: float | None
    record: dict[str, Any]
    arrays: dict[str, dict[str, str]]  # item -> array name -> "float32[512, 64]"
    files: dict[str, str]  # path inside the step -> SHA-256
    guarded: dict[str, str]  # path inside the run folder -> SHA-256

    def to_text(self) -> str:
        """Returns the file's content: the body, led by its own hash."""
        body = json.dumps({"format": FORMAT} | dataclasses.asdict(self), sort_keys=True)
        return f'{{"sha256": "{storage.sha256(body)}",\n"body": {body}}}\n'

    @classmethod
    def from_text(cls, text: str) -> "Manifest":
        """Returns the manifest of a text; raises Damaged if it says nothing sound."""
        try:
            outer = json.loads(text)
            body = outer["body"]
            if outer["sha256"] != storage.sha256(json.dumps(body, sort_keys=True)):
                raise Damaged("its manifest was altered")
            if body.pop("format") != FORMAT:
                raise Damaged("its manifest has an unknown format")
            return cls(**body)
        except (ValueError, TypeError, LookupError, RecursionError) as error:
            raise Damaged("its manifest is not readable") from error


def manifest_texts(place: Place) -> dict[int, str]:
    """Returns step -> text of its manifest; nothing where nothing was ever saved."""
    names: list[str] = []
    never_made = contextlib.suppress(FileNotFoundError, NotADirectoryError)
    with storage.one_sentence(f"cannot read {place.manifests}"), never_made:
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


def parse(texts: Mapping[int, str]) -> tuple[dict[int, Manifest], dict[int, str]]:
    """Returns the manifests that can be read, and what is wrong with the others."""
    manifests, problems = {}, {}
    for step, text in texts.items():
        try:
            manifests[step] = Manifest.from_text(text)
        except Damaged as damage:
            problems[step] = str(damage)
    return manifests, problems


def first_good(place: Place, which: Which, read: Callable, note: Note) -> Any:
    """Returns read(manifest) of the first step, in the order of `which`, that is whole.

    A writer may drop a step while it is read here, but the manifest always goes first.
    So a result is believed only if the manifests that led to it are still there,
    unchanged, afterwards; otherwise everything is looked at again.
    """
    if not os.path.isdir(place.run):
        raise InputError(f"there is no run folder {place.run}.")
    for _ in range(_MAX_ATTEMPTS):
        before = manifest_texts(place)
        manifests, problems = parse(_chosen(place, before, which))
        good, result = None, None
        for manifest in in_order(manifests.values(), which):
            try:
                result = read(manifest)
                good = manifest.step
                break
            except Damaged as damage:
                problems[manifest.step] = str(damage)
        after = manifest_texts(place)
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


def _chosen(place: Place, texts: dict[int, str], which: Which) -> dict[int, str]:
    """Returns the manifests that may serve: all of them, or that of the step named."""
    if which in ("best", "latest"):
        return texts
    if which not in texts:
        have = ", ".join(map(str, sorted(texts))) or "none"
        raise InputError(f"{place.run} has no checkpoint of step {which} (has {have}).")
    return {which: texts[which]}


def in_order(manifests: Iterable[Manifest], which: Which) -> list[Manifest]:
    """Returns them with the one to try first in front."""
    newest_first = sorted(manifests, key=lambda m: -m.order)
    if which != "best":
        return newest_first
    rated = [m for m in newest_first if m.loss is not None]
    unrated = [m for m in newest_first if m.loss is None]
    return sorted(rated, key=lambda m: (m.loss, m.step)) + unrated


def verify(place: Place, manifest: Manifest, items: Iterable[str]) -> None:
    """Raises Damaged unless what is about to be read is what was written.

    Only these items: a damaged optimizer state does not stop a translation.
    """
    folder = place.step(manifest.step)
    ours = {k: sha for k, sha in manifest.files.items() if k.split("/")[0] in items}
    bad = sorted(k for k, sha in ours.items() if storage.hash_file(folder / k) != sha)
    if bad:
        count = (
            f"{len(bad)} file differs" if len(bad) == 1 else f"{len(bad)} files differ"
        )
        raise Damaged(f"{count}, first {bad[0]}")
    for name, sha in sorted(manifest.guarded.items()):
        # A manifest from elsewhere must not make export() write elsewhere.
        if not Path(os.path.abspath(place.run / name)).is_relative_to(place.run):
            raise Damaged(f"{name} is outside of the run folder")
        if storage.hash_file(place.run / name) != sha:
            raise Damaged(f"{name} was changed or removed since")


def is_lost(place: Place, manifest: Manifest, items: Iterable[str]) -> bool | None:
    """Whether a file of a step is missing or differs; None where one cannot be read at
    the moment. What the whole run shares, and can get back, is not looked at."""
    folder, unread = place.step(manifest.step), False
    for name, sha in manifest.files.items():
        if name.split("/")[0] not in items:
            continue
        try:
            if storage.read_hash(folder / name) != sha:
                return True
        except FileNotFoundError:
            return True
        except OSError:
            unread = True
    return None if unread else False


def plain(value: Any, name: str) -> Any:
    """Returns the value as JSON gives it back, so that its hash can be checked."""
    if isinstance(value, Mapping):
        return {str(k): plain(v, f"{name}: {k}") for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v, name) for v in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    if getattr(value, "shape", None) == ():  # a scalar of NumPy or JAX
        return plain(value.item(), name)
    raise InputError(f"cannot store {name}: JSON has no {type(value).__name__}.")
