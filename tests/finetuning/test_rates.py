"""Layer-wise rates, from names of parameters to the rates of the optimizer."""

from __future__ import annotations

import pytest

from seqcl.finetuning.rates import layer_depths, layer_rates
from seqcl.registry import Spec, registry


def test_layers_are_counted_from_the_input() -> None:
    depths = layer_depths(registry("encoders")["tcn"](2, width=4, depth=2))
    assert depths["project.weight"] == 0
    assert depths["blocks.0.convs.0.weight"] == depths["blocks.0.norms.1.bias"] == 1
    assert depths["blocks.1.convs.0.weight"] == 2
    assert depths["norm.weight"] == depths["out.weight"] == 3


def test_each_layer_learns_at_decay_times_the_rate_of_the_one_above() -> None:
    rates = layer_rates(registry("encoders")["conv1d"](2, widths=(4, 4, 4)), 0.5)
    assert rates["convs.2.weight"] == rates["norms.2.bias"] == 0.5
    assert rates["convs.1.weight"] == 0.25
    assert rates["convs.0.weight"] == rates["norms.0.weight"] == 0.125


def test_a_learnt_pooling_is_above_the_last_layer() -> None:
    encoder = registry("encoders")["conv1d"]
    rates = layer_rates(encoder(2, widths=(4, 4), pooling=Spec("poolings", "attention")), 0.5)
    assert rates["pooling.query"] == 0.5
    assert rates["convs.1.weight"] == 0.25


@pytest.mark.parametrize("name", sorted(registry("encoders")))
def test_every_encoder_has_a_rate_for_every_parameter(name: str) -> None:
    encoder = registry("encoders")[name](2)
    rates = layer_rates(encoder, 0.5)
    assert set(rates) == {key for key, _ in encoder.named_parameters()}
    assert not rates or 0 < min(rates.values()) < max(rates.values()) == 0.5


def test_members_that_learn_apart_count_their_own_layers() -> None:
    conv = Spec("encoders", "conv1d", {"widths": (4, 4)})
    alone = layer_rates(conv.build(2), 0.5)
    encoders = registry("encoders")
    ensemble = encoders["ensemble"](2, of=conv, members=3)
    beside = encoders["beside"](2, learner=Spec("encoders", "ensemble", {"of": conv}))
    for encoder, lead in ((ensemble, ""), (beside, "trained.")):
        rates = layer_rates(encoder, 0.5)
        for member in range(2):
            own = {name: rates[f"{lead}members.{member}.{name}"] for name in alone}
            assert own == alone
