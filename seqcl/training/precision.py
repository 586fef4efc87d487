"""Mixed precision: encoders and heads in bfloat16, losses and all else in float32."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from seqcl.batch import Encoded
from seqcl.encoders.base import Encoder
from seqcl.heads.base import Head

__all__ = ["mixed_precision"]


@contextmanager
def mixed_precision(module: nn.Module, device: torch.device, precision: str) -> Iterator[None]:
    """Run every encoder and head inside `module` under autocast, if `precision` is bfloat16.

    A component that declares ``autocast = False`` stays in float32, and so does whatever stands
    between components: logits over a temperature of 0.1 need more than 8 bits. What a component
    returns is float32 again.
    """
    with ExitStack() as stack:
        if precision == "bfloat16":
            for part in module.modules():
                if isinstance(part, Encoder | Head) and part.autocast:
                    stack.enter_context(_autocast(part, device))
        yield


@contextmanager
def _autocast(part: nn.Module, device: torch.device) -> Iterator[None]:
    """Wrap each call of `part` in autocast by hooks, which leave the module as it was."""
    calls: list[ExitStack] = []

    def enter(*_: Any) -> None:
        calls.append(ExitStack())
        calls[-1].enter_context(torch.autocast(device.type, dtype=torch.bfloat16))

    def leave(_module: nn.Module, _inputs: Any, output: Any) -> Any:
        calls.pop().close()
        return _float32(output)

    before = part.register_forward_pre_hook(enter)
    after = part.register_forward_hook(leave, always_call=True)
    try:
        yield
    finally:
        before.remove()
        after.remove()


def _float32(output: Any) -> Any:
    """Return what a component gave, in float32."""
    if isinstance(output, Encoded):
        local = None if output.local is None else output.local.float()
        return replace(output, pooled=output.pooled.float(), local=local)
    return output.float() if isinstance(output, Tensor) else output
