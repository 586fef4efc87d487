import pytest
import torch
from toy_training import CHANNELS, STEPS, Normed, Small

from seqcl.batch import Batch
from seqcl.training.precision import mixed_precision

CPU = torch.device("cpu")


class Plain(Normed):
    autocast = False


def inner_dtypes(module, call):
    """Return the dtypes that the layers inside `module` give."""
    seen = []
    layers = [layer for layer in module.modules() if not list(layer.children())]
    handles = [
        layer.register_forward_hook(lambda m, i, o: seen.append(o.dtype)) for layer in layers
    ]
    call()
    for handle in handles:
        handle.remove()
    return set(seen)


@pytest.mark.parametrize(
    ("head", "precision", "expected"),
    [
        (Normed, "bfloat16", torch.bfloat16),
        (Normed, "float32", torch.float32),
        (Plain, "bfloat16", torch.float32),
    ],
)
def test_a_head_computes_in_bfloat16_where_it_may_and_gives_float32(head, precision, expected):
    part = head(5)
    with mixed_precision(part, CPU, precision):
        out = []
        assert inner_dtypes(part, lambda: out.append(part(torch.randn(4, 5)))) == {expected}
    assert out[0].dtype == torch.float32


def test_an_encoder_gives_float32_pooled_and_local():
    encoder = Small(CHANNELS)
    batch = Batch(torch.randn(3, CHANNELS, STEPS), torch.arange(3))
    with mixed_precision(encoder, CPU, "bfloat16"):
        encoded = encoder(batch, local=True)
    assert encoded.pooled.dtype == encoded.local.dtype == torch.float32
    assert not torch.equal(encoded.pooled, encoder.eval()(batch).pooled)


def test_what_stands_between_components_stays_in_float32():
    part = Normed(5)
    with mixed_precision(part, CPU, "bfloat16"):
        part(torch.randn(4, 5))
        assert (torch.randn(2, 3) @ torch.randn(3, 2)).dtype == torch.float32


def test_an_error_inside_a_component_leaves_no_autocast_behind():
    part = Normed(5)
    with mixed_precision(part, CPU, "bfloat16"), pytest.raises(RuntimeError):
        part(torch.randn(4, 6))
    assert not torch.is_autocast_enabled("cpu")
    assert part(torch.randn(4, 5)).dtype == torch.float32
    assert not part._forward_hooks
    assert not part._forward_pre_hooks
