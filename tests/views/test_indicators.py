import pytest
import torch

from seqcl.batch import Batch
from seqcl.registry import registry
from seqcl.rng import Rng
from seqcl.views.base import ValueAugmentation

NAMES = [
    name
    for name, augmentation in registry("augmentations").items()
    if issubclass(augmentation, ValueAugmentation) and "CT" in augmentation.layouts
]


@pytest.mark.parametrize("name", NAMES)
def test_channels_that_say_what_is_missing_are_not_changed(name: str) -> None:
    torch.manual_seed(0)
    gaps = (torch.rand(8, 2, 32) < 0.2).float()
    batch = Batch(torch.cat([torch.randn(8, 2, 32), gaps], 1), torch.arange(8), indicators=2)
    out = registry("augmentations")[name]()(batch, Rng(0))
    assert torch.equal(out.values[:, 2:], gaps)
    assert not torch.equal(out.values[:, :2], batch.values[:, :2])
    assert out.indicators == 2
