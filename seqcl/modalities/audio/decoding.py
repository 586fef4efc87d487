"""Audio files to samples: plain WAVE directly, all else by libsndfile, told in one line."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from seqcl.errors import DataError, UsageError
from seqcl.modalities.audio.wav import Pcm, open_pcm, read_pcm

__all__ = ["Sound", "decode", "open_sound", "require"]

Floats = npt.NDArray[np.float32]

_MOST_RATIO, _MOST_SECONDS = 20_000, 3_600
"""A file that claims more samples a byte than this, and more than an hour, is made to exhaust: a
digital silence packs to 1 byte in 400 samples at most, MP3 of 8 kbit/s to 1 in 48."""


_LEAST_HZ = 100
"""Below it a small file would become a long sound once it is resampled."""
_MP3_RUN_UP = 24 * 1_152
"""Samples that are decoded before an excerpt of MP3: its frames borrow bits from up to a dozen
frames before them, without which they decode to silence."""


@dataclass(frozen=True, slots=True)
class Sound:
    """What the header of a file says."""

    path: Path
    rate_hz: int
    channels: int
    frames: int
    pcm: Pcm | None = None
    """Where its samples lie, if they are plain."""


def open_sound(path: Path) -> Sound:
    """Read the header; raises DataError where the file is no audio or lies about its length."""
    pcm = open_pcm(path)
    if pcm is not None:
        sound = Sound(path, pcm.rate_hz, pcm.channels, pcm.frames, pcm)
    else:
        with _opened(path) as file:
            sound = Sound(path, file.samplerate, file.channels, file.frames)
    if sound.rate_hz < _LEAST_HZ:
        raise DataError(
            f"{path}: its header says {sound.rate_hz} samples a second, at least {_LEAST_HZ} are "
            "read; save it again with its own rate"
        )
    if pcm is not None:
        return sound
    size = path.stat().st_size
    if sound.frames > _MOST_SECONDS * sound.rate_hz and sound.frames > _MOST_RATIO * size:
        raise DataError(
            f"{path}: its header promises {sound.frames / sound.rate_hz:,.0f} s of sound in "
            f"{size:,} bytes; save it again"
        )
    return sound


def decode(sound: Sound, start: int, stop: int) -> Floats:
    """Return frames `start` to `stop` (channels, stop - start) by seeking.

    Raises DataError where the file is damaged there or has fewer.
    """
    path = sound.path
    if sound.pcm is not None:
        samples = read_pcm(sound.pcm, start, stop)
        return samples if sound.pcm.finite else _finite(samples, path)
    with _opened(path) as file:
        begin = max(0, start - _MP3_RUN_UP) if file.subtype.startswith("MPEG") else start
        if begin:
            file.seek(begin)
        values: Floats = file.read(stop - begin, dtype="float32", always_2d=True)[start - begin :]
    if len(values) < stop - start:
        raise DataError(
            f"{path}: its header promises {sound.frames / sound.rate_hz:.3g} s of sound and it "
            f"ends after {(start + len(values)) / sound.rate_hz:.3g} s; save it again"
        )
    return _finite(np.ascontiguousarray(values.T), path)


def _finite(values: Floats, path: Path) -> Floats:
    """Refuse infinite samples; NaN is a missing one."""
    with np.errstate(over="ignore", invalid="ignore"):
        total = values.sum()
    if not np.isfinite(total) and np.isinf(values).any():
        raise DataError(f"{path}: holds samples that are infinite; save it again")
    return values


def require(name: str) -> Any:
    """Import a library of the extra `audio`; raises UsageError that says how to install it."""
    from importlib import import_module

    try:
        return import_module(name)
    except (ImportError, OSError) as error:  # OSError: soundfile without libsndfile
        reason = " ".join(str(error).split())
        raise UsageError(
            f"audio files need {name}, which cannot be imported ({reason}); "
            "install it with: pip install seqcl[audio]"
        ) from None


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a file and turn all that goes wrong inside the block into one line."""
    soundfile = require("soundfile")
    try:
        with soundfile.SoundFile(os.fsencode(path)) as file:
            yield file
    except (RuntimeError, TypeError, ValueError) as error:  # LibsndfileError is a RuntimeError
        reason = " ".join(str(getattr(error, "error_string", error)).split()).rstrip(".")
        raise DataError(f"{path}: cannot be decoded ({reason}); save it again") from None
