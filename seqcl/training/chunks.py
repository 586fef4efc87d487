"""Chunks: where a device runs out of memory, the batch is encoded in parts from then on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from seqcl.batch import Batch
from seqcl.errors import TrainingError
from seqcl.methods.base import Loss, Method
from seqcl.training.options import TrainingOptions
from seqcl.training.shortage import unless_short
from seqcl.training.step import backward

__all__ = ["Chunks", "has_batch_norm"]


@dataclass
class Chunks:
    """Takes the gradient of a batch, in chunks that fit into memory.

    A step that runs out of memory on one process is taken again by all of them, with chunks half
    as long: the loss is still that of the whole batch (`gradcache`), and so is the gradient, but
    for batch norm inside an encoder. A run that is resumed finds the same length again. Processes
    agree after encoding and after the backward pass; one that runs out within a loss, between two
    of its gathers, leaves the others waiting until their launcher ends them.
    """

    options: TrainingOptions
    note: Callable[[str], None]
    """Tells people."""

    def __post_init__(self) -> None:
        self.chunk = self.options.chunk
        """Records that are encoded at once; None = all."""

    def backward(
        self, method: Method, views: tuple[Batch, ...], key: tuple[int, ...], step: int
    ) -> Loss:
        """Add the gradient of the loss, as `seqcl.training.step.backward`; `step` is told.

        Raises TrainingError where a single record does not fit.
        """
        parts = self.options.accumulate
        statistics = _statistics(method)
        while True:
            before = [value.clone() for value in statistics]
            loss = unless_short(lambda: backward(method, views, parts, key, self.chunk))
            if loss is not None:
                return loss
            method.zero_grad()
            for value, old in zip(statistics, before, strict=True):
                value.copy_(old)
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            self._halve(len(views[0]) // parts, step, method)

    def _halve(self, whole: int, step: int, method: Method) -> None:
        now = min(whole, self.chunk or whole)
        if now == 1:
            raise TrainingError(
                f"step {step + 1}: out of memory with a single record at once; use shorter records "
                "(data.window, data.max_steps), a smaller encoder or training.batch_size"
            )
        self.chunk = -(-now // 2)
        told = "; batch norm in the encoder takes the statistics of a chunk"
        apart = told if has_batch_norm(method) else ""
        self.note(
            f"step {step + 1}: out of memory with {now} records at once; from here on they are "
            f"encoded {self.chunk} at a time, with the loss of the whole batch "
            f"(training.chunk={self.chunk}){apart}"
        )


def has_batch_norm(method: Method) -> bool:
    """Return whether an encoder's output depends on the company in its chunk."""
    return any(_statistics(encoder) for encoder in method.encoders.values())


def _statistics(module: nn.Module) -> list[Tensor]:
    """Return what a forward pass changes: the running statistics of batch norms."""
    norms = (part for part in module.modules() if isinstance(part, _NormBase))
    return [value for norm in norms for value in norm.buffers(recurse=False)]
