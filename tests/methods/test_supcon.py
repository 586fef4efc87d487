"""SupCon: the paper's loss over both views, unknown labels, and what is shown to which loss."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from seqcl.batch import Batch
from seqcl.methods.simclr import SimCLR
from seqcl.methods.supcon import SupCon
from seqcl.registry import Spec, registry

Z = list[list[float]]


def build(kind: type[SimCLR] = SupCon, **options: object) -> SimCLR:
    torch.manual_seed(0)
    return kind({"main": registry("encoders")["conv1d"](1, widths=(8,))}, **options)  # type: ignore[arg-type]


def views(labels: list[int] | None) -> tuple[Batch, ...]:
    generator = torch.Generator().manual_seed(0)
    rows = 8 if labels is None else len(labels)
    return tuple(
        Batch(
            torch.randn(rows, 1, 20, generator=generator),
            ids=torch.arange(rows),
            labels=None if labels is None else torch.tensor(labels),
        )
        for _ in range(2)
    )


def reference(a: Tensor, b: Tensor, labels: list[int], temperature: float) -> float:
    """Return equation 2 of arXiv 2004.11362, anchor by anchor."""
    z: Z = normalize(torch.cat([a, b]).double(), dim=1).tolist()
    records = [*range(len(labels)), *range(len(labels))]
    classes = [label if label >= 0 else -1 - record for record, label in enumerate(labels)] * 2
    total = 0.0
    for i in range(len(z)):
        score = [sum(x * y for x, y in zip(z[i], row, strict=True)) / temperature for row in z]
        everything = math.log(sum(math.exp(s) for j, s in enumerate(score) if j != i))
        positives = [score[j] for j in range(len(z)) if j != i and classes[j] == classes[i]]
        assert any(records[j] == records[i] for j in range(len(z)) if j != i)
        total += everything - sum(positives) / len(positives)
    return total / len(z)


@pytest.mark.parametrize("labels", [[0, 1, 0, 1, 2, 2], [0, 0, 0, 1, 2, 3], [0, -1, 0, -1, 1, 1]])
def test_its_loss_is_the_papers_over_both_views(labels: list[int]) -> None:
    method, given = build(), views(labels)
    a, b = method.project(method.encode(given))
    expected = reference(a, b, labels, 0.1)
    assert float(method(given).total.detach()) == pytest.approx(expected, rel=1e-5)


def test_it_asks_for_labels_and_for_classes_that_come_together() -> None:
    method = build()
    assert method.needs == {"two_views", "labels"}
    assert method.sampler is not None
    assert method.sampler.name == "pk"


def test_a_loss_that_asks_for_labels_makes_simclr_ask_too() -> None:
    method = build(SimCLR, loss=Spec("losses", "supcon"))
    given = views([0, 0, 1, 1, 2, 2])
    assert method.needs == {"two_views", "labels"}
    assert torch.equal(method(given).total, build()(given).total)


@pytest.mark.parametrize("name", ["triplet", "margin"])
def test_other_losses_by_label_are_its_options(name: str) -> None:
    given = views([0, 0, 0, 1, 1, 1])
    other = views([0, 1, 2, 0, 1, 2])
    method = build(loss=Spec("losses", name, {"positives": "label"}))
    assert not torch.equal(method(given).total, method(other).total)
