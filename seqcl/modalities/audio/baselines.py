"""Plain statistics of spectrograms: what a trained encoder of audio is compared with."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from seqcl.batch import Batch, Embeddings
from seqcl.data.dataset import Dataset
from seqcl.data.scaler import Scaler
from seqcl.modalities.audio.frontend import LogMel, Mfcc, Spectrogram
from seqcl.modalities.base import Baseline, NotApplicable
from seqcl.views.base import real_steps

__all__ = ["LogMelSegments", "LogMelStatistics", "MfccStatistics"]

Floats = npt.NDArray[np.float32]

_ROWS = 16
_SEGMENTS = 10
_LEVEL = 0.1
_EVALUATORS = ("linear", "knn", "clustering", "retrieval")


class _OfSpectrograms(Baseline):
    """Describes each record by a vector of its spectrogram, standardised by the reference."""

    evaluators: ClassVar[tuple[str, ...]] = _EVALUATORS
    levelled: ClassVar[bool] = False
    """Whether each waveform is brought to one level first."""

    def __call__(
        self, reference: Dataset, test: Dataset, seed: int
    ) -> tuple[Embeddings, Embeddings]:
        """Return (N, D) each; `seed` changes nothing."""
        if reference.size is not None or not reference.rate_hz:
            raise NotApplicable("needs audio, whose sampling rate is known")
        front = self.front(len(reference.channels), round(reference.rate_hz))
        first = self._vectors(reference, front)
        mean, std = first.mean(0), first.std(0)
        std[std < 1e-6] = 1.0
        return (
            _embeddings(reference, (first - mean) / std),
            _embeddings(test, (self._vectors(test, front) - mean) / std),
        )

    def front(self, channels: int, rate_hz: int) -> Spectrogram:
        """Return the spectrogram that is described."""
        return LogMel(channels, rate_hz=rate_hz, normalise="none")

    def describe(self, frames: Tensor) -> Tensor:
        """Return (D,) for the real frames (F, T') of one record."""
        raise NotImplementedError

    def _vectors(self, dataset: Dataset, front: Spectrogram) -> Floats:
        parts = []
        for first in range(0, len(dataset), _ROWS):
            rows = dataset.gather(range(first, min(first + _ROWS, len(dataset))))
            values, lengths = torch.from_numpy(rows.values), torch.from_numpy(rows.lengths)
            if self.levelled:
                values = _LEVEL * Scaler(values.shape[1], mode="record")(values)
            batch = Batch(values.nan_to_num(), torch.arange(len(values)), lengths=lengths)
            view = front(batch)
            mask = real_steps(view)
            assert mask is not None
            parts += [
                self.describe(frames[:, real])
                for frames, real in zip(view.values, mask, strict=True)
            ]
        return torch.stack(parts).numpy()


class LogMelStatistics(_OfSpectrograms):
    """Mean and deviation over time of each of 64 log-mel bands."""

    name: ClassVar[str] = "log_mel_statistics"

    def describe(self, frames: Tensor) -> Tensor:
        """Return (2 F,)."""
        return torch.cat((frames.mean(1), frames.std(1, correction=0)))


class LogMelSegments(_OfSpectrograms):
    """Mean of each of 64 log-mel bands in 10 equal parts of a record, in the order of time.

    Every waveform has the deviation 0.1, so that loud and soft are alike.
    """

    name: ClassVar[str] = "log_mel_segments"
    levelled: ClassVar[bool] = True

    def describe(self, frames: Tensor) -> Tensor:
        """Return (10 F,); a record of fewer frames repeats some."""
        pooled = torch.nn.functional.adaptive_avg_pool1d(frames[None], _SEGMENTS)
        return pooled.flatten()


class MfccStatistics(_OfSpectrograms):
    """Mean and deviation over time of 20 cepstral coefficients and of their differences."""

    name: ClassVar[str] = "mfcc_statistics"

    def front(self, channels: int, rate_hz: int) -> Spectrogram:
        """Return cepstral coefficients."""
        return Mfcc(channels, rate_hz=rate_hz, normalise="none")

    def describe(self, frames: Tensor) -> Tensor:
        """Return (4 F,)."""
        steps = frames.diff(dim=1, prepend=frames[:, :1])
        both = torch.cat((frames, steps))
        return torch.cat((both.mean(1), both.std(1, correction=0)))


def _embeddings(dataset: Dataset, values: Floats) -> Embeddings:
    return Embeddings(
        values=np.ascontiguousarray(values, dtype=np.float32),
        ids=tuple(dataset.ids),
        labels=tuple(dataset.labels),
        groups=tuple(dataset.groups),
        start=dataset.spans.start if dataset.is_windowed else None,
    )
