"""AnomalyDetector: the detector of `seqcl detect` with scikit-learn's conventions."""

from __future__ import annotations

import warnings
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
from seqcl.run.detecting import USUAL_SHARE

__all__ = ["AnomalyDetector"]

Recordings = npt.ArrayLike | Sequence[npt.ArrayLike]


class AnomalyDetector(OutlierMixin, BaseEstimator):  # type: ignore[misc]
    """Learn normal operation from recordings, and score the rows of others.

    >>> scores = AnomalyDetector().fit(train).anomaly_scores(test)  # (T, C) -> (T,)

    A recording is (T, C), rows in the order of time, NaN = missing, or (T,) for one channel; `fit`
    takes one or a list of them; lists of numbers alone are one. What is learnt, and how
    thresholds come about, is told by `seqcl.detection.detector.Detector`.

    Args:
        window: rows; None = the period of the training data.
        calibration: share of each recording that thresholds are taken from.
        weights: ``injected`` or ``equal``.
        far: share of normal rows that `predict` may call anomalous; None = 0.5 %, whether the
            calibration data can promise it or not.
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
        far: float | None = None,
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
        """Learn from one recording or a list; warns of those that are left out as too short.

        Raises DataError where they hold more than half of the rows, ValueError for options that
        have no meaning, and for infinite values.
        """
        self._check_options()
        series = [Series(rows, f"recording {i}") for i, rows in enumerate(_recordings(X))]
        detector = Detector(window=self.window, calibration=self.calibration, weights=self.weights)
        with cpu_threads(self.threads):
            detector.fit(series, self.random_state)
        if short := [one.id for at, one in enumerate(series) if at not in detector.kept]:
            warnings.warn(
                f"too short for a window of {detector.window} rows, and left out: "
                f"{', '.join(short)}",
                stacklevel=2,
            )
        self.detector_ = detector
        self.n_features_in_ = series[0].values.shape[1]
        self.__dict__.pop("feature_names_in_", None)
        if (names := _column_names(X)) is not None:
            self.feature_names_in_ = np.array(names, dtype=object)
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
        calibration = self._calibration()
        if self.far is None:
            threshold = calibration.shares.score_at(USUAL_SHARE)
        else:
            threshold = calibration.threshold(self.far)
        return np.where(self.anomaly_scores(X) >= threshold, -1, 1)

    def explain(self, X: npt.ArrayLike, row: int) -> Explanation:
        """Tell which channels the score of a row comes from; IndexError where X has no such row."""
        rows = self._checked(X)
        if not 0 <= row < len(rows):
            raise IndexError(f"row {row}: X has rows 0 to {len(rows) - 1}")
        (found,) = self._fitted().explain(rows, [row], causal=self.causal)
        return found

    def _check_options(self) -> None:
        window, whole = self.window, isinstance(self.window, int | np.integer)
        if window is not None and (not whole or isinstance(window, bool) or window < 8):
            raise ValueError(f"window is {window!r}; give 8 rows or more, or None")
        if not 0 < self.calibration < 1:
            raise ValueError(f"calibration is {self.calibration!r}; give a share between 0 and 1")
        if self.weights not in ("injected", "equal"):
            raise ValueError(f"weights is {self.weights!r}; give 'injected' or 'equal'")
        if self.far is not None and not 0 < self.far < 1:
            raise ValueError(f"far is {self.far!r}; give a share between 0 and 1, or None")

    def _calibration(self) -> Calibration:
        return self._fitted().calibrations["trailing" if self.causal else "centred"]

    def _fitted(self) -> Detector:
        if not hasattr(self, "detector_"):
            raise NotFittedError("AnomalyDetector is not fitted yet; call fit(X) first")
        return self.detector_

    def _checked(self, X: npt.ArrayLike) -> npt.NDArray[np.float32]:
        self._fitted()
        found = _recordings(X)
        if len(found) != 1:
            raise ValueError(f"X: one recording is scored at a time; got a list of {len(found)}")
        rows = found[0]
        if rows.shape[1] != self.n_features_in_:
            raise ValueError(f"X has {rows.shape[1]} channels, fit saw {self.n_features_in_}")
        names, fitted = _column_names(X), list(getattr(self, "feature_names_in_", ()))
        if names is not None and fitted and names != fitted:
            raise ValueError(
                f"X: its columns are {', '.join(names)} and fit saw {', '.join(fitted)}; give them "
                "in that order"
            )
        return rows


def _column_names(X: Recordings) -> list[str] | None:
    """Return the names of the columns of a table, or of all tables of a list, where it has some.

    Raises ValueError where two tables of a list have others.
    """
    tables = [one for one in (X if isinstance(X, list | tuple) else [X]) if hasattr(one, "columns")]
    found = [[str(name) for name in table.columns] for table in tables]
    for names in found[1:]:
        if names != found[0]:
            raise ValueError(
                f"X: a recording has columns {', '.join(names)} and the first one "
                f"{', '.join(found[0])}; give all in one order"
            )
    return found[0] if found else None


def _recordings(X: Recordings) -> list[npt.NDArray[np.float32]]:
    """Return recordings (T, C); raises ValueError where X is none."""
    if isinstance(X, list | tuple) and not len(X):
        raise ValueError("X: is empty; give one recording (T, C), or a list of them")
    several = isinstance(X, list | tuple) and any(_is_recording(one) for one in X)
    with np.errstate(over="ignore"):
        found = [np.asarray(one, np.float32) for one in (X if several else [X])]  # type: ignore[union-attr]
    rows = [one[:, None] if one.ndim == 1 else one for one in found]
    if any(one.ndim != 2 for one in rows) or len({one.shape[1] for one in rows}) > 1:
        shapes = ", ".join(str(one.shape) for one in found)
        raise ValueError(f"X: recordings are (T, C) with one C; got {shapes}")
    if any(np.isinf(one).any() for one in rows):
        raise ValueError(
            "X: has values that are infinite in float32; give NaN where one is missing"
        )
    return rows


def _is_recording(one: npt.ArrayLike) -> bool:
    """Tell an array, or a table as lists, from a row of numbers."""
    if isinstance(one, list | tuple):
        return len(one) > 0 and np.ndim(one[0]) > 0
    return np.ndim(one) > 0
