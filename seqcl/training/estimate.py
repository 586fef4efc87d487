"""Estimate: what one step needs, measured on one batch, for a dry run."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from itertools import groupby
from time import perf_counter

import torch
from torch import Tensor

from seqcl.batch import Batch
from seqcl.data.loader import Loader
from seqcl.methods.base import Method
from seqcl.rng import Rng
from seqcl.training.options import TrainingOptions
from seqcl.training.precision import mixed_precision
from seqcl.training.seeding import own_random_state
from seqcl.training.step import backward
from seqcl.training.watching import Shape, watched
from seqcl.views.base import Frontend, ViewGenerator

__all__ = ["Estimate", "estimate"]

_MOMENTS = {"adamw": 2, "sgd": 1, "lars": 1}
"""Copies of the weights that an optimizer keeps."""


@dataclass(frozen=True)
class Estimate:
    """One step of a training, measured; nothing was trained."""

    steps: int
    """Optimizer steps of the whole training."""
    parameters: dict[str, int]
    """Weights that learn, for each part of the method."""
    batch: Shape
    views: tuple[Shape, ...]
    pooled: tuple[Shape, ...]
    """What each call of an encoder gave; views of one shape share a call, chunks do not."""
    projected: tuple[Shape, ...]
    """What each call of a head gave."""
    peak_bytes: int
    """Weights, gradients, moments, views and what the backward pass keeps, at the least."""
    step_s: float
    """Seconds of a step, the first not counted: loading, views, loss and gradient."""

    def facts(self) -> list[tuple[str, str]]:
        """Return names and values for a person to read."""
        parts = ", ".join(f"{name} {count:,}" for name, count in self.parameters.items())
        return [
            ("weights", f"{sum(self.parameters.values()):,} ({parts})"),
            ("batch", _shape(self.batch)),
            ("views", ", ".join(map(_shape, self.views))),
            ("pooled", _calls(self.pooled)),
            ("projected", _calls(self.projected) or "–"),
            ("memory", f"about {self.peak_bytes / 2**20:,.0f} MiB"),
            ("one step", f"{self.step_s:.3f} s"),
            ("all steps", f"{self.steps:,}, about {self.steps * self.step_s / 60:.1f} min"),
        ]


def estimate(
    method: Method,
    make_views: ViewGenerator,
    frontend: Frontend,
    loader: Loader,
    options: TrainingOptions,
    *,
    seed: int,
    device: torch.device | str = "cpu",
) -> Estimate:
    """Take two steps on a copy of `method`, the first to warm up; neither is kept.

    Arguments are those of `train`.
    """
    device = torch.device(device)
    trial = deepcopy(method).to(device).train()
    frontend.to(device)
    batches = loader.batches(0)

    def step(number: int) -> tuple[Batch, tuple[Batch, ...]]:
        batch = next(batches).to(device)
        with torch.no_grad():
            views = make_views(batch, frontend, Rng(seed, number, device=device))
        backward(trial, views, options.accumulate, (seed, number), options.chunk)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return batch, views

    with own_random_state(device), mixed_precision(trial, device, options.precision):
        with watched(trial) as seen:
            batch, views = step(0)
        started = perf_counter()
        step(1)
        seconds = perf_counter() - started
    learning = sum(_bytes(weight) for weight in trial.parameters() if weight.requires_grad)
    held = sum(_bytes(tensor) for tensor in trial.state_dict().values())
    state = held + learning * (1 + _MOMENTS[options.optimizer])
    return Estimate(
        steps=options.total_steps(loader.steps_per_epoch),
        parameters=_parameters(trial),
        batch=tuple(batch.values.shape),
        views=tuple(tuple(view.values.shape) for view in views),
        pooled=tuple(seen.pooled),
        projected=tuple(seen.projected),
        peak_bytes=state + sum(_bytes(view.values) for view in (batch, *views)) + seen.saved,
        step_s=seconds,
    )


def _parameters(method: Method) -> dict[str, int]:
    """Count what learns, by the method's parts."""
    counts = {
        name: sum(weight.numel() for weight in part.parameters() if weight.requires_grad)
        for name, part in method.named_children()
    }
    return {name: count for name, count in counts.items() if count}


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _calls(shapes: tuple[Shape, ...]) -> str:
    """Return each shape, and how often it came where that is more than once in a row."""
    runs = [(shape, len(list(same))) for shape, same in groupby(shapes)]
    return ", ".join(_shape(s) if n == 1 else f"{n} times {_shape(s)}" for s, n in runs)


def _shape(shape: Shape) -> str:
    return " x ".join(map(str, shape))
