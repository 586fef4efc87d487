"""One-step forecast: what the rows before do not say of this one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from annotated_types import Ge, Gt
from torch import Tensor

from seqcl.detection.scorers.base import Scorer
from seqcl.rng import Rng

__all__ = ["Forecast"]

_CLIP = 100.0


class Forecast(Scorer):
    """Predict each channel from its last `lags` rows by ridge regression; score the residual.

    In units of the residuals' median absolute deviation in training; the largest over the
    channels. It sees single rows that window scores blur.

    Args:
        channels: C.
        window: rows of the detector's window.
        lags: rows that predict.
        ridge: per training row.
    """

    def __init__(
        self,
        channels: int,
        window: int,
        *,
        lags: Annotated[int, Ge(1)] = 16,
        ridge: Annotated[float, Gt(0)] = 1e-3,
    ) -> None:
        super().__init__(channels, window)
        self.lags, self.ridge = lags, ridge

    @property
    def names(self) -> tuple[str, ...]:
        """One score."""
        return ("residual",)

    @property
    def reach(self) -> int:
        """The lags and the row itself."""
        return self.lags + 1

    @property
    def least(self) -> int:
        """A row beside one with its lags."""
        return self.lags + 2

    def fit(self, parts: Sequence[Tensor], rng: Rng) -> None:
        """Solve one regression for each channel."""
        weights = []
        for channel in range(self.channels):
            past = torch.cat([self._past(part, channel) for part in parts])
            target = torch.cat([part[self.lags :, channel].double() for part in parts])
            gram = past.T @ past + self.ridge * len(past) * torch.eye(
                self.lags + 1, dtype=past.dtype
            )
            weights.append(torch.linalg.solve(gram, past.T @ target))
        self.state = {"weights": torch.stack(weights)}
        residuals = torch.cat([self._residuals(part) for part in parts])
        usual = 1.4826 * residuals.abs().median(0).values
        spread = residuals.std(0, correction=0)
        self.state["usual"] = torch.where(usual > 0.05 * spread, usual, spread) + 1e-3

    def trailing(self, values: Tensor, hop: int = 1) -> Tensor:
        """Score rows as the base says."""
        residuals = self._residuals(values)[::hop].abs() / self.state["usual"]
        return residuals.clamp(max=_CLIP).amax(1, keepdim=True).float()

    def _past(self, values: Tensor, channel: int) -> Tensor:
        """Return the lags and a one of each row that has them (T - lags, lags + 1)."""
        lags = values[:, channel].double().unfold(0, self.lags, 1)[:-1]
        return torch.cat([lags, torch.ones(len(lags), 1, dtype=lags.dtype)], 1)

    def _residuals(self, values: Tensor) -> Tensor:
        rows = [
            values[self.lags :, channel]
            - self._past(values, channel) @ self.state["weights"][channel]
            for channel in range(self.channels)
        ]
        return torch.stack(rows, 1)
