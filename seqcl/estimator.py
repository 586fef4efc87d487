"""ContrastiveEncoder: the same training and embedding with scikit-learn's conventions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from numbers import Integral
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.exceptions import NotFittedError
from sklearn.utils import check_random_state

from seqcl.config.preset import Preset, load_preset
from seqcl.data.dataset import dataset_from_arrays
from seqcl.errors import PresetError
from seqcl.run.build import pick_device
from seqcl.run.build import threads as cpu_threads
from seqcl.run.fitting import assemble, fit
from seqcl.training.embed import embed

__all__ = ["ContrastiveEncoder"]

_SEEDS = 2**32
"""Seeds of numpy's RandomState."""

Arrays = npt.ArrayLike | Sequence[npt.ArrayLike]


class ContrastiveEncoder(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Learn an embedding of series or images without labels.

    >>> vectors = ContrastiveEncoder("series").fit(X).transform(X)  # (n, C, T) -> (n, E)

    X is (n, C, T), (n, T) for one channel, or a list of (C, T_i) of unequal length; NaN is
    missing. For a preset of modality image, X is (n, C, H, W). The constructor stores its
    arguments and nothing else, so `clone`, `get_params`, pipelines and grid search work.

    Args:
        preset: a preset's name or file.
        overrides: changes to it, as in ``--set``: ``"training.steps=200"``, or several.
        random_state: of weights, order and views; equal seeds give equal embeddings. A RandomState
            gives the next seed at each fit, None another one.
        device: ``auto``, ``cpu`` or ``cuda``.
        threads: CPU threads; None = torch's.

    Attributes:
        model_: the trained Model.
        n_channels_in_: C of the training data.
        train_result_: how training went, or None for a preset without a method.
    """

    def __init__(
        self,
        preset: str | Path = "series",
        *,
        overrides: str | Sequence[str] = (),
        random_state: int | np.random.RandomState | None = 0,
        device: str = "auto",
        threads: int | None = None,
    ) -> None:
        self.preset = preset
        self.overrides = overrides
        self.random_state = random_state
        self.device = device
        self.threads = threads

    def fit(
        self, X: Arrays, y: npt.ArrayLike | None = None, groups: npt.ArrayLike | None = None
    ) -> Self:
        """Train on X.

        Args:
            X: n records.
            y: n labels, for methods that need them; None, NaN or an empty text = unknown.
            groups: n groups (subject, machine), for what goes by them; None = none.

        Raises ValueError for a `random_state` that is no seed, SeqclError for what the command
        would refuse.
        """
        overrides = (self.overrides,) if isinstance(self.overrides, str) else self.overrides
        preset = load_preset(str(self.preset), overrides)
        if preset.detector is not None:
            raise PresetError(f"{self.preset}: is a detector; fit seqcl.AnomalyDetector to X")
        if preset.data.window is not None:
            raise PresetError("data.window: fit takes each record of X whole; cut X instead")
        _refuse_unused(preset, load_preset(str(self.preset)))
        labels = None if y is None else y if isinstance(y, list) else np.asarray(y)
        members = None if groups is None else np.asarray(groups)
        dataset = dataset_from_arrays(X, labels, members, missing=preset.data.missing)
        with cpu_threads(self.threads):
            parts = assemble(
                preset,
                dataset,
                seed=_seed(self.random_state),
                device=pick_device(self.device),
            )
            self.train_result_ = fit(parts)
        self.model_ = parts.model
        self.n_channels_in_ = len(dataset.channels)
        return self

    def transform(self, X: Arrays) -> npt.NDArray[np.float32]:
        """Embed X: (n, E) float32. Raises ValueError for another number of channels."""
        if not hasattr(self, "model_"):
            raise NotFittedError("ContrastiveEncoder is not fitted yet; call fit(X) first")
        dataset = dataset_from_arrays(X, missing=self.model_.missing)
        if len(dataset.channels) != self.n_channels_in_:
            raise ValueError(
                f"X has {len(dataset.channels)} channels, fit saw {self.n_channels_in_}"
            )
        target = pick_device(self.device)
        with cpu_threads(self.threads):
            return embed(self.model_.to(target), dataset, device=target).values

    def __sklearn_tags__(self) -> Any:
        """Say that X has three dimensions and may hold NaN."""
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.three_d_array = True
        tags.input_tags.allow_nan = True
        return tags


def _seed(random_state: int | np.random.RandomState | None) -> int:
    """Return a seed by scikit-learn's conventions; a number is its own."""
    if isinstance(random_state, Integral):
        if not 0 <= random_state < _SEEDS:
            raise ValueError(
                f"random_state is {random_state}; needed: 0 to {_SEEDS - 1}, a RandomState, or None"
            )
        return int(random_state)
    return int(check_random_state(random_state).randint(np.iinfo(np.int32).max))


def _refuse_unused(preset: Preset, plain: Preset) -> None:
    """Raise PresetError for changes of `data:` that mean nothing for arrays."""
    for item in fields(preset.data):
        changed = getattr(preset.data, item.name) != getattr(plain.data, item.name)
        if changed and item.name not in ("missing", "scaler"):
            raise PresetError(f"data.{item.name}: has no effect on arrays; change X instead")
