"""Export a run: scaler, front end, encoder, embedding and head as one graph, checked."""

from __future__ import annotations

import io
import logging
import warnings
from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from seqcl.errors import UsageError
from seqcl.files import atomic_write
from seqcl.run.exportable import Exportable
from seqcl.run.folder import Run
from seqcl.run.recurrent import as_operators

__all__ = ["ExportResult", "export"]

Format = Literal["onnx", "torch"]

_TOLERANCE = 1e-5
"""Largest difference to the Model, relative to the largest value where that is above 1."""
_BATCH, _MANY, _STEPS = 3, 67, 1 << 21
"""Records of the batch that is traced, and of the one it is compared on, with their steps."""
_OUTPUTS = ("embeddings", "predictions")


@dataclass(frozen=True)
class ExportResult:
    """What was written, and what it takes."""

    path: Path
    outputs: tuple[str, ...]
    """`embeddings` and, of a fine-tuned run, `predictions`."""
    any_length: bool
    """Whether T may differ from that of the training data; B always may."""
    least: int
    """Fewest steps T that the graph takes."""
    gaps: bool
    """Whether NaN in the values are gaps, and padding at the end of a record."""
    difference: float
    """Largest difference to the Model on a batch."""


def export(run: Run, form: Format, out: Path) -> ExportResult:
    """Write the run as ONNX or as a `torch.export` program, after comparing it with the Model.

    Raises UsageError where the encoder cannot be traced, where the extra `export` is not
    installed, or where the two differ by more than 1e-5; nothing is written then.
    """
    if form == "onnx":
        _require_onnx()
    if not run.model.encoder.exportable:
        raise _untraceable(run, "it takes as many records at once as fit a cache")
    made = _made(run, form)
    module = _module(run, made.gaps)
    parts = [_difference(module, made.call, values) for values in made.samples]
    difference = float(np.max(parts))  # NaN where a part is, which Python's max may pass over
    if not difference <= _TOLERANCE:
        raise UsageError(
            f"--format {form}: the exported graph differs from the Model by {difference:.2g}, and "
            f"{_TOLERANCE:g} is allowed; use the other format, and please report it"
        )
    atomic_write(out, made.raw)
    outputs = _OUTPUTS[: 1 + ("finetune" in run.manifest)]
    return ExportResult(out, outputs, made.any_length, made.least, made.gaps, difference)


@dataclass(frozen=True)
class _Made:
    """A graph in its file's form, and how to run what the file holds."""

    raw: bytes
    call: Callable[[Tensor], Any]
    any_length: bool
    least: int
    gaps: bool
    samples: tuple[Tensor, ...]
    """What it has not been traced with, to be compared on."""


def _made(run: Run, form: Format) -> _Made:
    """Return the graph that takes most: gaps and any length, or what of these can be traced."""
    series = run.manifest["data"]["size"] is None
    reason: Exception | None = None
    for gaps in (True, False) if series else (False,):
        module = _module(run, gaps)
        sample, other = _samples(run, gaps)
        if form == "onnx":
            as_operators(module)
        for axes in ((0, 2), (0,)) if series else ((0,),):
            any_length = len(axes) > 1
            fresh = other if any_length else other[..., : sample.shape[-1]]
            try:
                program = _program(module, sample, axes)
                program.module()(fresh)
                raw, call = (_onnx if form == "onnx" else _torch)(program)
                call(fresh)
            except Exception as error:  # what a tracer cannot do has no class of its own
                reason = reason or error
            else:
                least = _least(call, sample) if any_length else sample.shape[-1]
                return _Made(raw, call, any_length, least, gaps, (sample, fresh))
    raise _untraceable(run, str(reason).splitlines()[0])


def _least(call: Callable[[Tensor], Any], sample: Tensor) -> int:
    """Return the fewest steps that a traced graph takes: tracing may have fixed a least length."""
    most = sample.shape[-1]
    return 1 + bisect_left(range(1, most), True, key=lambda n: _takes(call, sample[..., :n]))


def _takes(call: Callable[[Tensor], Any], values: Tensor) -> bool:
    try:
        call(values)
    except Exception:  # a guard that failed has no class of its own
        return False
    return True


def _module(run: Run, gaps: bool) -> Exportable:
    """Return a copy of what is exported, on the host."""
    head, targets = (run.head, run.targets) if "finetune" in run.manifest else (None, None)
    module = Exportable(run.model, head, targets, gaps)
    return deepcopy(module).cpu().eval().requires_grad_(False)


def _samples(run: Run, gaps: bool) -> tuple[Tensor, Tensor]:
    """Return random records in the units of the data: of the training length, and longer.

    With `gaps` one ends early, one misses a step in every channel, and one a channel for a while.
    """
    draw = np.random.default_rng(0).normal
    data = run.manifest["data"]
    size = tuple(data["size"] or (data["max_length"],))
    scaler = run.model.scaler
    mean, std = (part.cpu().view(-1, *[1] * len(size)) for part in (scaler.mean, scaler.std))
    shapes = (size, size if len(size) > 1 else (size[0] + 13,))
    made = []
    many = min(_MANY, max(_BATCH + 1, _STEPS // prod(shapes[1])))
    for rows, shape in zip((_BATCH, many), shapes, strict=True):
        drawn = draw(size=(rows, len(run.channels), *shape))
        values = torch.from_numpy(drawn).float() * std + mean
        if gaps:
            third = shape[0] // 3
            values[0, :, shape[0] - third :] = torch.nan
            values[1, :, third] = torch.nan
            values[2, 0, third : 2 * third] = torch.nan
        made.append(values)
    return made[0], made[1]


def _program(
    module: nn.Module, sample: Tensor, axes: tuple[int, ...]
) -> torch.export.ExportedProgram:
    shapes = (dict.fromkeys(axes, torch.export.Dim.DYNAMIC),)
    return torch.export.export(module, (sample,), dynamic_shapes=shapes)


def _torch(program: torch.export.ExportedProgram) -> tuple[bytes, Callable[[Tensor], Any]]:
    """Return the file of a program, and what it gives when it is loaded."""
    stream = io.BytesIO()
    torch.export.save(program, stream)
    raw = stream.getvalue()
    return raw, torch.export.load(io.BytesIO(raw)).module()


def _untraceable(run: Run, reason: str) -> UsageError:
    return UsageError(
        f"{run.path}: encoder {run.preset.encoder.name} cannot be exported for batches of any "
        f"size ({reason}); use seqcl.load(RUN).embed, or another encoder"
    )


def _require_onnx() -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UsageError(
            f"--format onnx: {error.name} is not installed; pip install 'seqcl[export]'"
        ) from None


def _onnx(program: torch.export.ExportedProgram) -> tuple[bytes, Callable[[Tensor], Any]]:
    """Return the ONNX file of a program, and what it gives in onnxruntime."""
    outputs = _OUTPUTS[: len(program.graph_signature.user_outputs)]
    with _quiet():
        made = torch.onnx.export(
            program, (), input_names=["values"], output_names=list(outputs), dynamo=True,
            verbose=False,
        )  # fmt: skip
    assert made is not None
    raw: bytes = made.model_proto.SerializeToString()
    return raw, _onnx_session(raw)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's remarks on operators of libraries that are not there to itself."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logger.setLevel(before)


def _onnx_session(raw: bytes) -> Callable[[Tensor], list[Tensor]]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what fails is raised; lengths are tried that may
    session = onnxruntime.InferenceSession(raw, options, providers=["CPUExecutionProvider"])

    def call(values: Tensor) -> list[Tensor]:
        return [torch.from_numpy(part) for part in session.run(None, {"values": values.numpy()})]

    return call


@torch.no_grad()
def _difference(module: Exportable, call: Callable[[Tensor], Any], values: Tensor) -> float:
    """Return the largest difference of all outputs, over the largest value where above 1.

    NaN where any of them is.
    """
    parts = [
        (a - b).abs().max() / b.abs().max().clamp(min=1)
        for a, b in zip(call(values), module(values), strict=True)
    ]
    return float(torch.stack(parts).max())
