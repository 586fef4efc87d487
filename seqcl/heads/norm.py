"""Batch norm whose statistics run over the records of all processes."""

from __future__ import annotations

from torch import Tensor, nn

from seqcl.distributed import gather_with_grad, rank, world_size

__all__ = ["GatheredBatchNorm"]


class GatheredBatchNorm(nn.BatchNorm1d):
    """`nn.BatchNorm1d` over the rows of all processes, on any backend.

    `nn.SyncBatchNorm` needs CUDA. Rows are gathered, so that output, gradient and running
    statistics are those of one process with the whole batch; all processes must hold as many.
    One process computes exactly what `nn.BatchNorm1d` does.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the name in nn.BatchNorm1d
        """Normalise (B, D) per feature."""
        if not self.training or world_size() == 1:
            return super().forward(input)
        first = rank() * len(input)
        return super().forward(gather_with_grad(input))[first : first + len(input)]
