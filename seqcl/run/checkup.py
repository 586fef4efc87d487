"""Is this installation sound: versions, devices, plugins, and one real training step."""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np
import torch
from torch import Tensor

from seqcl.config.preset import load_preset, preset_names
from seqcl.data.collate import collate_rows
from seqcl.data.dataset import dataset_from_arrays
from seqcl.losses.info_nce import info_nce
from seqcl.losses.kernel_choice import kernel_of
from seqcl.losses.nt_xent import nt_xent
from seqcl.registry import REGISTRIES, registry
from seqcl.rng import Rng
from seqcl.run.build import build_method, build_model, prepare

__all__ = ["Check", "check_up"]

_TOLERANCE = 1e-4
"""Of loss and gradient in float32, relative; two bytes' rounding would be 100 times as much."""


@dataclass(frozen=True)
class Check:
    """One thing that was tried."""

    name: str
    passed: bool
    detail: str


def check_up() -> tuple[Check, ...]:
    """Try each part; a failing one tells its error and does not stop the others."""
    parts: tuple[tuple[str, Callable[[], str]], ...] = (
        ("python", platform.python_version),
        ("versions", _versions),
        ("device", _device),
        ("kernel", _kernel),
        ("components", _components),
        ("presets", _presets),
        ("step", _step),
    )
    return tuple(_try(name, part) for name, part in parts)


def _try(name: str, part: Callable[[], str]) -> Check:
    try:
        return Check(name, True, part())
    except Exception as error:
        return Check(name, False, f"{type(error).__name__}: {error}")


def _versions() -> str:
    names = ("seqcl", "torch", "numpy", "scikit-learn", "aeon", "pyarrow", "h5py")
    return ", ".join(f"{name} {version(name)}" for name in names)


def _device() -> str:
    threads = f"{torch.get_num_threads()} CPU threads"
    if not torch.cuda.is_available():
        return f"{threads}, no CUDA device"
    return f"{threads}, {torch.cuda.get_device_name()}"


def _kernel() -> str:
    """Compare what takes similarities on the device with the tiles of torch on the host."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name, reason = kernel_of(device)
    if name == "torch":
        return f"similarities by tiles of torch ({reason})"
    anchors, columns = torch.randn(2, 200, 64, generator=torch.Generator().manual_seed(0))
    found = _loss_and_gradient(anchors.to(device), columns.to(device))
    exact = _loss_and_gradient(anchors.double().cpu(), columns.double().cpu())  # always by tiles
    error = float((found.cpu() - exact).norm() / exact.norm())
    if not error < _TOLERANCE:
        raise ArithmeticError(
            f"similarities by triton are {error:.1e} off those of the tiles; set "
            "SEQCL_KERNEL=torch to do without, and report it"
        )
    return f"similarities by triton ({reason}), within {error:.0e} of the tiles"


def _loss_and_gradient(a: Tensor, b: Tensor) -> Tensor:
    inputs = (a.requires_grad_(), b.requires_grad_())
    value = nt_xent(a, b, 0.1) + info_nce(a, b, 0.1)
    grads = torch.autograd.grad(value, inputs)
    return torch.cat([value.detach()[None], *(grad.flatten() for grad in grads)])


def _components() -> str:
    for kind, table in REGISTRIES.items():
        for name in table:
            registry(kind)[name]
    plugins = [f"{kind}.{name}" for kind, table in REGISTRIES.items() for name in table.plugins]
    total = sum(len(table) for table in REGISTRIES.values())
    return f"{total} load, plugins: {', '.join(plugins) or 'none'}"


def _presets() -> str:
    for name in preset_names():
        load_preset(name)
    return ", ".join(preset_names())


def _step() -> str:
    preset = load_preset("series")
    values = np.random.default_rng(0).normal(size=(8, 2, 64)).astype(np.float32)
    dataset = dataset_from_arrays(values)
    model = build_model(preset, dataset.channels, None, seed=0)
    prepare(model, dataset, seed=0)
    method = build_method(preset, model, seed=0)
    batch = collate_rows(dataset, list(range(8)), model.collate())
    views = preset.views.build()(batch, model.frontend, Rng(0, 0))
    loss = method(views).total
    loss.backward()
    return f"one step of preset 'series': loss {float(loss.detach()):.3f}"
