import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seqcl.batch import Batch
from seqcl.encoders.resnet1d import ResNet1d


def plain_block(block: nn.Module, steps: Tensor, stride: int) -> Tensor:
    """One residual block on (B, C, T), by PyTorch's own conv1d and layer_norm."""
    inner = steps
    for layer, (conv, norm) in enumerate(zip(block.convs, block.norms, strict=True)):
        padding = conv.kernel_size[0] // 2
        inner = F.relu(inner) if layer else inner
        inner = F.conv1d(inner, conv.weight, conv.bias, stride if layer == 0 else 1, padding)
        inner = F.layer_norm(inner.transpose(1, 2), (inner.shape[1],), norm.weight, norm.bias)
        inner = inner.transpose(1, 2)
    if not isinstance(block.shortcut, nn.Identity):
        steps = F.conv1d(steps, block.shortcut.weight, block.shortcut.bias, stride)
    return F.relu(inner + steps)


def test_equals_three_stages_of_plain_blocks() -> None:
    torch.manual_seed(0)
    net = ResNet1d(2, widths=(4, 6, 6), blocks=2, stride=2, local_dim=5)
    values = torch.randn(3, 2, 21)
    steps = values
    for block, stride in zip(net.blocks, (1, 1, 2, 1, 2, 1), strict=True):
        steps = plain_block(block, steps, stride)
    slow = F.conv1d(steps, net.out.weight.unsqueeze(2), net.out.bias)
    torch.testing.assert_close(net(Batch(values, torch.arange(3)), local=True).local, slow)
    assert net.stride == 4


def test_a_shortcut_has_weights_only_where_shapes_change() -> None:
    net = ResNet1d(64, blocks=2)
    plain = [isinstance(block.shortcut, nn.Identity) for block in net.blocks]
    assert plain == [True, True, False, True, True, True]
