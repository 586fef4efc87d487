"""AnomalyDetector: the detector of `seqcl detect` with scikit-learn's conventions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.exceptions import NotFittedError

from seqcl.detection.calibration import Calibration
from seqcl.detection.detector import Detector
from seqcl.detection.explain import Explanation
from seqcl.detection.series import Series
from seqcl.run.build import threads as cpu_threads

__all__ = ["AnomalyDetector"]

Recordings = npt.ArrayLike | Sequence[npt.ArrayLike]


class AnomalyDetector(OutlierMixin, BaseEstimator):  # type: ignore[misc]
    """Learn normal operation from recordings, and score the rows of others.

    >>> scores = AnomalyDetector().fit(train).anomaly_scores(test)  # (T, C) -> (T,)

    A recording is (T, C), rows in the order of time, NaN = missing, or (T,) for one channel; `fit`
    takes one or a list of them. What is learnt, and how thresholds come about, is told by
    `seqcl.detection.detector.Detector`.

    Args:
        window: rows; None = the period of the training data.
        calibration: share of each recording that thresholds are taken from.
        weights: ``injected`` or ``equal``.
        far: share of normal rows that `predict` may call anomalous.
        causal: see nothing after a row.
        random_state: of kernels and injected anomalies; equal seeds give equal scores.
        threads: CPU threads; None = torch's.

    Attributes:
        detector_: the fitted Detector.
        n_features_in_: C.
    """

    def __init__(
        self,
        *,
        window: int | None = None,
        calibration: float = 0.25,
        weights: Literal["injected", "equal"] = "injected",
        far: float = 0.005,
        causal: bool = False,
        random_state: int = 0,
        threads: int | None = None,
    ) -> None:
        self.window = window
        self.calibration = calibration
        self.weights = weights
        self.far = far
        self.causal = causal
        self.random_state = random_state
        self.threads = threads

    def fit(self, X: Recordings, y: None = None) -> Self:
        """Learn from one recording or a list; raises DataError where they are too short."""
        series = [Series(rows, f"recording {i}") for i, rows in enumerate(_recordings(X))]
        detector = Detector(window=self.window, calibration=self.calibration, weights=self.weights)
        with cpu_threads(self.threads):
            detector.fit(series, self.random_state)
        self.detector_ = detector
        self.n_features_in_ = series[0].values.shape[1]
        return self

    def anomaly_scores(self, X: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Return (T,) scores of one recording, higher = more anomalous."""
        with cpu_threads(self.threads):
            return self._fitted().score(self._checked(X), causal=self.causal).fused

    def score_samples(self, X: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Return scores as scikit-learn has them: higher = more normal."""
        return -self.anomaly_scores(X)

    def p_values(self, X: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return (T,) upper-tail p-values of the rows."""
        return self._calibration().p_values(self.anomaly_scores(X))

    def predict(self, X: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Return (T,) -1 for anomalous rows and 1 for the others.

        Raises UsageError where the calibration data cannot promise `far`.
        """
        threshold = self._calibration().threshold(self.far)
        return np.where(self.anomaly_scores(X) >= threshold, -1, 1)

    def explain(self, X: npt.ArrayLike, row: int) -> Explanation:
        """Tell which channels the score of a row comes from."""
        (found,) = self._fitted().explain(self._checked(X), [row], causal=self.causal)
        return found

    def _calibration(self) -> Calibration:
        return self._fitted().calibrations["trailing" if self.causal else "centred"]

    def _fitted(self) -> Detector:
        if not hasattr(self, "detector_"):
            raise NotFittedError("AnomalyDetector is not fitted yet; call fit(X) first")
        return self.detector_

    def _checked(self, X: npt.ArrayLike) -> npt.NDArray[np.float32]:
        self._fitted()
        (rows,) = _recordings(X)
        if rows.shape[1] != self.n_features_in_:
            raise ValueError(f"X has {rows.shape[1]} channels, fit saw {self.n_features_in_}")
        return rows


def _recordings(X: Recordings) -> list[npt.NDArray[np.float32]]:
    """Return recordings (T, C); raises ValueError where X is none."""
    several = isinstance(X, list | tuple) and len(X) > 0 and np.ndim(X[0]) > 0
    found = [np.asarray(one, np.float32) for one in (X if several else [X])]  # type: ignore[union-attr]
    rows = [one[:, None] if one.ndim == 1 else one for one in found]
    if any(one.ndim != 2 for one in rows) or len({one.shape[1] for one in rows}) > 1:
        shapes = ", ".join(str(one.shape) for one in found)
        raise ValueError(f"X: recordings are (T, C) with one C; got {shapes}")
    return rows
