import torch
from torch.nn import functional as F

from seqcl.batch import Batch
from seqcl.encoders.conv1d import Conv1d


def test_equals_plain_convolutions_with_layer_norm_and_relu_between() -> None:
    torch.manual_seed(0)
    net = Conv1d(2, widths=(4, 6, 5), stride=3, kernel=5, norm="layer")
    values = torch.randn(3, 2, 23)
    steps = values
    for layer, (conv, norm) in enumerate(zip(net.convs, net.norms, strict=True)):
        steps = F.conv1d(steps, conv.weight, conv.bias, stride=3, padding=2)
        scaled = F.layer_norm(steps.transpose(1, 2), (steps.shape[1],), norm.weight, norm.bias)
        steps = (F.relu(scaled) if layer < 2 else scaled).transpose(1, 2)
    torch.testing.assert_close(net(Batch(values, torch.arange(3)), local=True).local, steps)
    assert (net.stride, net.local_dim) == (27, 5)


def test_batch_norm_gives_what_torch_gives_on_whole_records() -> None:
    torch.manual_seed(0)
    net, values = Conv1d(2, widths=(4, 6), kernel=5), torch.randn(5, 2, 16)
    first = F.conv1d(values, net.convs[0].weight, stride=2, padding=2)
    first = F.relu(F.batch_norm(first, None, None, training=True))
    second = F.conv1d(first, net.convs[1].weight, stride=2, padding=2)
    expected = F.batch_norm(second, None, None, training=True)
    torch.testing.assert_close(net(Batch(values, torch.arange(5)), local=True).local, expected)
