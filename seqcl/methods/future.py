"""Predict local features from those before them: what CPC and TS-TCC share."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from seqcl.batch import Encoded
from seqcl.distributed import all_reduce_sum, world_size
from seqcl.errors import PresetError

__all__ = ["Forecast", "future_contrast"]


class Forecast(nn.Module):
    """A context that reads local steps in order, and linear predictions of the steps after it.

    Args:
        in_dim: features of a local step.
        width: features of the context, a GRU's state.
        horizon: steps that are predicted; the k-th by a linear map of its own.
    """

    def __init__(self, in_dim: int, width: int, horizon: int) -> None:
        super().__init__()
        self.horizon = horizon
        self.context = nn.GRU(in_dim, width, batch_first=True)
        self.predict = nn.Linear(width, horizon * in_dim)

    def forward(self, encoded: Encoded) -> Tensor:
        """Return contexts (B, T', width); context t has read steps 0 to t, zeros where masked."""
        assert encoded.local is not None
        steps = encoded.local.transpose(1, 2)
        if encoded.mask is not None:
            steps = steps.masked_fill(~encoded.mask.unsqueeze(2), 0.0)
        contexts: Tensor = self.context(steps)[0]
        return contexts

    def draw(self, encoded: Encoded, most: int | None, name: str) -> Tensor:
        """Draw up to `most` steps that have a future, the same for all records: (A,).

        Raises PresetError for local features of one step, in the `name` of the method.
        """
        assert encoded.local is not None
        steps = encoded.local.shape[2]
        if steps < 2:
            raise PresetError(
                f"method {name}: {steps} local step of a view of "
                f"{encoded.view.values.shape[-1]} has no "
                "future; use longer windows or an encoder of smaller stride"
            )
        return torch.randperm(steps - 1, device=encoded.local.device)[:most]

    def predictions(self, contexts: Tensor, at: Tensor) -> Tensor:
        """Return (B, A, horizon, in_dim) predicted from the contexts at steps `at`."""
        drawn: Tensor = self.predict(contexts.index_select(1, at))
        return drawn.view(*drawn.shape[:2], self.horizon, -1)


def future_contrast(
    predicted: Tensor, target: Encoded, source: Encoded, at: Tensor, *, across_steps: bool
) -> Tensor:
    """Return the mean of InfoNCE over records, steps and horizons (arXiv 1807.03748, equation 4).

    The score of a prediction and a local step is their product, in float32. Its positive is the
    step that it predicts; its negatives are the steps predicted for other records and, with
    `across_steps`, for other drawn steps of all records. A prediction from a masked step, or of
    one, is no anchor; a masked step is no negative. Over several processes negatives are those of
    the own records, and the mean is over the anchors of all processes.

    Args:
        predicted: (B, A, K, D), step ``at + k + 1`` by prediction k; from `source`'s contexts.
        target: the view whose local steps (B, D, T') are predicted; `source`'s own in CPC.
        at: (A,) steps that were predicted from.
    """
    assert target.local is not None
    rows, steps = len(predicted), target.local.shape[2]
    total = count = predicted.new_zeros((), dtype=torch.float32)
    with torch.autocast(predicted.device.type, enabled=False):
        for k in range(min(predicted.shape[2], steps - 1)):
            ahead = at + k + 1
            real = (ahead < steps).expand(rows, -1)
            ahead = ahead.clamp(max=steps - 1)
            for mask, place in ((target.mask, ahead), (source.mask, at)):
                real = real if mask is None else real & mask.index_select(1, place)
            true = target.local.index_select(2, ahead).permute(2, 0, 1)  # (A, B, D)
            guess, real = predicted[:, :, k].transpose(0, 1), real.T
            if across_steps:
                true, guess = true.flatten(0, 1)[None], guess.flatten(0, 1)[None]
                real = real.flatten()[None]
            total = total + (_info_nce(guess.float(), true.float(), real) * real).sum()
            count = count + real.sum()
    anchors = all_reduce_sum(count) / world_size()
    return total / anchors.clamp(min=1 / world_size())


def _info_nce(guess: Tensor, true: Tensor, real: Tensor) -> Tensor:
    """Return -log softmax of each row's own column (G, R), masked columns left out."""
    scores = guess @ true.transpose(1, 2)  # (G, R, R)
    own = scores.diagonal(dim1=1, dim2=2)
    lowest = torch.finfo(scores.dtype).min
    return scores.masked_fill(~real.unsqueeze(1), lowest).logsumexp(2) - own
