"""Which sampler a training uses, and whether its batches hold what the method needs."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from seqcl.data.dataset import Dataset
from seqcl.data.loader import Loader
from seqcl.data.samplers import Sampler
from seqcl.errors import DataError, PresetError
from seqcl.losses.base import PairLoss
from seqcl.methods.base import Method
from seqcl.registry import Spec
from seqcl.training.options import TrainingOptions

__all__ = ["check_batches", "check_needs", "choose_sampler"]

Ints = npt.NDArray[np.int64]

_LOOK = 64
"""Batches that are looked at, the first of the first epoch."""


def choose_sampler(options: TrainingOptions, method: Method | None) -> Spec[Sampler]:
    """Return the preset's sampler, else the method's, else `shuffle`."""
    asked = None if method is None else method.sampler
    return options.sampler or asked or Spec("samplers", "shuffle")


def check_needs(method: Method, dataset: Dataset) -> None:
    """Raise DataError where the data lack what the method needs."""
    lacks = {
        "labels": ("labels; set data.label or use labelled data (y of fit)", _unlabelled),
        "groups": ("groups; set data.group (groups of fit)", _ungrouped),
        "pairs": ("marked pairs; set data.pair", lambda data: not data.pair_codes.any()),
        "recordings": (
            "windows of recordings; set data.window",
            lambda data: not data.is_windowed,
        ),
    }
    for need, (what, is_lacking) in lacks.items():
        if need in method.needs and is_lacking(dataset):
            raise DataError(f"{_who(method, need)} needs {what}")


def _unlabelled(dataset: Dataset) -> bool:
    return bool((dataset.label_codes < 0).all())


def _ungrouped(dataset: Dataset) -> bool:
    return not dataset.is_windowed and not any(dataset.groups)


def _who(method: Method, need: str) -> str:
    """Return who needs it: the method, or its loss with the option that asks for it."""
    one = method.members[0]
    name, loss = f"method {method.name}", getattr(one, "loss", None)
    if need in type(one).needs or not isinstance(loss, PairLoss):
        return name
    option = loss.asking(need)
    return f"{name}: its loss {type(loss).__name__}{option and f' with {option}'}"


def check_batches(
    method: Method | None, sampler: Sampler, loader: Loader, options: TrainingOptions, seed: int
) -> None:
    """Raise PresetError where the sampler cannot make the batches that are asked for.

    What tells a method's positives must come together in one of the first batches, and what it
    needs must not be the same for all of each; so it holds for any sampler.
    """
    gathers = method is None or method.gathers
    together = loader.batch_size if gathers else loader.own_size
    size = together // options.accumulate
    fault = sampler.fault(size)
    if fault is not None:
        parts = f" (training.accumulate={options.accumulate} makes them of training.batch_size)"
        raise PresetError(fault + (parts if options.accumulate > 1 else ""))
    if method is None or not method.needs & {"labels", "groups", "pairs"}:
        return
    count = min(_LOOK, len(sampler) // max(1, size))
    rows = sampler.epoch(seed, 0)[: count * size].reshape(count, size)
    dataset = loader.dataset
    told = None
    if "labels" in method.together and not _has_two_alike(dataset.label_codes[rows]):
        told = "no two have one label (sampler pk brings them together)"
    if told is None and "labels" in method.needs:
        told = _one_kind(dataset.label_codes[rows], "label")
    if told is None and "groups" in method.needs:
        told = _one_kind(dataset.group_codes[rows], "group")
    if told is None and "pairs" in method.together:
        told = _pairs_apart(dataset.pair_codes[rows])
    if told is not None:
        name, s = method.name, "es" if count > 1 else ""
        raise PresetError(
            f"training: in the first {count} batch{s} of {size} records {told}, and {name} has "
            "nothing to learn from that; use another training.sampler or a larger batch"
        )


def _one_kind(codes: Ints, name: str) -> str | None:
    """Say that all records of each batch (N, size) are of one kind; -1 = unknown."""
    known = np.where(codes < 0, codes.max(axis=1, keepdims=True), codes)
    if (known.min(axis=1) < known.max(axis=1)).any():
        return None
    return f"all of a batch have one {name}"


def _pairs_apart(codes: Ints) -> str | None:
    """Say what is wrong with the pair marks of batches; 0 = none."""
    if _has_two_alike(np.where(codes == 0, -1, np.abs(codes))):
        return None
    return "no pair is whole (sampler pairs keeps them together)"


def _has_two_alike(codes: Ints) -> bool:
    ordered = np.sort(codes, axis=1)
    return bool(((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)).any())
