"""Sounds that augmentations take stretches of: coloured noise, or the files of a folder.

A bank is made or read once a process and kept on the device; a stretch begins anywhere in it. So
a record's noise costs one copy.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from seqcl.data.folder import find_files
from seqcl.data.reader import Columns
from seqcl.errors import DataError
from seqcl.modalities.audio.files import AudioFileReader

__all__ = [
    "bank_files",
    "coloured_bank",
    "folder_bank",
    "response_bank",
    "response_spectra",
    "stretches",
]

_BYTES = 256 << 20
"""What the samples of a folder may take."""
_COLOURS, _STEPS = 9, 1 << 18
_RESPONSE_S = 1.0


def bank_files(folder: str) -> tuple[Path, ...]:
    """Return the audio files of a folder, sorted; raises MissingInputError or DataError."""
    files = find_files(folder, lambda path: path.suffix.lower() in AudioFileReader.suffixes)
    if not files:
        raise DataError(f"{folder}: no audio file in there; give a folder of recordings")
    return tuple(file.path for file in files)


@lru_cache(maxsize=8)
def coloured_bank(low: float, high: float, device: torch.device) -> Tensor:
    """Return noise whose power falls as f ** -colour, at 9 colours from `low` to `high`: (S,).

    Of deviation 1 each, 16 s at 16 kHz a colour, the same in every process.
    """
    generator = torch.Generator().manual_seed(0)
    white = torch.fft.rfft(torch.randn(_COLOURS, _STEPS, generator=generator))
    bins = torch.arange(white.shape[1]).clamp(min=1)
    colours = torch.linspace(low, high, _COLOURS)[:, None]
    made = torch.fft.irfft(white * bins ** (-colours / 2), n=_STEPS)
    ring: Tensor = (made / made.std(1, keepdim=True)).flatten()
    return ring.to(device)


@lru_cache(maxsize=4)
def folder_bank(folder: str, rate_hz: int, device: torch.device) -> Tensor:
    """Return all recordings of a folder end to end, each of deviation 1: (S,).

    Raises DataError above 256 MB, or where nothing but silence is there.
    """
    parts, steps = [], 0
    for values in _read(folder, rate_hz):
        steps += len(values)
        if 4 * steps > _BYTES:
            raise DataError(
                f"{folder}: holds more than {_BYTES >> 20} MB of sound at {rate_hz} Hz; give a "
                "part of it"
            )
        deviation = float(values.std())
        if deviation > 0:
            parts.append(values / np.float32(deviation))
    if not parts:
        raise DataError(f"{folder}: its recordings are silent or empty; give others")
    return torch.from_numpy(np.concatenate(parts)).to(device)


@lru_cache(maxsize=4)
def response_bank(folder: str, rate_hz: int, device: torch.device) -> Tensor:
    """Return the room responses of a folder, (R, K), each from its peak on, of energy 1.

    K is that of the longest one; what comes after a second is cut.
    """
    most = int(_RESPONSE_S * rate_hz)
    found = []
    for values in _read(folder, rate_hz):
        if not np.abs(values).max(initial=0.0) > 0:
            continue
        response = values[int(np.abs(values).argmax()) :][:most]
        padded = np.zeros(most, dtype=np.float32)
        padded[: len(response)] = response / np.sqrt(np.square(response).sum())
        found.append(padded)
    if not found:
        raise DataError(f"{folder}: its responses are silent or empty; give others")
    longest = max(int(response.nonzero()[0][-1]) for response in found) + 1
    return torch.from_numpy(np.stack(found)[:, :longest].copy()).to(device)


@lru_cache(maxsize=4)
def response_spectra(
    folder: str, rate_hz: int, steps: int, size: int, device: torch.device
) -> Tensor:
    """Return the Fourier transforms of size `size` of the responses' first `steps` samples."""
    made: Tensor = torch.fft.rfft(response_bank(folder, rate_hz, device)[:, :steps], n=size)
    return made


def stretches(bank: Tensor, place: Tensor, steps: int) -> Tensor:
    """Return stretches (B, steps) of a bank (S,), `place` (B,) in [0, 1) says from where on.

    A bank of less than four times as many steps is a ring, whose end its beginning follows.
    """
    first = len(bank) - steps + 1
    if 4 * steps > len(bank):
        first = len(bank)
        bank = bank.repeat(-(-steps // len(bank)) + 1)
    return bank.unfold(0, steps, 1)[(place * first).long()]


def _read(folder: str, rate_hz: int) -> list[np.ndarray]:
    """Return the samples of each file of a folder, averaged over channels."""
    reader = AudioFileReader(Columns(rate_hz=rate_hz))
    entries = [entry for path in bank_files(folder) for entry in reader.scan(path)]
    return [reader.read(entry, 0, entry.length).values[0] for entry in entries]
