"""What every registered pooling must do; that of a plugin is tested once it is installed."""

import pickle

import pytest
import torch
from torch import Tensor

from seqcl.encoders.pooling import Pooling
from seqcl.registry import registry

NAMES = sorted(registry("poolings"))
DIM = 5


def build(name: str, seed: int = 0) -> Pooling:
    torch.manual_seed(seed)
    pooling: Pooling = registry("poolings")[name](DIM)
    for parameter in pooling.parameters():
        torch.nn.init.normal_(parameter)  # a query that starts at 0 would hide mistakes
    return pooling


def inputs(seed: int = 1) -> tuple[Tensor, Tensor]:
    """Features (4, DIM, 9) and a mask with padding, gaps, one real step, and none."""
    mask = torch.ones(4, 9, dtype=torch.bool)
    mask[0, 6:] = False
    mask[1, [0, 3, 4, 8]] = False
    mask[2, :7], mask[2, 8] = False, False
    mask[3] = False
    return torch.randn(4, DIM, 9, generator=torch.Generator().manual_seed(seed)), mask


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("steps", [1, 2, 9])
def test_gives_out_dim_features_per_record(name: str, steps: int) -> None:
    pooling = build(name)
    features = torch.randn(3, DIM, steps)
    assert pooling.in_dim == DIM
    assert pooling(features, None).shape == (3, pooling.out_dim)
    assert pooling(features, torch.ones(3, steps, dtype=torch.bool)).shape == (3, pooling.out_dim)


@pytest.mark.parametrize("name", NAMES)
def test_a_mask_of_all_true_equals_no_mask(name: str) -> None:
    pooling, (features, mask) = build(name), inputs()
    # The same numbers in another order of summing: a few units in the last place.
    torch.testing.assert_close(pooling(features, torch.ones_like(mask)), pooling(features, None))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("garbage", [float("nan"), float("inf"), -float("inf"), 1e30])
def test_masked_steps_do_not_matter(name: str, garbage: float) -> None:
    pooling, (features, mask) = build(name), inputs()
    spoilt = features.masked_fill(~mask.unsqueeze(1), garbage)
    assert torch.equal(pooling(spoilt, mask), pooling(features, mask))


@pytest.mark.parametrize("name", NAMES)
def test_a_masked_record_equals_its_real_steps_alone(name: str) -> None:
    pooling, (features, mask) = build(name), inputs()
    pooled = pooling(features, mask)
    for row in range(3):
        alone = pooling(features[row : row + 1, :, mask[row]], None)
        torch.testing.assert_close(pooled[row : row + 1], alone)


@pytest.mark.parametrize("name", NAMES)
def test_a_record_without_a_real_step_gives_zeros(name: str) -> None:
    pooling, (features, mask) = build(name), inputs()
    assert torch.equal(pooling(features, mask)[3], torch.zeros(pooling.out_dim))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("constant", [False, True])
def test_gradients_are_finite_and_stay_out_of_masked_steps(name: str, constant: bool) -> None:
    pooling, (features, mask) = build(name), inputs()
    features = torch.full_like(features, 0.25) if constant else features
    features = features.masked_fill(~mask.unsqueeze(1), float("nan")).requires_grad_()
    weights = torch.randn(4, pooling.out_dim)
    (pooling(features, mask) * weights).sum().backward()
    assert features.grad is not None
    assert features.grad.isfinite().all()
    assert features.grad[mask.logical_not().unsqueeze(1).expand_as(features)].eq(0).all()
    assert features.grad[0].ne(0).any()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in pooling.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_right(name: str) -> None:
    pooling, (features, mask) = build(name).double(), inputs()
    features = features.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: pooling(x, mask), (features,))
    assert torch.autograd.gradcheck(lambda x: pooling(x, None), (features,))


@pytest.mark.parametrize("name", NAMES)
def test_input_is_untouched_and_a_copy_gives_the_same(name: str) -> None:
    pooling, (features, mask) = build(name), inputs()
    before = features.clone(), mask.clone()
    pooled = pooling(features, mask)
    assert torch.equal(features, before[0])
    assert torch.equal(mask, before[1])
    copy = pickle.loads(pickle.dumps(pooling))
    assert torch.equal(copy(features, mask), pooled)
    other = build(name, seed=9)
    other.load_state_dict(pooling.state_dict())
    assert torch.equal(other(features, mask), pooled)
