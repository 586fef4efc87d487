"""AudioFileReader: one recording a file, at one sampling rate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from math import isnan
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from seqcl.batch import Entry, Record
from seqcl.data.reader import Columns, Reader, default_channels
from seqcl.errors import DataError
from seqcl.modalities.audio.cache import SampleCache
from seqcl.modalities.audio.decoding import Sound, decode, open_sound
from seqcl.modalities.audio.resampling import resampled_excerpt, resampled_length
from seqcl.modalities.sequence.collection import check_steps, pick_channels

__all__ = ["AudioFileReader"]

Floats = npt.NDArray[np.float32]

_HEADERS = 4_096
"""Headers that are remembered between a scan and the reads that follow."""


class AudioFileReader(Reader):
    """Reads wav, flac, ogg, mp3 and aiff files, each one recording.

    Samples lie in [-1, 1]. Channels are averaged unless ``data.mono`` is false or ``data.columns``
    picks some (c0, c1, ...); ``data.rate_hz`` resamples. A window is read by seeking.
    """

    modality: ClassVar[str] = "audio"
    suffixes: ClassVar[tuple[str, ...]] = (
        ".wav", ".flac", ".ogg", ".oga", ".mp3", ".aiff", ".aif", ".w64", ".au",
    )  # fmt: skip
    lazy: ClassVar[bool] = True
    decodes: ClassVar[bool] = True
    has_columns: ClassVar[bool] = False

    def __init__(self, columns: Columns = Columns()) -> None:  # noqa: B008 - Columns is frozen
        super().__init__(columns)
        self._rates: Counter[int] = Counter()
        self._silent: list[str] = []
        self._cache = None if columns.cache is None else SampleCache(Path(columns.cache))
        self._sounds: dict[Path, Sound] = {}

    def scan(self, path: Path) -> Iterator[Entry]:
        """Yield the one recording of a file; raises DataError where it is none."""
        sound = self._remembered(open_sound(path))
        rate = self.columns.rate_hz or sound.rate_hz
        names = self._names(sound)
        self._rates[sound.rate_hz] += 1
        yield Entry(
            path=path,
            id=path.name,
            length=resampled_length(sound.frames, sound.rate_hz, rate),
            channels=names,
            rate_hz=float(rate),
        )

    def read(self, entry: Entry, start: int, stop: int) -> Record:
        """Read samples `start` to `stop`.

        Raises DataError where the file is damaged, or a whole recording holds no value.
        """
        check_steps(entry, start, stop)
        if self._cache is None:
            values = self._decoded(entry.path, start, stop)
        else:
            values = self._cache.read(entry, self._settings(), start, stop, self._decoded)
        if (start, stop) == (0, entry.length):
            if not (values[:, :99].any() or values.any()):
                self._silent.append(entry.id)
            elif isnan(values[0, 0]) and np.isnan(values).all():
                raise DataError(f"{entry.id}: has no step with a value; drop it or fill it")
        return entry.record(values, start)

    def remarks(self) -> list[str]:
        """Return what was noted, and whether there are several sampling rates, or silence."""
        told = list(self.notes)
        if len(self._rates) > 1 and self.columns.rate_hz is not None:
            counts = ", ".join(f"{rate:,} Hz ({n:,})" for rate, n in sorted(self._rates.items()))
            told.append(f"files of several sampling rates, resampled to one: {counts}")
        if self._silent:
            silent = dict.fromkeys(self._silent)
            told.append(
                f"{len(silent):,} recordings are silent throughout, first {self._silent[0]}"
            )
        return told

    def _decoded(self, path: Path, start: int, stop: int) -> Floats:
        """Return samples of a file as the options ask for them, (C, stop - start)."""
        sound = self._sounds.get(path) or self._remembered(open_sound(path))
        rate = self.columns.rate_hz or sound.rate_hz

        def read(first: int, last: int) -> Floats:
            samples = decode(sound, first, last)
            if self.columns.values is not None:
                chosen = pick_channels(path, default_channels(len(samples)), self.columns.values)
                return samples[list(chosen)]
            if self.columns.mono and len(samples) > 1:
                mixed: Floats = samples.mean(0, keepdims=True)
                return mixed
            return samples

        return resampled_excerpt(read, sound.frames, sound.rate_hz, rate, start, stop)

    def _remembered(self, sound: Sound) -> Sound:
        """Keep a header; the oldest one is forgotten where they are many."""
        if len(self._sounds) >= _HEADERS:
            del self._sounds[next(iter(self._sounds))]
        self._sounds[sound.path] = sound
        return sound

    def _names(self, sound: Sound) -> tuple[str, ...]:
        if self.columns.values is None:
            return default_channels(1 if self.columns.mono else sound.channels)
        names = default_channels(sound.channels)
        return tuple(names[at] for at in pick_channels(sound.path, names, self.columns.values))

    def _settings(self) -> tuple[object, ...]:
        """Return every option that the samples depend on."""
        return self.columns.rate_hz, self.columns.mono, self.columns.values
