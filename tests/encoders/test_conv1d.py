import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from seqcl.batch import Batch
from seqcl.encoders.conv1d import Conv1d


def test_equals_plain_convolutions_with_layer_norm_and_relu_between() -> None:
    torch.manual_seed(0)
    net = Conv1d(2, widths=(4, 6, 5), strides=(1, 2, 3), kernel=5)
    values = torch.randn(3, 2, 23)
    steps = values
    for layer, conv in enumerate(net.convs):
        steps = F.conv1d(steps, conv.weight, conv.bias, stride=(1, 2, 3)[layer], padding=2)
        if layer < 2:
            norm = net.norms[layer]
            scaled = F.layer_norm(steps.transpose(1, 2), (steps.shape[1],), norm.weight, norm.bias)
            steps = F.relu(scaled).transpose(1, 2)
    torch.testing.assert_close(net(Batch(values, torch.arange(3)), local=True).local, steps)
    assert (net.stride, net.local_dim) == (6, 5)


def test_each_layer_needs_a_width_and_a_stride() -> None:
    with pytest.raises(ValueError, match=r"3 widths and 2 strides; each layer needs both"):
        Conv1d(1, widths=(4, 4, 4), strides=(1, 2))
