"""Fit a preset to a dataset in memory: what `pretrain` and `ContrastiveEncoder` share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch

from seqcl.batch import Batch
from seqcl.config.preset import Preset
from seqcl.config.resolve import tree_of
from seqcl.data.collate import collate_rows
from seqcl.data.dataset import Dataset
from seqcl.data.loader import Loader
from seqcl.data.source import Skipped
from seqcl.embeddings.projected import ProjectedEmbedding
from seqcl.errors import PresetError, UsageError
from seqcl.methods.base import Method
from seqcl.model import Model
from seqcl.rng import Rng
from seqcl.run.build import build_method, build_model, prepare, sample_of
from seqcl.run.folder import load
from seqcl.run.sampling import check_batches, check_needs, choose_sampler
from seqcl.training.chunks import has_batch_norm
from seqcl.training.closed_form import codes_of, fit_embedding
from seqcl.training.loop import TrainResult, train
from seqcl.training.options import TrainingOptions
from seqcl.training.sinks import Sink
from seqcl.views.base import ViewGenerator

__all__ = ["Parts", "assemble", "fit"]


@dataclass(frozen=True)
class Parts:
    """Everything that a preset names, built for one dataset."""

    preset: Preset
    dataset: Dataset
    validation: Dataset | None
    views: ViewGenerator
    model: Model
    method: Method | None
    """None where the preset says `method: none`."""
    device: torch.device
    seed: int
    init: Path | None = None
    """The run whose encoder is started from."""

    def notes(self) -> tuple[str, ...]:
        """Return what a user should know of the data, and of options without effect."""
        return (*self.dataset.notes, *_unused(self))

    def skipped(self) -> tuple[Skipped, ...]:
        """Return the files of training and validation data that were passed over."""
        return self.dataset.skipped + (self.validation.skipped if self.validation else ())

    def loader(self) -> Loader:
        """Return the loader of training batches."""
        options = self.preset.training
        sampler = choose_sampler(options, self.method).build(self.dataset)
        loader = Loader(
            self.dataset, self.model.collate(self.dataset), sampler, options.batch_size,
            seed=self.seed, workers=options.workers, parts=options.accumulate,
        )  # fmt: skip
        check_batches(self.method, sampler, loader, options, self.seed)
        return loader


def assemble(
    preset: Preset,
    dataset: Dataset,
    *,
    seed: int,
    device: torch.device,
    validation: Dataset | None = None,
    init: Path | None = None,
) -> Parts:
    """Build model, views and method; the same parts for equal (preset, dataset, seed).

    Raises DataError where the data lack labels or groups that the method or the embedding needs;
    PresetError where the sampler does not bring them together, or where there is nothing to train;
    UsageError where the encoder of the run `init` does not fit.
    """
    _check_axes(preset, dataset)
    model = build_model(preset, dataset.channels, dataset.rate_hz, seed)
    prepare(model, dataset, seed)
    if init is not None:
        _start_from(model, preset, init, dataset)
    views = preset.views.build()
    _check_embedding_views(preset, model, views)
    codes_of(dataset, model.embedding.alike)
    method = None
    if preset.method is None and isinstance(model.embedding, ProjectedEmbedding):
        raise PresetError("embedding: projected takes the head of a method, and method is none")
    if preset.method is not None:
        if not model.encoder.trainable:
            raise PresetError(
                f"method: encoder {preset.encoder.name} has nothing to train by gradient; use "
                "method=none with an embedding, or another encoder"
            )
        try:
            method = build_method(preset, model, seed)
        except ValueError as error:  # options that contradict each other
            raise PresetError(f"method: {error}") from None
        _take_head(model, method)
        check_needs(method, dataset)
        _check_views(method, views, model, dataset)
        method.to(device)
    parts = Parts(
        preset, dataset, validation, views, model.to(device), method, device, seed, init
    )  # fmt: skip
    if method is not None:
        parts.loader()  # tells what cannot be batched before anything is written
    return parts


def fit(
    parts: Parts,
    *,
    folder: Path | None = None,
    resume: bool = False,
    max_minutes: float | None = None,
    sinks: Sequence[Sink] = (),
) -> TrainResult | None:
    """Train by gradient, then fit the closed form; leaves the model on the CPU.

    Returns None where there is no method. `folder`, `resume`, `max_minutes` as in `train`.
    """
    result = None
    if parts.method is not None:
        result = train(
            parts.method,
            parts.views,
            parts.model.frontend,
            parts.loader(),
            parts.preset.training,
            seed=parts.seed,
            folder=folder,
            device=parts.device,
            sinks=sinks,
            resume=resume,
            max_minutes=max_minutes,
            watched=sample_of(parts.model, parts.validation or parts.dataset, parts.seed),
            probed=_probed(parts),
        )
        _take_head(parts.model, parts.method)
    if parts.model.embedding.passes:
        fit_embedding(parts.model, parts.loader(), parts.views, seed=parts.seed)
    parts.model.cpu().eval()
    return result


def _take_head(model: Model, method: Method) -> None:
    """Give the head to an embedding that keeps it; raises PresetError where it is another."""
    if not isinstance(model.embedding, ProjectedEmbedding):
        return
    head = method.projector
    if sum(one.out_dim for one in model.encoder.learners) != model.encoder.out_dim:
        raise PresetError(
            "embedding: projected takes a head of the whole output of the encoder, and a method "
            "trains a part of this one; use embedding=each, spectral or identity"
        )
    if head is None:
        raise PresetError(
            f"embedding: projected takes the head of a method, and {method.name} has "
            "none for the encoder's output; use embedding=identity"
        )
    try:
        model.embedding.take(head)
    except ValueError as error:
        raise PresetError(f"embedding: {error}; leave embedding.head out") from None


def _probed(parts: Parts) -> Batch | None:
    """Return validation records of classes that two groups share; None where there are no two."""
    data = parts.validation
    if data is None or not data.classes or not _classes(data):
        return None
    pairs = np.unique(np.stack((data.label_codes, data.group_codes)), axis=1)
    codes, groups = np.unique(pairs[0], return_counts=True)
    shared = codes[(codes >= 0) & (groups > 1)]
    if len(shared) < 2:
        return None
    known = np.flatnonzero(np.isin(data.label_codes, shared))
    return sample_of(parts.model, data, parts.seed, among=known)


def _classes(data: Dataset) -> bool:
    """Return whether the labels are classes, not values or lists of tags."""
    return all(isinstance(label, int | str) for label in data.classes)


def _check_axes(preset: Preset, dataset: Dataset) -> None:
    is_images = dataset.size is not None
    if is_images != (preset.modality.layout == "CHW"):
        kind, wanted = ("images", "image") if is_images else ("series", "sequence")
        raise PresetError(
            f"modality: is {preset.modality.name} and the data are {kind}; use a preset of "
            f"modality {wanted}"
        )


def _unused(parts: Parts) -> Iterator[str]:
    """Yield what a preset asks for in vain, or in part."""
    if parts.method is not None:
        if parts.preset.training.chunk is not None and has_batch_norm(parts.method):
            yield (
                "training.chunk: batch norm in the encoder takes the statistics of a chunk, so "
                "that the gradient is not that of the whole batch; an encoder without it (norm: "
                "layer) has the same"
            )
        if "groups" in parts.method.takes and not parts.dataset.group_names:
            yield (
                f"method: {parts.method.name} would learn from groups, and no record has "
                "one; name the column that holds it with data.group"
            )
        return
    given, default = parts.preset.training, TrainingOptions()
    read = {"batch_size", "workers"}
    names = [item.name for item in fields(given) if item.name not in read]
    vain = [f"training.{name}" for name in names if getattr(given, name) != getattr(default, name)]
    if vain:
        yield f"method: none trains nothing by gradient; without effect: {', '.join(vain)}"
    model = parts.model
    if model.encoder.trainable and not model.embedding.passes and parts.init is None:
        yield (
            f"method: none and embedding: {parts.preset.embedding.name} learn nothing: encoder "
            f"{parts.preset.encoder.name} keeps its random weights"
        )


def _start_from(model: Model, preset: Preset, path: Path, dataset: Dataset) -> None:
    other = load(path)
    theirs = (tree_of(other.preset.encoder), other.channels, other.preset.data.missing)
    ours = (tree_of(preset.encoder), model.channels, model.missing)
    for name, a, b in zip(("encoder", "channels", "data.missing"), theirs, ours, strict=True):
        if a != b:
            raise UsageError(f"--init {path}: its {name} is {a}, this run's {b}; use the same")
    if "finetune" in other.manifest:
        dataset.note(f"--init {path}: its encoder was fine-tuned, so it has seen labels")
    model.encoder.load_state_dict(other.model.encoder.state_dict())


def _check_embedding_views(preset: Preset, model: Model, views: ViewGenerator) -> None:
    """Refuse views of the embedding that need records of another length than training's."""
    own = model.embedding.views
    if own is not None and own.build().extra_steps != views.extra_steps:
        raise PresetError(
            f"embedding: its views ({own.name}) read {own.build().extra_steps} steps beside a "
            f"window and those of training ({preset.views.name}) {views.extra_steps}; both need "
            "the same"
        )


def _check_views(method: Method, views: ViewGenerator, model: Model, dataset: Dataset) -> None:
    """Make the views of two records, so that what cannot work is told before the first step."""
    batch = collate_rows(dataset, [0, len(dataset) - 1], model.collate(dataset))
    try:
        made = views(batch, model.frontend, Rng(0))
    except ValueError as error:
        raise PresetError(f"views: {error}") from None
    name = method.name
    if "overlap" in method.needs and not views.aligned:
        raise PresetError(
            f"views: those of {type(views).__name__} share no steps that could be matched, and "
            f"{name} contrasts common steps; use views: overlapping"
        )
    if "whole" in method.needs and not views.whole:
        raise PresetError(
            f"views: {name} measures whole records (method.soft_records), which those of "
            f"{type(views).__name__} do not hold; set views.overlapping.whole=true, or "
            "method.soft_records=null"
        )
    if views.whole and "whole" not in method.needs:
        raise PresetError(
            f"views: the whole record (views.overlapping.whole) is to be measured, and {name} "
            "would encode it; set views.overlapping.whole=false"
        )
    if method.most_views is not None and len(made) > method.most_views:
        raise PresetError(
            f"views: make {len(made)} views of a record, and {name} takes {method.most_views}: "
            "each has a part of its own in its loss; make fewer, or use another method"
        )
    if "two_views" in method.needs and len(made) < 2:
        raise PresetError(f"views: make {len(made)} view of a record, and {name} needs two or more")
