"""Predictions of local features: the contrast against a reference in loops; CPC and TS-TCC."""

import math

import pytest
import torch
from series_views import batch, encoder, random_local

from seqcl.errors import PresetError
from seqcl.losses.nt_xent import nt_xent
from seqcl.methods.cpc import CPC
from seqcl.methods.future import Forecast, future_contrast
from seqcl.methods.ts_tcc import TSTCC
from seqcl.registry import Spec, registry

ROWS, STEPS, DIM, HORIZON = 4, 9, 3, 3


def mask() -> torch.Tensor:
    real = torch.arange(STEPS) < torch.tensor([9, 6, 2, 9]).unsqueeze(1)
    real[3, 4] = False
    return real


def slow(
    predicted: torch.Tensor,
    target: torch.Tensor,
    at: list[int],
    to: torch.Tensor,
    of: torch.Tensor,
    across_steps: bool,
) -> float:
    """The mean over anchors of -log softmax, each written out."""
    losses = []
    for k in range(predicted.shape[2]):
        places = [(i, a) for i in range(ROWS) for a, t in enumerate(at)
                  if t + k + 1 < STEPS and of[i, t] and to[i, t + k + 1]]  # fmt: skip
        for i, a in places:
            score = {
                (j, b): float(predicted[i, a, k] @ target[j, :, at[b] + k + 1])
                for j, b in places
                if across_steps or b == a
            }
            losses.append(math.log(sum(math.exp(s) for s in score.values())) - score[i, a])
    return sum(losses) / len(losses)


@pytest.mark.parametrize("across_steps", [False, True])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("at", [[0, 3, 7], [5], list(range(8))])
def test_equals_a_slow_reference(at: list[int], masked: bool, across_steps: bool) -> None:
    whole = torch.ones(ROWS, STEPS, dtype=torch.bool)
    to, of = (mask(), mask().flip(0)) if masked else (whole, whole)
    target = random_local(ROWS, STEPS, DIM, 1, to if masked else None)
    source = random_local(ROWS, STEPS, DIM, 2, of if masked else None)
    predicted = torch.randn(ROWS, len(at), HORIZON, DIM)
    found = future_contrast(predicted, target, source, torch.tensor(at), across_steps=across_steps)
    expected = slow(predicted, target.local, at, to, of, across_steps)
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_all_predictions_equal_give_the_log_of_the_candidates() -> None:
    local = random_local(ROWS, STEPS, DIM)
    nothing = torch.zeros(ROWS, 2, 1, DIM)
    at = torch.tensor([1, 4])
    for across_steps, candidates in ((False, ROWS), (True, 2 * ROWS)):
        found = future_contrast(nothing, local, local, at, across_steps=across_steps)
        assert found.item() == pytest.approx(math.log(candidates), rel=1e-6)


def test_a_batch_without_a_real_step_gives_zero_and_a_gradient() -> None:
    none = torch.zeros(ROWS, STEPS, dtype=torch.bool)
    local = random_local(ROWS, STEPS, DIM, mask=none)
    predicted = torch.zeros(ROWS, 2, 1, DIM, requires_grad=True)
    loss = future_contrast(predicted, local, local, torch.tensor([0, 1]), across_steps=True)
    loss.backward()
    assert loss.item() == 0
    assert predicted.grad.isfinite().all()


def test_a_context_sees_no_later_step() -> None:
    torch.manual_seed(0)
    forecast, view = Forecast(DIM, 5, 2), random_local(ROWS, STEPS, DIM)
    contexts = forecast(view)
    view.local[:, :, 5:] += 1
    moved = (forecast(view) != contexts).any(2).any(0)
    assert moved.tolist() == [False] * 5 + [True] * 4


def test_cpc_is_the_mean_over_its_views() -> None:
    method = CPC({"main": encoder()}, horizon=2, width=5, anchors=None)
    views = (batch(seed=0), batch(seed=1))
    both, one, other = (method(given).total for given in (views, views[:1], views[1:]))
    torch.testing.assert_close(both, (one + other) / 2)


def test_cpc_predicts_its_own_later_steps() -> None:
    method = CPC({"main": encoder()}, horizon=2, width=5, anchors=None)
    (encoded,) = method.encode((batch(ROWS, STEPS, masked=True),))
    at = list(range(STEPS - 1))
    predicted = method.forecast.predictions(method.forecast(encoded), torch.tensor(at)).detach()
    expected = slow(
        predicted, encoded.local.detach(), at, encoded.mask, encoded.mask, across_steps=True
    )
    assert method.objective((encoded,)).total.item() == pytest.approx(expected, rel=1e-5)


def test_ts_tcc_crosses_the_views_and_contrasts_their_contexts() -> None:
    method = TSTCC(
        {"main": encoder()}, horizon=2, width=5, anchors=None, contextual=0.5,
        head=Spec("heads", "identity"),
    )  # fmt: skip
    views = (batch(ROWS, STEPS, masked=True), batch(ROWS, STEPS, seed=1, masked=True))
    first, second = method.encode(views)
    at, crossed, ends = list(range(STEPS - 1)), [], []
    for source, target in ((first, second), (second, first)):
        contexts = method.forecast(source).detach()
        predicted = method.forecast.predictions(contexts, torch.tensor(at)).detach()
        crossed.append(slow(predicted, target.local.detach(), at, target.mask, source.mask, False))
        last = [max(t for t in range(STEPS) if source.mask[i, t]) for i in range(ROWS)]
        ends.append(torch.stack([contexts[i, t] for i, t in enumerate(last)]))
    loss = method.objective((first, second))
    assert loss.parts["temporal"].item() == pytest.approx(sum(crossed) / 2, rel=1e-5)
    torch.testing.assert_close(loss.parts["contextual"], nt_xent(*ends, 0.2))
    expected = loss.parts["temporal"] + 0.5 * loss.parts["contextual"]
    torch.testing.assert_close(loss.total.detach(), expected)


@pytest.mark.parametrize("method", [CPC, TSTCC])
def test_one_local_step_has_no_future(method: type[CPC] | type[TSTCC]) -> None:
    made = method({"main": encoder("conv1d", stride=2)})
    views = (batch(steps=8), batch(steps=8, seed=1))
    with pytest.raises(PresetError, match="1 local step of a view of 8 has no future; use longer"):
        made(views)


@pytest.mark.parametrize("method", [CPC, TSTCC])
def test_views_of_any_two_lengths_are_enough(method: type[CPC] | type[TSTCC]) -> None:
    made = method({"main": encoder()}, horizon=5)
    loss = made((batch(steps=24), batch(steps=3, seed=1))).total
    loss.backward()
    assert loss.isfinite()


@pytest.mark.parametrize("method", [CPC, TSTCC])
@pytest.mark.parametrize("name", ["conv1d", "rnn", "resnet1d", "transformer"])
def test_every_encoder_trains_with_masked_steps(name: str, method: type[CPC] | type[TSTCC]) -> None:
    torch.manual_seed(0)
    made = method({"main": registry("encoders")[name](1)})
    made((batch(steps=40, masked=True), batch(steps=40, seed=1, masked=True))).total.backward()
    norms = [p.grad.norm() for p in made.encoder.parameters() if p.grad is not None]
    assert torch.stack(norms).isfinite().all()
    assert torch.stack(norms).max() > 0
