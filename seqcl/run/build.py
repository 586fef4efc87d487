"""Build the parts that a preset names, the same for equal (preset, data, seed)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch

from seqcl.batch import Batch
from seqcl.config.preset import Preset
from seqcl.data.collate import collate_rows
from seqcl.data.dataset import Dataset
from seqcl.data.scaler import Scaler
from seqcl.distributed import world_size
from seqcl.embeddings.base import Embedding
from seqcl.encoders.base import Encoder
from seqcl.errors import PresetError, UsageError
from seqcl.methods.base import Method
from seqcl.methods.several import Several
from seqcl.model import Model
from seqcl.registry import Spec
from seqcl.rng import Rng

__all__ = [
    "build_method",
    "build_model",
    "pick_device",
    "prepare",
    "sample_of",
    "seeded",
    "threads",
]

_SAMPLE = 512
"""Training records that `prepare` hooks see."""


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw initial weights from `seed`, leaving the caller's random state as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would reseed every GPU
        yield


@contextmanager
def threads(number: int | None) -> Iterator[None]:
    """Compute with `number` CPU threads inside the block; raises UsageError for none."""
    if number is not None and number < 1:
        raise UsageError(f"threads is {number}; at least 1 is needed")
    before = torch.get_num_threads()
    torch.set_num_threads(before if number is None else number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def pick_device(name: str) -> torch.device:
    """Return the device that ``auto``, ``cpu`` or ``cuda`` means here.

    Of several processes on a machine each takes the GPU of its number.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise UsageError(f"device is {name!r}; known: auto, cpu, cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda: no CUDA device is visible; use --device cpu or auto")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cpu" or world_size() == 1:
        return torch.device(name)
    number, gpus = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if number >= gpus:
        raise UsageError(
            f"--device {name}: process {number} of this machine has no GPU of its own, there are "
            f"{gpus}; start at most {gpus} processes on a machine, or use --device cpu"
        )
    return torch.device("cuda", number)


def build_model(
    preset: Preset, channels: tuple[str, ...], rate_hz: float | None, seed: int
) -> Model:
    """Build an untrained Model; equal seeds give equal weights."""
    in_channels = len(channels) * (2 if preset.data.missing == "indicator" else 1)
    with seeded(seed):
        frontend = preset.frontend.build(in_channels)
        encoder = _encoder(preset, frontend.out_channels)
        embedding = _embedding(preset, encoder)
    scaler = Scaler(len(channels), mode=preset.data.scaler)
    return Model(
        scaler, frontend, encoder, embedding,
        channels=channels, missing=preset.data.missing, rate_hz=rate_hz,
    )  # fmt: skip


def _encoder(preset: Preset, in_channels: int) -> Encoder:
    try:
        return preset.encoder.build(in_channels)
    except ValueError as error:  # options that contradict each other
        raise PresetError(f"encoder: {error}") from None


def _embedding(preset: Preset, encoder: Encoder) -> Embedding:
    try:
        embedding = embedding_spec(preset).build(encoder.out_dim)
        embedding.take_parts(encoder.parts)
    except ValueError as error:
        raise PresetError(f"embedding: {error}") from None
    return embedding


def embedding_spec(preset: Preset) -> Spec[Embedding]:
    """Return the embedding's spec, with the method's head where it is to take that.

    Raises PresetError where there is none.
    """
    spec = preset.embedding
    if spec.options.get("head", spec) is not None:
        return spec
    if preset.method is None or "head" not in preset.method.options:
        method = "none" if preset.method is None else preset.method.name
        raise PresetError(
            f"embedding: {spec.name} takes the head of a method, and method {method} has none; use "
            "embedding=identity"
        )
    return replace(spec, options={**spec.options, "head": preset.method.options["head"]})


def build_method(preset: Preset, model: Model, seed: int) -> Method:
    """Build the preset's method around the model's encoder."""
    if preset.method is None:
        raise PresetError("method: none has nothing to train by gradient")
    with seeded(seed + 1):
        made = [preset.method.build({"main": one}) for one in model.encoder.learners]
    return made[0] if len(made) == 1 else Several(made)


def prepare(model: Model, dataset: Dataset, seed: int) -> None:
    """Fit the scaler, then let front end and encoder take what they need from data."""
    model.scaler.fit(dataset)
    sample = sample_of(model, dataset, seed, by_group=False)
    rng = Rng(seed, 1)
    model.frontend.prepare(sample, rng)
    if model.frontend.by_group:
        if not dataset.group_names:
            dataset.note(
                "frontend: normalise=group, and no record has a group, so that each is normalised "
                "by itself; name the column that holds it with data.group"
            )
        sample = sample_of(model, dataset, seed)
    model.encoder.prepare(model.frontend(sample), rng)


def sample_of(
    model: Model,
    dataset: Dataset,
    seed: int,
    size: int = _SAMPLE,
    *,
    among: npt.NDArray[np.int64] | None = None,
    by_group: bool = True,
) -> Batch:
    """Return up to `size` records of the dataset, the same ones for equal seeds.

    `among`: rows to choose from; None = all. `by_group`: with the norms of the dataset's groups,
    where the front end takes them.
    """
    rows = np.arange(len(dataset)) if among is None else among
    chosen = np.sort(rows[Rng(seed, 2).host.permutation(len(rows))[:size]])
    collate = model.collate(dataset if by_group else None)
    return collate_rows(dataset, chosen.tolist(), collate)
