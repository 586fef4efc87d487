"""Targets: what labels mean to a head: one class, several tags, or a value."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from seqcl.batch import Label, sorted_labels
from seqcl.errors import DataError
from seqcl.finetuning.options import FinetuneOptions

__all__ = ["Targets", "targets_of"]

Floats = npt.NDArray[np.float32]
Class = int | str | float


@dataclass(frozen=True)
class Targets:
    """The outputs of a head, K of them, and their loss.

    Classes and tags have one output each; a value has one, standardised by the training labels.
    """

    task: Literal["classification", "tags", "regression"]
    classes: tuple[Class, ...] = ()
    """Of the outputs; () = regression."""
    separator: str | None = None
    """What stands between the tags of a label that is text."""
    mean: float = 0.0
    std: float = 1.0

    @property
    def outputs(self) -> int:
        """K."""
        return len(self.classes) or 1

    def facts(self) -> dict[str, Any]:
        """Return plain values for a manifest."""
        return {**asdict(self), "classes": list(self.classes)}

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> Targets:
        """Return what `facts` was made of."""
        return cls(**{**facts, "classes": tuple(facts["classes"])})

    def table(self, labels: Sequence[Label], where: str) -> Tensor:
        """Return the target of each label: (N,) places, (N, K) tags or (N, 1) values.

        Raises DataError, naming `where`, for classes and tags that no training record has.
        """
        if self.task == "regression":
            values = [(number_of(label, where) - self.mean) / self.std for label in labels]
            return torch.tensor(values, dtype=torch.float32).view(-1, 1)
        members = [_classes_of(label, self) for label in labels]
        place = {name: number for number, name in enumerate(self.classes)}
        unseen = dict.fromkeys(name for names in members for name in names if name not in place)
        if unseen:
            kind = "tag" if self.task == "tags" else "class"
            raise DataError(
                f"{where}: no training record has {kind} {', '.join(map(repr, unseen))}; add "
                "labelled records to the training data, or leave these out"
            )
        if self.task == "classification":
            return torch.tensor([place[names[0]] for names in members], dtype=torch.int64)
        table = torch.zeros(len(labels), self.outputs)
        for row, names in enumerate(members):
            table[row, [place[name] for name in names]] = 1.0
        return table

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss of (B, K) outputs: cross-entropy, one for each tag, or square."""
        if self.task == "classification":
            return F.cross_entropy(outputs, targets)
        if self.task == "tags":
            return F.binary_cross_entropy_with_logits(outputs, targets)
        return F.mse_loss(outputs, targets)

    def score(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        """Return what people read beside the loss; an error in the units of the labels."""
        if self.task == "classification":
            return {"accuracy": float((outputs.argmax(1) == targets).float().mean())}
        if self.task == "tags":
            return {"tag_accuracy": float(((outputs > 0) == (targets > 0.5)).float().mean())}
        return {"rmse": float((outputs - targets).square().mean().sqrt()) * self.std}

    def finish(self, outputs: Tensor) -> Tensor:
        """Return (B, K) probabilities, or (B, 1) values in the units of the labels."""
        if self.task == "classification":
            return outputs.softmax(1)
        return outputs.sigmoid() if self.task == "tags" else outputs * self.std + self.mean

    def decide(self, finished: npt.NDArray[np.floating]) -> tuple[Label, ...]:
        """Return the label of each row (N, K): the likeliest class, tags from 0.5 on, the value."""
        if self.task == "classification":
            return tuple(self.classes[place] for place in finished.argmax(1).tolist())
        if self.task == "regression":
            digits = 7 - math.floor(math.log10(self.std))  # what float32 outputs can tell
            return tuple(round(value, digits) for value in finished[:, 0].tolist())
        return tuple(
            tuple(str(self.classes[place]) for place in np.flatnonzero(row >= 0.5).tolist())
            for row in finished
        )


def targets_of(labels: Sequence[Label], options: FinetuneOptions, where: str) -> Targets:
    """Return the targets that training labels ask for.

    Raises DataError, naming `where`, for values that are text or all the same, and where there
    are fewer than two classes.
    """
    task = _task(labels, options)
    if task == "regression":
        values = np.array([number_of(label, where) for label in labels])
        if values.std() == 0:
            raise DataError(f"{where}: every label is {values[0]:g}; values must differ")
        return Targets("regression", mean=float(values.mean()), std=float(values.std()))
    plain = Targets(task, separator=options.separator)
    names = sorted_labels([name for label in labels for name in _classes_of(label, plain)])
    if len(names) < 2 and (task == "classification" or not names):
        raise DataError(
            f"{where}: all {len(labels)} labelled training records are of class "
            f"{', '.join(map(repr, names)) or 'none'}; at least two classes are needed"
        )
    return replace(plain, classes=tuple(name for name in names if not isinstance(name, tuple)))


def number_of(label: Label, where: str) -> float:
    """Return a label as a number; raises DataError, naming `where`, for any other."""
    if isinstance(label, int | float):
        return float(label)
    raise DataError(
        f"{where}: label {label!r} is text and finetune.task=regression needs numbers; name their "
        "column with data.label, or set finetune.task=classification"
    )


def _task(
    labels: Sequence[Label], options: FinetuneOptions
) -> Literal["classification", "tags", "regression"]:
    if options.task != "auto":
        return options.task
    if options.separator is not None or any(isinstance(label, tuple) for label in labels):
        return "tags"
    return "regression" if all(isinstance(label, float) for label in labels) else "classification"


def _classes_of(label: Label, targets: Targets) -> tuple[Class, ...]:
    """Return the one class of a label, or its tags."""
    if isinstance(label, tuple):
        return label if targets.task == "tags" else (" ".join(label),)
    if targets.task == "classification":
        return (label,)
    parts = str(label).split(targets.separator) if targets.separator else [str(label)]
    return tuple(part.strip() for part in parts if part.strip())
