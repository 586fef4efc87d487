"""Encoders that are not trained, side by side."""

from __future__ import annotations

from seqcl.encoders.base import Encoder
from seqcl.encoders.several import SeveralEncoders
from seqcl.registry import Spec

__all__ = ["Joined"]


class Joined(SeveralEncoders):
    """Encode by several encoders that learn nothing; `pooled` is all of theirs, in their order.

    What they give counts as the features of one encoder, so it should be of one scale. Kernels
    that count (`rocket`) and kernels that compete (`hydra`) err in other records: both are
    MultiRocket-Hydra (Dempster et al. 2023, arXiv 2203.13652). To train one encoder beside
    another that is fixed there is `beside`.

    Args:
        in_channels: C of the series.
        of: the encoders.
    """

    trainable = False
    autocast = False

    def __init__(
        self,
        in_channels: int,
        *,
        of: tuple[Spec[Encoder], ...] = (Spec("encoders", "rocket"), Spec("encoders", "hydra")),
    ) -> None:
        if not of:
            raise ValueError("Joined: `of` names no encoder")
        made = [spec.build(in_channels) for spec in of]
        learners = [spec.name for spec, one in zip(of, made, strict=True) if one.trainable]
        if learners:
            raise ValueError(f"Joined: {learners[0]} is trained; give it to beside as its learner")
        super().__init__(in_channels, made)
