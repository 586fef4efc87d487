"""What audio views sound like: the waveforms that reach the front end, as .wav files."""

from __future__ import annotations

import re
import wave
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from seqcl.batch import Batch
from seqcl.errors import UsageError
from seqcl.rng import Rng
from seqcl.views.base import Frontend, ViewGenerator

__all__ = ["check_folder", "heard_views", "write_sounds"]

_RATE_HZ = 16_000
_FULL = 32_767


class _Listening(Frontend):
    """Keeps what it is given, and passes it on to a front end."""

    def __init__(self, frontend: Frontend) -> None:
        super().__init__(0)
        self.frontend = frontend
        self.heard: list[Batch] = []

    def forward(self, batch: Batch) -> Batch:
        """Keep the batch; return what the front end makes of it."""
        self.heard.append(batch)
        seen: Batch = self.frontend(batch)
        return seen


def heard_views(
    generator: ViewGenerator, batch: Batch, frontend: Frontend, rng: Rng
) -> tuple[Batch, ...]:
    """Return the views of a batch as they are before the front end."""
    ear = _Listening(frontend)
    generator(batch, ear, rng)
    return tuple(ear.heard)


def check_folder(option: str, folder: Path) -> None:
    """Make an empty folder; raises UsageError where it holds something or cannot be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held = next(folder.iterdir(), None)
    except OSError as error:
        raise UsageError(f"{option} {folder}: cannot be written ({error.strerror})") from None
    if held is not None:
        raise UsageError(f"{option} {folder}: holds files already; choose another folder")


def write_sounds(
    folder: Path, ids: Sequence[str], rows: Sequence[int], batch: Batch, views: Sequence[Batch]
) -> None:
    """Write each record and its views beside it, 16 bits, each scaled down to its peak if above 1.

    Files are ``0-NAME-record.wav``, ``0-NAME-view1.wav`` ...
    """
    for place, row in enumerate(rows):
        name = re.sub(r"[^A-Za-z0-9_-]+", "_", ids[row])[-60:]
        for title, item in zip(("record", *_titles(views)), (batch, *views), strict=True):
            steps = item.values.shape[-1] if item.host_lengths is None else item.host_lengths[place]
            path = folder / f"{place}-{name}-{title}.wav"
            _write(path, item.values[place, :, :steps], round(item.rate_hz or _RATE_HZ))


def _titles(views: Sequence[Batch]) -> list[str]:
    return [f"view{number + 1}" for number in range(len(views))]


def _write(path: Path, values: Tensor, rate_hz: int) -> None:
    samples = values.float().numpy()
    samples = samples / max(1.0, float(np.abs(samples).max(initial=0.0)))
    with wave.open(str(path), "wb") as file:
        file.setnchannels(len(samples))
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(np.rint(samples * _FULL).astype("<i2").T.tobytes())
