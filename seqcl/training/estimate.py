"""Estimate: what one step needs, measured on one batch, for a dry run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

from seqcl.batch import Batch, Encoded
from seqcl.data.loader import Loader
from seqcl.encoders.base import Encoder
from seqcl.heads.base import Head
from seqcl.methods.base import Method
from seqcl.rng import Rng
from seqcl.training.options import TrainingOptions
from seqcl.training.precision import mixed_precision
from seqcl.training.step import backward, own_random_state
from seqcl.views.base import Frontend, ViewGenerator

__all__ = ["Estimate", "estimate"]

_MOMENTS = {"adamw": 2, "sgd": 1, "lars": 1}
"""Copies of the weights that an optimizer keeps."""

Shape = tuple[int, ...]


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
    """What each call of an encoder gave; views of one shape share a call."""
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
            ("pooled", ", ".join(map(_shape, self.pooled))),
            ("projected", ", ".join(map(_shape, self.projected)) or "–"),
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
        backward(trial, views, options.accumulate, (seed, number))
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return batch, views

    with own_random_state(device), mixed_precision(trial, device, options.precision):
        with _recorded(trial) as seen:
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


@dataclass
class _Seen:
    pooled: list[Shape]
    projected: list[Shape]
    storages: dict[int, int]

    @property
    def saved(self) -> int:
        """Bytes that the backward pass was kept for, each storage once."""
        return sum(self.storages.values())


@contextmanager
def _recorded(method: Method) -> Iterator[_Seen]:
    """Watch what encoders and heads give, and what autograd keeps besides the weights."""
    seen = _Seen([], [], {})
    weights = {weight.untyped_storage().data_ptr() for weight in method.parameters()}

    def look(part: nn.Module, _inputs: Any, output: Any) -> None:
        if isinstance(output, Encoded):
            seen.pooled.append(tuple(output.pooled.shape))
        elif isinstance(part, Head):
            seen.projected.append(tuple(output.shape))

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            seen.storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    parts = [part for part in method.modules() if isinstance(part, Encoder | Head)]
    handles = [part.register_forward_hook(look) for part in parts]
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        yield seen
    for handle in handles:
        handle.remove()


def _parameters(method: Method) -> dict[str, int]:
    """Count what learns, by the method's parts."""
    counts = {
        name: sum(weight.numel() for weight in part.parameters() if weight.requires_grad)
        for name, part in method.named_children()
    }
    return {name: count for name, count in counts.items() if count}


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _shape(shape: Shape) -> str:
    return " x ".join(map(str, shape))
