"""Augmentation, Frontend and ViewGenerator: what turns a batch into views.

Axes: B records, C channels, T steps, or H and W for images. Masked steps (padding, gaps) never
reach a real step, and come out of every augmentation as 0.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge, Le
from torch import Tensor, nn

from seqcl.batch import Axes, Batch
from seqcl.rng import Rng

__all__ = [
    "Augmentation",
    "Frontend",
    "Params",
    "ValueAugmentation",
    "ViewGenerator",
    "check_range",
    "real_steps",
    "where_chosen",
    "zero_masked",
]

Params = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Augmentation(ABC):
    """One random change of every record of a batch, with its own parameters per record.

    `sample` draws the parameters, `apply` uses them; nothing is kept on `self`, so a draw can
    be replayed. A subclass is a frozen dataclass whose fields are its options. One that changes
    values derives from `ValueAugmentation`, one that moves steps from `Resampling`.
    """

    kind: ClassVar[str] = "augmentations"
    layouts: ClassVar[tuple[Axes, ...]] = ("CT",)
    """What it augments: series, images, or both."""
    mixes: ClassVar[bool] = False
    """Whether a record's result depends on the other records of its batch."""

    p: Annotated[float, Ge(0), Le(1)] = 1.0
    """Probability that a record is changed at all."""

    @abstractmethod
    def draw(self, batch: Batch, rng: Rng) -> Params:
        """Draw parameters, one row per record, float32, on the batch's device."""

    @abstractmethod
    def apply(self, batch: Batch, params: Params) -> Batch:
        """Return the changed batch; the input batch is left as it is."""

    def files(self) -> tuple[Path, ...]:
        """Return the files that it takes sounds or pictures from, for a run's manifest."""
        return ()

    def sample(self, batch: Batch, rng: Rng) -> Params:
        """Draw parameters, then which records change.

        ``params["chosen"]`` is (B,) bool, or None where all change. It is drawn last, so `p`
        decides who is changed and never how.
        """
        params = self.draw(batch, rng)
        params["chosen"] = rng.bernoulli(len(batch), self.p) if self.p < 1 else None
        return params

    def __call__(self, batch: Batch, rng: Rng) -> Batch:
        """Sample and apply."""
        return self.apply(batch, self.sample(batch, rng))


@dataclass(frozen=True, kw_only=True)
class ValueAugmentation(Augmentation):
    """An augmentation that changes values and leaves every step where it is.

    Channels that only say where values are missing are never changed.
    """

    @abstractmethod
    def change(self, batch: Batch, params: Params) -> Tensor:
        """Return new values (B, C, T) of the same dtype; masked steps may hold anything."""

    def sample(self, batch: Batch, rng: Rng) -> Params:
        """Draw parameters for the channels that hold values."""
        return super().sample(_without_indicators(batch), rng)

    def apply(self, batch: Batch, params: Params) -> Batch:
        """Change the chosen records; masked steps come out 0."""
        plain = _without_indicators(batch)
        values = where_chosen(params["chosen"], self.change(plain, params), plain.values)
        if batch.indicators:
            values = torch.cat([values, batch.values[:, -batch.indicators :]], dim=1)
        return batch.with_values(zero_masked(values, real_steps(batch)))


def _without_indicators(batch: Batch) -> Batch:
    if not batch.indicators:
        return batch
    return batch.with_values(batch.values[:, : -batch.indicators], indicators=0)


class Frontend(nn.Module, ABC):
    """A deterministic transform with no learnt parameters, e.g. a log-mel spectrogram."""

    kind: ClassVar[str] = "frontends"
    layouts: ClassVar[tuple[Axes, ...]] = ("CT",)
    """What it takes: series, images, or both."""

    pictured: ClassVar[bool] = False
    """Whether `picture` makes images of series (spectrograms)."""
    by_group: bool = False
    """Whether it normalises by what `Batch.norms` says of a record's group."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.out_channels = in_channels

    def prepare(self, sample: Batch, rng: Rng) -> None:
        """Take statistics from unaugmented training records, before the optimizer exists."""

    def group_norms(self, batches: Iterable[Batch], groups: int) -> Tensor:
        """Return (groups, 2, F): mean and deviation of each group's features.

        `Batch.groups` tells whose a record is. Only where `by_group`.
        """
        raise NotImplementedError

    @abstractmethod
    def forward(self, batch: Batch) -> Batch:
        """Transform a batch; may change C and T, never B."""

    def picture(self, values: Tensor) -> Tensor:
        """Return values that it gave in the form in which a person should see them."""
        return values


class ViewGenerator(ABC):
    """Makes the views of a batch around a front end.

    A subclass takes its options by keyword. View v draws from ``rng.fork(v)``, so one view more
    does not change the others.
    """

    kind: ClassVar[str] = "views"
    layouts: ClassVar[tuple[Axes, ...]] = ("CT",)
    """What it makes views of: series, images, or both."""
    extra_steps: int = 0
    """How many steps longer than a window the dataset must read (neighbouring windows)."""
    aligned: ClassVar[bool] = False
    """Whether the views share steps, and step t of a view is recording step ``start + t``."""
    whole: bool = False
    """Whether the last view is the record as it is, to measure records by and not to encode."""

    @abstractmethod
    def __call__(self, batch: Batch, frontend: Frontend, rng: Rng) -> tuple[Batch, ...]:
        """Return the views, each with the batch's records in the same order."""


def check_range(owner: object, option: str) -> None:
    """Raise ValueError where the (low, high) option of `owner` is reversed."""
    low, high = getattr(owner, option)
    if low > high:
        raise ValueError(
            f"{type(owner).__name__}: {option} is ({low}, {high}); low must not exceed high"
        )


def real_steps(batch: Batch) -> Tensor | None:
    """Return (B, T) True = a step that may be used, from mask or lengths; None = all."""
    if batch.mask is not None or batch.lengths is None:
        return batch.mask
    steps = torch.arange(batch.values.shape[-1], device=batch.values.device)
    return steps < batch.lengths.unsqueeze(1)


def where_chosen(chosen: Tensor | None, changed: Tensor, original: Tensor) -> Tensor:
    """Select per record: `chosen` (B,) bool or None = all, then tensors (B, ...)."""
    if chosen is None:
        return changed
    return torch.where(chosen.view(-1, *[1] * (changed.dim() - 1)), changed, original)


def zero_masked(values: Tensor, mask: Tensor | None) -> Tensor:
    """Return `values` (B, C, T) with 0 where `mask` (B, T) is False, whatever was there."""
    if mask is None:
        return values
    return torch.where(mask.unsqueeze(1), values, values.new_zeros(()))
