import math

import torch
from torch import nn

from seqcl.batch import Batch
from seqcl.encoders.transformer import Transformer


def oracle(net: Transformer) -> nn.TransformerEncoder:
    """PyTorch's own pre-norm encoder with the weights of `net`."""
    block = net.blocks[0]
    width, expanded = block.mix.in_features, block.expand.out_features
    layer = nn.TransformerEncoderLayer(
        width, block.heads, expanded, 0.0, "gelu", batch_first=True, norm_first=True
    )
    whole = nn.TransformerEncoder(layer, len(net.blocks), enable_nested_tensor=False)
    for mine, theirs in zip(net.blocks, whole.layers, strict=True):
        theirs.self_attn.in_proj_weight.data = mine.qkv.weight.data
        theirs.self_attn.in_proj_bias.data.zero_()
        pairs = (
            (theirs.self_attn.out_proj, mine.mix),
            (theirs.linear1, mine.expand),
            (theirs.linear2, mine.contract),
            (theirs.norm1, mine.norms[0]),
            (theirs.norm2, mine.norms[1]),
        )
        for target, source in pairs:
            target.load_state_dict(source.state_dict())
    return whole


def test_equals_the_encoder_of_pytorch_on_patches_with_sinusoids() -> None:
    torch.manual_seed(0)
    net = Transformer(2, patch=3, depth=2, heads=2, head_dim=4, local_dim=5)
    values = torch.randn(3, 2, 10)
    mask = torch.ones(3, 10, dtype=torch.bool)
    mask[1, 3:6], mask[2, 5:] = False, False
    local = net(Batch(values, torch.arange(3), mask=mask), local=True)

    tokens = torch.zeros(3, 4, 8)
    for row in range(3):
        for place in range(4):
            patch = torch.zeros(2, 3)
            for step in range(3 * place, min(3 * place + 3, 10)):
                patch[:, step - 3 * place] = values[row, :, step] * mask[row, step]
            angles = [place * 10_000 ** (-i / 4) for i in range(4)]
            position = torch.tensor([f(a) for f in (math.sin, math.cos) for a in angles])
            tokens[row, place] = net.project(patch.flatten()) + position
    slow = net.out(net.norm(oracle(net)(tokens, src_key_padding_mask=~local.mask)))
    real = local.mask
    torch.testing.assert_close(local.local.transpose(1, 2)[real], slow[real])
