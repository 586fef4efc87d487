"""The front end that changes nothing."""

from __future__ import annotations

from seqcl.batch import Batch
from seqcl.views.base import Frontend

__all__ = ["IdentityFrontend"]


class IdentityFrontend(Frontend):
    """Pass the batch on as it is."""

    def forward(self, batch: Batch) -> Batch:
        """Return `batch`."""
        return batch
