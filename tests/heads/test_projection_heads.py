import pytest
import torch
from torch import Tensor, nn

from seqcl.heads.identity import IdentityHead
from seqcl.heads.linear import LinearHead
from seqcl.heads.mlp import MlpHead

POOLED = torch.randn(6, 4, generator=torch.Generator().manual_seed(0)) * 3 + 1


def linear_layers(head: MlpHead) -> list[nn.Linear]:
    return [layer for layer in head.layers if isinstance(layer, nn.Linear)]


def batch_normed(rows: Tensor) -> Tensor:
    """Each feature to mean 0 and variance 1 over the records, one feature at a time."""
    columns = []
    for column in rows.T.tolist():
        mean = sum(column) / len(column)
        variance = sum((x - mean) ** 2 for x in column) / len(column)
        columns.append([(x - mean) / (variance + 1e-5) ** 0.5 for x in column])
    return torch.tensor(columns).T


def test_mlp_is_linear_batch_norm_relu_linear_by_default() -> None:
    torch.manual_seed(0)
    head = MlpHead(4)
    first, last = linear_layers(head)
    hidden = batch_normed(POOLED @ first.weight.T).clamp(min=0)
    torch.testing.assert_close(head(POOLED), hidden @ last.weight.T + last.bias)
    assert (first.out_features, last.out_features, head.out_dim) == (4, 128, 128)


def test_eval_uses_the_statistics_of_training() -> None:
    head = MlpHead(4)
    for _ in range(200):
        head(POOLED)  # the running mean and variance settle
    layers = list(head.layers)
    first = layers[0](POOLED)
    scale = (first.var(0, correction=1) + 1e-5).sqrt()
    slow = layers[3](((first - first.mean(0)) / scale).clamp(min=0))
    torch.testing.assert_close(head.eval()(POOLED), slow)


@pytest.mark.parametrize("norm", ["none", "layer"])
def test_without_batch_norm_one_record_is_enough(norm: str) -> None:
    head = MlpHead(4, hidden=7, out_dim=3, layers=3, norm=norm)
    assert head.min_batch == 1
    assert [layer.out_features for layer in linear_layers(head)] == [7, 7, 3]
    torch.testing.assert_close(head(POOLED)[:1], head(POOLED[:1]))


def test_batch_norm_of_one_record_says_what_to_do() -> None:
    message = "batch norm needs at least 2 records, got 1; use norm='layer' for single records"
    with pytest.raises(ValueError, match=message):
        MlpHead(4)(POOLED[:1])


def test_one_layer_equals_the_linear_head() -> None:
    torch.manual_seed(0)
    mlp = MlpHead(4, layers=1)
    torch.manual_seed(0)
    linear = LinearHead(4)
    assert torch.equal(mlp(POOLED), linear(POOLED))
    assert mlp.min_batch == 1


def test_no_bias_stands_before_batch_norm() -> None:
    assert [layer.bias is None for layer in linear_layers(MlpHead(4, layers=3))] == [
        True,
        True,
        False,
    ]


def test_identity_returns_its_input() -> None:
    assert IdentityHead(4)(POOLED) is POOLED
    assert IdentityHead(4).out_dim == 4


def test_the_last_layer_can_be_normalised_without_a_learnt_scale() -> None:
    torch.manual_seed(0)
    head = MlpHead(4, layers=1, out_dim=3, last="norm")
    (only,) = linear_layers(head)
    assert only.bias is None
    assert head.min_batch == 2
    torch.testing.assert_close(head(POOLED), batch_normed(POOLED @ only.weight.T))
    assert len(list(head.parameters())) == 1


def test_the_last_layer_can_be_without_a_bias() -> None:
    head = MlpHead(4, layers=1, last="none")
    (only,) = linear_layers(head)
    torch.testing.assert_close(head(POOLED), POOLED @ only.weight.T)


def test_a_norm_at_the_end_without_a_norm_is_told() -> None:
    with pytest.raises(ValueError, match="last=norm and norm=none; set norm=batch or norm=layer"):
        MlpHead(4, norm="none", last="norm")
