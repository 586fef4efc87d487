"""Layer-wise rates: layers near the input learn more slowly than those near the head."""

from __future__ import annotations

from torch import nn

from seqcl.encoders.base import Encoder

__all__ = ["layer_depths", "layer_rates"]


def layer_depths(encoder: nn.Module) -> dict[str, int]:
    """Return the layer that each parameter belongs to, counted from the input.

    Numbered layers (``blocks.2.norm.weight``) are 1 and up, by their first number; what is made
    before them is 0; what is made after them, and the pooling, is one layer above the last. Where
    several parts of an encoder learn apart, each counts its own layers.
    """
    learners = encoder.learners if isinstance(encoder, Encoder) else (encoder,)
    own = {
        id(parameter): depth
        for learner in learners
        for parameter, depth in zip(learner.parameters(), _depths(learner).values(), strict=True)
    }
    whole = _depths(encoder)
    return {
        name: own.get(id(parameter), whole[name]) for name, parameter in encoder.named_parameters()
    }


def _depths(module: nn.Module) -> dict[str, int]:
    names = [name for name, _ in module.named_parameters()]
    numbers = [_number(name) for name in names]
    top = max((number for number in numbers if number is not None), default=0)
    first = next((row for row, number in enumerate(numbers) if number is not None), len(names))
    depths = {}
    for row, (name, number) in enumerate(zip(names, numbers, strict=True)):
        if number is None:
            number = top + 1 if row > first or "pooling" in name.split(".") else 0
        depths[name] = number
    return depths


def layer_rates(encoder: nn.Module, decay: float) -> dict[str, float]:
    """Return each parameter's learning rate over the head's: `decay` once for each layer below.

    The uppermost layer has `decay` itself (Clark et al. 2020; Bao et al. 2021, arXiv 2106.08254).
    """
    depths = layer_depths(encoder)
    top = max(depths.values(), default=0)
    return {name: decay ** (top + 1 - depth) for name, depth in depths.items()}


def _number(name: str) -> int | None:
    parts = name.split(".")
    if "pooling" in parts:
        return None
    return next((int(part) + 1 for part in parts if part.isdecimal()), None)
