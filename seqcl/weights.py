"""Weights as safetensors: a file from a stranger can hold numbers and nothing else.

Never pickled. Every error names the file, and each tensor has one owner.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load as parse_tensors
from safetensors.torch import save as serialise_tensors
from torch import Tensor, nn

from seqcl.distributed import from_first, world_size
from seqcl.errors import ArtefactError
from seqcl.files import atomic_write

__all__ = [
    "load_state",
    "read_tensors",
    "restore_state",
    "save_state",
    "state_tensors",
    "take_from_first",
    "tensor_bytes",
]


def state_tensors(module: nn.Module, prefix: str = "") -> dict[str, Tensor]:
    """Return parameters and persistent buffers by name, contiguous, on the host, not copied twice.

    Parts of one block of memory that do not overlap, as cuDNN lays out the weights of an RNN,
    are tensors like any others.

    Raises ValueError where two names share memory: each tensor has one owner, or a file could
    not say which of the two it restores.
    """
    state = module.state_dict()
    _refuse_shared(type(module).__name__, state)
    return {prefix + name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}


def _refuse_shared(where: str, state: Mapping[str, Tensor]) -> None:
    stretches = [(str(t.device), *_stretch(t), name) for name, t in state.items() if t.numel()]
    owner: dict[str, tuple[int, str]] = {}
    """By device, where the memory that was seen so far ends, and whose it is."""
    for device, start, stop, name in sorted(stretches, key=lambda stretch: stretch[:2]):
        end, other = owner.get(device, (0, ""))
        if start < end:
            raise ValueError(
                f"{where}: {name!r} and {other!r} share memory; register it once, or copy it"
            )
        owner[device] = stop, name


def _stretch(tensor: Tensor) -> tuple[int, int]:
    """Return the first address of a tensor and the one after its last."""
    steps = zip(tensor.shape, tensor.stride(), strict=True)
    last = sum((size - 1) * stride for size, stride in steps)
    return tensor.data_ptr(), tensor.data_ptr() + (last + 1) * tensor.element_size()


def restore_state(
    module: nn.Module, tensors: Mapping[str, Tensor], where: str | os.PathLike[str]
) -> None:
    """Copy tensors into `module`; raises ArtefactError, naming `where`, if they do not fit it."""
    try:
        module.load_state_dict(dict(tensors))
    except RuntimeError as error:
        faults = [line.strip() for line in str(error).splitlines()[1:]] or [str(error)]
        raise ArtefactError(
            f"{where}: does not fit {type(module).__name__} ({faults[0]}); "
            f"it was written with other options"
        ) from None


def take_from_first(module: nn.Module) -> None:
    """Give `module` the state that it has on rank 0."""
    if world_size() > 1:
        restore_state(module, from_first(lambda: state_tensors(module)), "rank 0")


def tensor_bytes(tensors: Mapping[str, Tensor]) -> bytes:
    """Return tensors as the bytes of a safetensors file."""
    return serialise_tensors(dict(tensors))


def read_tensors(data: bytes, where: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Parse a safetensors file; raises ArtefactError, naming `where`, if it is none."""
    try:
        return parse_tensors(data)
    except (SafetensorError, ValueError, KeyError) as error:
        raise ArtefactError(
            f"{where}: is no whole safetensors file ({error}); restore it or train again"
        ) from None


def save_state(module: nn.Module, path: Path) -> None:
    """Write the state of `module` to `path`, whole or not at all."""
    atomic_write(path, tensor_bytes(state_tensors(module)))


def load_state(module: nn.Module, path: Path) -> None:
    """Restore what `save_state` wrote; raises ArtefactError if it is damaged or does not fit."""
    restore_state(module, read_tensors(path.read_bytes(), path), path)
