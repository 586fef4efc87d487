"""Plain PCM in RIFF WAVE files, read at any place with one seek.

WAVE_FORMAT_PCM (1), IEEE_FLOAT (3) and EXTENSIBLE (0xFFFE) of these two, after Microsoft's
"Multiple channel audio data and WAVE files". Whatever else a file is, the decoder of all other
formats reads it.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from seqcl.errors import DataError

__all__ = ["Pcm", "open_pcm", "read_pcm"]

Floats = npt.NDArray[np.float32]

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_TYPES = {(_PCM, 8): "u1", (_PCM, 16): "<i2", (_PCM, 24): "u1", (_PCM, 32): "<i4",
          (_FLOAT, 32): "<f4", (_FLOAT, 64): "<f8"}  # fmt: skip
_STREAMED = 0xFFFFFFFF
"""Size of a data chunk whose writer could not go back to fill it in: up to the end of the file."""


_MOST_CHUNKS = 1_000
"""Chunks before the samples; what has more of them is no plain file."""
_HEAD = 4_096
"""Bytes of a file that are looked at first; most headers take 44."""


@dataclass(frozen=True, slots=True)
class Pcm:
    """Where the samples of a file lie, and what they are."""

    path: Path
    form: int
    bits: int
    channels: int
    rate_hz: int
    offset: int
    """Byte at which the first sample begins."""
    frames: int

    @property
    def finite(self) -> bool:
        """Whether its samples are whole numbers, none of which is infinite."""
        return self.form == _PCM


def open_pcm(path: Path) -> Pcm | None:
    """Read the header of a plain WAVE file; None where the file is something else.

    Raises DataError where the header promises more samples than there are.
    """
    file = os.open(path, os.O_RDONLY)
    try:
        head = os.pread(file, _HEAD, 0)
        if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
            return None
        found: tuple[int, int, int, int] | None = None
        place = 12
        for _ in range(_MOST_CHUNKS):
            if len(chunk := _bytes(file, head, place, 8)) < 8:
                break
            name, size = struct.unpack("<4sI", chunk)
            if name == b"data":
                end = os.fstat(file).st_size
                return None if found is None else _located(path, place + 8, end, size, found)
            if name == b"fmt ":
                found = _format(_bytes(file, head, place + 8, min(size, _HEAD)))
            place += 8 + size + (size & 1)
        return None
    finally:
        os.close(file)


def read_pcm(sound: Pcm, start: int, stop: int) -> Floats:
    """Return frames `start` to `stop` (channels, n); whole numbers are scaled to [-1, 1)."""
    width = sound.channels * sound.bits // 8
    place, wanted = sound.offset + start * width, (stop - start) * width
    file = os.open(sound.path, os.O_RDONLY)
    try:
        data = os.pread(file, wanted, place)
        while len(data) < wanted and (
            more := os.pread(file, wanted - len(data), place + len(data))
        ):
            data += more  # Linux reads 2 GiB at once
    finally:
        os.close(file)
    if len(data) < wanted:
        raise DataError(f"{sound.path}: ends before sample {stop}; save it again")
    raw = np.frombuffer(data, _TYPES[sound.form, sound.bits])
    if sound.form == _PCM and sound.bits == 24:
        raw = _from_24_bits(raw)
    return _scaled(raw.reshape(-1, sound.channels), sound)


def _bytes(file: int, head: bytes, place: int, count: int) -> bytes:
    """Return bytes of an open file, from its beginning where they are there."""
    if place + count <= len(head):
        return head[place : place + count]
    return os.pread(file, count, place)


def _format(chunk: bytes) -> tuple[int, int, int, int] | None:
    """Return form, bits, channels and rate of a `fmt` chunk that is plain; else None."""
    if len(chunk) < 16:
        return None
    form, channels, rate, _, block, bits = struct.unpack("<HHIIHH", chunk[:16])
    if form == _EXTENSIBLE and len(chunk) >= 26:
        form = struct.unpack("<H", chunk[24:26])[0]
    plain = (form, bits) in _TYPES and channels > 0 and rate > 0 and block == channels * bits // 8
    return (form, bits, channels, rate) if plain else None


def _located(path: Path, offset: int, end: int, size: int, found: tuple[int, int, int, int]) -> Pcm:
    form, bits, channels, rate = found
    block, follow = channels * bits // 8, end - offset
    if size == _STREAMED:
        size = follow
    if size > follow:
        raise DataError(
            f"{path}: its header promises {size // block / rate:.3g} s of sound and "
            f"{follow // block / rate:.3g} s follow; the file was cut short, save it again"
        )
    return Pcm(path, form, bits, channels, rate, offset, size // block)


def _from_24_bits(raw: npt.NDArray[Any]) -> npt.NDArray[np.int32]:
    """Return little-endian triples of bytes as numbers, in the upper 24 of 32 bits."""
    wide = np.zeros((len(raw) // 3, 4), dtype=np.uint8)
    wide[:, 1:] = raw.reshape(-1, 3)
    return wide.view("<i4").ravel()


def _scaled(raw: npt.NDArray[Any], sound: Pcm) -> Floats:
    """Return samples (n, channels) of any kind as (channels, n) float32."""
    values: Floats = raw.T.astype(np.float32, order="C")
    if sound.form == _PCM:
        if sound.bits == 8:
            values -= np.float32(128)
        values *= np.float32(2.0 ** -{8: 7, 16: 15}.get(sound.bits, 31))
    return values
