"""Labels reach a loss that asks for them, and nothing else: methods without need learn the same."""

from dataclasses import dataclass, replace

import pytest
import torch
from series_views import batch
from torch import Tensor

from seqcl import ContrastiveEncoder
from seqcl.batch import Batch
from seqcl.config.schema import options_of
from seqcl.encoders.conv1d import Conv1d
from seqcl.encoders.time_frequency import TimeFrequency
from seqcl.losses.base import Known, PairLoss
from seqcl.losses.nt_xent import nt_xent
from seqcl.methods.base import Method
from seqcl.registry import Spec, registry

UNSUPERVISED = [
    name
    for name in registry("methods").builtin
    if not registry("methods")[name].needs & {"labels", "pairs"}
]
WITH_LOSS = [name for name in UNSUPERVISED if "loss" in options_of(registry("methods")[name])]
LOSSES = [
    name for name in registry("losses").builtin if "labels" not in registry("losses")[name]().needs
]


def build(name: str, **options: object) -> Method:
    torch.manual_seed(0)
    kind = registry("methods")[name]
    encoder = TimeFrequency(1) if "time_frequency" in kind.needs else Conv1d(1, widths=(8, 8))
    method: Method = kind({"main": encoder}, **options)
    return method


def views(labelled: bool) -> tuple[Batch, ...]:
    known = {"labels": torch.arange(8) % 2} if labelled else {}
    made = (batch(8, 32, seed) for seed in range(2))
    return tuple(replace(view, groups=torch.arange(8) // 2, **known) for view in made)


def gradient(method: Method, given: tuple[Batch, ...]) -> Tensor:
    torch.manual_seed(1)
    method(given).total.backward()
    return torch.cat([p.grad.flatten() for p in method.parameters() if p.grad is not None])


def test_of_all_losses_supcon_alone_asks_for_labels_unless_told_to() -> None:
    assert set(registry("losses").builtin) - set(LOSSES) == {"supcon"}


@pytest.mark.parametrize("name", UNSUPERVISED)
def test_an_unsupervised_method_learns_the_same_with_and_without_labels(name: str) -> None:
    found = [gradient(build(name), views(labelled)) for labelled in (True, False)]
    assert torch.equal(*found)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("name", WITH_LOSS)
def test_so_it_does_with_every_loss_that_asks_for_none(name: str, loss: str) -> None:
    spec = Spec("losses", loss)
    found = [gradient(build(name, loss=spec), views(labelled)) for labelled in (True, False)]
    assert torch.equal(*found)


@dataclass(frozen=True, kw_only=True)
class Curious(PairLoss):
    """Looks at labels that it did not ask for."""

    def __call__(self, a: Tensor, b: Tensor, known: Known | None = None) -> Tensor:
        assert known is not None
        assert known.labels is None
        return nt_xent(a, b, 0.1)


@pytest.mark.parametrize("name", [*WITH_LOSS, "semi_supervised"])
def test_a_loss_that_does_not_ask_is_shown_none(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry("losses")._local, "curious", Curious)
    loss = build(name, loss=Spec("losses", "curious"))(views(labelled=True))
    assert loss.total.isfinite()  # it was asked, and its own asserts held


@pytest.mark.parametrize("loss", LOSSES)
def test_the_preset_series_gives_the_same_embeddings_whatever_the_labels(loss: str) -> None:
    X = torch.randn(16, 1, 32, generator=torch.Generator().manual_seed(0)).numpy()
    overrides = (f"method.loss={loss}", "training.steps=2", "training.batch_size=8",
                 "encoder.widths=[8]")  # fmt: skip
    made = ContrastiveEncoder("series", overrides=overrides, device="cpu")
    plain, first, second = (
        made.fit(X, y).transform(X)
        for y in (None, [row % 2 for row in range(16)], [row // 8 for row in range(16)])
    )
    assert (plain == first).all()
    assert (plain == second).all()
