"""Export a run: scaler, front end, encoder, embedding and head as one graph, checked."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from seqcl.batch import Batch
from seqcl.errors import UsageError
from seqcl.files import atomic_write
from seqcl.finetuning.readout import Readout
from seqcl.finetuning.targets import Targets
from seqcl.model import Model
from seqcl.run.folder import Run

__all__ = ["ExportResult", "Exportable", "export"]

Format = Literal["onnx", "torch"]

_TOLERANCE = 1e-5
"""Largest difference to the Model, relative to the largest value where that is above 1."""
_BATCH = 3


@dataclass(frozen=True)
class ExportResult:
    """What was written, and what it takes."""

    path: Path
    outputs: tuple[str, ...]
    """`embeddings` and, of a fine-tuned run, `predictions`."""
    any_length: bool
    """Whether T may differ from that of the training data; B always may."""
    difference: float
    """Largest difference to the Model on a batch."""


class Exportable(nn.Module):
    """Maps values (B, C, T) or (B, C, H, W), in the units of the data, to what a run gives.

    Records of a batch are of one length and have no step that is missing in every channel; other
    NaN are filled as the run fills them, but for `missing: hold`, whose gaps must be filled
    before.

    Returns embeddings (B, E) and, with a head, probabilities or values (B, K).
    """

    def __init__(self, model: Model, head: Readout | None, targets: Targets | None) -> None:
        super().__init__()
        self.model, self.head, self.targets = model, head, targets

    def forward(self, values: Tensor) -> tuple[Tensor, ...]:
        """Scale, fill, encode, embed and predict."""
        scaled = self.model.scaler(values.flatten(2)).view(values.shape)
        if self.model.missing != "hold":
            unknown = scaled.isnan()
            scaled = torch.where(unknown, 0.0, scaled)
            if self.model.missing == "indicator":
                scaled = torch.cat((scaled, unknown.to(scaled.dtype)), dim=1)
        indicators = values.shape[1] if self.model.missing == "indicator" else 0
        batch = Batch(values=scaled, ids=scaled.new_zeros(1), indicators=indicators)
        embedded: Tensor = self.model(batch)
        if self.head is None or self.targets is None:
            return (embedded,)
        return embedded, self.targets.finish(self.head(embedded))


def export(run: Run, form: Format, out: Path) -> ExportResult:
    """Write the run as ONNX or as a `torch.export` program, after comparing it with the Model.

    Raises UsageError where the encoder cannot be traced, where the extra `export` is not
    installed, or where the two differ by more than 1e-5; nothing is written then.
    """
    head, targets = (run.head, run.targets) if "finetune" in run.manifest else (None, None)
    module = deepcopy(Exportable(run.model, head, targets)).cpu().eval().requires_grad_(False)
    sample, other = _samples(run)
    if form == "onnx":
        _require_onnx()
    program, any_length = _traced(run, module, sample, other)
    outputs = ("embeddings",) if head is None else ("embeddings", "predictions")
    if form == "torch":
        stream = io.BytesIO()
        torch.export.save(program, stream)
        raw = stream.getvalue()
        call: Callable[[Tensor], Any] = torch.export.load(io.BytesIO(raw)).module()
    else:
        raw = _onnx(program, outputs)
        call = _onnx_session(raw)
    checked = (sample, other if any_length else other[..., : sample.shape[-1]])
    difference = max(_difference(module, call, values) for values in checked)
    if not difference <= _TOLERANCE:
        raise UsageError(
            f"--format {form}: the exported graph differs from the Model by {difference:.2g}, more "
            f"than {_TOLERANCE:g}; use the other format, and please report it"
        )
    atomic_write(out, raw)
    return ExportResult(out, outputs, any_length, difference)


def _samples(run: Run) -> tuple[Tensor, Tensor]:
    """Return random records in the units of the data: of the training length, and longer."""
    draw = np.random.default_rng(0).normal
    data = run.manifest["data"]
    size = tuple(data["size"] or (data["max_length"],))
    scaler = run.model.scaler
    mean, std = (part.view(-1, *[1] * len(size)) for part in (scaler.mean, scaler.std))
    shapes = (size, size if len(size) > 1 else (size[0] + 13,))
    first, second = (
        torch.from_numpy(draw(size=(_BATCH + extra, len(run.channels), *shape))).float()
        for extra, shape in enumerate(shapes)
    )
    return first * std + mean, second * std + mean


def _traced(
    run: Run, module: Exportable, sample: Tensor, other: Tensor
) -> tuple[torch.export.ExportedProgram, bool]:
    """Return the program, and whether it takes records of any length."""
    if not run.model.encoder.exportable:
        raise _untraceable(run, "it takes as many records at once as fit a cache")
    dynamic = torch.export.Dim.DYNAMIC
    series = sample.dim() == 3
    reason: Exception | None = None
    for axes in ([(0, 2)] if series else []) + [(0,)]:
        shapes = (dict.fromkeys(axes, dynamic),)
        try:
            program = torch.export.export(module, (sample,), dynamic_shapes=shapes)
            any_length = len(axes) > 1
            program.module()(other if any_length else other[..., : sample.shape[-1]])
        except Exception as error:
            reason = error
        else:
            return program, any_length
    raise _untraceable(run, str(reason).splitlines()[0])


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


def _onnx(program: torch.export.ExportedProgram, outputs: tuple[str, ...]) -> bytes:
    """Return the ONNX file of a program."""
    with _quiet():
        made = torch.onnx.export(
            program, (), input_names=["values"], output_names=list(outputs), dynamo=True,
            verbose=False,
        )  # fmt: skip
    assert made is not None
    raw: bytes = made.model_proto.SerializeToString()
    return raw


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

    session = onnxruntime.InferenceSession(raw, providers=["CPUExecutionProvider"])

    def call(values: Tensor) -> list[Tensor]:
        return [torch.from_numpy(part) for part in session.run(None, {"values": values.numpy()})]

    return call


@torch.no_grad()
def _difference(module: Exportable, call: Callable[[Tensor], Any], values: Tensor) -> float:
    """Return the largest difference of all outputs, over the largest value where above 1."""
    return max(
        float((a - b).abs().max() / b.abs().max().clamp(min=1))
        for a, b in zip(call(values), module(values), strict=True)
    )
