"""Best: the weights that did best on held-out records, and for how long they have."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy

import torch
from torch import Tensor, nn

__all__ = ["Best"]


class Best(nn.Module):
    """A copy of modules as they were at the lowest held-out loss, with what early stopping needs.

    All of it is in `state_dict()`, so a resumed training stops where an unbroken one does.

    Args:
        modules: what to copy, by name.
        patience: looks without a lower loss after which there is nothing to wait for.

    Attributes:
        loss: lowest so far, infinite before the first look.
        step: optimizer steps done then.
        waited: looks since then that count.
    """

    loss: Tensor
    step: Tensor
    waited: Tensor

    def __init__(self, modules: Mapping[str, nn.Module], patience: int) -> None:
        super().__init__()
        self.patience = patience
        self.kept = nn.ModuleDict(
            {name: deepcopy(module).requires_grad_(False) for name, module in modules.items()}
        )
        self.register_buffer("loss", torch.tensor(torch.inf))
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))
        self.register_buffer("waited", torch.zeros((), dtype=torch.int64))
        self.exhausted = False
        """Whether `waited` has reached the patience."""
        self.register_load_state_dict_post_hook(_count)  # type: ignore[no-untyped-call]

    def see(
        self, modules: Mapping[str, nn.Module], loss: Tensor, step: int, counts: bool = True
    ) -> None:
        """Look at `loss` after `step` steps: keep the modules where it is lower, else wait.

        `counts` False: a look that is no reason to stop. Waits for the device.
        """
        if bool(loss < self.loss):
            self.loss.copy_(loss)
            self.step.fill_(step)
            self.waited.zero_()
            for name, module in modules.items():
                self.kept[name].load_state_dict(module.state_dict())
        elif counts:
            self.waited.add_(1)
        _count(self, None)

    def restore(self, modules: Mapping[str, nn.Module]) -> None:
        """Put the best weights back; before the first look nothing changes."""
        if bool(self.loss.isfinite()):
            for name, module in modules.items():
                module.load_state_dict(self.kept[name].state_dict())


def _count(best: Best, _keys: object) -> None:
    best.exhausted = int(best.waited) >= best.patience
