"""Detector: several scorers on one scale, weighted without labels, with a calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor

from seqcl.detection.calibration import Calibration, calibrate
from seqcl.detection.drift import Drift, DriftReference, DriftWatch
from seqcl.detection.explain import Explanation, NormalWindows
from seqcl.detection.fusion import balanced_weights
from seqcl.detection.health import Fault, Health, longest_runs
from seqcl.detection.period import period_of
from seqcl.detection.scaling import Scaling
from seqcl.detection.scorers.base import Scorer, offline, online
from seqcl.detection.self_test import injected_copies, widened
from seqcl.detection.series import Series
from seqcl.errors import ArtefactError, DataError
from seqcl.registry import Spec
from seqcl.rng import Rng

__all__ = ["Detector", "Scores", "default_scorers"]

Floats = npt.NDArray[np.float32]
State = dict[str, Tensor]

_SMALLEST = 1e-9
_LEAST_DEVIATION = 0.05
"""Added to the deviation of a log score: a score that hardly moves is no measure of surprise."""
_FEWEST, _FEWEST_HELD = 64, 16
"""Rows that a training recording has at least, and its calibration slice."""
MODES = ("centred", "trailing")
_DRIFT_WINDOW, _DRIFT_FEWEST = 500, 32
"""Rows that are compared with training at once, at most and at least."""
_DRIFT_RATE = 0.001
"""Share of looks at normal operation that take it for drift."""


@dataclass(frozen=True)
class Scores:
    """What a detector says of the T rows of a recording; higher = more anomalous."""

    fused: Floats
    """(T,); NaN where too few rows came before, with trailing scores."""
    parts: Floats
    """(T, K), logs of each score, in deviations from their mean on the calibration slice."""
    names: tuple[str, ...]
    """(K,)."""


def default_scorers(channels: int) -> tuple[Spec[Scorer], ...]:
    """Return what sees windows of four octaves, their shape, levels and single rows of C channels.

    A trained encoder sees the shape of all channels together and, where there are several, of each.
    """
    octaves = [{"scale": scale} for scale in (0.25, 0.5, 1.0, 2.0)]
    return (
        *(Spec("scorers", "kernel_distance", octave) for octave in octaves),
        Spec("scorers", "contrastive"),
        Spec("scorers", "mean_shift"),
        Spec("scorers", "amplitude"),
        *([Spec("scorers", "each_channel")] if channels > 1 else []),
    )


class Detector:
    """Learn what is normal from recordings of mostly normal operation, and score others.

    The last part of each training recording is a calibration slice, parted by a gap of one window
    from what the scorers are fitted to. There the logs of their scores get mean and deviation;
    anomalies of our own, put into copies of it, give each its weight (`balanced_weights`); the
    weighted sum on the slice as it was gives the thresholds. No label is ever read.

    Offline, the scores of all windows that hold a row are averaged; trailing scores see nothing
    after the row, and are what a stream gets. Both have a scale and a calibration of their own.

    Args:
        window: rows; None = the period of the training data, 16 to 128 (`period_of`).
        calibration: share of each training recording that is kept for calibration.
        weights: `injected`, or `equal`.
        scorers: what gives scores; None = `kernel_distance` at four scales, `contrastive`,
            `mean_shift`, `amplitude`, and `each_channel` where there are several.
    """

    kind: ClassVar[str] = "detectors"

    def __init__(
        self,
        *,
        window: Annotated[int, Ge(8)] | None = None,
        calibration: Annotated[float, Gt(0), Lt(1)] = 0.25,
        weights: Literal["injected", "equal"] = "injected",
        scorers: tuple[Spec[Scorer], ...] | None = None,
    ) -> None:
        self.given, self.share = window, calibration
        self.weighting, self.specs = weights, scorers
        self.scaling = Scaling()
        self.scorers: list[Scorer] = []
        self.state: State = {}
        self.calibrations: dict[str, Calibration] = {}
        self.drifts: dict[str, DriftReference] = {}
        self.normal = NormalWindows(0)
        self.kept: tuple[int, ...] = ()
        """Places of the recordings that were learnt from; the others are too short."""

    @property
    def window(self) -> int:
        """Rows of the window."""
        return int(self.state["window"])

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each score, (K,)."""
        return tuple(name for scorer in self.scorers for name in scorer.names)

    @property
    def weights(self) -> dict[str, float]:
        """The share of each score in the sum."""
        return dict(zip(self.names, self.state["weights"].tolist(), strict=True))

    @property
    def constant(self) -> tuple[int, ...]:
        """Places of the channels that never moved in training, or had no value."""
        return tuple(self.scaling.state["constant"].nonzero().flatten().tolist())

    @property
    def reach(self) -> int:
        """Rows that a trailing score depends on, the row itself the last of them."""
        return max(scorer.reach for scorer in self.scorers)

    @property
    def longest(self) -> int:
        """Rows of the longest window that is averaged offline."""
        return max(scorer.covering for scorer in self.scorers)

    def fit(self, series: Sequence[Series], seed: int = 0) -> None:
        """Learn from the recordings of at least five windows or so, whose places are `kept`.

        Raises DataError where the others hold more than half of the rows.
        """
        begins, window = self._window(series)
        self.kept = tuple(place for place, start in begins.items() if start >= 4 * window)
        series = [series[place] for place in self.kept]
        starts = [begins[place] for place in self.kept]
        whole = [one.values for one in series]
        if all(np.isnan(values[:at]).all() for values, at in zip(whole, starts, strict=True)):
            raise DataError(f"{series[0].id}: no channel has a value; there is nothing to learn")
        parts = [values[: start - window] for values, start in zip(whole, starts, strict=True)]
        self.scaling.fit(parts)
        self._build(window, whole[0].shape[1])
        self._check_rows(series, [len(part) for part in parts])
        scaled = [self.scaling(values) for values in whole]
        for place, scorer in enumerate(self.scorers):
            known = [one[: len(part)] for one, part in zip(scaled, parts, strict=True)]
            scorer.fit(known, Rng(seed, place))
        self.state = {"window": torch.tensor(window), "weights": torch.ones(len(self.names))}
        held = {mode: self._held(scaled, starts, mode) for mode in MODES}
        for mode, logs in held.items():
            rows = torch.cat(logs)
            rows = rows[~rows.isnan().any(1)]
            self.state[f"{mode}.mean"] = rows.mean(0)
            self.state[f"{mode}.deviation"] = rows.std(0, correction=0) + _LEAST_DEVIATION
        self.state["weights"] = self._weights(scaled, starts, Rng(seed, len(self.scorers)))
        self.normal.fit([one[: len(part)] for one, part in zip(scaled, parts, strict=True)])
        missing, equal = longest_runs(whole)
        self.state |= {"missing": torch.from_numpy(missing), "equal": torch.from_numpy(equal)}
        self.drifts = {}
        for mode, logs in held.items():
            self.calibrations[mode] = calibrate(self._joined(logs, mode))
            self._refer_drift(mode, torch.cat(logs), seed)

    def _window(self, series: Sequence[Series]) -> tuple[dict[int, int], int]:
        """Return where the calibration of each recording begins, and the window.

        Recordings of four windows before that row hold half of all rows at least.
        """
        starts = _starts(series, self.share)
        longest = sorted(starts, key=lambda place: -starts[place])
        held = np.cumsum([len(series[place]) for place in longest])
        last = longest[int(np.searchsorted(held, sum(map(len, series)) / 2))]
        fitted = starts[last]
        if self.given is None:
            period = period_of([series[place].values[:at] for place, at in starts.items()])
            return starts, min(period, fitted // 4)
        if 4 * self.given > fitted:
            raise DataError(
                f"{series[last].id}: {fitted} rows are fitted to and the window has {self.given}; "
                f"four windows are needed: set detector.window={fitted // 4} or less, or give "
                "longer recordings"
            )
        return starts, self.given

    def _check_rows(self, series: Sequence[Series], fitted: Sequence[int]) -> None:
        """Raise DataError where a scorer looks back farther than a recording goes."""
        for scorer in self.scorers:
            for one, rows in zip(series, fitted, strict=True):
                if scorer.least > rows or scorer.reach > len(one):
                    raise DataError(
                        f"{one.id}: has {len(one)} rows, of which {rows} are fitted to, and the "
                        f"scorer of {', '.join(scorer.names)} looks back over {scorer.reach} and "
                        f"needs {scorer.least}; give it a smaller scale or fewer lags, set a "
                        "smaller detector.window, or give longer recordings"
                    )

    def score(self, values: Floats, *, causal: bool = False) -> Scores:
        """Score the rows of values (T, C), NaN = missing; C as in training."""
        mode = "trailing" if causal else "centred"
        if len(values) < self.reach and not causal:
            raise DataError(
                f"{len(values)} rows are too few for this detector, whose scores look back over "
                f"{self.reach}; give a longer recording"
            )
        parts = self._relative(self._logs(self.scaling(values), mode), mode)
        fused = parts @ self.state["weights"]
        return Scores(fused.numpy(), parts.numpy(), self.names)

    def explain(
        self, values: Floats, rows: Sequence[int], *, causal: bool = False
    ) -> list[Explanation]:
        """Tell which channels the scores of some rows of values (T, C) come from."""
        scaled = self.scaling(values)
        found = []
        for row in rows:
            first = max(0, row + 1 - self.reach - self.longest)
            last = row + 1 if causal else max(row + self.longest, self.reach)
            seen = scaled[first:last]
            found.append(self.explain_scaled(seen, row - first, causal=causal))
        return found

    def explain_scaled(self, scaled: Tensor, row: int, *, causal: bool) -> Explanation:
        """Tell the same of one row of values (T, C) that are scaled already."""
        mode = "trailing" if causal else "centred"
        start = row - self.window + 1 if causal else row - self.window // 2
        start = max(0, min(start, len(scaled) - self.window))

        def score(changed: Tensor) -> float:
            logs = (
                self._last_logs(changed, 1) if causal else self._logs(changed, mode)[row : row + 1]
            )
            return float(self._relative(logs, mode)[0] @ self.state["weights"])

        return self.normal.explain(scaled, slice(start, start + self.window), score)

    def score_last(self, scaled: Tensor, rows: int) -> Scores:
        """Return trailing scores of the last rows of scaled values; NaN as `score`."""
        parts = self._relative(self._last_logs(scaled, rows), "trailing")
        return Scores((parts @ self.state["weights"]).numpy(), parts.numpy(), self.names)

    def health(self) -> Health:
        """Return a watch over missing and stuck channels, from the runs of the training data."""
        missing, equal = (self.state[name].numpy() for name in ("missing", "equal"))
        return Health(missing, equal, self.scaling.state["constant"].numpy(), self.window)

    def faults(self, values: Floats) -> list[Fault]:
        """Return where sensors of values (T, C) are missing or stuck, in the order of time."""
        watch = self.health()
        if not any(watch.exceeded(*longest_runs([values]))):
            return []
        return [fault for row, one in enumerate(values) for fault in watch.push(row, one)]

    def drift_watch(self, *, causal: bool) -> DriftWatch | None:
        """Return a watch over the scores' distribution; None = too little calibration data."""
        reference = self.drifts.get("trailing" if causal else "centred")
        return None if reference is None else DriftWatch(reference)

    def drift(self, scores: Scores, *, causal: bool) -> list[Drift]:
        """Return where scores stop looking like those of training, and where they do again."""
        watch = self.drift_watch(causal=causal)
        if watch is None:
            return []
        found = (watch.push(row, parts) for row, parts in enumerate(scores.parts))
        return [one for one in found if one is not None]

    def tensors(self) -> State:
        """Return all that was learnt, tensors by name, from which `restore` goes on."""
        found = {f"scaling.{name}": value for name, value in self.scaling.state.items()}
        for place, scorer in enumerate(self.scorers):
            found |= {f"scorers.{place}.{name}": value for name, value in scorer.state.items()}
        for mode, calibration in self.calibrations.items():
            for name, array in calibration.arrays().items():
                found[f"calibration.{mode}.{name}"] = torch.from_numpy(np.asarray(array))
        for mode, reference in self.drifts.items():
            for name, array in reference.arrays().items():
                found[f"drift.{mode}.{name}"] = torch.from_numpy(np.asarray(array))
        found |= {f"normal.{name}": value for name, value in self.normal.state.items()}
        found |= {f"detector.{name}": value for name, value in self.state.items()}
        return {name: value.contiguous() for name, value in found.items()}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take back what `tensors` gave; raises ArtefactError where something is missing."""
        try:
            self.scaling.state = _below("scaling", tensors)
            self.state = _below("detector", tensors)
            self._build(self.window, len(self.scaling.state["mean"]))
            self.normal.state = _below("normal", tensors)
            for place, scorer in enumerate(self.scorers):
                scorer.restore(_below(f"scorers.{place}", tensors))
            for mode in MODES:
                arrays = _below(f"calibration.{mode}", tensors)
                self.calibrations[mode] = Calibration.from_arrays(
                    {name: tensor.numpy() for name, tensor in arrays.items()}
                )
                if drift := _below(f"drift.{mode}", tensors):
                    self.drifts[mode] = DriftReference.from_arrays(
                        {name: tensor.numpy() for name, tensor in drift.items()}
                    )
        except KeyError as error:
            raise ArtefactError(f"detector: no tensor {error}; pretrain again") from error

    def _build(self, window: int, channels: int) -> None:
        specs = default_scorers(channels) if self.specs is None else self.specs
        self.scorers = [spec.build(channels, window) for spec in specs]
        self.normal = NormalWindows(window)

    def _logs(self, scaled: Tensor, mode: str) -> Tensor:
        """Return logs of all scores (T, K); NaN where a trailing score has too few rows."""
        if mode == "trailing":
            found = [online(scorer, scaled) for scorer in self.scorers]
        else:
            found = [offline(scorer, scaled) for scorer in self.scorers]
        return torch.cat(found, 1).clamp(min=_SMALLEST).log()

    def _last_logs(self, scaled: Tensor, rows: int) -> Tensor:
        """Return trailing logs (rows, K) of the last rows, looking no farther back than needed."""
        found = [
            online(scorer, scaled[-(scorer.reach - 1 + rows) :])[-rows:] for scorer in self.scorers
        ]
        return torch.cat(found, 1).clamp(min=_SMALLEST).log()

    def _held(self, scaled: Sequence[Tensor], starts: Sequence[int], mode: str) -> list[Tensor]:
        """Return the logs (rows, K) of each recording's calibration slice."""
        found = []
        for one, start in zip(scaled, starts, strict=True):
            first = self._context(start)
            found.append(self._logs(one[first:], mode)[start - first :])
        return found

    def _context(self, start: int) -> int:
        """Return the row from which all must be known for scores from row `start` on."""
        return max(0, start - self.reach - self.window)

    def _relative(self, logs: Tensor, mode: str) -> Tensor:
        return (logs - self.state[f"{mode}.mean"]) / self.state[f"{mode}.deviation"]

    def _joined(self, logs: Sequence[Tensor], mode: str) -> npt.NDArray[np.float64]:
        """Return fused scores of all slices, a window without scores between two of them."""
        pause = np.full(self.window, np.nan)
        fused = [
            (self._relative(one, mode) @ self.state["weights"]).double().numpy() for one in logs
        ]
        return np.concatenate([part for one in fused for part in (one, pause)])

    def _refer_drift(self, mode: str, logs: Tensor, seed: int) -> None:
        """Learn what the scores of normal operation look like, where there are enough of them."""
        parts = self._relative(logs, mode)
        parts = parts[~parts.isnan().any(1)]
        window = min(_DRIFT_WINDOW, len(parts) // 10)
        if window >= _DRIFT_FEWEST:
            self.drifts[mode] = DriftReference.fit(
                parts.numpy(), window=window, rate=_DRIFT_RATE, seed=seed
            )

    def _weights(self, scaled: Sequence[Tensor], starts: Sequence[int], rng: Rng) -> Tensor:
        if self.weighting == "equal":
            return torch.full((len(self.names),), 1 / len(self.names))
        weights = balanced_weights(*self.self_test(scaled, starts, rng))
        return torch.from_numpy(weights).float()

    def self_test(
        self, scaled: Sequence[Tensor], starts: Sequence[int], rng: Rng
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
        """Return scores (N, K) on copies of the calibration slices, and where they hold anomalies.

        The slices of scaled recordings (T, C) begin at the rows `starts`; the anomalies are put in
        by us.
        """
        rows, labels = [], []
        for number, (one, start) in enumerate(zip(scaled, starts, strict=True)):
            first = self._context(start)
            for copy, where in injected_copies(
                one[first:], start - first, self.window, rng.fork(number)
            ):
                logs = self._logs(copy, "centred")[start - first :]
                rows.append(self._relative(logs, "centred").double().numpy())
                labels.append(widened(where, self.window // 2)[start - first :])
        return np.concatenate(rows), np.concatenate(labels)


def _starts(series: Sequence[Series], share: float) -> dict[int, int]:
    """Return the row at which the calibration begins, of each place with a recording long enough.

    Raises DataError where these hold less than half of all rows.
    """
    found, refused = {}, []
    for place, one in enumerate(series):
        try:
            found[place] = _checked(one, share)
        except DataError as error:
            refused.append(error)
    if 2 * sum(len(series[place]) for place in found) < sum(map(len, series)):
        raise refused[0]
    return found


def _checked(series: Series, share: float) -> int:
    """Return the row at which the calibration slice begins."""
    if len(series) < _FEWEST:
        raise DataError(
            f"{series.id}: has {len(series)} rows and a detector needs {_FEWEST} to learn what is "
            "normal; give a longer recording"
        )
    start = int(len(series) * (1 - share))
    if start < _FEWEST - _FEWEST_HELD or len(series) - start < _FEWEST_HELD:
        raise DataError(
            f"{series.id}: detector.calibration={share:g} leaves {start} of {len(series)} rows to "
            f"fit and {len(series) - start} to calibrate; needed are {_FEWEST - _FEWEST_HELD} and "
            f"{_FEWEST_HELD}: take another share, or give a longer recording"
        )
    return start


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> State:
    cut = len(prefix) + 1
    return {name[cut:]: value for name, value in tensors.items() if name.startswith(f"{prefix}.")}
