import numpy as np
import numpy.typing as npt
import pytest
import torch

from seqcl.batch import Batch
from seqcl.encoders.tcn import Tcn

Array = npt.NDArray[np.float64]


def weights(net: Tcn) -> dict[str, Array]:
    return {name: tensor.double().numpy() for name, tensor in net.state_dict().items()}


def normed(step: Array, w: dict[str, Array], name: str) -> Array:
    centred = step - step.mean()
    scaled = centred / np.sqrt((centred**2).mean() + 1e-5)
    return np.maximum(scaled * w[f"{name}.weight"] + w[f"{name}.bias"], 0)


def slow_features(net: Tcn, series: Array, real: list[bool], causal: bool) -> Array:
    """The network step by step and tap by tap; `series` (T, C) gives (T, local_dim)."""
    w, count = weights(net), len(series)
    steps = [w["project.weight"] @ x + w["project.bias"] for x in series]
    for level in range(len(net.blocks)):
        inner = steps
        for layer in range(2):
            place = f"blocks.{level}"
            active = [normed(x, w, f"{place}.norms.{layer}") for x in inner]
            kernel = w[f"{place}.convs.{layer}.weight"]
            before = kernel.shape[2] - 1 if causal else (kernel.shape[2] - 1) // 2
            inner = []
            for t in range(count):
                total = w[f"{place}.convs.{layer}.bias"].copy()
                for tap in range(kernel.shape[2]):
                    source = t + (tap - before) * 2**level
                    if 0 <= source < count and real[source]:
                        total += kernel[:, :, tap] @ active[source]
                inner.append(total)
        steps = [a + b for a, b in zip(steps, inner, strict=True)]
    return np.stack([w["out.weight"] @ normed(x, w, "norm") + w["out.bias"] for x in steps])


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("kernel", [2, 3])
def test_equals_a_network_of_plain_loops(kernel: int, causal: bool) -> None:
    torch.manual_seed(0)
    net = Tcn(2, width=4, depth=4, kernel=kernel, local_dim=3, causal=causal)
    values = torch.randn(2, 2, 11)
    mask = torch.ones(2, 11, dtype=torch.bool)
    mask[1, [0, 4, 5, 9, 10]] = False
    local = net(Batch(values, torch.arange(2), mask=mask), local=True).local
    for row in range(2):
        real = mask[row].tolist()
        series = (values[row] * mask[row]).T.double().numpy()
        slow = slow_features(net, series, real, causal)
        for t in np.flatnonzero(real):
            # float32 against float64 through nine layers of unit scale.
            np.testing.assert_allclose(local[row, :, t].detach(), slow[t], atol=2e-5)


def changed_steps(net: Tcn, steps: int, at: int) -> list[int]:
    """Local steps that change when input step `at` does."""
    values = torch.randn(1, 1, steps, generator=torch.Generator().manual_seed(1))
    other = values.clone()
    other[0, 0, at] += 1.0
    a, b = (net(Batch(x, torch.zeros(1)), local=True).local for x in (values, other))
    return torch.nonzero((a != b).any(1)[0]).flatten().tolist()


def test_a_causal_network_never_sees_the_future() -> None:
    torch.manual_seed(0)
    net = Tcn(1, causal=True, depth=4)
    assert changed_steps(net, 50, at=23)[0] == 23
    values = torch.randn(3, 1, 50, requires_grad=True)
    local = net(Batch(values, torch.arange(3)), local=True).local
    local[:, :, 23].square().sum().backward()
    assert values.grad is not None
    assert values.grad[:, :, 24:].eq(0).all()
    assert values.grad[:, :, :24].ne(0).any()


def test_each_step_sees_as_far_as_documented() -> None:
    torch.manual_seed(0)
    depth, kernel, at = 3, 3, 40
    sight = 2 * (kernel - 1) * (2**depth - 1) + 1
    reached = changed_steps(Tcn(1, depth=depth, kernel=kernel), 81, at)
    assert reached == list(range(at - sight // 2, at + sight // 2 + 1))


def test_depth_zero_is_a_network_of_single_steps() -> None:
    assert changed_steps(Tcn(1, depth=0), 9, at=4) == [4]
