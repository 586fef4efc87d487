"""Several encoders that learn the same from other initial weights."""

from __future__ import annotations

from typing import Annotated, ClassVar

from annotated_types import Ge

from seqcl.batch import Axes
from seqcl.encoders.base import Encoder
from seqcl.encoders.several import SeveralEncoders
from seqcl.registry import Spec

__all__ = ["Ensemble"]


class Ensemble(SeveralEncoders):
    """Encode by `members` encoders of one kind; `pooled` is all of theirs.

    The method is built once a member, with a head and prototypes of its own, and all see the same
    views. What one initialisation gets wrong is seldom what the next one does (deep ensembles,
    Lakshminarayanan et al. 2017, arXiv 1612.01474), so the mean of their cosines ranks better
    than any of them; training and embedding cost `members` times as much.

    Args:
        in_channels: C of the records.
        of: encoder of one member.
        members: how many.
    """

    layouts: ClassVar[tuple[Axes, ...]] = ("CT", "CHW")
    autocast = False

    def __init__(
        self,
        in_channels: int,
        *,
        of: Spec[Encoder] = Spec("encoders", "conv1d"),
        members: Annotated[int, Ge(1)] = 2,
    ) -> None:
        made = [of.build(in_channels) for _ in range(members)]
        if not made[0].trainable:
            raise ValueError(f"Ensemble: {of.name} has nothing to train; all members were alike")
        super().__init__(in_channels, made)

    @property
    def learners(self) -> tuple[Encoder, ...]:
        """What methods train, each by itself."""
        return tuple(one for member in self.each() for one in member.learners)

    @property
    def parts(self) -> tuple[int, ...]:
        """Features of each member."""
        return tuple(size for one in self.each() for size in one.parts)
