"""Guard: keeps the losses on the device until a log step, and stops at the first bad one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from seqcl.batch import Batch
from seqcl.methods.base import Loss

__all__ = ["Fault", "Guard"]


@dataclass(frozen=True)
class Fault:
    """The first step whose loss or gradient was not finite."""

    step: int
    parts: dict[str, float]
    rows: tuple[int, ...]
    """Rows of the dataset in the batch of that step."""

    def describe(self) -> str:
        """Return ``loss=nan, grad_norm=inf``, all parts."""
        return ", ".join(f"{name}={value:.4g}" for name, value in self.parts.items())


class Guard:
    """Collects (loss, gradient norm, parts) of each step without waiting for the device.

    `watch` returns a device scalar that is 1 from the first non-finite step on: an optimizer
    that obeys it leaves the weights as they were before that step. `read`, on log steps only,
    copies everything in one piece.
    """

    def __init__(self, device: torch.device) -> None:
        self._bad = torch.zeros((), dtype=torch.float32, device=device)
        self._names: tuple[str, ...] = ()
        self._rows: list[Tensor] = []
        self._seen: list[tuple[int, Tensor]] = []

    def watch(self, step: int, batch: Batch, loss: Loss, grad_norm: Tensor) -> Tensor:
        """Remember one step; return the flag that stops updates.

        Raises ValueError where the parts of the loss are not those of the step before.
        """
        parts = {"loss": loss.total, "grad_norm": grad_norm, **loss.parts}
        if self._rows and tuple(parts) != self._names:
            raise ValueError(f"the parts of the loss were {self._names}, now {tuple(parts)}")
        row = torch.stack([part.detach().float() for part in parts.values()])
        self._names = tuple(parts)
        self._rows.append(row)
        self._seen.append((step, batch.ids))
        self._bad = torch.maximum(self._bad, 1.0 - row[:2].isfinite().all().float())
        return self._bad

    def read(self) -> dict[str, float] | Fault:
        """Return the means since the last read, or the first fault; waits for the device."""
        table = torch.stack(self._rows).cpu()
        names, seen = self._names, self._seen
        self._rows, self._seen = [], []
        bad = (~table[:, :2].isfinite().all(dim=1)).nonzero().flatten().tolist()
        if bad:
            step, rows = seen[bad[0]]
            parts = dict(zip(names, table[bad[0]].tolist(), strict=True))
            return Fault(step, parts, tuple(rows.tolist()))
        return dict(zip(names, table.double().mean(dim=0).tolist(), strict=True))
