"""LARS (You et al. 2017, arXiv 1708.03888): each layer's step in proportion to its weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

__all__ = ["Lars"]


class Lars(Optimizer):
    """SGD with momentum whose gradient is scaled to the norm of the weights, layer by layer.

    For weights w with gradient g (algorithm 1 of the paper)::

        local = trust * |w| / (|g| + weight_decay * |w|)
        v = momentum * v + lr * local * (g + weight_decay * w)
        w = w - v

    The learning rate stands inside the momentum, as in the paper; SimCLR's LARS has it outside,
    which differs while the rate changes. In a group with ``adapt=False`` (biases, normalisation)
    local is 1, as it is where either norm is 0.

    Like torch's fused optimizers it obeys `found_inf`: where that tensor is 1, nothing changes.

    Args:
        params: parameters or groups of them; a group may set any option, and `adapt`.
        lr: learning rate.
        momentum: of the step.
        weight_decay: L2 penalty.
        trust: the paper's coefficient eta.
    """

    found_inf: Tensor | None = None

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        *,
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust: float = 1e-3,
    ) -> None:
        defaults = {
            "lr": lr, "momentum": momentum, "weight_decay": weight_decay,
            "trust": trust, "adapt": True,
        }  # fmt: skip
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Take one step; a closure is not supported."""
        if closure is not None:
            raise ValueError("Lars.step takes no closure")
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._update(weight, group)

    def _update(self, weight: Tensor, group: dict[str, Any]) -> None:
        state = self.state[weight]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(weight)
        before = state["momentum_buffer"]
        decayed = weight.grad + group["weight_decay"] * weight
        velocity = group["momentum"] * before + group["lr"] * _local(weight, group) * decayed
        if self.found_inf is not None:
            skip = self.found_inf.bool()
            before.copy_(torch.where(skip, before, velocity))
            velocity = torch.where(skip, 0.0, velocity)
        else:
            before.copy_(velocity)
        weight.sub_(velocity)


def _local(weight: Tensor, group: dict[str, Any]) -> Tensor | float:
    """Return the layer's rate: trust * |w| / (|g| + decay * |w|), or 1."""
    if not group["adapt"]:
        return 1.0
    assert weight.grad is not None
    size, slope = weight.norm(), weight.grad.norm()
    ratio = group["trust"] * size / (slope + group["weight_decay"] * size)
    return torch.where((size > 0) & (slope > 0), ratio, 1.0)
