"""Neighbours in other groups: a word of another speaker, a state of another machine."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from seqcl.losses.similarity import unit_rows
from seqcl.losses.tiles import full_precision
from seqcl.methods.queue import Queue

__all__ = ["OtherGroups"]


class OtherGroups(nn.Module):
    """Past records, what each was assigned to, and which group it is of.

    What tells groups apart hides what records of two of them have in common, so nearness is that
    of projections less the mean of their group.

    Args:
        size: records that are kept.
        dim: D of a projection.
        prototypes: P.
        count: nearest records of other groups that are looked for.
    """

    active: Tensor
    """Bool scalar, whether what is found counts yet."""

    def __init__(self, size: int, dim: int, prototypes: int, count: int) -> None:
        super().__init__()
        self.widths = [dim, prototypes, 1]
        self.count = min(count, size)
        self.queue = Queue(size, sum(self.widths))
        self.register_buffer("active", torch.zeros((), dtype=torch.bool))

    @torch.no_grad()
    def targets(self, projected: Tensor, groups: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean assignment (B, P) of each record's neighbours, and whether it has any.

        Args:
            projected: (B, D), of length 1.
            groups: (B,), below 0 = none.

        Returns:
            Assignments, 0 where there is no neighbour, and (B,) 1 where there is one, else 0.
        """
        rows, codes, owner = torch.split(self.queue.rows, self.widths, dim=1)
        owners = owner[:, 0].long()
        known = (torch.arange(len(rows), device=rows.device) < self.queue.pushed) & (owners >= 0)
        with full_precision(projected):
            past = unit_rows(rows - _centres(owners, owners, rows, known))
            asked = unit_rows(projected - _centres(groups, owners, rows, known))
            near = asked @ past.T
        other = known & (groups[:, None] != owners) & (groups[:, None] >= 0) & self.active
        scores, places = near.masked_fill(~other, -torch.inf).topk(self.count, dim=1)
        found = (scores > -torch.inf).to(codes.dtype)
        total = (codes[places] * found[..., None]).sum(1)
        return total / found.sum(1, keepdim=True).clamp(min=1), found.amax(1)

    def rows_of(self, projected: Tensor, codes: Tensor, groups: Tensor) -> Tensor:
        """Return what `push` takes of records: (B, D), (B, P) and (B,)."""
        return torch.cat([projected, codes, groups[:, None].to(codes.dtype)], dim=1)

    def push(self, rows: Tensor, active: bool) -> None:
        """Keep records of all processes; from then on what is found counts, or not yet."""
        self.queue.push(rows)
        self.active.fill_(active)


def _centres(groups: Tensor, owners: Tensor, rows: Tensor, known: Tensor) -> Tensor:
    """Return the mean of the known rows (K, D) of each of some groups (B,), 0 where none is."""
    same = ((groups[:, None] == owners) & known).to(rows.dtype)
    return same @ rows / same.sum(1, keepdim=True).clamp(min=1)
