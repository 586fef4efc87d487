"""Principal components, whitened or not: the closed form that knows no views."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Le
from torch import Tensor

from seqcl.embeddings.closed_form import ClosedForm
from seqcl.embeddings.sums import ViewSums, real_directions

__all__ = ["Whitening"]


class Whitening(ClosedForm):
    """Turn to the principal axes of the records, and divide by a power of their deviation.

    The control of `spectral`: it flattens what varies much, where that one flattens what views
    change. ``power: 0`` is principal component analysis, ``power: 1`` full whitening.

    Args:
        in_dim: D, features of the encoder.
        dim: dimensions that are kept at most.
        power: of the deviation that each axis is divided by.
    """

    def __init__(
        self,
        in_dim: int,
        *,
        dim: Annotated[int, Ge(1)] = 512,
        power: Annotated[float, Ge(0), Le(1)] = 1.0,
    ) -> None:
        super().__init__(in_dim, dim)
        self.power = power

    def directions(self, sums: ViewSums, sample: Tensor) -> tuple[Tensor, Tensor]:
        """Return the scaled axes, and the variance of the records along them."""
        axes, variance = real_directions(sums.between)
        return axes * variance ** (-self.power / 2), variance ** (1 - self.power)
