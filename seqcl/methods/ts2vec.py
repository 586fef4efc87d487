"""TS2Vec (Yue et al. 2022, arXiv 2106.10466): the same step in two crops, scale by scale."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Annotated

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor

from seqcl.batch import Batch, Encoded
from seqcl.encoders.base import Encoder
from seqcl.losses.hierarchical import hierarchical
from seqcl.losses.soft import record_weights
from seqcl.methods.base import Loss, Method

__all__ = ["TS2Vec", "common_steps"]


class TS2Vec(Method):
    """Contrast the steps that two overlapping crops share, with other records and other steps.

    Wants the views `overlapping`, with `step_mask` for the paper's masks, and an encoder whose
    local features matter: `tcn` with `pooling: max` is closest to the paper's. With an encoder of
    stride s, local steps of two crops match to half of s. Soft assignments are SoftCLT's (Lee et
    al. 2024, arXiv 2312.16424). Those between records go by the distances of whole records inside
    the batch: the views are then `overlapping` with `whole: true`, whose last view is measured and
    not encoded. Over several processes the other records are the own ones. With more than two crops
    the loss is the mean over pairs of them.

    Args:
        encoders: the one encoder.
        instance: weight of the contrast with other records, 0 to 1; the rest is for other steps.
        anchors: steps drawn as anchors at every scale of the temporal term; None = all.
        soft_records: sharpness of soft assignments between records (tau of SoftCLT, 1 to 50
            there), which asks for the views' whole record; None = hard.
        soft_steps: sharpness of soft assignments between steps (0.5 to 2.5 there); None = hard.
        soft_ceiling: largest weight of another record (alpha of SoftCLT).
    """

    needs = frozenset({"two_views", "local", "overlap"})
    gathers = False

    def __init__(
        self,
        encoders: Mapping[str, Encoder],
        *,
        instance: Annotated[float, Ge(0), Le(1)] = 0.5,
        anchors: Annotated[int, Ge(1)] | None = None,
        soft_records: Annotated[float, Ge(0)] | None = None,
        soft_steps: Annotated[float, Gt(0)] | None = None,
        soft_ceiling: Annotated[float, Ge(0), Le(1)] = 0.5,
    ) -> None:
        super().__init__(encoders)
        self.instance, self.anchors = instance, anchors
        self.soft_records, self.soft_steps = soft_records, soft_steps
        self.soft_ceiling = soft_ceiling
        if soft_records is not None:
            self.needs = type(self).needs | {"whole"}

    def check(self, views: tuple[Batch, ...]) -> None:
        """Raise ValueError with too few views or records."""
        super().check(views)
        if self.soft_records is not None and len(views) < 3:
            raise ValueError(
                f"TS2Vec: {len(views)} views; soft_records needs two crops and the whole record, "
                "as views: {overlapping: {whole: true}} give"
            )

    def encode(self, views: tuple[Batch, ...]) -> tuple[Encoded, ...]:
        """Encode each crop; the whole record, last of three or more, comes along as it is."""
        if self.soft_records is None or len(views) < 3:  # the diagnostics show two crops
            return super().encode(views)
        *crops, whole = views
        nothing = whole.values.new_zeros(len(whole), 0)
        return (*super().encode(tuple(crops)), Encoded(nothing, None, None, whole))

    def objective(self, encoded: tuple[Encoded, ...]) -> Loss:
        """Return the mean of the loss over the pairs of crops."""
        crops, records = encoded, None
        if self.soft_records is not None:
            whole, crops = encoded[-1].view, encoded[:-1]
            records = record_weights(whole.values, whole.mask, self.soft_records, self.soft_ceiling)
        losses = [self._contrast(*pair, records) for pair in combinations(crops, 2)]
        total = torch.stack(losses).mean()
        return Loss(total, {"contrast": total.detach()})

    def _contrast(self, first: Encoded, second: Encoded, records: Tensor | None) -> Tensor:
        a, b, real = common_steps(first, second, self.encoder.stride)
        return hierarchical(
            a,
            b,
            real,
            instance=self.instance,
            anchors=self.anchors,
            records=records,
            sharpness=self.soft_steps,
        )


def common_steps(
    first: Encoded, second: Encoded, stride: int
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Cut the local steps that two views share out of each: (B, N, D) twice, and (B, N) real.

    N is what the views of the longest records share, where `Batch.offset` tells it on the host, as
    that of `overlapping` does; real is None where all records share as much. In a shorter record
    of an encoder with a stride a last step may be lost to rounding. Without an offset N is the
    shorter view's, so that nothing waits for the device, and the rest is not real. (The paper drops
    an odd last step in pooling.) Raises ValueError where a view does not say where it starts.
    """
    starts = [one.view.start for one in (first, second)]
    if starts[0] is None or starts[1] is None:
        raise ValueError(
            "TS2Vec: the views do not say where they start, so their common steps are unknown; "
            "use views: overlapping"
        )
    left, right = _local(first).transpose(1, 2), _local(second).transpose(1, 2)  # (B, T', D)
    steps = min(left.shape[1], right.shape[1])
    offsets = [one.view.offset for one in (first, second)]
    if offsets[0] is not None and offsets[1] is not None:
        ahead = (offsets[1] - offsets[0] + stride // 2) // stride
        # A stride may round an overlap of a few input steps away: the nearest local step stays.
        at = min(max(ahead, 0), left.shape[1] - 1), min(max(-ahead, 0), right.shape[1] - 1)
        steps = min(left.shape[1] - at[0], right.shape[1] - at[1])
        if first.mask is None and second.mask is None:
            return left[:, at[0] :][:, :steps], right[:, at[1] :][:, :steps], None
    shift = (starts[1] - starts[0] + stride // 2).div(stride, rounding_mode="floor")  # (B,)
    place = torch.arange(steps, device=shift.device)
    a, in_a = _cut(left, first.mask, shift.clamp(min=0).unsqueeze(1) + place)
    b, in_b = _cut(right, second.mask, (-shift).clamp(min=0).unsqueeze(1) + place)
    return a, b, in_a & in_b


def _cut(steps: Tensor, mask: Tensor | None, at: Tensor) -> tuple[Tensor, Tensor]:
    """Return the local features (B, T', D) at steps `at` (B, N), and which of these are real."""
    inside, at = at < steps.shape[1], at.clamp(max=steps.shape[1] - 1)
    if mask is not None:
        inside = inside & mask.gather(1, at)
    return steps.gather(1, at.unsqueeze(2).expand(-1, -1, steps.shape[2])), inside


def _local(encoded: Encoded) -> Tensor:
    assert encoded.local is not None
    return encoded.local
