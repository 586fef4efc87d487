"""Temperatures that change while a method is trained: on a schedule, or learnt."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Annotated, ClassVar, Literal

import torch
from annotated_types import Ge, Gt
from torch import Tensor, nn

from seqcl.losses.base import PairLoss
from seqcl.methods.base import Progress
from seqcl.registry import Spec

__all__ = [
    "LearntTemperature",
    "ScheduledTemperature",
    "Temperature",
    "build_temperature",
]


class Temperature(nn.Module, ABC):
    """What takes the place of the number in the loss; all it knows is in its state."""

    kind: ClassVar[str] = "temperatures"

    @abstractmethod
    def forward(self) -> Tensor:
        """Return the temperature now: a scalar above 0."""

    def after_step(self, progress: Progress) -> None:
        """Move on, after the optimizer."""


class ScheduledTemperature(Temperature):
    """From one temperature to another while training goes on.

    `linear` and `cosine` (half a wave) go from `start` to `end` once. `oscillating` is equation 3
    of Kukleva et al. 2023, "Temperature Schedules for Self-Supervised Contrastive Methods on
    Long-Tail Data" (arXiv 2303.13664), with `start` and `end` as its largest and smallest
    temperature: whole cosine waves, `waves` of them where the paper has one in 200 epochs.

    Args:
        start: at the first step.
        end: at the last step, or at the bottom of each wave.
        shape: of the way between them.
        waves: how many, of `oscillating`.
    """

    value: Tensor

    def __init__(
        self,
        *,
        start: Annotated[float, Gt(0)] = 1.0,
        end: Annotated[float, Gt(0)] = 0.1,
        shape: Literal["linear", "cosine", "oscillating"] = "cosine",
        waves: Annotated[int, Ge(1)] = 10,
    ) -> None:
        super().__init__()
        self.start, self.end, self.shape, self.waves = start, end, shape, waves
        self.register_buffer("value", torch.tensor(start))

    def forward(self) -> Tensor:
        """Return the temperature of this step, without gradient."""
        return self.value.clone()  # the loss keeps it while `after_step` writes the next

    def after_step(self, progress: Progress) -> None:
        """Take the temperature of the next step."""
        self.value.fill_(self.at(progress.fraction))

    def at(self, fraction: float) -> float:
        """Return the temperature after a part of the training, 0 to 1."""
        if self.shape == "linear":
            return self.start + (self.end - self.start) * fraction
        turns = 0.5 if self.shape == "cosine" else self.waves
        height = (1 + math.cos(2 * math.pi * turns * fraction)) / 2
        return self.end + (self.start - self.end) * height


class LearntTemperature(Temperature):
    """Learn the temperature's logarithm with the weights, as CLIP does.

    Radford et al. 2021 (arXiv 2103.00020, section 2.5) start at 0.07 and clip 1 / temperature to
    at most 100, after each step; so do we, to [`low`, `high`]. It is not decayed, being a scalar.

    Args:
        start: at the first step.
        low, high: bounds; the gradient works on them as anywhere else.
    """

    def __init__(
        self,
        *,
        start: Annotated[float, Gt(0)] = 0.07,
        low: Annotated[float, Gt(0)] = 0.01,
        high: Annotated[float, Gt(0)] = 1.0,
    ) -> None:
        super().__init__()
        if not low <= start <= high:
            raise ValueError(
                f"LearntTemperature: start is {start}, low {low}, high {high}; they must rise: "
                "low, start, high"
            )
        self.low, self.high = low, high
        self.log_value = nn.Parameter(torch.tensor(math.log(start)))

    def forward(self) -> Tensor:
        """Return the temperature, with gradient."""
        return self.log_value.exp()

    @torch.no_grad()
    def after_step(self, progress: Progress) -> None:
        """Put the temperature back between its bounds."""
        self.log_value.clamp_(math.log(self.low), math.log(self.high))


def build_temperature(spec: Spec[Temperature] | None, loss: PairLoss) -> Temperature | None:
    """Build a temperature for `loss`; raises ValueError where the loss has none to replace."""
    if spec is None:
        return None
    if not loss.has_temperature:
        raise ValueError(
            f"temperature={spec.name}: {type(loss).__name__} has no temperature; leave the "
            "temperature unset, or use a loss that has one (nt_xent, supcon)"
        )
    return spec.build()
