"""Landmarks: pairs of spectral peaks, the plain way to find a recording (Wang 2003); a control."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import maximum_filter
from scipy.signal import stft

RATE_HZ, FFT, HOP = 16_000, 1_024, 128
AROUND = (21, 25)
"""Bins and frames within which a peak is the highest."""
DEEPEST = 7.0
"""How far below the loudest a peak may be, natural logarithm of amplitude (60 dB)."""
FAN, LONGEST, WIDEST = 8, 192, 96
"""Partners of a peak, and how far away they may be in frames and bins."""

Found = tuple[int, float, float]
"""Place of the recording, seconds at which the query begins, votes."""


def peaks(samples: np.ndarray) -> np.ndarray:
    """Return (n, 2) frames and bins of the peaks, by frame."""
    _, _, bins = stft(samples, RATE_HZ, nperseg=FFT, noverlap=FFT - HOP, boundary=None)
    level = np.log(np.abs(bins[8:256]) + 1e-9)  # 125 to 4,000 Hz
    highest = level == maximum_filter(level, AROUND)
    return np.argwhere((highest & (level > level.max() - DEEPEST)).T)


def marks(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return hashes (m,) of pairs of peaks and the frames (m,) at which they begin."""
    found = peaks(samples)
    hashes, frames = [], []
    for place, (frame, low) in enumerate(found.tolist()):
        partners = 0
        for other, high in found[place + 1 :].tolist():
            apart = other - frame
            if apart > LONGEST or partners == FAN:
                break
            if apart >= 4 and abs(high - low) <= WIDEST:
                hashes.append((low * 256 + high) * 128 + apart // 2)  # blind to half a frame
                frames.append(frame)
                partners += 1
    return np.array(hashes, dtype=np.int64), np.array(frames, dtype=np.int64)


class Landmarks:
    """The marks of some recordings, sorted by hash."""

    def __init__(self, recordings: Sequence[np.ndarray]) -> None:
        parts = [marks(samples) for samples in recordings]
        hashes = np.concatenate([part[0] for part in parts])
        order = np.argsort(hashes, kind="stable")
        self.hashes = hashes[order]
        self.frames = np.concatenate([part[1] for part in parts])[order]
        owner = np.repeat(np.arange(len(parts)), [len(part[0]) for part in parts])
        self.owner = owner[order]
        self.bytes = 8 * len(hashes)
        """Four of a hash, four of recording and frame: what a packed table would take."""

    def find(self, samples: np.ndarray) -> list[Found]:
        """Return recordings by falling number of marks that agree on one offset."""
        hashes, frames = marks(samples)
        low, high = (np.searchsorted(self.hashes, hashes, side) for side in ("left", "right"))
        counts = high - low
        if not counts.sum():
            return []
        rows = np.repeat(low - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
        offset = self.frames[rows] - np.repeat(frames, counts)
        keys = np.column_stack((self.owner[rows], offset // 4))
        unique, votes = np.unique(keys, axis=0, return_counts=True)
        found: dict[int, Found] = {}
        for place in np.argsort(-votes, kind="stable")[:200].tolist():
            owner, at = unique[place].tolist()
            if owner not in found:
                found[owner] = (owner, (4 * at + 1.5) * HOP / RATE_HZ, float(votes[place]))
        return list(found.values())
