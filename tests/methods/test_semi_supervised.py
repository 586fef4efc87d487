"""Semi-supervised contrast: the supervised term sees labelled records alone, the other one all."""

import pytest
import torch
from torch import Tensor

import seqcl.methods.semi_supervised as module
from seqcl.batch import Batch
from seqcl.losses.nt_xent import nt_xent
from seqcl.losses.supcon import supcon
from seqcl.methods.base import Progress
from seqcl.methods.semi_supervised import SemiSupervised, labelled_supcon
from seqcl.registry import Spec, registry


def build(**options: object) -> SemiSupervised:
    torch.manual_seed(0)
    return SemiSupervised({"main": registry("encoders")["conv1d"](1, widths=(8,))}, **options)  # type: ignore[arg-type]


def views(labels: list[int]) -> tuple[Batch, ...]:
    generator = torch.Generator().manual_seed(0)
    rows = len(labels)
    return tuple(
        Batch(
            torch.randn(rows, 1, 20, generator=generator),
            ids=torch.arange(rows),
            labels=torch.tensor(labels),
        )
        for _ in range(2)
    )


def projections(rows: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(rows)
    a, b = (torch.randn(rows, 6, generator=generator, dtype=dtype) for _ in range(2))
    return a.requires_grad_(), b.requires_grad_()


@pytest.mark.parametrize("rows", [3, 17, 600])
@pytest.mark.parametrize("temperature", [0.05, 0.5])
def test_the_supervised_term_is_supcon_of_the_rows_that_have_a_label(
    rows: int, temperature: float
) -> None:
    a, b = projections(rows)
    labels = torch.arange(rows) % 5
    labels[2::3] = -1
    known = labels >= 0
    found = labelled_supcon(a, b, labels, temperature)
    expected = supcon(a[known], b[known], temperature, labels=labels[known])
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    pairs = zip(
        torch.autograd.grad(found, (a, b)), torch.autograd.grad(expected, (a, b)), strict=True
    )
    for gradient, reference in pairs:
        torch.testing.assert_close(gradient, reference, rtol=1e-8, atol=1e-10)
        assert (gradient[~known] == 0).all()


def test_processes_with_unequal_numbers_of_labels_average_to_one_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Three processes of four records, which hold 4, 1 and no labels, acted one after another."""
    a, b = projections(12)
    labels = torch.tensor([0, 1, 0, 2, -1, 1, -1, -1, -1, -1, -1, -1])
    expected = labelled_supcon(a, b, labels, 0.2)
    monkeypatch.setattr(module, "world_size", lambda: 3)
    monkeypatch.setattr(module, "all_reduce_sum", lambda count: torch.full_like(count, 2 * 5))
    found = [labelled_supcon(a, b, labels, 0.2, anchors=slice(i, i + 4)) for i in (0, 4, 8)]
    average = torch.stack(found).mean()
    torch.testing.assert_close(average, expected, rtol=1e-12, atol=0)
    for gradient, reference in zip(
        torch.autograd.grad(average, (a, b)), torch.autograd.grad(expected, (a, b)), strict=True
    ):
        torch.testing.assert_close(gradient, reference, rtol=1e-10, atol=1e-12)


def test_all_labelled_is_supcon() -> None:
    a, b = projections(8)
    labels = torch.arange(8) % 3
    expected = supcon(a, b, 0.1, labels=labels)
    torch.testing.assert_close(labelled_supcon(a, b, labels, 0.1), expected)


@pytest.mark.parametrize("labels", [[-1] * 5, [-1, -1, 3, -1, -1]])
def test_a_batch_with_no_or_one_label_is_finite_with_a_finite_gradient(labels: list[int]) -> None:
    a, b = projections(5, torch.float32)
    loss = labelled_supcon(a, b, torch.tensor(labels), 0.1)
    assert abs(loss) < 1e-5  # one record against its own view alone is certain
    for gradient in torch.autograd.grad(loss, (a, b)):
        assert (gradient.abs() < 1e-6).all()


def test_alike_rows_of_one_class_give_the_logarithm_of_their_number() -> None:
    a = torch.ones(4, 3)
    labels = torch.tensor([2, 2, 2, -1])
    torch.testing.assert_close(labelled_supcon(a, a, labels, 0.1), torch.tensor(5.0).log())


def test_the_terms_are_weighed_and_told_apart() -> None:
    method, given = build(weight=0.25, supervised_temperature=0.3), views([0, -1, 0, 1, -1, 1])
    a, b = method.project(method.encode(given))
    labels = given[0].labels
    assert labels is not None
    loss = method(given)
    torch.testing.assert_close(loss.parts["contrast"], nt_xent(a, b, 0.1).detach())
    term = labelled_supcon(a, b, labels, 0.3).detach()
    torch.testing.assert_close(loss.parts["supervised"], term)
    total = 0.75 * loss.parts["contrast"] + 0.25 * term
    torch.testing.assert_close(loss.total.detach(), total)


def test_the_loss_over_all_records_sees_no_label_unless_it_asks() -> None:
    losses = [
        build(loss=Spec("losses", "triplet", {"positives": view}))(views([0, 0, 0, 1, 1, 1])).parts
        for view in ("view", "label")
    ]
    assert losses[0]["supervised"] == losses[1]["supervised"]
    assert losses[0]["contrast"] != losses[1]["contrast"]


def test_one_temperature_serves_both_terms() -> None:
    schedule = Spec("temperatures", "scheduled", {"start": 0.5, "end": 0.5})
    method, given = build(temperature=schedule), views([0, -1, 0, 1, -1, 1])
    a, b = method.project(method.encode(given))
    loss = method(given)
    labels = given[0].labels
    assert labels is not None
    torch.testing.assert_close(loss.parts["contrast"], nt_xent(a, b, 0.5).detach())
    term = labelled_supcon(a, b, labels, 0.5).detach()
    torch.testing.assert_close(loss.parts["supervised"], term)
    method.after_step(Progress(1, 2), loss)
    assert loss.parts["temperature"] == 0.5


def test_a_batch_without_labels_is_a_value_error() -> None:
    (a, b) = views([0, 1, 0])
    given = tuple(Batch(view.values, view.ids) for view in (a, b))
    with pytest.raises(ValueError, match="SemiSupervised: the batch has no labels; -1 is an unk"):
        build()(given)
