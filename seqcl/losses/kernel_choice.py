"""Which kernel takes the log-sum-exps: Triton's on a CUDA device, else the tiles of torch.

``SEQCL_KERNEL=torch`` in the environment asks for the tiles everywhere, ``SEQCL_KERNEL=triton`` for
Triton, also on the CPU where its interpreter runs (``TRITON_INTERPRET=1``).
"""

from __future__ import annotations

import os
from functools import cache
from importlib import import_module
from types import ModuleType

import torch
from torch import Tensor

from seqcl.errors import UsageError
from seqcl.losses.pairs import Pairs
from seqcl.losses.triton_pairs import FlatPairs, flatten

__all__ = ["kernel_of", "triton_kernel"]

_OLDEST = (8, 0)
"""Compute capability from which Triton compiles these products."""


def triton_kernel(x: Tensor, pairs: Pairs) -> tuple[ModuleType, FlatPairs] | None:
    """Return `seqcl.losses.triton_lse` and its form of `pairs`; None where the tiles serve.

    They do for float64, for rows of more than 128 features (256 where products are bfloat16), and
    for a rule of pairs that the kernel does not know.
    """
    kernel, _ = _chosen(x.device, os.environ.get("SEQCL_KERNEL"))
    if kernel is None or not kernel.fits(x):
        return None
    flat = flatten(pairs)
    return None if flat is None else (kernel, flat)


def kernel_of(device: torch.device) -> tuple[str, str]:
    """Return ``triton`` or ``torch``, what takes the log-sum-exps on a device, and why."""
    kernel, reason = _chosen(device, os.environ.get("SEQCL_KERNEL"))
    return "torch" if kernel is None else "triton", reason


@cache
def _chosen(device: torch.device, asked: str | None) -> tuple[ModuleType | None, str]:
    if asked not in (None, "", "torch", "triton"):
        raise UsageError(f"SEQCL_KERNEL is {asked!r}; set it to torch or triton, or leave it unset")
    if asked == "torch":
        return None, "SEQCL_KERNEL=torch"
    if asked == "triton":
        return import_module("seqcl.losses.triton_lse"), "SEQCL_KERNEL=triton"
    if device.type != "cuda":
        return None, f"on {device.type}"
    if torch.version.cuda is None:
        return None, "no CUDA build of torch"
    capability = torch.cuda.get_device_capability(device)
    if capability < _OLDEST:
        return None, f"compute capability {capability[0]}.{capability[1]} is below 8.0"
    try:
        return import_module("seqcl.losses.triton_lse"), "on CUDA"
    except ImportError as error:
        return None, f"triton cannot be imported: {error}"
