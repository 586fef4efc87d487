"""Exportable: a run as one module from raw values to what it gives."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seqcl.batch import Batch
from seqcl.finetuning.readout import Readout
from seqcl.finetuning.targets import Targets
from seqcl.model import Model

__all__ = ["Exportable"]

_DOUBLINGS = 20
"""A gap of up to a million steps is held."""


class Exportable(nn.Module):
    """Maps values (B, C, T) or (B, C, H, W), in the units of the data, to what a run gives.

    NaN are missing, and steps of NaN at a record's end padding, as in the files that a run reads.

    Args:
        model: scaler, front end, encoder and embedding.
        head, targets: of a fine-tuned run.
        gaps: take NaN; False = values are whole, which graphs of some encoders need.

    Returns embeddings (B, E) and, with a head, probabilities or values (B, K).
    """

    def __init__(
        self, model: Model, head: Readout | None, targets: Targets | None, gaps: bool = True
    ) -> None:
        super().__init__()
        self.model, self.head, self.targets, self.gaps = model, head, targets, gaps

    def forward(self, values: Tensor) -> tuple[Tensor, ...]:
        """Scale, fill, encode, embed and predict."""
        scaled = self.model.scaler(values.flatten(2)).view(values.shape)
        gaps = self.gaps and values.dim() == 3
        filled, mask = self._filled(scaled) if gaps else (scaled, None)
        indicators = values.shape[1] if self.model.missing == "indicator" else 0
        if indicators and not gaps:
            filled = torch.cat((filled, torch.zeros_like(filled)), dim=1)
        batch = Batch(values=filled, ids=filled.new_zeros(1), mask=mask, indicators=indicators)
        embedded: Tensor = self.model(batch)
        if self.head is None or self.targets is None:
            return (embedded,)
        return embedded, self.targets.finish(self.head(embedded))

    def _filled(self, scaled: Tensor) -> tuple[Tensor, Tensor]:
        """Return values without NaN and the mask (B, T), as `Collate` makes them."""
        observed = ~scaled.isnan()
        seen = observed.any(1)  # (B, T)
        places = torch.arange(1, scaled.shape[2] + 1, device=scaled.device)
        length = torch.where(seen, places, 0).amax(1, keepdim=True)
        real = places <= length  # (B, T)
        filled = torch.where(observed, scaled, 0.0)
        if self.model.missing == "indicator":
            missing = (~observed & real[:, None]).to(scaled.dtype)
            return torch.cat((filled, missing), dim=1), real
        if self.model.missing == "hold":
            return _held(filled, observed) * real[:, None], real
        return filled, seen


def _held(filled: Tensor, observed: Tensor) -> Tensor:
    """Carry the last observed value forward, then the first one backward; both (B, C, T).

    ONNX has no running maximum: it is taken over stretches that double in length.
    """
    steps = filled.shape[2]
    places = torch.arange(steps, device=filled.device)
    first = torch.where(observed, places, steps - 1).amin(2, keepdim=True)
    last = torch.where(observed, places, -1)
    for power in range(_DOUBLINGS):
        last = torch.maximum(last, F.pad(last, (2**power, 0), value=-1)[..., :steps])
    return filled.gather(2, torch.where(last < 0, first, last))
