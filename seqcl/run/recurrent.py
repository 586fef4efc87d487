"""Recurrent layers as single operators of ONNX, so that a graph does not depend on T."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["as_operators"]

_GATES = {"GRU": (1, 0, 2), "LSTM": (0, 3, 1, 2)}
"""Where ONNX's gates stand among torch's: z, r, n of r, z, n; i, o, f, c of i, f, c, o."""


class _Recurrent(nn.Module):
    """`nn.GRU` or `nn.LSTM` of one layer and direction, batch first, for the exporter alone."""

    inputs: Tensor
    states: Tensor
    bias: Tensor

    def __init__(self, layer: nn.GRU | nn.LSTM) -> None:
        super().__init__()
        self.operator = "GRU" if isinstance(layer, nn.GRU) else "LSTM"
        self.width = layer.hidden_size
        names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
        turned = [self._turned(layer.get_parameter(name).detach()) for name in names]
        self.register_buffer("inputs", turned[0][None])  # (1, gates * width, C)
        self.register_buffer("states", turned[1][None])  # (1, gates * width, width)
        self.register_buffer("bias", torch.cat(turned[2:])[None])

    def _turned(self, weight: Tensor) -> Tensor:
        parts = torch.split(weight, self.width)
        return torch.cat([parts[place] for place in _GATES[self.operator]])

    def forward(self, steps: Tensor) -> tuple[Tensor]:
        """Map (B, T, C) to (B, T, width)."""
        given = steps.transpose(0, 1)
        reset = {"linear_before_reset": 1} if self.operator == "GRU" else {}
        made = torch.onnx.ops.symbolic(
            self.operator,
            (given, self.inputs, self.states, self.bias),
            {"hidden_size": self.width, **reset},
            dtype=steps.dtype,
            shape=(given.shape[0], 1, given.shape[1], self.width),
        )  # (T, 1, B, width)
        return (made.squeeze(1).transpose(0, 1),)


def as_operators(module: nn.Module) -> None:
    """Replace every recurrent layer inside `module`, in place."""
    for name, part in module.named_children():
        if isinstance(part, nn.GRU | nn.LSTM):
            setattr(module, name, _Recurrent(part))
        else:
            as_operators(part)
