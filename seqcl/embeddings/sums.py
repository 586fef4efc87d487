"""Sums over views from which a closed form is solved: added in parts, added over processes."""

from __future__ import annotations

import torch
from torch import Tensor

from seqcl.distributed import all_reduce_sum, gather_rows, world_size
from seqcl.embeddings.held import HeldRows, centred_on, means_of

__all__ = ["ViewSums", "real_directions"]

_RANK = 1e-9
"""Share of the largest variance below which a direction is rounding."""


class ViewSums:
    """Second moments between records and within what is alike, in q dimensions, float64.

    What is alike may be shown in parts, and in several processes: the difference between the
    means of two parts is added when the second one is seen.
    """

    def __init__(self, size: int, device: torch.device) -> None:
        self.first = torch.zeros(size, dtype=torch.float64, device=device)
        self.second = torch.zeros(size, size, dtype=torch.float64, device=device)
        self.inside = torch.zeros(size, size, dtype=torch.float64, device=device)
        self.counts = torch.zeros(3, dtype=torch.float64, device=device)
        self.fourth = torch.zeros((), dtype=torch.float64, device=device)
        self._parts: dict[int, Tensor] = {}

    def add(self, vectors: Tensor, record: Tensor, alike: Tensor | None = None) -> None:
        """Add rows (R, q), of which record each is a view, and of which thing.

        Without `alike` a thing is a record, whose views all come at once.
        """
        vectors = vectors.double()
        thing = record if alike is None else alike
        inner, codes = centred_on(vectors, thing)
        self._add(means_of(vectors, record)[0], inner, len(codes))
        if alike is not None:
            means, place = means_of(vectors, thing)
            counts = place.bincount(minlength=len(codes))[:, None]
            self._join(self._parts, torch.hstack([codes[:, None], counts, means]))

    def add_held(self, held: HeldRows, mean: Tensor, basis: Tensor) -> None:
        """Add all rows that a first pass has held, of every process."""
        self._add(
            ((held.means - mean) @ basis).double(), (held.inner @ basis).double(), held.things
        )

    def _add(self, means: Tensor, inner: Tensor, things: int) -> None:
        self.first += means.sum(0)
        self.second += means.T @ means
        self.inside += inner.T @ inner
        self.fourth += inner.square().sum(1).square().sum()
        self.counts += self.counts.new_tensor([len(means), len(inner), things])

    def reduce(self) -> None:
        """Add the sums of all processes."""
        for name in ("first", "second", "inside", "counts", "fourth"):
            setattr(self, name, all_reduce_sum(getattr(self, name)))
        if world_size() > 1:
            own = [torch.hstack([part.new_tensor([code]), part]) for code, part in
                   self._parts.items()]  # fmt: skip
            width = 2 + len(self.first)
            rows = torch.stack(own) if own else self.first.new_zeros(0, width)
            self._join({}, gather_rows(rows))
        self._parts = {}

    def _join(self, parts: dict[int, Tensor], rows: Tensor) -> None:
        """Add what differs between parts of one thing.

        Args:
            parts: of each thing seen so far, how many rows there were and their mean, (1 + q,).
            rows: (n, 2 + q), code, number of rows and their mean; float64.
        """
        for code, row in zip(rows[:, 0].long().tolist(), rows[:, 1:], strict=True):
            before = parts.get(code)
            if before is None:
                parts[code] = row
                continue
            count = before[0] + row[0]
            gap = row[1:] - before[1:]
            self.inside += before[0] * row[0] / count * torch.outer(gap, gap)
            self.counts[2] -= 1
            mean = before[1:] + row[0] / count * gap
            parts[code] = torch.cat([count[None], mean])

    @property
    def records(self) -> int:
        """Records so far."""
        return int(self.counts[0])

    @property
    def freedom(self) -> int:
        """Degrees of freedom of `within`: views less things."""
        return int(self.counts[1] - self.counts[2])

    @property
    def mean(self) -> Tensor:
        """(q,) mean of the records."""
        return self.first / self.counts[0]

    @property
    def between(self) -> Tensor:
        """(q, q) covariance of the records' means over their views."""
        return self.second / self.counts[0] - torch.outer(self.mean, self.mean)

    @property
    def within(self) -> Tensor:
        """(q, q) covariance within things, unbiased."""
        return self.inside / max(1, self.freedom)

    def shrinkage(self) -> float:
        """Return how far `within` should shrink towards a multiple of the identity, 0 to 1.

        The intensity of least expected error (Ledoit and Wolf 2004, lemma 3.3).
        """
        rows = max(1.0, float(self.counts[1]))
        raw = self.inside / rows
        square = float(raw.square().sum())
        distance = square - float(raw.trace()) ** 2 / len(raw)
        error = (float(self.fourth) / rows - square) / rows
        return min(1.0, max(0.0, error / distance)) if distance > 0 else 1.0


def real_directions(covariance: Tensor) -> tuple[Tensor, Tensor]:
    """Return eigenvectors (q, k) and eigenvalues (k,), rising, without those of rounding."""
    variance, axes = torch.linalg.eigh(covariance)
    rounding = int((variance <= _RANK * variance[-1]).sum())
    return axes[:, rounding:], variance[rounding:]
