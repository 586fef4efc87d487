"""Noise: something else sounds at the same time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from annotated_types import Ge, Le
from torch import Tensor

from seqcl.batch import Batch
from seqcl.modalities.audio.bank import bank_files, coloured_bank, folder_bank, stretches
from seqcl.modalities.audio.spectral import power, rate_of, waves
from seqcl.rng import Rng
from seqcl.views.base import Params, ValueAugmentation, check_range

__all__ = ["Noise"]

Decibels = Annotated[float, Ge(-60), Le(60)]
Colour = Annotated[float, Ge(-2), Le(4)]


@dataclass(frozen=True, kw_only=True)
class Noise(ValueAugmentation):
    """Add noise at a ratio of powers, from coloured noise or from recordings of a folder.

    Powers are those over a record's real steps. All channels of a record hear the same noise.
    """

    snr_db: tuple[Decibels, Decibels] = (0.0, 20.0)
    """Power of the record over that of the noise in dB, drawn uniformly."""
    colour: tuple[Colour, Colour] = (-1.0, 2.0)
    """How fast power falls with frequency, as f ** -colour: 0 is white, 1 pink, 2 brown."""
    bank: str | None = None
    """Folder of recordings instead, at most 256 MB at the batch's sampling rate."""

    def __post_init__(self) -> None:
        check_range(self, "snr_db")
        check_range(self, "colour")

    def files(self) -> tuple[Path, ...]:
        """Return the recordings of the bank."""
        return () if self.bank is None else bank_files(self.bank)

    def draw(self, batch: Batch, rng: Rng) -> Params:
        """Draw `snr_db` (B, 1, 1) and `place` (B,), where in the bank the noise begins."""
        return {
            "snr_db": rng.uniform(len(batch), *self.snr_db, 1, 1),
            "place": rng.uniform(len(batch), 0.0, 1.0),
        }

    def change(self, batch: Batch, params: Params) -> Tensor:
        """Add the noise, in float32."""
        values = waves(batch)
        if self.bank is None:
            ring = coloured_bank(*self.colour, values.device)
        else:
            ring = folder_bank(self.bank, round(rate_of(batch)), values.device)
        noise = stretches(ring, params["place"], values.shape[-1]).unsqueeze(1)
        ratio = power(values, batch) / power(noise, batch).clamp(min=1e-12)
        factor: Tensor = ratio.sqrt() * 10 ** (-params["snr_db"] / 20)
        return (noise.mul_(factor) + values).to(batch.values.dtype)  # `stretches` gave a copy
