"""Each channel by itself, scored by what all of them share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor

from seqcl.detection.scorers.base import Scorer
from seqcl.registry import Spec
from seqcl.rng import Rng

__all__ = ["EachChannel"]


class EachChannel(Scorer):
    """Fit one scorer to the channels as recordings of their own; average the highest few scores.

    An anomaly of one sensor among many is not diluted by the others, and a scorer that is trained
    sees as many recordings as there are channels. What channels say together is not seen.

    Args:
        channels: C.
        window: rows of the detector's window.
        scorer: what scores a channel, for example `contrastive`, whose encoder all then share.
        top: channels whose scores are averaged, the highest at each row.
    """

    def __init__(
        self,
        channels: int,
        window: int,
        *,
        scorer: Spec[Scorer] = Spec("scorers", "contrastive", {"hops": 4}),
        top: Annotated[int, Ge(1)] = 1,
    ) -> None:
        super().__init__(channels, window)
        self.scorer = scorer.build(1, window)
        self.top = min(top, channels)

    @property
    def names(self) -> tuple[str, ...]:
        """Those of the scorer."""
        return tuple(f"{name} of channels" for name in self.scorer.names)

    @property
    def reach(self) -> int:
        """That of the scorer."""
        return self.scorer.reach

    @property
    def covering(self) -> int:
        """That of the scorer."""
        return self.scorer.covering

    @property
    def hop(self) -> int:
        """That of the scorer."""
        return self.scorer.hop

    @property
    def least(self) -> int:
        """That of the scorer."""
        return self.scorer.least

    def fit(self, parts: Sequence[Tensor], rng: Rng) -> None:
        """Fit the scorer to every channel of every recording."""
        self.scorer.fit([channel for part in parts for channel in torch.split(part, 1, dim=1)], rng)
        self.state = self.scorer.state

    def restore(self, state: dict[str, Tensor]) -> None:
        """Give the scorer a `state` that was saved."""
        self.scorer.restore(state)
        self.state = state

    def trailing(self, values: Tensor, hop: int = 1) -> Tensor:
        """Score rows as the base says."""
        found = [self.scorer.trailing(channel, hop) for channel in torch.split(values, 1, dim=1)]
        return torch.stack(found).topk(self.top, dim=0).values.mean(0)
