"""Features of sliding windows from random dilated kernels, by sums that windows share.

The kernels of MiniRocket (Dempster et al. 2021, arXiv 2012.08791), convolved once over a recording
and pooled in every window of it, where an encoder of single records would start anew each time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from seqcl.encoders.random_kernels import random_channels
from seqcl.encoders.rocket import rocket_kernels
from seqcl.rng import Rng

__all__ = ["WindowFeatures", "sliding_max"]

State = dict[str, Tensor]
_TAPS = 9
_DILATIONS = 4
_QUANTILES = np.array([0.25, 0.75, 0.95], np.float32)
_CLIP = 30.0
_SAMPLE = 4_096
"""Steps that quantiles are taken from."""


class WindowFeatures:
    """Describe windows of `window` steps of a recording by D features of one scale.

    Of each response to 84 kernels at 4 dilations, over the series and over its differences: the
    share of steps above 0 and above three quantiles of the training data (through ``arcsin
    sqrt``), the mean of what it is without sign, its highest and its lowest. All kernels sum to 0,
    so the share above 0 knows neither the level nor the amplitude of the window: it is its shape.
    Of each channel besides: highest, lowest, mean, deviation, last and largest step. Kernels look
    back, so nothing after a window is seen.

    Args:
        channels: C.
        window: steps, at least 4.
    """

    def __init__(self, channels: int, window: int) -> None:
        self.channels, self.window = channels, window
        top = max(1, (window - 1) // (_TAPS - 1))
        powers = [math.log2(top) * place / (_DILATIONS - 1) for place in range(_DILATIONS)]
        self.dilations = sorted({int(2**power + 1e-9) for power in powers})
        self.state: State = {}

    @property
    def before(self) -> int:
        """Steps before a window that its features depend on."""
        return (_TAPS - 1) * self.dilations[-1] + 1  # one more for a difference

    def fit(self, parts: Sequence[Tensor], rng: Rng, windows: int) -> Tensor:
        """Draw channels, take levels and scales from parts (T, C); returns the features (n, D).

        The features are those of at most `windows` windows, evenly spread.
        """
        slots = 2 * len(self.dilations)
        chosen = random_channels((slots, len(rocket_kernels()), self.channels), rng)
        self.state = {"channels": chosen}
        spreads, levels = [], []
        for found in zip(*(self._slots(part, 1, 0) for part in parts), strict=True):
            responses = torch.cat(found, 2)[:, 0]
            spread = responses.std(1, correction=0)
            spreads.append(torch.where(spread > 1e-6, spread, torch.ones_like(spread)))
            thinned = responses[:, :: max(1, responses.shape[1] // _SAMPLE)]
            quantiles = np.quantile(thinned.numpy(), _QUANTILES, axis=1)  # torch's would sort
            levels.append(torch.from_numpy(quantiles).T / spreads[-1][:, None] + 1e-5)
        self.state |= {"spread": torch.stack(spreads), "levels": torch.stack(levels)}
        count = sum(max(0, len(part) - self.window + 1) for part in parts)
        hop = max(1, -(-count // windows))
        raw = torch.cat([self._strided(part, hop) for part in parts])
        variance = raw.var(0, correction=0)
        own = 6 * self.channels
        kernels = raw.shape[1] - own
        floor = torch.cat([variance[:kernels].mean().expand(kernels), torch.full((own,), 0.01)])
        share = torch.cat([torch.full((kernels,), kernels), torch.full((own,), own)])
        self.state["centre"] = raw.mean(0)
        self.state["scale"] = ((variance + floor + 1e-9) * share).rsqrt()
        return self._scaled(raw)

    def __call__(self, values: Tensor, hop: int = 1, before: int = 0) -> Tensor:
        """Return (N, D) of the windows that begin at every `hop`-th step of values (T, C).

        The first `before` steps are context alone, the first window begins after them. What would
        be needed before the first step is taken as repeated. `window` is a multiple of `hop`.
        """
        return self._scaled(self._raw(values, hop, before))

    def _scaled(self, raw: Tensor) -> Tensor:
        return raw.sub_(self.state["centre"]).mul_(self.state["scale"])

    def _strided(self, values: Tensor, hop: int) -> Tensor:
        """Return raw features of every `hop`-th window, whatever `hop` is."""
        if len(values) < self.window:
            return torch.zeros(0, len(self.dilations) * 2 * 84 * 7 + 6 * self.channels)
        step = next(step for step in range(min(hop, self.window), 0, -1) if self.window % step == 0)
        return self._raw(values, step, 0)[:: max(1, hop // step)]

    def _raw(self, values: Tensor, hop: int, before: int) -> Tensor:
        found: list[Tensor] = []
        for slot, responses in enumerate(self._slots(values, hop, before)):
            responses /= self.state["spread"][slot][:, None, None]
            found += self._pooled(responses.clamp_(-_CLIP, _CLIP), self.state["levels"][slot])
        return torch.cat([*found, self._statistics(values, hop, before)]).T

    def _pooled(self, chunks: Tensor, levels: Tensor) -> Iterator[Tensor]:
        """Yield statistics (84, N) of responses in chunks (84, hop, T / hop)."""
        size = chunks.shape[1]
        above = torch.empty_like(chunks)  # 0 or 1: sums of booleans would be cast first
        for level in (torch.zeros_like(levels[:, 0]), *levels.T):
            torch.gt(chunks, level[:, None, None], out=above)
            yield self._mean(above.sum(1), size).clamp_(0, 1).sqrt_().asin_()
        yield self._mean(chunks.abs().sum(1), size)
        width = self.window // size
        yield sliding_max(chunks.amax(1), width)
        yield sliding_max(chunks.amin(1).neg_(), width)

    def _mean(self, sums: Tensor, hop: int) -> Tensor:
        """Return means (R, N) over windows from sums (R, T / hop) of chunks."""
        width = self.window // hop
        total = sums.cumsum(1, dtype=torch.float64)
        found = total[:, width - 1 :].clone()
        found[:, 1:] -= total[:, :-width]
        return found.div_(self.window).float()

    def _slots(self, values: Tensor, hop: int, before: int) -> Iterator[Tensor]:
        """Yield the responses (84, hop, N) to (T, C) at each dilation, series and steps.

        Step ``before + n * hop + h`` is at [h, n], so that what is taken of `hop` steps together
        is taken of long rows.
        """
        series = values.T.contiguous().float()
        steps = F.pad(series.diff(dim=1), (1, 0))
        kernels = rocket_kernels()
        for slot, chosen in enumerate(self.state["channels"]):
            which, place = divmod(slot, len(self.dilations))
            dilation = self.dilations[place]
            padded = F.pad((series, steps)[which], ((_TAPS - 1) * dilation, 0), mode="replicate")
            chunks = (len(values) - before) // hop
            starts = [before + tap * dilation for tap in range(_TAPS)]
            taps = [padded[:, at : at + chunks * hop].reshape(-1, chunks, hop) for at in starts]
            seen = torch.stack(taps, 1).transpose(2, 3).reshape(len(series) * _TAPS, -1)
            weights = kernels[:, None] * chosen[..., None]  # (84, C, 9)
            yield (weights.flatten(1) @ seen).view(len(kernels), hop, chunks)

    def _statistics(self, values: Tensor, hop: int, before: int) -> Tensor:
        """Return six numbers of each channel (6 C, N)."""
        whole = values.T.contiguous()
        steps = F.pad(whole.diff(dim=1).abs(), (1, 0))[:, before:]
        chunks = (len(values) - before) // hop
        series = whole[:, before : before + chunks * hop].reshape(-1, chunks, hop)
        jumps = steps[:, : chunks * hop].reshape(-1, chunks, hop)
        width = self.window // hop
        mean = self._mean(series.sum(2), hop)
        square = self._mean(series.square().sum(2), hop)
        return torch.cat(
            [
                sliding_max(series.amax(2), width),
                -sliding_max(-series.amin(2), width),
                mean,
                (square - mean.square()).clamp(min=0).sqrt(),
                series[:, width - 1 :, -1],
                sliding_max(jumps.amax(2), width),
            ]
        )


def sliding_max(rows: Tensor, width: int) -> Tensor:
    """Return the highest of each `width` neighbouring columns of (R, T): (R, T - width + 1)."""
    columns = rows.shape[1] - width + 1
    size = 1
    while 2 * size <= width:
        rows = torch.maximum(rows[:, :-size], rows[:, size:])
        size *= 2
    return torch.maximum(rows[:, :columns], rows[:, width - size : width - size + columns])
