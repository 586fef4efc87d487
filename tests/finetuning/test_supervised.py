"""Supervised: stages, rates, early stopping and what is kept, over the common loop."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from seqcl.config.preset import load_preset
from seqcl.data.dataset import Dataset, dataset_from_arrays
from seqcl.finetuning.options import FinetuneOptions
from seqcl.finetuning.predictions import predict
from seqcl.finetuning.rates import layer_rates
from seqcl.run.build import build_model, prepare
from seqcl.run.finetuning import keep_best
from seqcl.run.supervising import Supervision, supervise
from seqcl.training.loop import TrainResult, train

SMALL = ("encoder.widths=[8,8]", "training.batch_size=8", "training.diagnose_every=0")
LABELS = np.arange(24) % 2


def waves(labels: NDArray[np.int64]) -> Dataset:
    """Return records of two classes that differ in frequency, labelled as told."""
    rng = np.random.default_rng(0)
    speed = 0.2 + 0.3 * LABELS[:, None, None]
    values = np.sin(np.arange(48) * speed + rng.uniform(0, 6, (24, 2, 1)))
    return dataset_from_arrays(values + 0.1 * rng.normal(size=values.shape), labels)


def tune(
    options: FinetuneOptions, *overrides: str, validation: Dataset | None = None, **more: Any
) -> tuple[Supervision, TrainResult, dict[str, torch.Tensor]]:
    """Fine-tune an untrained encoder; also returns its weights from before."""
    preset = load_preset("series", [*SMALL, *overrides])
    data = waves(LABELS)
    model = build_model(preset, data.channels, None, 0)
    prepare(model, data, 0)
    parts = supervise(
        preset, options, model, data, seed=0, device=torch.device("cpu"), validation=validation,
        **more,
    )  # fmt: skip
    with torch.no_grad():
        parts.head.linear.weight.normal_(generator=torch.Generator().manual_seed(0))
    before = {name: value.clone() for name, value in parts.method.state_dict().items()}
    result = train(
        parts.method, parts.views, parts.model.frontend, parts.loader, preset.training, seed=0
    )
    return parts, result, before


def moved(parts: Supervision, before: dict[str, torch.Tensor]) -> dict[str, float]:
    """Return how far each weight of the encoder and the head has gone."""
    now = dict(parts.method.named_parameters())
    return {
        name: float((value.detach() - before[name]).abs().max())
        for name, value in now.items()
        if name.startswith(("encoders.", "head."))
    }


def test_the_head_learns_alone_until_its_share_is_done() -> None:
    parts, _, before = tune(FinetuneOptions(head_share=1.0), "training.steps=5")
    for name, value in parts.method.state_dict().items():
        if name.startswith("encoders."):  # weights and running statistics
            assert torch.equal(value, before[name]), name
    assert moved(parts, before)["head.linear.weight"] > 0
    parts, _, before = tune(FinetuneOptions(head_share=0.5), "training.steps=6")
    assert all(distance > 0 for distance in moved(parts, before).values())


def test_layers_learn_at_the_rates_that_were_asked_for() -> None:
    options = FinetuneOptions(layer_decay=0.5, head_share=0.0)
    parts, _, before = tune(
        options, "training.steps=1", "training.weight_decay=0.0", "training.warmup=0.0"
    )
    distances = moved(parts, before)
    # The first step of AdamW moves a weight by its rate, whatever the gradient.
    for name, rate in layer_rates(parts.model.encoder, 0.5).items():
        assert distances[f"encoders.main.{name}"] == pytest.approx(1e-3 * rate, rel=1e-2), name
    assert distances["head.linear.weight"] == pytest.approx(1e-3, rel=1e-2)


def test_early_stopping_keeps_the_best_weights() -> None:
    looks: dict[int, float] = {}
    parts, result, _ = tune(
        FinetuneOptions(validate_every=2, patience=3, head_share=0.0),
        "training.steps=400",
        validation=waves(1 - LABELS),  # what is learnt is wrong there
        on_look=lambda step, measured: looks.update({step: measured["validation_loss"]}),
    )
    measured = keep_best(parts)
    best = min(looks, key=lambda step: looks[step])
    assert result.stopped == "done"
    assert result.steps == best + 2 * 3 < 400
    assert measured["step"] == best
    assert measured["validation_loss"] == pytest.approx(looks[best], rel=1e-5)


def test_it_learns_what_an_untrained_head_does_not_know() -> None:
    parts, _, _ = tune(FinetuneOptions(), "training.steps=100")
    keep_best(parts)
    found = predict(parts.model, parts.head, parts.targets, waves(LABELS))
    assert np.mean(np.array(found.labels) == LABELS) > 0.95
    with torch.no_grad():
        parts.head.linear.weight.zero_()
        parts.head.linear.bias.zero_()
    found = predict(parts.model, parts.head, parts.targets, waves(LABELS))
    assert np.mean(np.array(found.labels) == LABELS) == 0.5


def test_a_batch_in_parts_gives_the_same_gradient() -> None:
    whole, _, _ = tune(FinetuneOptions(head_share=1.0), "training.steps=3")
    parts, _, _ = tune(FinetuneOptions(head_share=1.0), "training.steps=3", "training.accumulate=2")
    gap = (whole.head.linear.weight - parts.head.linear.weight).norm()
    assert gap < 1e-5 * whole.head.linear.weight.norm()  # sums in another order
