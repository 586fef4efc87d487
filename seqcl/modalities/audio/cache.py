"""SampleCache: decoded and resampled recordings in a folder, mapped instead of decoded again.

A file of it is 16 bytes, ``seqclpcm`` and the scale as float64, and then 16-bit samples (C, T).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt

from seqcl.batch import Entry
from seqcl.errors import SeqclError
from seqcl.files import atomic_write

__all__ = ["SampleCache"]

Floats = npt.NDArray[np.float32]

_MAGIC = b"seqclpcm"
_HEAD = 16
_FORMAT = 1
_LARGEST = 32_767
_LIBRARIES = ("soundfile", "soxr", "numpy")


class SampleCache:
    """Keeps each recording, once decoded, under a key of all that its samples depend on.

    Those are the file's path, size and time of change, the reader's options and the versions of
    what decodes. Samples are rounded to 16 bits of each recording's own peak.

    Args:
        folder: made where it does not exist.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(
        self,
        entry: Entry,
        settings: tuple[object, ...],
        start: int,
        stop: int,
        decoded: Callable[[Path, int, int], Floats],
    ) -> Floats:
        """Return steps `start` to `stop` of a recording (C, stop - start), decoded only once.

        Raises what `decoded` raises, and SeqclError where the folder cannot be written.
        """
        shape = (len(entry.channels), entry.length)
        path = self._path(entry.path, settings)
        if not path.is_file() or path.stat().st_size != _HEAD + 2 * shape[0] * shape[1]:
            values = decoded(entry.path, 0, entry.length)
            if not np.isfinite(values).all():  # 16 bits have no place for it
                return values[:, start:stop]
            self._write(path, values)
        with path.open("rb") as file:
            head = file.read(_HEAD)
        if start == stop:
            return np.zeros((shape[0], 0), dtype=np.float32)
        samples = np.memmap(path, "<i2", "r", _HEAD, shape)[:, start:stop]
        scale = np.frombuffer(head[len(_MAGIC) :], "<f8")[0]
        return samples.astype(np.float32) * np.float32(scale)

    def _path(self, path: Path, settings: tuple[object, ...]) -> Path:
        facts = path.stat()
        known = (_FORMAT, str(path.resolve()), facts.st_size, facts.st_mtime_ns, settings)
        versions = tuple(version(name) for name in _LIBRARIES)
        text = repr((*known, *versions)).encode("utf-8", "surrogateescape")
        key = hashlib.sha256(text).hexdigest()
        return self.folder / key[:2] / f"{key}.pcm"

    def _write(self, path: Path, values: Floats) -> None:
        peak = float(np.abs(values).max(initial=0.0))
        scale = peak / _LARGEST or 1.0
        rounded = np.rint(values / np.float32(scale)).clip(-_LARGEST, _LARGEST)
        head = _MAGIC + np.array([scale], "<f8").tobytes()
        try:
            os.makedirs(path.parent, exist_ok=True)
            atomic_write(path, head + np.ascontiguousarray(rounded, dtype="<i2").tobytes())
        except OSError as error:
            raise SeqclError(
                f"{path}: cannot be written: {error.strerror}; set data.cache"
            ) from None
