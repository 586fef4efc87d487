"""FinetuneOptions: what `seqcl finetune --set finetune.KEY=VALUE` can change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Lt, MinLen

__all__ = ["FinetuneOptions"]


@dataclass(frozen=True, kw_only=True)
class FinetuneOptions:
    """What the head predicts, and how it and the encoder are trained with labels."""

    task: Literal["auto", "classification", "tags", "regression"] = "auto"
    """`auto`: tags where labels are lists of them or `separator` is set; regression where every
    label is a number and one is not whole; classification otherwise."""
    separator: Annotated[str, MinLen(1)] | None = None
    """What stands between the tags of a label ("leak|noise"); None = a label is one class."""
    freeze: bool = False
    """Whether the encoder stays as it is and the head alone learns."""
    head_share: Annotated[float, Ge(0), Le(1)] = 0.2
    """Part of all steps in which the head learns on the frozen encoder, before all weights do
    (linear probing, then fine-tuning: Kumar et al. 2022, arXiv 2202.10054)."""
    layer_decay: Annotated[float, Gt(0), Le(1)] = 0.75
    """Learning rate of a layer over that of the layer above it, beginning with the head's
    (Clark et al. 2020, arXiv 2003.10555); 1 = one rate."""
    augment: bool = False
    """Whether training records are seen through the preset's views, one view of each."""
    validation: Annotated[float, Ge(0), Lt(1)] | None = None
    """Part of the labelled records that is held out by group where there is no --val; 0 = none:
    training goes to its last step, and its last weights are kept. None = a fifth, or none where
    that is fewer than 30 records, whose loss says less than their labels teach."""
    validate_every: Annotated[int, Ge(1)] | None = None
    """Steps between two looks at the held-out records; None = an epoch, at least 10."""
    patience: Annotated[int, Ge(1)] = 10
    """Looks without a lower loss after which training stops, those on the frozen encoder not
    counted."""
