"""What every registered head must do; that of a plugin is tested once it is installed."""

import pickle

import pytest
import torch

from seqcl.heads.base import Head
from seqcl.registry import registry

NAMES = sorted(registry("heads"))
DIM = 24


def build(name: str, seed: int = 0) -> Head:
    torch.manual_seed(seed)
    head: Head = registry("heads")[name](DIM)
    return head


def pooled(rows: int = 6) -> torch.Tensor:
    return torch.randn(rows, DIM, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", NAMES)
def test_gives_out_dim_from_in_dim_down_to_min_batch(name: str) -> None:
    head = build(name)
    assert head.in_dim == DIM
    for rows in (head.min_batch, 6):
        assert head(pooled(rows)).shape == (rows, head.out_dim)


@pytest.mark.parametrize("name", NAMES)
def test_below_min_batch_is_a_value_error_in_training_only(name: str) -> None:
    head = build(name)
    if head.min_batch > 1:
        with pytest.raises(ValueError, match=f"at least {head.min_batch}"):
            head(pooled(head.min_batch - 1))
    assert head.eval()(pooled(1)).shape == (1, head.out_dim)


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_has_a_finite_gradient_that_is_not_zero(name: str) -> None:
    head = build(name)
    if not head.trainable:
        pytest.skip(f"{name} is not trainable")
    features = pooled().requires_grad_()
    projection = head(features)
    (projection * torch.randn_like(projection)).sum().backward()
    for part, tensor in (("input", features), *head.named_parameters()):
        assert tensor.grad is not None, part
        assert tensor.grad.isfinite().all(), part
        # Rounding alone gives 1e-7: a bias that batch norm cancels must not pass.
        assert tensor.grad.norm() > 1e-4, part


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_head(name: str) -> None:
    assert torch.equal(build(name)(pooled()), build(name)(pooled()))


@pytest.mark.parametrize("name", NAMES)
def test_eval_treats_every_record_alone(name: str) -> None:
    head, features = build(name).eval(), pooled()
    alone = torch.cat([head(row.unsqueeze(0)) for row in features])
    torch.testing.assert_close(head(features), alone)  # another shape of matrix product


@pytest.mark.parametrize("name", NAMES)
def test_pickles_and_its_state_loads_bit_for_bit(name: str) -> None:
    head = build(name)
    head(pooled())  # running statistics move
    copy, other = pickle.loads(pickle.dumps(head)), build(name, seed=9)
    other.load_state_dict(head.state_dict())
    expected = head.eval()(pooled())
    assert torch.equal(copy.eval()(pooled()), expected)
    assert torch.equal(other.eval()(pooled()), expected)


@pytest.mark.parametrize("name", NAMES)
def test_runs_in_bfloat16_and_leaves_its_input_alone(name: str) -> None:
    head, features = build(name), pooled()
    with torch.autocast("cpu", torch.bfloat16, enabled=head.autocast):
        projection = head(features)
    # bfloat16 has 8 bits: 1 % of the largest value through two layers.
    assert (projection.float() - head(features)).norm() < 0.02 * projection.float().norm()
    assert torch.equal(features, pooled())
