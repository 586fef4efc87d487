"""Compiled encoders: torch.compile on what an encoder does between masking and pooling."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import nn

from seqcl.encoders.base import Encoder

__all__ = ["compiled_encoders"]


@contextmanager
def compiled_encoders(module: nn.Module, wanted: bool) -> Iterator[None]:
    """Let every encoder inside `module` run compiled within the block, if `wanted`.

    Targets of momentum too. Weights, state and names stay as they are; results differ from the
    plain encoder's in the last bits. The first step compiles, as does one whose records have
    another length.
    """
    with ExitStack() as stack:
        if wanted:
            for part in module.modules():
                if isinstance(part, Encoder):
                    part.features = torch.compile(part.features)  # type: ignore[method-assign]
                    stack.callback(part.__dict__.pop, "features")
        yield
