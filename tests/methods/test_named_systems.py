"""MoCo, BYOL, SimSiam, SwAV, Barlow Twins, VICReg, NNCLR: each against its paper's equations."""

import math

import pytest
import torch
from series_views import batch, encoder
from torch import Tensor

from seqcl.batch import Batch
from seqcl.losses.barlow_twins import barlow_twins
from seqcl.losses.vicreg import vicreg
from seqcl.methods.base import Method, Progress
from seqcl.methods.moco import MoCo
from seqcl.methods.nnclr import NNCLR
from seqcl.methods.swav import SwAV
from seqcl.registry import Spec, registry

ROWS = 7
NAMES = ("moco", "moco_v3", "byol", "simsiam", "swav", "barlow_twins", "vicreg", "nnclr")
Rows = list[list[float]]


def views(count: int = 2, lengths: tuple[int, ...] = ()) -> tuple[Batch, ...]:
    steps = lengths or (24,) * count
    return tuple(batch(ROWS, length, seed) for seed, length in enumerate(steps))


def build(name: str, **options: object) -> Method:
    model = encoder()
    torch.manual_seed(1)
    method: Method = registry("methods")[name]({"main": model}, **options)
    with torch.no_grad():  # so that a target differs from what it follows
        for weight in method.encoder.parameters():
            weight.add_(0.05 * torch.randn(weight.shape))
    return method


def unit(x: Tensor) -> Rows:
    return [[v / math.hypot(*row) for v in row] for row in x.detach().double().tolist()]


def dot(p: list[float], q: list[float]) -> float:
    return math.fsum(u * v for u, v in zip(p, q, strict=True))


def cross_entropy(scores: list[float], at: int) -> float:
    return math.log(math.fsum(math.exp(s) for s in scores)) - scores[at]


def mean(values: list[float]) -> float:
    return math.fsum(values) / len(values)


def projections(method: Method, given: tuple[Batch, ...]) -> list[Tensor]:
    return [method.head(one.pooled) for one in method.encode(given)]


def predictions(method: Method, given: tuple[Batch, ...]) -> list[Rows]:
    return [unit(method.predictor(one)) for one in projections(method, given)]


@pytest.mark.parametrize("symmetric", [False, True])
def test_moco_finds_each_key_among_the_queue(symmetric: bool) -> None:
    method, given = build("moco", queue=11, symmetric=symmetric), views()
    assert isinstance(method, MoCo)
    queries = [unit(one) for one in projections(method, given)]
    keys = [unit(one) for one in method.target(given)]
    queue = unit(method.queue.rows)
    ways = [(0, 1), (1, 0)] if symmetric else [(0, 1)]
    expected = mean([
        cross_entropy([dot(queries[i][n], row) / 0.2 for row in (keys[j][n], *queue)], 0)
        for i, j in ways for n in range(ROWS)
    ])  # fmt: skip
    loss = method(given)
    assert loss.total.item() == pytest.approx(expected, rel=1e-5)
    torch.testing.assert_close(loss.carry["keys"].double(), torch.tensor(keys[1]).double())
    method.after_step(Progress(1, 10), loss)
    assert torch.equal(method.queue.rows[:ROWS], loss.carry["keys"])


def test_moco_v3_finds_each_key_among_those_of_the_batch() -> None:
    method, given = build("moco_v3"), views()
    predicted, keys = predictions(method, given), [unit(one) for one in method.target(given)]
    expected = mean([
        cross_entropy([dot(predicted[i][n], key) / 0.2 for key in keys[1 - i]], n)
        for i in (0, 1) for n in range(ROWS)
    ])  # fmt: skip
    assert method(given).total.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("count", [2, 3])
def test_byol_regresses_the_target(count: int) -> None:
    method, given = build("byol"), views(count)
    predicted, targets = predictions(method, given), [unit(one) for one in method.target(given)]
    expected = mean([
        math.fsum((p - t) ** 2 for p, t in zip(predicted[i][n], targets[j][n], strict=True))
        for i in range(count) for j in range(count) if i != j for n in range(ROWS)
    ])  # fmt: skip
    assert method(given).total.item() == pytest.approx(expected, rel=1e-5)


def test_simsiam_regresses_the_other_view_whose_gradient_is_stopped() -> None:
    method, given = build("simsiam"), views()
    projected, predicted = projections(method, given), predictions(method, given)
    plain = [unit(one) for one in projected]
    expected = mean([-dot(predicted[i][n], plain[1 - i][n]) for i in (0, 1) for n in range(ROWS)])
    loss = method(given)
    assert loss.total.item() == pytest.approx(expected, rel=1e-5)
    a, b = projections(method, given)
    fixed = [one.detach() for one in (a, b)]
    cosine = torch.nn.functional.cosine_similarity
    by_hand = -(cosine(method.predictor(a), fixed[1]) + cosine(method.predictor(b), fixed[0])) / 2
    weights = list(method.encoder.parameters())
    expected_grads = torch.autograd.grad(by_hand.mean(), weights)
    for found, wanted in zip(torch.autograd.grad(loss.total, weights), expected_grads, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-6)


def assignments(scores: Rows, epsilon: float = 0.05, iterations: int = 3) -> Rows:
    """Scale columns, then rows, of exp(scores / epsilon)."""
    table = [[math.exp(s / epsilon) for s in row] for row in scores]
    for _ in range(iterations):
        sums = [math.fsum(column) for column in zip(*table, strict=True)]
        table = [[v / total for v, total in zip(row, sums, strict=True)] for row in table]
        table = [[v / math.fsum(row) for v in row] for row in table]
    return table


@pytest.mark.parametrize("queue", [0, 9])
@pytest.mark.parametrize("lengths", [(24, 24), (24, 24, 11, 11, 11)])
def test_swav_swaps_assignments_of_the_long_views(lengths: tuple[int, ...], queue: int) -> None:
    method, given = build("swav", prototypes=5, queue=queue), views(lengths=lengths)
    assert isinstance(method, SwAV)
    prototypes = unit(method.prototypes.weight)
    scores = [
        [[dot(row, p) for p in prototypes] for row in unit(one)]
        for one in projections(method, given)
    ]
    past: list[Rows] = [[], []]
    if queue:
        assert method.queue is not None
        for _ in range(2):  # until then it is not full, and does not count
            assert method(given).total.item() == pytest.approx(swapped(scores, [[], []]), rel=1e-4)
            method.queue.push(torch.nn.functional.normalize(torch.randn(5, 2, 128), dim=-1))
        past = [
            [[dot(row, p) for p in prototypes] for row in unit(method.queue.rows[:, view])]
            for view in (0, 1)
        ]
    loss = method(given)
    assert loss.total.item() == pytest.approx(swapped(scores, past), rel=1e-4)
    assert bool(loss.carry) == bool(queue)


def swapped(scores: list[Rows], past: list[Rows]) -> float:
    """Return the mean cross-entropy of every view's predictions of the two long views' codes."""
    losses = []
    for i in (0, 1):
        codes = assignments([*scores[i], *past[i]])[:ROWS]
        for j in range(len(scores)):
            for n in range(ROWS if i != j else 0):
                row = [s / 0.1 for s in scores[j][n]]
                costs = [cross_entropy(row, p) for p in range(len(row))]
                losses.append(dot(codes[n], costs))
    return mean(losses)


def test_swav_leaves_prototypes_alone_at_first_and_of_unit_length_after_each_step() -> None:
    method, given = build("swav", prototypes=5, frozen=0.3), views()
    assert isinstance(method, SwAV)
    optimizer = torch.optim.AdamW(method.parameters(), 1e-2)
    start = method.prototypes.weight.detach().clone()
    for step in range(5):
        optimizer.zero_grad()
        loss = method(given)
        loss.total.backward()
        method.after_backward(Progress(step, 10))
        optimizer.step()
        method.after_step(Progress(step + 1, 10), loss)
        torch.testing.assert_close(method.prototypes.weight.norm(dim=1), torch.ones(5))
        assert torch.allclose(method.prototypes.weight, start, atol=1e-6) == (step < 3)


@pytest.mark.parametrize(("name", "loss"), [("barlow_twins", barlow_twins), ("vicreg", vicreg)])
def test_losses_of_moments_are_taken_of_projections_one_view_at_a_time(name, loss) -> None:  # type: ignore[no-untyped-def]
    method, given = build(name), views()
    more = (0.005,) if name == "barlow_twins" else ()
    expected = loss(*projections(method, given), *more)
    torch.testing.assert_close(method(given).total, expected)


def test_nnclr_predicts_from_the_nearest_neighbour_in_the_queue() -> None:
    method, given = build("nnclr", queue=13), views()
    assert isinstance(method, NNCLR)
    projected = [unit(one) for one in projections(method, given)]
    predicted, queue = predictions(method, given), unit(method.queue.rows)
    expected = mean([
        cross_entropy([
            dot(max(queue, key=lambda row: dot(projected[i][n], row)), p) / 0.1
            for p in predicted[1 - i]
        ], n)
        for i in (0, 1) for n in range(ROWS)
    ])  # fmt: skip
    loss = method(given)
    assert loss.total.item() == pytest.approx(expected, rel=1e-5)
    method.after_step(Progress(1, 10), loss)
    torch.testing.assert_close(
        method.queue.rows[:ROWS].double(), torch.tensor(projected[0]).double()
    )


@pytest.mark.parametrize("name", ["moco_v3", "byol", "simsiam", "nnclr"])
def test_a_predictor_of_another_size_is_told(name: str) -> None:
    with pytest.raises(ValueError, match=r"predictor\(mlp\) gives 99 features and the head"):
        build(name, predictor=Spec("heads", "mlp", {"out_dim": 99}))


@pytest.mark.parametrize("given", ["equal records", "equal views", "zeros"])
@pytest.mark.parametrize("name", NAMES)
def test_degenerate_batches_give_a_finite_loss_and_gradient(name: str, given: str) -> None:
    method = build(name)
    made = views()
    values = [view.values for view in made]
    if given == "equal records":
        values = [x[:1].expand_as(x) for x in values]
    elif given == "equal views":
        values = [values[0], values[0]]
    else:
        values = [torch.zeros_like(x) for x in values]
    loss = method(tuple(v.with_values(x) for v, x in zip(made, values, strict=True)))
    loss.total.backward()
    assert loss.total.isfinite()
    grads = [weight.grad for weight in method.parameters() if weight.grad is not None]
    assert grads
    assert all(grad.isfinite().all() for grad in grads)
    method.after_step(Progress(1, 10), loss)
    assert all(value.isfinite().all() for value in method.state_dict().values())
