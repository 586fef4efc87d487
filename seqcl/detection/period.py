"""The window of a detector: the period of its training data."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["period_of"]

Floats = npt.NDArray[np.float32]

_SHORTEST, _LONGEST, _DEFAULT = 16, 128, 32
_LAGS = (8, 400)


def period_of(parts: Sequence[Floats]) -> int:
    """Return the steps after which recordings (T, C) are most like themselves, 16 to 128.

    The highest peak between lags 8 and 400 of the autocorrelation, averaged over the channels
    that vary and over the recordings; 32 where it has none.
    """
    longest = max(len(part) for part in parts)
    last = min(_LAGS[1], longest - 2)
    total = np.zeros(last + 2)
    for part in parts:
        if len(part) < last + 2:
            continue
        seen = np.maximum((~np.isnan(part)).sum(0), 1)
        centred = np.nan_to_num(part - np.nansum(part, 0) / seen)
        spectrum = np.abs(np.fft.rfft(centred, 2 * len(part), axis=0)) ** 2
        found = np.fft.irfft(spectrum, axis=0)[: last + 2]
        varies = found[0] > 1e-9 * len(part)
        total += (found[:, varies] / found[0, varies]).sum(1)
    lags = np.arange(_LAGS[0], last + 1)
    peaks = lags[(total[lags] > total[lags - 1]) & (total[lags] >= total[lags + 1])]
    if not len(peaks):
        return _DEFAULT
    return int(np.clip(peaks[np.argmax(total[peaks])], _SHORTEST, _LONGEST))
