"""The losses written out in plain Python, one pair after another, from their papers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from seqcl.losses.base import Known

Row = list[float]


@dataclass
class Plain:
    """Two views as lists, and what is known of their records."""

    a: list[Row]
    b: list[Row]
    labels: list[int] | None = None
    groups: list[int] | None = None
    start: list[int] | None = None
    recordings: list[int] | None = None
    by_label: bool = False
    by_group: bool = False
    steps: int | None = None
    above: float | None = None

    @property
    def n(self) -> int:
        return len(self.a)

    @property
    def rows(self) -> list[Row]:
        return self.a + self.b

    def excluded(self, i: int, j: int, cosine: float) -> bool:
        """Say whether records i and j are no negatives of each other."""

        def same(codes: list[int] | None) -> bool:
            assert codes is not None
            return codes[i] == codes[j] >= 0

        near = False
        if self.steps is not None:
            assert self.start is not None
            near = same(self.recordings) and abs(self.start[i] - self.start[j]) < self.steps
        return (
            (self.by_label and same(self.labels))
            or (self.by_group and same(self.groups))
            or near
            or (self.above is not None and cosine > self.above)
        )

    def negatives(self, i: int) -> Iterator[int]:
        """Yield the rows of both views that are negatives of row i."""
        for j in range(2 * self.n):
            x, y = i % self.n, j % self.n
            if x != y and not self.excluded(x, y, cosine(self.rows[i], self.rows[j])):
                yield j

    def positives(self, i: int) -> list[int]:
        """Return the rows of i's class besides i; its other view alone where that is unknown."""
        if self.labels is None or self.labels[i % self.n] < 0:
            return [(i + self.n) % (2 * self.n)]
        mine = self.labels[i % self.n]
        return [j for j in range(2 * self.n) if j != i and self.labels[j % self.n] == mine]


def dot(x: Row, y: Row) -> float:
    return math.fsum(p * q for p, q in zip(x, y, strict=True))


def cosine(x: Row, y: Row) -> float:
    length = math.sqrt(dot(x, x)) * math.sqrt(dot(y, y))
    return dot(x, y) / length if length else 0.0


def distance(x: Row, y: Row) -> float:
    return math.sqrt(math.fsum((p - q) ** 2 for p, q in zip(x, y, strict=True)))


def lse(scores: list[float]) -> float:
    top = max(scores)
    return top + math.log(math.fsum(math.exp(score - top) for score in scores))


def mean(values: list[float]) -> float:
    return math.fsum(values) / len(values)


def nt_xent(x: Plain, t: float) -> float:
    losses = []
    for i, row in enumerate(x.rows):
        positive = cosine(row, x.rows[(i + x.n) % (2 * x.n)]) / t
        scores = [cosine(row, x.rows[j]) / t for j in x.negatives(i)]
        losses.append(lse([positive, *scores]) - positive)
    return mean(losses)


def one_way(x: Plain, score: Callable[[Row, Row], float]) -> float:
    losses = []
    for i, row in enumerate(x.a):
        scores = [
            score(row, other)
            for j, other in enumerate(x.b)
            if i == j or not x.excluded(i, j, cosine(row, other))
        ]
        losses.append(lse(scores) - score(row, x.b[i]))
    return mean(losses)


def info_nce(x: Plain, t: float, symmetric: bool) -> float:
    there = one_way(x, lambda p, q: cosine(p, q) / t)
    if not symmetric:
        return there
    turned = Plain(**{**vars(x), "a": x.b, "b": x.a})
    return (there + one_way(turned, lambda p, q: cosine(p, q) / t)) / 2


def n_pair(x: Plain, l2: float) -> float:
    length = mean([(dot(p, p) + dot(q, q)) / 2 for p, q in zip(x.a, x.b, strict=True)])
    return one_way(x, dot) + l2 * length


def dcl(x: Plain, t: float, sigma: float | None = None) -> float:
    cosines = [cosine(p, q) for p, q in zip(x.a, x.b, strict=True)]
    weights = [1.0] * x.n
    if sigma is not None:
        shares = [math.exp(value / sigma) for value in cosines]
        weights = [2 - share / mean(shares) for share in shares]
    losses = []
    for i, row in enumerate(x.rows):
        scores = [cosine(row, x.rows[j]) / t for j in x.negatives(i)]
        pull = weights[i % x.n] * cosines[i % x.n] / t
        losses.append(lse(scores) - pull if scores else 0.0)
    return mean(losses)


def hard_negative(x: Plain, t: float, beta: float, tau: float) -> float:
    losses = []
    for i, row in enumerate(x.rows):
        positive = math.exp(cosine(row, x.rows[(i + x.n) % (2 * x.n)]) / t)
        scores = [cosine(row, x.rows[j]) / t for j in x.negatives(i)]
        count = len(scores)
        weights = [math.exp(beta * score) for score in scores]
        scale = math.fsum(weights) / count if count else 1.0
        total = math.fsum(w / scale * math.exp(s) for w, s in zip(weights, scores, strict=True))
        corrected = max((total - tau * count * positive) / (1 - tau), count * math.exp(-1 / t))
        losses.append(math.log(positive + corrected) - math.log(positive))
    return mean(losses)


def sigmoid(x: Plain, t: float, bias: float) -> float:
    total = 0.0
    for i, row in enumerate(x.a):
        for j, other in enumerate(x.b):
            if i != j and x.excluded(i, j, cosine(row, other)):
                continue
            score = cosine(row, other) / t + bias
            total += math.log1p(math.exp(-score if i == j else score))
    return total / x.n


def supcon(x: Plain, t: float) -> float:
    losses = []
    for i, row in enumerate(x.rows):
        scores = [cosine(row, x.rows[j]) / t for j in range(2 * x.n) if j != i]
        pull = mean([cosine(row, x.rows[p]) / t for p in x.positives(i)])
        losses.append(lse(scores) - pull)
    return mean(losses)


def margin(x: Plain, m: float, metric: str) -> float:
    far = distance if metric == "euclidean" else lambda p, q: 1 - cosine(p, q)
    losses = []
    for i, row in enumerate(x.rows):
        positives = x.positives(i)
        negatives = [j for j in range(2 * x.n) if j != i and j not in positives]
        pulls = [far(row, x.rows[p]) ** 2 / 2 for p in positives]
        pushes = [max(0.0, m - far(row, x.rows[j])) ** 2 / 2 for j in negatives]
        losses.append(mean(pulls) + (mean(pushes) if pushes else 0.0))
    return mean(losses)


def triplet(x: Plain, m: float, mining: str, soft: bool = False) -> float:
    costs = []
    for i, row in enumerate(x.rows):
        positives = x.positives(i)
        pulls = [cosine(row, x.rows[p]) for p in positives]
        pushes = [cosine(row, x.rows[j]) for j in range(2 * x.n) if j != i and j not in positives]
        if mining == "hard" and pushes:
            excess = max(pushes) - min(pulls)
            costs.append(math.log1p(math.exp(excess)) if soft else max(0.0, m + excess))
        elif mining != "hard":
            every = [m + push - pull for push in pushes for pull in pulls]
            costs += [c for c in every if c > 0 and (mining == "all" or c < m)]
    return mean(costs) if costs else 0.0


def column(rows: list[Row], d: int) -> Row:
    """Return feature d of all records, its mean taken away."""
    values = [row[d] for row in rows]
    return [value - mean(values) for value in values]


def barlow_twins(x: Plain, off_diagonal: float) -> float:
    def standard(rows: list[Row], d: int) -> Row:
        centred = column(rows, d)
        size = math.sqrt(mean([value**2 for value in centred]) + 1e-5)
        return [value / size for value in centred]

    total = 0.0
    for i in range(len(x.a[0])):
        for j in range(len(x.a[0])):
            pairs = zip(standard(x.a, i), standard(x.b, j), strict=True)
            correlation = mean([p * q for p, q in pairs])
            total += (1 - correlation) ** 2 if i == j else off_diagonal * correlation**2
    return total


def vicreg(x: Plain, invariance: float, variance: float, covariance: float) -> float:
    dim, n = len(x.a[0]), x.n
    total = 0.0
    for p, q in zip(x.a, x.b, strict=True):
        total += invariance * math.fsum((u - v) ** 2 for u, v in zip(p, q, strict=True)) / dim / n
    for rows in (x.a, x.b):
        columns = [column(rows, d) for d in range(dim)]
        for i in range(dim):
            for j in range(dim):
                products = [p * q for p, q in zip(columns[i], columns[j], strict=True)]
                moment = math.fsum(products) / (n - 1)
                if i == j:
                    total += variance * max(0.0, 1 - math.sqrt(moment + 1e-4)) / dim
                else:
                    total += covariance * moment**2 / dim
    return total


def draw(rows: int, dim: int = 5, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def views(n: int, dim: int = 5, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return two related views of n records."""
    a = draw(n, dim, seed)
    return a, a + 0.7 * draw(n, dim, seed + 1)


def facts(n: int) -> Known:
    """Return labels of 1, 2 and more records each, some unknown; groups and starts."""
    labels = torch.tensor([0, 1, 1, -1, 2, 2, 2, -1, 1, 3, 3, 2, 5])[torch.arange(n) % 13]
    groups = torch.tensor([0, 0, 1, 1, -1, 0, -1])[torch.arange(n) % 7]
    start, recordings = torch.arange(n) * 5 % 31, torch.tensor([0, 0, 1, -1])[torch.arange(n) % 4]
    return Known(labels, groups, start, recordings=recordings)


def plain(a: Tensor, b: Tensor, known: Known | None = None, **options: object) -> Plain:
    """Return the same as lists."""
    told = Known() if known is None else known
    lists = (
        None if codes is None else codes.tolist()
        for codes in (told.labels, told.groups, told.start, told.recordings)
    )
    return Plain(a.tolist(), b.tolist(), *lists, **options)  # type: ignore[arg-type]
