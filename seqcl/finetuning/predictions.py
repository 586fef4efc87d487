"""Predictions: what a head says of each record."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from seqcl.batch import Label
from seqcl.data.dataset import Dataset
from seqcl.finetuning.readout import Readout
from seqcl.finetuning.targets import Targets
from seqcl.model import Model
from seqcl.training.embed import embed

__all__ = ["Predictions", "predict"]


@dataclass(frozen=True)
class Predictions:
    """One prediction a record, in the order of the records."""

    ids: tuple[str, ...]
    labels: tuple[Label, ...]
    """The likeliest class, the tags of probability 0.5 and above, or the value."""
    probabilities: npt.NDArray[np.float32] | None
    """(N, K) of each class (they sum to 1) or of each tag; None = regression."""
    classes: tuple[int | str | float, ...]
    """The K classes or tags; () = regression."""

    def __len__(self) -> int:
        return len(self.ids)


def predict(
    model: Model,
    head: Readout,
    targets: Targets,
    dataset: Dataset,
    *,
    device: torch.device | str | None = None,
    batch_size: int = 256,
) -> Predictions:
    """Embed every record, then apply the head; the same record gives the same bits, see `embed`.

    Raises DataError where channels are missing, extra, or of another number.
    """
    embedded = embed(model, dataset, device=device, batch_size=batch_size)
    with torch.no_grad():
        outputs = head.cpu()(torch.from_numpy(embedded.values))
        # Values far from 0 that lie close together need more digits than float32 has.
        outputs = outputs.double() if targets.task == "regression" else outputs
        finished = targets.finish(outputs).numpy()
    probabilities = None if targets.task == "regression" else finished
    return Predictions(embedded.ids, targets.decide(finished), probabilities, targets.classes)
