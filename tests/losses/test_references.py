"""Every loss with every option against plain Python, and its gradient against differences."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import plain_losses as plain
import pytest
import torch
from plain_losses import Plain, draw, facts, views
from torch import Tensor
from torch.autograd import gradcheck

from seqcl.losses import mining, pair_sums, similarity, tiles
from seqcl.losses.barlow_twins import BarlowTwins
from seqcl.losses.base import Known, PairLoss
from seqcl.losses.dcl import DCL
from seqcl.losses.debiased import Debiased
from seqcl.losses.hard_negative import HardNegative
from seqcl.losses.info_nce import InfoNCE
from seqcl.losses.margin import Margin
from seqcl.losses.n_pair import NPair
from seqcl.losses.nt_xent import NTXent
from seqcl.losses.sigmoid import Sigmoid
from seqcl.losses.supcon import SupCon
from seqcl.losses.triplet import Triplet
from seqcl.losses.vicreg import VICReg
from seqcl.registry import registry

EXCLUSIONS: dict[str, tuple[dict[str, object], dict[str, object]]] = {
    "all": ({}, {}),
    "label": ({"exclude": ("label",)}, {"by_label": True}),
    "both": ({"exclude": ("label", "group")}, {"by_label": True, "by_group": True}),
    "steps": ({"exclude_steps": 12}, {"steps": 12}),
    "above": ({"exclude_above": 0.3}, {"above": 0.3}),
    "every": (
        {"exclude": ("label",), "exclude_steps": 20, "exclude_above": 0.6},
        {"by_label": True, "steps": 20, "above": 0.6},
    ),
}
Case = tuple[PairLoss, Callable[[Plain], float], dict[str, object]]


T = 0.3


def excluding() -> Iterator[tuple[str, Case]]:
    for name, (options, told) in EXCLUSIONS.items():

        def case(kind: type, value: Callable[[Plain], float], **own: object) -> Case:
            return kind(**own, **options), value, told  # noqa: B023 - called in this turn

        yield f"nt_xent-{name}", case(NTXent, lambda x: plain.nt_xent(x, T), temperature=T)
        for both in (True, False):
            yield (
                f"info_nce-{both}-{name}",
                case(
                    InfoNCE,
                    lambda x, both=both: plain.info_nce(x, T, both),
                    temperature=T,
                    symmetric=both,
                ),
            )
        yield f"dcl-{name}", case(DCL, lambda x: plain.dcl(x, T), temperature=T)
        yield (
            f"dclw-{name}",
            case(DCL, lambda x: plain.dcl(x, T, 0.4), temperature=T, weighted=True, sigma=0.4),
        )
        yield (
            f"debiased-{name}",
            case(
                Debiased,
                lambda x: plain.hard_negative(x, T, 0, 0.2),
                temperature=T,
                tau_plus=0.2,
            ),
        )
        for beta in (0.0, 0.5, 2.0):
            yield (
                f"hard_negative-{beta}-{name}",
                case(
                    HardNegative,
                    lambda x, beta=beta: plain.hard_negative(x, T, beta, 0.1),
                    temperature=T,
                    beta=beta,
                ),
            )
        yield f"n_pair-{name}", case(NPair, lambda x: plain.n_pair(x, 0.1), l2=0.1)
        yield (
            f"sigmoid-{name}",
            case(Sigmoid, lambda x: plain.sigmoid(x, T, -1.5), temperature=T, bias=-1.5),
        )


def with_positives() -> Iterator[tuple[str, Case]]:
    yield "supcon", (SupCon(temperature=0.3), lambda x: plain.supcon(x, 0.3), {})
    for by in ("label", "view"):

        def told(x: Plain, by: str = by) -> Plain:
            return x if by == "label" else replace(x, labels=None)

        for metric in ("euclidean", "cosine"):
            size = 1.0 if metric == "cosine" else 3.0
            yield (
                f"margin-{metric}-{by}",
                (
                    Margin(margin=size, metric=metric, positives=by),  # type: ignore[arg-type]
                    lambda x, size=size, metric=metric, told=told: plain.margin(
                        told(x), size, metric
                    ),
                    {},
                ),
            )
        for how, soft in (("all", False), ("semi_hard", False), ("hard", False), ("hard", True)):
            yield (
                f"triplet-{how}-{soft}-{by}",
                (
                    Triplet(margin=0.4, mining=how, soft=soft, positives=by),  # type: ignore[arg-type]
                    lambda x, how=how, soft=soft, told=told: plain.triplet(told(x), 0.4, how, soft),
                    {},
                ),
            )


def without_negatives() -> Iterator[tuple[str, Case]]:
    barlow = BarlowTwins(off_diagonal=0.3)
    yield "barlow_twins", (barlow, lambda x: plain.barlow_twins(x, 0.3), {})
    loss = VICReg(invariance=2.0, variance=3.0, covariance=0.5)
    yield "vicreg", (loss, lambda x: plain.vicreg(x, 2.0, 3.0, 0.5), {})


CASES: dict[str, Case] = {
    **dict(excluding()), **dict(with_positives()), **dict(without_negatives())
}  # fmt: skip
# Its weights are constants to the gradient by definition, and differences see them change.
GRADIENTS = [name for name in CASES if not name.startswith("dclw")]


def test_every_registered_loss_is_compared() -> None:
    compared = {type(loss) for loss, _, _ in CASES.values()}
    others = {registry("losses")[name] for name in ("weighted",)}
    ours = {registry("losses")[name] for name in registry("losses").builtin}
    pair_losses = {loss for loss in ours if issubclass(loss, PairLoss)}
    assert compared | others == pair_losses


@pytest.mark.parametrize("n", [2, 3, 6, 13])
@pytest.mark.parametrize("name", CASES)
def test_equals_plain_python_below_at_and_across_tiles(name: str, n: int, small_tiles: int) -> None:
    loss, value, told = CASES[name]
    assert 2 * 2 < small_tiles == 2 * 3 < 2 * 13
    (a, b), known = views(n), facts(n)
    expected = value(plain.plain(a, b, known, **told))
    assert loss(a, b, known).item() == pytest.approx(expected, rel=1e-12, abs=1e-13)


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("name", GRADIENTS)
def test_the_gradient_is_exact_in_float64(
    name: str, kept: bool, small_tiles: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not kept and not isinstance(CASES[name][0], NTXent | DCL):
        kept = True  # the same path; two losses show the other one
    monkeypatch.setattr(similarity, "_KEEP_ROWS", 100 if kept else 0)
    known = facts(5)
    a, b = (x.requires_grad_() for x in views(5, 3))
    assert gradcheck(lambda a, b: CASES[name][0](a, b, known), (a, b), fast_mode=True)
    loss, told = CASES[name][0], getattr(CASES[name][0], "temperature", None)
    if told is not None:
        learnt = torch.tensor(told, dtype=torch.float64, requires_grad=True)
        torch.testing.assert_close(
            loss(a, b, replace(known, temperature=learnt)), loss(a, b, known)
        )
        assert gradcheck(lambda t: loss(a, b, replace(known, temperature=t)), (learnt,))


@pytest.mark.parametrize("name", CASES)
def test_rows_of_zeros_and_duplicates_are_rows_like_any_other(name: str, small_tiles: int) -> None:
    loss, value, told = CASES[name]
    (a, b), known = views(8), facts(8)
    a, b = torch.cat([a[:4], a[:4]]), torch.cat([b[:4], b[:4]])
    a[2] = b[5] = 0
    inputs = [a.clone().requires_grad_(), b.clone().requires_grad_()]
    ours = loss(*inputs, known)
    expected = value(plain.plain(a, b, known, **told))
    # Equal rows have cosines that differ in the last digit, which a strict window may see; the
    # squared distance of equal rows is a difference of large numbers, and its root half as exact.
    if "semi_hard" not in name and "euclidean" not in name:
        assert ours.item() == pytest.approx(expected, rel=1e-12, abs=1e-13)
    elif "euclidean" in name:
        assert ours.item() == pytest.approx(expected, rel=1e-7)
    for grad in torch.autograd.grad(ours, inputs):
        assert grad.isfinite().all()


@pytest.mark.parametrize(
    "name", [name for name in CASES if CASES[name][2] and not name.startswith("sigmoid")]
)
def test_anchors_without_negatives_give_zero_and_no_gradient(name: str) -> None:
    (a, b), known = (
        views(7),
        Known(*torch.zeros(2, 7).long(), torch.arange(7), None, torch.zeros(7).long()),
    )
    options = {"exclude": ("label",), "l2": 0.0} if "n_pair" in name else {"exclude": ("label",)}
    loss = replace(CASES[name][0], **options)  # type: ignore[type-var]
    inputs = (a.requires_grad_(), b.requires_grad_())
    value = loss(*inputs, known)
    assert value.item() == pytest.approx(0, abs=1e-12)
    for grad in torch.autograd.grad(value, inputs):
        assert grad.norm() < 1e-12


@pytest.mark.parametrize("name", CASES)
def test_one_anchor_without_negatives_leaves_the_others_as_they_are(
    name: str, small_tiles: int
) -> None:
    loss, value, told = CASES[name]
    (a, b), known = views(9), facts(9)
    same = torch.tensor([0, 0, 0, 0, 0, 0, 0, 0, 1])
    known = replace(known, labels=same, groups=same)
    inputs = (a.requires_grad_(), b.requires_grad_())
    ours = loss(*inputs, known)
    expected = value(plain.plain(a.detach(), b.detach(), known, **told))
    assert ours.item() == pytest.approx(expected, rel=1e-12, abs=1e-13)
    for grad in torch.autograd.grad(ours, inputs):
        assert grad.isfinite().all()


@pytest.mark.parametrize("name", CASES)
def test_bfloat16_is_the_loss_of_the_rounded_input_in_float32(name: str) -> None:
    loss, known = CASES[name][0], facts(20)
    halves = [draw(20, 8, seed).bfloat16().requires_grad_() for seed in (0, 1)]
    floats = [half.detach().float().requires_grad_() for half in halves]
    ours, expected = loss(*halves, known), loss(*floats, known)
    assert ours.dtype == torch.float32
    assert torch.equal(ours, expected)
    for half, exact in zip(
        torch.autograd.grad(ours, halves), torch.autograd.grad(expected, floats), strict=True
    ):
        assert torch.equal(half, exact.bfloat16())


def grads(loss: PairLoss, a: Tensor, b: Tensor, known: Known) -> tuple[Tensor, Tensor]:
    inputs = [x.detach().clone().requires_grad_() for x in (a, b)]
    value = loss(*inputs, known)
    return value.detach(), torch.cat(torch.autograd.grad(value, inputs))


def hundreds(x: Tensor) -> Iterator[slice]:
    return (slice(i, min(i + 100, len(x))) for i in range(0, len(x), 100))


@pytest.mark.parametrize("n", [256, 700])
@pytest.mark.parametrize(
    "name", [n for n in CASES if "every" in n or "-all" in n or CASES[n][2] == {}]
)
def test_float32_over_whole_tiles_is_float64_over_small_ones(
    name: str, n: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    loss, known = CASES[name][0], facts(n)
    a, b = (x.float().double() for x in views(n, 16))
    value, grad = grads(loss, a.float(), b.float(), known)
    for module in (similarity, pair_sums, mining, tiles):
        monkeypatch.setattr(module, "blocks", hundreds)
    exact, exact_grad = grads(loss, a, b, known)
    # A threshold or a window may take a pair in or out by the last digit of its score.
    tolerance = 2e-3 if "semi_hard" in name or "above" in name or "every" in name else 2e-5
    assert abs(value - exact) < tolerance * abs(exact)
    assert (grad - exact_grad).norm() < tolerance * exact_grad.norm()
