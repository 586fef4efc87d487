"""Assemble a supervised training: labelled records, a head, and what is held out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from seqcl.batch import Label
from seqcl.config.preset import Preset
from seqcl.data.dataset import Dataset
from seqcl.data.loader import Loader
from seqcl.errors import DataError, PresetError, UsageError
from seqcl.evaluation.labels import LabelBudget, draw_labels
from seqcl.finetuning.heldout import HeldOut, hold_out
from seqcl.finetuning.method import Supervised
from seqcl.finetuning.options import FinetuneOptions
from seqcl.finetuning.readout import Readout
from seqcl.finetuning.targets import Targets, targets_of
from seqcl.model import Model
from seqcl.registry import Spec
from seqcl.run.build import sample_of
from seqcl.run.sampling import check_batches, choose_sampler
from seqcl.views.base import ViewGenerator
from seqcl.views.independent import Independent

__all__ = ["Supervision", "supervise"]

Ints = npt.NDArray[np.int64]

_SHARE, _FEWEST_HELD = 0.2, 30
"""What is held out unless told otherwise, and the records below which nothing is. UCIHAR, 24
labels, one seed: with 6 of them held out a test accuracy of .644, with none .767."""
_FEWEST_STEPS = 10
"""Steps between two looks at held-out records at least: an epoch of few labels is one step."""


@dataclass(frozen=True)
class Supervision:
    """Everything that a supervised training needs, and what to tell of its data."""

    model: Model
    head: Readout
    targets: Targets
    method: Supervised
    views: ViewGenerator
    loader: Loader
    held_out: Dataset | None
    notes: tuple[str, ...]


def supervise(
    preset: Preset,
    options: FinetuneOptions,
    model: Model,
    data: Dataset,
    *,
    seed: int,
    device: torch.device,
    validation: Dataset | None = None,
    budget: LabelBudget | None = None,
    on_look: Callable[[int, Mapping[str, float]], None] | None = None,
) -> Supervision:
    """Put a head on `model`, to be trained in place on the labelled records of `data`.

    Args:
        preset: its `views:` and `training:` are used.
        options: the task, its stages and rates.
        model: is moved to `device`.
        data: labelled records; those without a label are left out.
        seed: of the order, the views, and of what is drawn and held out.
        device: where to train.
        validation: labelled records to look at instead of a part of `data`.
        budget: how many labels may be seen, those held out included; None = all.
        on_look: see `Supervised`.

    Raises DataError for data without labels, of one class, or of which nothing can be held out;
    PresetError where views or sampler cannot be used.
    """
    where = data.ids[0]
    labelled, notes = _labelled(data, where, "training")
    targets = targets_of(_labels(labelled), options, where)
    chosen = _within(labelled, targets, budget, seed)
    targets = targets_of(_labels(chosen), options, where)
    notes += _unused_separator(targets, _labels(chosen)) + _many_classes(targets, len(chosen))
    train, held, told = _split(chosen, validation, targets, options, seed)
    table = _table(train if validation is not None else chosen, targets, where)
    model = model.to(device)
    head = _head(model, train, targets, seed, device)
    views = _views(preset, options)
    loader = _loader(preset, model, train, seed)
    held_out = None
    if held is not None:
        rows = targets.table(_labels(held), held.ids[0])
        held_out = HeldOut(
            held, model.collate(held), model.frontend, rows, preset.training.batch_size
        )
    method = Supervised(
        model, head, targets, table, options=options, held_out=held_out, on_look=on_look,
        look_every=options.validate_every or max(_FEWEST_STEPS, loader.steps_per_epoch),
    )  # fmt: skip
    if method.always_frozen and not options.freeze:
        told += (f"encoder {preset.encoder.name} has no weights to train; the head alone learns",)
    return Supervision(
        model, head, targets, method.to(device), views, loader, held, (*notes, *told)
    )


def _labels(data: Dataset) -> list[Label]:
    return [label for label in data.labels if label is not None]


def _labelled(data: Dataset, where: str, part: str) -> tuple[Dataset, tuple[str, ...]]:
    """Return the records that have a label, and a note where some have none."""
    rows = np.flatnonzero(data.label_codes >= 0)
    if not len(rows):
        raise DataError(
            f"{where}: none of the {len(data)} {part} records has a label; name the label column "
            "with data.label (in a .npz: add an array y)"
        )
    if len(rows) == len(data):
        return data, ()
    missing = len(data) - len(rows)
    told = f"{missing} of {len(data)} {part} records have no label and are left out"
    return data.subset(rows), (told,)


def _many_classes(targets: Targets, records: int) -> tuple[str, ...]:
    """Say that numbers which hardly repeat were taken for classes."""
    numbers = all(isinstance(name, int | float) for name in targets.classes)
    if targets.task != "classification" or not numbers or 2 * len(targets.classes) <= records:
        return ()
    return (
        f"{len(targets.classes)} classes of {records} records: finetune.task=regression takes "
        "their labels as values",
    )


def _unused_separator(targets: Targets, labels: Sequence[Label]) -> tuple[str, ...]:
    """Return a note where no text holds the separator: each is one tag, meant or not."""
    texts = [str(label) for label in labels if not isinstance(label, tuple)]
    mark = targets.separator
    if targets.task != "tags" or mark is None or not texts or any(mark in text for text in texts):
        return ()
    return (f"finetune.separator={mark!r} is in no label, such as {texts[0]!r}; each is one tag",)


def _within(data: Dataset, targets: Targets, budget: LabelBudget | None, seed: int) -> Dataset:
    """Return the records whose labels may be seen."""
    if budget is None or budget.everything:
        return data
    labels: Sequence[Label] = _labels(data)
    if targets.task != "classification":
        if budget.per_class is not None:
            raise UsageError(f"--labels {budget}: {targets.task} has no classes; give a share")
        labels = [0] * len(labels)  # one class: drawn from all of them
    rarest, rare = min(Counter(labels).items(), key=lambda item: item[1])
    if budget.per_class is not None and budget.per_class > rare:
        raise DataError(
            f"--labels {budget}: class {rarest!r} has {rare} labelled training records; ask for "
            f"at most {rare} a class, or all"
        )
    return data.subset(draw_labels(list(data.ids), labels, budget, seed))


def _split(
    data: Dataset,
    validation: Dataset | None,
    targets: Targets,
    options: FinetuneOptions,
    seed: int,
) -> tuple[Dataset, Dataset | None, tuple[str, ...]]:
    """Return what is trained on, what is held out, and notes."""
    if validation is not None:
        held, told = _labelled(validation, f"--val {validation.ids[0]}", "validation")
        return data, held, told
    share = options.validation
    if share is None:
        share = _SHARE if _SHARE * len(data) >= _FEWEST_HELD else 0.0
    if share == 0:
        remark = f"{len(data)} labelled records, none held out: training goes to its last step"
        return data, None, (remark,)
    codes = data.label_codes
    if targets.task != "classification":
        codes = np.zeros_like(codes)
    rows = hold_out(data.group_codes, np.unique(codes, return_inverse=True)[1],
                    share, seed)  # fmt: skip
    train = np.setdiff1d(np.arange(len(data)), rows)
    notes = [f"{len(rows)} of {len(data)} labelled records are held out for early stopping"]
    alone = np.setdiff1d(codes, codes[rows]).tolist()
    if alone:
        names = ", ".join(repr(data.classes[code]) for code in alone[:5])
        more = f" and {len(alone) - 5} more" if len(alone) > 5 else ""
        notes.append(f"classes {names}{more} have too few records to hold any out")
    return data.subset(train), data.subset(rows), tuple(notes)


def _table(data: Dataset, targets: Targets, where: str) -> Tensor:
    """Return the target of each label code; 0 for codes that no record of `data` has."""
    codes = np.unique(data.label_codes)
    known = targets.table([data.classes[code] for code in codes.tolist()], where)
    table = known.new_zeros(len(data.classes), *known.shape[1:])
    table[torch.from_numpy(codes)] = known
    return table


@torch.no_grad()
def _head(
    model: Model, data: Dataset, targets: Targets, seed: int, device: torch.device
) -> Readout:
    """Return the head, with the scales of unaugmented training records."""
    embedded = model.eval()(sample_of(model, data, seed).to(device))
    head = Readout(embedded.shape[1], targets.outputs).to(device)
    head.prepare(embedded)
    return head


def _views(preset: Preset, options: FinetuneOptions) -> ViewGenerator:
    """Return one view of each record: as it is, or the first that the preset makes."""
    if not options.augment:
        return Independent(views=1)
    spec = preset.views
    if "views" in spec.options:
        spec = Spec(spec.kind, spec.name, {**spec.options, "views": 1})
    views = spec.build()
    if views.extra_steps:
        raise PresetError(
            f"finetune.augment: views {spec.name} read steps beside a record, which has its label "
            "alone; use --set views=independent"
        )
    return views


def _loader(preset: Preset, model: Model, data: Dataset, seed: int) -> Loader:
    options = preset.training
    sampler = choose_sampler(options, None).build(data)
    loader = Loader(
        data, model.collate(data), sampler, options.batch_size, seed=seed, workers=options.workers
    )
    check_batches(None, sampler, loader, options, seed)
    return loader
