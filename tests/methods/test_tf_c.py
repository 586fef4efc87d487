"""TF-C: contrasts within each domain, and the consistency of the two."""

import pytest
import torch
from series_views import batch, encoder

from seqcl.encoders.time_frequency import TimeFrequency
from seqcl.errors import PresetError
from seqcl.losses.nt_xent import nt_xent
from seqcl.methods.tf_c import TFC
from seqcl.registry import Spec


def build(**options: object) -> TFC:
    torch.manual_seed(0)
    small = Spec("encoders", "conv1d", {"widths": (6,), "norm": "layer"})
    other = Spec("encoders", "conv1d", {"widths": (4,), "norm": "layer"})
    made = TimeFrequency(1, time=small, frequency=other)
    return TFC({"main": made}, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("margin", [0.0, 0.05, 1.0])
def test_equals_the_sum_of_its_seven_contrasts(margin: float) -> None:
    method = build(balance=0.3, margin=margin)
    views = (batch(), batch(seed=1))
    pooled = torch.cat([one.pooled for one in method.encode(views)])
    t, t2 = method.time_head(pooled[:, :24]).chunk(2)
    f, f2 = method.frequency_head(pooled[:, 24:]).chunk(2)

    def d(a: torch.Tensor, b: torch.Tensor) -> float:
        return nt_xent(a, b, 0.2).item()

    within = d(t, t2) + d(f, f2)
    others = (d(t, f2), d(t2, f), d(t2, f2))
    consistency = sum(max(0.0, d(t, f) - other + margin) for other in others)
    loss = method(views)
    assert loss.total.item() == pytest.approx(0.3 * within + 0.7 * consistency, rel=1e-4)
    assert loss.parts["consistency"].item() == pytest.approx(consistency, rel=1e-4, abs=1e-6)


def test_another_encoder_is_refused_before_training() -> None:
    with pytest.raises(PresetError, match="tf_c needs the encoder time_frequency.*got Tcn"):
        TFC({"main": encoder()})


def test_masked_steps_do_not_matter() -> None:
    method = build()
    views = (batch(masked=True), batch(seed=1, masked=True))
    spoilt = tuple(v.with_values(v.values.masked_fill(~v.mask[:, None], 1e3)) for v in views)
    assert torch.equal(method(views).total, method(spoilt).total)
