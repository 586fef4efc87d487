"""Window features against features of each window alone, and sliding maxima."""

import numpy as np
import pytest
import torch

from seqcl.detection.kernels import WindowFeatures, sliding_max
from seqcl.encoders.rocket import rocket_kernels
from seqcl.rng import Rng


@pytest.mark.parametrize("width", [1, 2, 3, 7, 8, 20])
def test_sliding_max_is_the_highest_of_each_stretch(width: int) -> None:
    rows = torch.randn(3, 20, generator=torch.Generator().manual_seed(0))
    wanted = torch.stack([rows[:, i : i + width].amax(1) for i in range(21 - width)], 1)
    assert torch.equal(sliding_max(rows, width), wanted)


def plain(features: WindowFeatures, values: np.ndarray, end: int) -> np.ndarray:
    """Return the raw features of the window that ends before `end`, by loops over kernels."""
    state = {name: value.numpy() for name, value in features.state.items()}
    kernels, width = rocket_kernels().numpy(), features.window
    steps = np.diff(values, axis=0, prepend=values[:1])
    found = []
    for slot, chosen in enumerate(state["channels"]):
        which, place = divmod(slot, len(features.dilations))
        source, dilation = (values, steps)[which], features.dilations[place]
        parts = []
        for kernel in range(84):
            seen = source @ chosen[kernel]  # (T,)
            response = np.array(
                [
                    sum(
                        kernels[kernel, t] * seen[max(0, row - (8 - t) * dilation)]
                        for t in range(9)
                    )
                    for row in range(end - width, end)
                ]
            )
            response = np.clip(response / state["spread"][slot][kernel], -30, 30)
            levels = (0.0, *state["levels"][slot][kernel])
            shares = [np.arcsin(np.sqrt((response > level).mean())) for level in levels]
            parts.append([*shares, np.abs(response).mean(), response.max(), (-response).max()])
        found.append(np.array(parts).T.ravel())
    window, jumps = values[end - width : end], np.abs(steps[end - width : end])
    own = (window.max(0), window.min(0), window.mean(0), window.std(0), window[-1], jumps.max(0))
    return np.concatenate([*found, *own])


@pytest.mark.parametrize(("hop", "before"), [(1, 0), (4, 0), (4, 3)])
def test_windows_have_the_features_of_a_loop_over_kernels(hop: int, before: int) -> None:
    values = torch.from_numpy(np.random.default_rng(0).normal(size=(60, 2)).astype(np.float32))
    features = WindowFeatures(2, 16)
    features.fit([values], Rng(0), 100)
    found = features(values, hop, before)
    assert len(found) == (60 - before - 16) // hop + 1
    state = features.state
    for row in (3, len(found) - 1):  # at the very start responses are 0 up to rounding
        wanted = plain(features, values.numpy().astype(np.float64), before + row * hop + 16)
        scaled = (wanted - state["centre"].numpy()) * state["scale"].numpy()
        # a response that equals a level up to rounding may be counted on either side
        assert np.mean(np.abs(found[row].numpy() - scaled) > 1e-4) < 0.01


def test_nothing_after_a_window_and_nothing_before_its_reach_is_seen() -> None:
    values = torch.randn(80, 3, generator=torch.Generator().manual_seed(0))
    features = WindowFeatures(3, 16)
    features.fit([values], Rng(0), 100)
    end = features.before + 16
    whole = features(values, 1, features.before)[0]
    assert torch.allclose(whole, features(values[:end], 1, features.before)[0], atol=1e-6)
