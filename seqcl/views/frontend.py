"""The front end that changes nothing."""

from __future__ import annotations

from typing import ClassVar

from seqcl.batch import Axes, Batch
from seqcl.views.base import Frontend

__all__ = ["IdentityFrontend"]


class IdentityFrontend(Frontend):
    """Pass the batch on as it is."""

    layouts: ClassVar[tuple[Axes, ...]] = ("CT", "CHW")

    def forward(self, batch: Batch) -> Batch:
        """Return `batch`."""
        return batch
