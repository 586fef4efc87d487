"""What evaluators ask of embeddings: finite, at instance level, with one class a record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from seqcl.batch import Embeddings, Label, sorted_labels
from seqcl.errors import DataError
from seqcl.evaluation.units import units
from seqcl.metrics.similarity import Metric

__all__ = [
    "Classed",
    "LabelSets",
    "classed",
    "clean_label",
    "label_sets",
    "metric_for",
    "require_reference",
    "usable",
]

Codes = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Classed:
    """The records of one set that have a label."""

    values: npt.NDArray[np.float32]
    """(N, E)."""
    ids: tuple[str, ...]
    labels: tuple[Label, ...]
    unlabelled: int
    """Records that were left out because they have none."""
    units: Codes
    """(N,) see `seqcl.evaluation.units`."""


@dataclass(frozen=True)
class LabelSets:
    """Reference and test records over one list of classes."""

    reference: Classed
    test: Classed
    classes: tuple[Label, ...]
    """Those of the reference, sorted, then those that only the test set has."""
    reference_codes: Codes
    test_codes: Codes
    seen: int
    """Classes of the reference: codes below it can be predicted."""

    def counts(self) -> dict[str, int]:
        """Return how many records were used and left out."""
        return {
            "reference": len(self.reference.ids),
            "reference_without_label": self.reference.unlabelled,
            "test": len(self.test.ids),
            "test_without_label": self.test.unlabelled,
            "test_of_unseen_class": int((self.test_codes >= self.seen).sum()),
        }

    def notes(self) -> tuple[str, ...]:
        """Return what the reader of the numbers must know."""
        unseen = self.counts()["test_of_unseen_class"]
        told = [_left_out("test", self.test)] if self.test.unlabelled else []
        if unseen:
            names = ", ".join(repr(name) for name in self.classes[self.seen :][:5])
            told.append(
                f"{unseen} of {len(self.test.ids)} test records are of classes without a "
                f"labelled training record ({names}) and count as errors"
            )
        return tuple(told)


def usable(task: str, part: str, embeddings: Embeddings) -> None:
    """Raise DataError unless `embeddings` are finite vectors, one a record, at least one."""
    values = embeddings.values
    if embeddings.lengths is not None or len(values) != len(embeddings.ids):
        raise DataError(
            f"{task}: the {part} embeddings are of steps ({len(values)} rows for "
            f"{len(embeddings.ids)} records); embed at instance level"
        )
    if not len(values):
        raise DataError(f"{task}: the {part} set holds no record; at least one is needed")
    broken = np.flatnonzero(~np.isfinite(values).all(1))
    if len(broken):
        raise DataError(
            f"{task}: {len(broken)} of {len(values)} {part} embeddings hold NaN or infinity "
            f"(first: {embeddings.ids[broken[0]]!r}); look at the values of these records, or "
            "train again with a lower training.lr"
        )


def require_reference(task: str, test: Embeddings, reference: Embeddings | None) -> Embeddings:
    """Return the reference; raises DataError if it is missing or of another size than `test`."""
    if reference is None:
        raise DataError(f"{task}: no labelled training records to learn from; give them by --train")
    if reference.values.shape[1:] != test.values.shape[1:]:
        raise DataError(
            f"{task}: reference embeddings have {reference.values.shape[1]} dimensions and test "
            f"embeddings {test.values.shape[1]}; embed both with the same run"
        )
    return reference


def classed(task: str, part: str, embeddings: Embeddings) -> Classed:
    """Return the records that have a label; raises DataError if none has, or one has several."""
    usable(task, part, embeddings)
    found = [clean_label(label) for label in embeddings.labels or ()]
    several = sum(isinstance(label, tuple) for label in found)
    if several:
        raise DataError(
            f"{task}: {several} {part} records have a list of tags as label; one class is needed"
        )
    rows = [row for row, label in enumerate(found) if label is not None]
    if not rows:
        raise DataError(
            f"{task}: none of the {len(embeddings)} {part} records has a label; name the label "
            "column with data.label (in a .npz: add an array y)"
        )
    return Classed(
        embeddings.values if len(rows) == len(embeddings) else embeddings.values[rows],
        tuple(embeddings.ids[row] for row in rows),
        tuple(label for label in found if label is not None),
        len(embeddings) - len(rows),
        units(embeddings)[rows],
    )


def label_sets(task: str, test: Embeddings, reference: Embeddings | None) -> LabelSets:
    """Return both sets coded over one list of classes, for an evaluator that predicts classes."""
    gallery = classed(task, "reference", require_reference(task, test, reference))
    judged = classed(task, "test", test)
    seen = sorted_labels(gallery.labels)
    unseen = sorted_labels(set(judged.labels) - set(seen))
    if not set(seen) & set(judged.labels):
        raise DataError(
            f"{task}: no class of the test set ({unseen[0]!r}, ...) occurs in the reference "
            f"({seen[0]!r}, ...); check that both name their classes alike"
        )
    code = {label: number for number, label in enumerate((*seen, *unseen))}
    return LabelSets(
        gallery,
        judged,
        (*seen, *unseen),
        np.array([code[label] for label in gallery.labels]),
        np.array([code[label] for label in judged.labels]),
        len(seen),
    )


def metric_for(option: Literal["auto", "cosine", "euclidean"], test: Embeddings) -> Metric:
    """Return what `option` says; "auto" is what the embeddings declare, the cosine by default."""
    if option != "auto":
        return option
    return "euclidean" if test.info.get("metric") == "euclidean" else "cosine"


def clean_label(label: Label | None) -> Label | None:
    """Return `label` as a plain Python value; NaN is None."""
    plain: Label | None = label.item() if isinstance(label, np.generic) else label
    return None if plain != plain else plain


def _left_out(part: str, kept: Classed) -> str:
    total = kept.unlabelled + len(kept.ids)
    return f"{kept.unlabelled} of {total} {part} records have no label and are left out"
