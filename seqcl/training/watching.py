"""Watch a step: what encoders and heads give, and what the backward pass keeps in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from seqcl.batch import Encoded
from seqcl.encoders.base import Encoder
from seqcl.heads.base import Head
from seqcl.methods.base import Method

__all__ = ["Seen", "Shape", "watched"]

Shape = tuple[int, ...]


@dataclass
class Seen:
    """What was seen of one step."""

    pooled: list[Shape]
    """What each call of an encoder gave."""
    projected: list[Shape]
    """What each call of a head gave."""
    kept: Counter[int]
    """How often the backward pass holds each storage now."""
    bytes_now: int = 0
    saved: int = 0
    """The most bytes that the backward pass held at one time, each storage once."""

    def hold(self, storage: torch.UntypedStorage) -> None:
        """Count a storage that the backward pass will read."""
        self.kept[storage.data_ptr()] += 1
        if self.kept[storage.data_ptr()] == 1:
            self.bytes_now += storage.nbytes()
            self.saved = max(self.saved, self.bytes_now)

    def release(self, storage: torch.UntypedStorage) -> None:
        """Count it no more."""
        self.kept[storage.data_ptr()] -= 1
        if self.kept[storage.data_ptr()] == 0:
            self.bytes_now -= storage.nbytes()


class _Held:
    """A tensor that the backward pass reads, counted as long as autograd holds it."""

    def __init__(self, tensor: Tensor, seen: Seen) -> None:
        self.tensor, self.seen = tensor, seen
        seen.hold(tensor.untyped_storage())

    def __del__(self) -> None:
        self.seen.release(self.tensor.untyped_storage())


@contextmanager
def watched(method: Method) -> Iterator[Seen]:
    """Watch what encoders and heads give, and what autograd keeps besides the weights."""
    seen = Seen([], [], Counter())
    weights = {weight.untyped_storage().data_ptr() for weight in method.parameters()}

    def look(part: nn.Module, _inputs: Any, output: Any) -> None:
        if isinstance(output, Encoded):
            seen.pooled.append(tuple(output.pooled.shape))
        elif isinstance(part, Head):
            seen.projected.append(tuple(output.shape))

    def keep(tensor: Tensor) -> Tensor | _Held:
        is_weight = tensor.untyped_storage().data_ptr() in weights
        return tensor if is_weight else _Held(tensor, seen)

    def give(kept: Tensor | _Held) -> Tensor:
        return kept.tensor if isinstance(kept, _Held) else kept

    parts = [part for part in method.modules() if isinstance(part, Encoder | Head)]
    handles = [part.register_forward_hook(look) for part in parts]
    with torch.autograd.graph.saved_tensors_hooks(keep, give):
        yield seen
    for handle in handles:
        handle.remove()
