"""Checkpoints: one folder each, whole or absent, verified before use, never pickled.

A folder is written under a temporary name, each file and the folder are synced, and one rename
makes it exist. Its manifest, written last, holds the sha256 of the other files.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from seqcl.errors import ArtefactError, TrainingError
from seqcl.files import fsync_folder
from seqcl.weights import read_tensors, tensor_bytes

__all__ = ["FORMAT", "Checkpoint", "Checkpoints"]

FORMAT = 1
"""Version of the form described here; a newer one is refused."""

_MANIFEST = "manifest.json"
_METHOD = "method.safetensors"
_OPTIMIZER = "optimizer.safetensors"
_FACTS = "facts.json"
_TEMPORARY = ".tmp"


@dataclass(frozen=True)
class Checkpoint:
    """All that training needs to go on after `step` optimizer steps.

    Order of records, views and dropout are functions of (seed, step), so no generator's state
    is in it.
    """

    step: int
    method: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor]
    facts: Mapping[str, Any]
    """What must agree, or be known, when training goes on: JSON values."""


class Checkpoints:
    """The checkpoints of a run: ``folder/step-00000120``, the newest `keep` of them.

    Making it sweeps what a killed process left half written.
    """

    def __init__(self, folder: Path, keep: int = 2) -> None:
        self.folder = folder
        self.keep = keep
        for stray in folder.glob(f"*{_TEMPORARY}"):
            shutil.rmtree(stray, ignore_errors=True)

    def paths(self) -> list[Path]:
        """Return the folders there are, oldest first."""
        return sorted(path for path in self.folder.glob("step-*") if path.suffix != _TEMPORARY)

    @property
    def newest(self) -> Path | None:
        """The folder written last, None where there is none."""
        return next(reversed(self.paths()), None)

    def save(self, checkpoint: Checkpoint) -> Path:
        """Write one and remove those beyond `keep`.

        Raises TrainingError where the disk is full or may not be written; the checkpoints that
        were there stay.
        """
        final = self.folder / f"step-{checkpoint.step:08d}"
        temporary = final.with_name(f"{final.name}.{os.getpid()}{_TEMPORARY}")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            _write_folder(temporary, checkpoint)
            _retire(final)
            temporary.rename(final)
            fsync_folder(self.folder)
            for old in self.paths()[: -self.keep]:
                _retire(old)
        except OSError as error:
            shutil.rmtree(temporary, ignore_errors=True)
            raise TrainingError(
                f"{final}: the checkpoint cannot be written ({error.strerror}); "
                f"{self.last_good()}; free space, then --resume"
            ) from error
        return final

    def load(self) -> tuple[Checkpoint | None, list[str]]:
        """Read the newest whole checkpoint; returns it and a note for each damaged one.

        None where there is no checkpoint. Raises ArtefactError where all are damaged, or where
        the newest is of a newer format.
        """
        notes: list[str] = []
        for path in reversed(self.paths()):
            try:
                return _read_folder(path), notes
            except _NewerError as error:
                raise ArtefactError(str(error)) from None
            except ArtefactError as error:
                notes.append(f"{error}; going back to the checkpoint before")
        if notes:
            raise ArtefactError(
                f"{self.folder}: no checkpoint is whole ({notes[0].partition(';')[0]}); "
                f"restore one from a backup, or train again in another --out"
            )
        return None, notes

    def last_good(self) -> str:
        """Say in words which checkpoint there is."""
        newest = self.newest
        return "no checkpoint was written" if newest is None else f"the last good one is {newest}"


class _NewerError(ArtefactError):
    """Written by a later seqcl: going back would lose work, upgrading would not."""


def _write_folder(folder: Path, checkpoint: Checkpoint) -> None:
    folder.mkdir()
    files = {
        _METHOD: tensor_bytes(checkpoint.method),
        _OPTIMIZER: tensor_bytes(checkpoint.optimizer),
        _FACTS: json.dumps(dict(checkpoint.facts), indent=2).encode(),
    }
    manifest = {
        "format": FORMAT,
        "step": checkpoint.step,
        "files": {name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
    }
    files[_MANIFEST] = json.dumps(manifest, indent=2).encode()
    for name, data in files.items():
        with (folder / name).open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    fsync_folder(folder)


def _retire(folder: Path) -> None:
    """Remove a checkpoint: renamed first, so that a kill leaves a stray, not half of one."""
    if folder.exists():
        stray = folder.with_name(f"{folder.name}.old{_TEMPORARY}")
        shutil.rmtree(stray, ignore_errors=True)  # of a removal that did not get to its end
        folder.rename(stray)
        shutil.rmtree(stray, ignore_errors=True)


def _read_folder(folder: Path) -> Checkpoint:
    manifest = _read_manifest(folder)
    files = {
        name: _read_checked(folder / name, manifest["files"])
        for name in (_METHOD, _OPTIMIZER, _FACTS)
    }
    return Checkpoint(
        manifest["step"],
        read_tensors(files[_METHOD], folder / _METHOD),
        read_tensors(files[_OPTIMIZER], folder / _OPTIMIZER),
        json.loads(files[_FACTS]),
    )


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / _MANIFEST
    try:
        manifest = json.loads(path.read_bytes())
        form, step, files = int(manifest["format"]), int(manifest["step"]), manifest["files"]
        if not isinstance(files, dict):
            raise TypeError("files is no table")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtefactError(f"{path}: cannot be read ({error})") from None
    if form > FORMAT:
        raise _NewerError(
            f"{path}: format {form} is newer than this seqcl knows ({FORMAT}); upgrade seqcl"
        )
    return {"step": step, "files": files}


def _read_checked(path: Path, digests: Mapping[str, str]) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ArtefactError(f"{path}: cannot be read ({error.strerror})") from None
    if hashlib.sha256(data).hexdigest() != digests.get(path.name):
        raise ArtefactError(
            f"{path}: damaged: its sha256 is not the manifest's ({len(data)} bytes)"
        )
    return data
