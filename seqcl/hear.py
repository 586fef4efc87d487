"""The HEAR interface: a run of sounds as outside benchmarks load it (Turian et al. 2022).

``get_scene_embeddings(audio, load_model("runs/clips"))`` maps (n_sounds, n_samples) to
(n_sounds, E); arXiv 2203.03022.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from seqcl.batch import Batch
from seqcl.data.collate import collate_rows
from seqcl.data.dataset import dataset_from_arrays
from seqcl.errors import UsageError
from seqcl.run.folder import Run, load

__all__ = ["HearModel", "get_scene_embeddings", "get_timestamp_embeddings", "load_model"]

_SPACING_S, _CONTEXT_S = 0.05, 1.0
"""Most seconds between two timestamps, and how much around each is pooled."""
_SAMPLES_AT_ONCE = 1 << 20


class HearModel(nn.Module):
    """A run with the attributes that HEAR asks for; ``.to(device)`` moves it.

    Raises UsageError for a run of another modality, of several channels or of an unknown rate.
    """

    def __init__(self, run: Run) -> None:
        super().__init__()
        modality, channels = run.preset.modality.name, len(run.channels)
        rate = run.manifest["rate_hz"]
        if modality != "audio" or channels != 1 or rate is None:
            raise UsageError(
                f"{run.path}: is a run of {modality}, {channels} channels, rate {rate}; HEAR needs "
                "one of audio with one channel and a known rate"
            )
        self.model = run.model.eval()
        self.sample_rate = round(rate)
        self.scene_embedding_size = int(self.model.embedding.out_dim)
        self.timestamp_embedding_size = self.scene_embedding_size
        self.window = run.preset.data.window
        """Samples that the run embeds at once; None = whole sounds."""

    @torch.no_grad()
    def forward(self, audio: Tensor) -> Tensor:
        """Embed sounds (n, samples): (n, E) on the audio's device.

        Longer sounds than the run's window are the mean of windows half a window apart.
        """
        windows = _cut(audio, self.window)  # (n, windows, samples)
        parts = [self.model(batch) for batch in self._batches(windows.flatten(0, 1))]
        return torch.cat(parts).view(*windows.shape[:2], -1).mean(1).to(audio.device)

    @torch.no_grad()
    def timestamps(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        """Embed the second around each of some times: (n, m, E), and the times (n, m) in ms."""
        if not self.model.encoder.embeds_steps:
            name = type(self.model.encoder).__name__
            raise UsageError(f"timestamps: {name} has no features of single steps; use the scene")
        rows = []
        for batch in self._batches(audio):
            seen = self.model.frontend(batch)
            share = seen.values.shape[-1] / audio.shape[1]  # where no rate is told: 1 for samples
            period_s = 1 / (seen.rate_hz or self.sample_rate * share)
            every = max(1, int(_SPACING_S / period_s))
            found = self.model.step_windows(batch, max(1, round(_CONTEXT_S / period_s)))
            rows += [row[::every] for row in found]
        values = torch.stack(rows).to(audio.device)
        times = 1e3 * period_s * every * torch.arange(values.shape[1], device=audio.device)
        return values, times.expand(len(values), -1).clone()

    def _batches(self, audio: Tensor) -> Iterator[Batch]:
        """Yield sounds (n, samples) as batches on the device of the model."""
        values = audio.detach().cpu().numpy().astype(np.float32, copy=False)[:, None]
        size = max(1, _SAMPLES_AT_ONCE // values.shape[2])
        for first in range(0, len(values), size):
            part = values[first : first + size]
            dataset = dataset_from_arrays(part, channels=self.model.channels)
            rows = np.arange(len(part))
            yield collate_rows(dataset, rows, self.model.collate()).to(self.model.device)


def load_model(model_file_path: str = "") -> HearModel:
    """Open a run folder; raises MissingInputError or ArtefactError as `seqcl.load` does."""
    return HearModel(load(model_file_path))


def get_scene_embeddings(audio: Tensor, model: HearModel) -> Tensor:
    """Return one vector a sound: (n_sounds, n_samples) float32 to (n_sounds, E)."""
    _check(audio)
    found: Tensor = model(audio)
    return found


def get_timestamp_embeddings(audio: Tensor, model: HearModel) -> tuple[Tensor, Tensor]:
    """Return vectors (n_sounds, n_timestamps, E) and their times (n_sounds, n_timestamps) in ms.

    Times are those of the middle of what is embedded, at most 50 ms apart, the first at 0.
    """
    _check(audio)
    return model.timestamps(audio)


def _check(audio: Tensor) -> None:
    if audio.ndim != 2 or not audio.numel() or not audio.is_floating_point():
        raise ValueError(
            f"audio is {tuple(audio.shape)} {audio.dtype}; needed: (n_sounds, n_samples) float32"
        )


def _cut(audio: Tensor, window: int | None) -> Tensor:
    """Return windows (n, m, window) half a window apart, the last one at the end."""
    samples = audio.shape[1]
    if window is None or samples <= window:
        return audio.unsqueeze(1)
    starts = [*range(0, samples - window, max(1, window // 2)), samples - window]
    return torch.stack([audio[:, start : start + window] for start in starts], dim=1)
