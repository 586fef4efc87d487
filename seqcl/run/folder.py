"""A run folder: what `seqcl pretrain` leaves, and how it is opened again."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from seqcl.config.preset import Preset, resolve_preset
from seqcl.config.yaml import read_yaml
from seqcl.data.dataset import Dataset, dataset_from_arrays
from seqcl.errors import ArtefactError, DataError, MissingInputError, UsageError
from seqcl.files import atomic_write, check_sha256, sha256
from seqcl.finetuning.predictions import Predictions, predict
from seqcl.finetuning.readout import Readout
from seqcl.finetuning.targets import Targets
from seqcl.model import Model, load_state, save_state
from seqcl.run.build import build_model, pick_device
from seqcl.training.embed import embed

__all__ = [
    "FORMAT",
    "Run",
    "check_file",
    "load",
    "read_manifest",
    "save_initial",
    "save_model",
    "write_manifest",
]

FORMAT = 1
"""Version of the run folder's form; a newer one is refused."""

_MODEL = "model.safetensors"
_INITIAL = "initial.safetensors"
_HEAD = "head.safetensors"
_PRESET = "preset.yaml"
_MANIFEST = "manifest.json"
_KEYS = ("seed", "command", "created", "channels", "rate_hz", "init", "data")


@dataclass(frozen=True)
class Run:
    """A finished run: its Model, its preset and its manifest."""

    path: Path
    preset: Preset
    manifest: Mapping[str, Any] = field(repr=False)

    @cached_property
    def model(self) -> Model:
        """The trained Model, on the CPU; raises ArtefactError where the file is not whole."""
        return self._restored(_MODEL)

    @property
    def seed(self) -> int:
        """The seed of the run."""
        return int(self.manifest["seed"])

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels, in the order of training."""
        return tuple(self.manifest["channels"])

    @cached_property
    def targets(self) -> Targets:
        """What the head of a fine-tuned run predicts; raises UsageError where there is no head."""
        self._refuse_detector()
        if "finetune" not in self.manifest:
            raise UsageError(
                f"{self.path}: has no head that predicts; 'seqcl finetune' makes a run with one"
            )
        return Targets.from_facts(self.manifest["finetune"]["targets"])

    @cached_property
    def head(self) -> Readout:
        """The head of a fine-tuned run, on the CPU; raises as `targets` and `model` do."""
        head = Readout(self.model.embedding.out_dim, self.targets.outputs)
        check_file(self.path / _HEAD, self.manifest)
        load_state(head, self.path / _HEAD)
        return head.eval()

    def untrained(self) -> Model:
        """Return the Model as it was before the first step: the control row.

        Of a fine-tuned run it is that of the run it began with, before any training.
        """
        return self._restored(_INITIAL)

    def embed(
        self,
        X: npt.ArrayLike | Sequence[npt.ArrayLike] | Dataset,
        *,
        level: Literal["instance", "step"] = "instance",
        device: str = "auto",
    ) -> npt.NDArray[np.float32]:
        """Embed arrays (n, C, T), or a list of (C, T_i), each record as a whole; NaN is missing.

        Returns (n, E), or at step level (steps of all records, E).
        """
        target = pick_device(device)
        dataset = self._dataset(X)
        return embed(self.model.to(target), dataset, level=level, device=target).values

    def predict(
        self,
        X: npt.ArrayLike | Sequence[npt.ArrayLike] | Dataset,
        *,
        device: str = "auto",
        batch_size: int = 256,
    ) -> Predictions:
        """Predict the label of each record of arrays as `embed` takes them.

        Raises UsageError where the run has no head.
        """
        targets, target, dataset = self.targets, pick_device(device), self._dataset(X)
        return predict(
            self.model, self.head, targets, dataset, device=target, batch_size=batch_size
        )

    def _dataset(self, X: npt.ArrayLike | Sequence[npt.ArrayLike] | Dataset) -> Dataset:
        if isinstance(X, Dataset):
            return X
        made = dataset_from_arrays(X, missing=self.preset.data.missing)
        is_images = self.preset.modality.layout == "CHW"
        if (made.size is not None) != is_images or len(made.channels) != len(self.channels):
            shape = "images (n, C, H, W)" if is_images else "series (n, C, T)"
            raise DataError(
                f"X holds {'series' if made.size is None else 'images'} of {len(made.channels)} "
                f"channels; the run takes {shape} of {len(self.channels)}"
            )
        return made

    def _refuse_detector(self) -> None:
        if self.preset.detector is not None:
            raise UsageError(
                f"{self.path}: is a detector and holds no encoder; use it with 'seqcl detect'"
            )

    def _restored(self, name: str) -> Model:
        self._refuse_detector()
        check_file(self.path / name, self.manifest)
        model = build_model(self.preset, self.channels, self.manifest["rate_hz"], self.seed)
        load_state(model, self.path / name)
        return model.eval()


def load(path: str | Path) -> Run:
    """Open a run folder; raises MissingInputError or ArtefactError.

    ``seqcl.load("runs/first").embed(X)``
    """
    folder = Path(path)
    if not folder.is_dir():
        raise MissingInputError(f"{folder}: no such run folder; 'seqcl pretrain' writes one")
    manifest = read_manifest(folder)
    if "files" not in manifest:
        raise ArtefactError(f"{folder}: the run is not finished; repeat its command with --resume")
    path = folder / _PRESET
    check_file(path, manifest)
    return Run(folder, resolve_preset(read_yaml(path), str(path)), manifest)


def check_file(path: Path, manifest: Mapping[str, Any]) -> None:
    """Compare a file with its sha256 in the manifest; raises ArtefactError where they differ."""
    check_sha256(path, manifest["files"].get(path.name), "pretrain again")


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read manifest.json; raises ArtefactError where it is absent, damaged or too new."""
    path = folder / _MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        form = int(manifest["format"])
        missing = [] if form > FORMAT else [key for key in _KEYS if key not in manifest]
    except FileNotFoundError:
        raise ArtefactError(f"{folder}: has no {_MANIFEST}; it is not a run folder") from None
    except (ValueError, KeyError, TypeError) as error:
        raise ArtefactError(
            f"{path}: cannot be read ({error}); restore it or pretrain again"
        ) from None
    if form > FORMAT:
        raise ArtefactError(
            f"{path}: format {form} is newer than this seqcl knows ({FORMAT}); upgrade seqcl"
        )
    if missing:
        raise ArtefactError(f"{path}: has no {', '.join(missing)}; restore it or pretrain again")
    return dict(manifest)


def write_manifest(folder: Path, facts: Mapping[str, Any], files: Sequence[str] = ()) -> None:
    """Write manifest.json; `files` are checksummed, and their presence says the run is finished."""
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("seqcl", "torch", "numpy")},
        },
        **facts,
    }
    if files:
        manifest["files"] = {name: sha256(folder / name) for name in files}
    text = json.dumps(manifest, indent=2, ensure_ascii=False, default=str)
    atomic_write(folder / _MANIFEST, text + "\n")


def save_model(
    folder: Path, model: Model, facts: Mapping[str, Any], head: Readout | None = None
) -> None:
    """Write model.safetensors (and head.safetensors), then the manifest that says it is whole."""
    save_state(model, folder / _MODEL)
    if head is not None:
        save_state(head, folder / _HEAD)
    names = (_PRESET, _INITIAL, _MODEL)
    write_manifest(folder, facts, names if head is None else (*names, _HEAD))


def save_initial(folder: Path, model: Model) -> None:
    """Write the Model as it is before training, for the control row."""
    save_state(model, folder / _INITIAL)
