"""Waits: tells the operations that would make the host wait for a GPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["Waits"]

_READS = (
    "_local_scalar_dense",  # item, int(), float(), bool() and `if` of a tensor
    "nonzero",
    "masked_select",
    "_unique",
    "_unique2",
    "unique_dim",
    "unique_consecutive",
    "is_nonzero",
    "equal",
    "_linalg_check_errors",  # inv, solve, cholesky
    "lift_fresh",  # torch.tensor and new_tensor copy from the host
)


class Waits(TorchDispatchMode):
    """Collects, inside the block, operations that wait for the device that holds their tensors.

    It plays on the host what a GPU would do; copies between devices it cannot see.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        _, _, name = func.name().partition("::")
        base, _, overload = name.partition(".")
        number = base == "lift_fresh" and args[0].dim() == 0  # goes along with its operation
        if base in _READS and not number:
            self.found.append(name)
        if base == "repeat_interleave" and kwargs.get("output_size") is None and overload:
            self.found.append(name)
        if base == "index" and any(_picks(index) for index in args[1]):
            self.found.append("index by a mask")
        puts = base in ("index_put", "index_put_", "_index_put_impl_")
        if puts and any(map(_picks, args[1])) and args[2].numel() > 1:  # one number: masked_fill
            self.found.append("assignment by a mask")
        return func(*args, **kwargs)


def _picks(index: Any) -> bool:
    return isinstance(index, Tensor) and index.dtype in (torch.bool, torch.uint8)
