"""Choose the linear probe by cross-validation on the training part."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from seqcl.evaluation.probes import LinearMap, Scaling, Solver, fit_ridge_map, rotation
from seqcl.evaluation.shuffle import shuffled_by_class
from seqcl.evaluation.units import independent

__all__ = ["Candidate", "choose", "folds"]

Codes = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
ProbeName = Literal["ridge", "logistic"]
ScalingName = Literal["common", "each"]

INVERSE_PENALTIES = tuple(np.logspace(-3, 3, 7).tolist())
MAX_FOLDS = 5
MAX_RECORDS = 1000
"""Records that the choice looks at; the chosen probe is fitted to all."""


@dataclass(frozen=True)
class Candidate:
    """A probe, its scaling and penalty, and its accuracy on held-out training records."""

    probe: ProbeName
    scaling: ScalingName
    c: float | None
    """Inverse penalty of the logistic regression; the ridge chooses its own."""
    accuracy: float | None
    """None where no class has records of two units, so that nothing can be held out."""


def choose(
    values: npt.NDArray[np.float32],
    ids: Sequence[str],
    units: Codes,
    codes: Codes,
    scalings: dict[ScalingName, Scaling],
    probes: Sequence[ProbeName],
    seed: int,
) -> list[Candidate]:
    """Return every candidate, the best first; of equals the earlier in `probes`, `scalings`.

    Args:
        values: (N, E) training embeddings.
        ids: (N,) which decide the folds, together with `seed`.
        units: (N,) records of one unit are never held out apart, see `seqcl.evaluation.units`.
        codes: (N,) classes 0..K-1, each with a record.
        scalings: by name, fitted to the training part.
        probes: those to try.
        seed: of the folds.
    """
    names = [(probe, scaling) for probe in probes for scaling in scalings]
    fold = folds(ids, units, codes, seed)
    if fold.max() < 1:
        return [
            Candidate(probe, scaling, 1.0 if probe == "logistic" else None, None)
            for probe, scaling in names
        ]
    rows = np.flatnonzero(fold > _LEFT_OUT)
    compact = {name: _compact(scaling(values[rows])) for name, scaling in scalings.items()}
    found = [
        _try(probe, scaling, _Split(compact[scaling], codes[rows], fold[rows]))
        for probe, scaling in names
    ]
    return sorted(found, key=lambda candidate: -(candidate.accuracy or 0.0))


_TRAIN_ONLY, _LEFT_OUT = -1, -2


def folds(ids: Sequence[str], units: Codes, codes: Codes, seed: int) -> Codes:
    """Return the fold of each record (N,): stratified, at most 5 and MAX_RECORDS records.

    The records of a unit are of one fold. A class that is in one fold alone is always trained on
    (-1), or a probe would not know it; what the choice does not look at is -2.
    """
    units = independent(units)
    by_class = shuffled_by_class(ids, codes, seed)
    share = min(1.0, MAX_RECORDS / len(codes))
    out = np.full(len(codes), _LEFT_OUT)
    count = min(MAX_FOLDS, max(len(np.unique(units[rows])) for rows in by_class))
    of_unit: dict[int, int] = {}
    for rows in by_class:
        used = rows[: max(2, round(share * len(rows)))]
        place = [of_unit.setdefault(unit, len(of_unit) % count) for unit in units[used].tolist()]
        out[used] = place if len(set(place)) > 1 else _TRAIN_ONLY
    return out


def _compact(scaled: Floats) -> Floats:
    """Return the records in as few dimensions as they span."""
    onto = rotation(scaled)
    return scaled if onto is None else scaled @ onto


class _Split:
    """The same folds for every candidate."""

    def __init__(self, scaled: Floats, codes: Codes, fold: Codes) -> None:
        self.scaled, self.codes, self.fold = scaled, codes, fold
        self.n_classes = int(codes.max()) + 1

    def training(self) -> Iterator[tuple[Floats, Codes]]:
        """Yield what each fold trains on."""
        for number in range(self.fold.max() + 1):
            rows = self.fold != number
            yield self.scaled[rows], self.codes[rows]

    def accuracy(self, maps: Sequence[LinearMap]) -> float:
        """Return the share of held-out records that are right, one map a fold."""
        hits = 0
        for number, fitted in enumerate(maps):
            rows = self.fold == number
            scores = self.scaled[rows] @ fitted.weights + fitted.bias
            hits += int((scores.argmax(1) == self.codes[rows]).sum())
        return hits / int((self.fold >= 0).sum())


def _try(probe: ProbeName, scaling: ScalingName, split: _Split) -> Candidate:
    if probe == "ridge":
        maps = [fit_ridge_map(*part, split.n_classes)[0] for part in split.training()]
        return Candidate(probe, scaling, None, split.accuracy(maps))
    solvers = [Solver(*part, tolerance=1e-3) for part in split.training()]
    c, accuracy = _rise(lambda c: split.accuracy([solver.fit(c) for solver in solvers]))
    return Candidate(probe, scaling, c, accuracy)


def _rise(accuracy_at: Callable[[float], float]) -> tuple[float, float]:
    """Return the best C, the smallest of equals, and its accuracy.

    Stops where nothing is left to gain, or after two values of C that were worse than the best.
    """
    best, accuracy, worse = INVERSE_PENALTIES[0], -1.0, 0
    for c in INVERSE_PENALTIES:
        now = accuracy_at(c)
        worse += now < accuracy
        if now > accuracy:
            best, accuracy, worse = c, now, 0
        if worse == 2 or accuracy == 1:
            break
    return best, accuracy
