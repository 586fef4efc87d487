import pytest
import torch
from torch import Tensor

from seqcl.batch import Batch
from seqcl.encoders.base import Encoder, masked, stride_mask
from seqcl.encoders.pooling import MeanPool


class Halved(Encoder):
    """Every second step as it is: small enough to compute by hand."""

    def __init__(self, in_channels: int) -> None:
        super().__init__(in_channels, in_channels, MeanPool(in_channels), stride=2)

    def features(
        self, values: Tensor, mask: Tensor | None, lengths: tuple[int, ...] | None
    ) -> Tensor:
        return values[..., ::2]


def test_masked_replaces_even_nan_and_leaves_its_input() -> None:
    values = torch.tensor([[[1.0, float("nan"), 3.0]]])
    mask = torch.tensor([[True, False, True]])
    assert torch.equal(masked(values, mask), torch.tensor([[[1.0, 0.0, 3.0]]]))
    assert values.isnan().any()
    assert masked(values, None) is values


def test_a_strided_step_is_real_where_any_step_it_covers_is() -> None:
    mask = torch.tensor([[0, 1, 0, 0, 1, 0, 1], [1, 0, 0, 0, 0, 0, 0]], dtype=torch.bool)
    by_3 = torch.tensor([[1, 1, 1], [1, 0, 0]], dtype=torch.bool)
    strided = stride_mask(mask, 3)
    assert strided is not None
    assert torch.equal(strided, by_3)
    assert stride_mask(mask, 1) is mask
    assert stride_mask(None, 3) is None


@pytest.mark.parametrize("steps", range(1, 18))
def test_striding_twice_equals_striding_by_the_product(steps: int) -> None:
    mask = torch.rand(8, steps, generator=torch.Generator().manual_seed(steps)) < 0.3
    twice = stride_mask(stride_mask(mask, 2), 3)
    once = stride_mask(mask, 6)
    assert twice is not None
    assert once is not None
    assert torch.equal(twice, once)
    assert once.shape[1] == -(-steps // 6)


def test_pooling_runs_over_real_local_steps() -> None:
    mask = torch.tensor([[True, True, False, False, True]])
    batch = Batch(torch.tensor([[[1.0, 9.0, 5.0, 9.0, 3.0]]]), torch.zeros(1), mask=mask)
    encoded = Halved(1)(batch, local=True)
    assert torch.equal(encoded.mask, torch.tensor([[True, False, True]]))
    assert torch.equal(encoded.local, torch.tensor([[[1.0, 0.0, 3.0]]]))
    assert encoded.pooled.item() == 2.0


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_pooled_is_float32_or_better(dtype: torch.dtype) -> None:
    batch = Batch(torch.ones(1, 1, 5, dtype=dtype), torch.zeros(1))
    encoded = Halved(1)(batch, local=True)
    assert encoded.pooled.dtype == torch.promote_types(dtype, torch.float32)
    assert encoded.local.dtype == dtype
