import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from seqcl.batch import Batch
from seqcl.encoders.rnn import Rnn

LENGTHS = (9, 1, 4, 7)


def oracle(net: Rnn, cell: str) -> nn.GRU | nn.LSTM:
    """PyTorch's own recurrent module of the same shape with the weights of `net`."""
    layers, width = len(net.onward), net.onward[0].hidden_size
    kind = nn.GRU if cell == "gru" else nn.LSTM
    both = kind(net.in_channels, width, layers, batch_first=True, bidirectional=net.bidirectional)
    state = {}
    for ending, parts in (("", net.onward), ("_reverse", net.reverse)):
        for layer, part in enumerate(parts):
            for name, tensor in part.state_dict().items():
                state[name.replace("l0", f"l{layer}{ending}")] = tensor
    both.load_state_dict(state)
    return both


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_equals_packing(cell: str, layers: int, bidirectional: bool) -> None:
    torch.manual_seed(0)
    net = Rnn(3, cell=cell, width=5, layers=layers, bidirectional=bidirectional)
    values = torch.randn(4, 3, 9)
    mask = torch.arange(9) < torch.tensor(LENGTHS).unsqueeze(1)
    local = net(Batch(values, torch.arange(4), mask=mask), local=True).local
    packed = pack_padded_sequence(
        values.transpose(1, 2), torch.tensor(LENGTHS), batch_first=True, enforce_sorted=False
    )
    slow, _ = pad_packed_sequence(oracle(net, cell)(packed)[0], batch_first=True)
    torch.testing.assert_close(local.transpose(1, 2)[mask], net.out(slow[mask]))


def test_without_a_mask_equals_the_plain_module() -> None:
    torch.manual_seed(0)
    net = Rnn(2, width=5, layers=2)
    values = torch.randn(3, 2, 8)
    local = net(Batch(values, torch.arange(3)), local=True).local
    slow = net.out(oracle(net, "gru")(values.transpose(1, 2))[0])
    torch.testing.assert_close(local.transpose(1, 2), slow)


def test_a_gap_is_read_as_zeros() -> None:
    torch.manual_seed(0)
    net = Rnn(2, width=5)
    values = torch.randn(1, 2, 8)
    mask = torch.tensor([[True, True, False, False, True, True, True, True]])
    spoilt = values.masked_fill(~mask.unsqueeze(1), float("nan"))
    zeroed = Batch(values * mask.unsqueeze(1), torch.zeros(1))
    local = net(Batch(spoilt, torch.zeros(1), mask=mask), local=True).local
    torch.testing.assert_close(local[..., mask[0]], net(zeroed, local=True).local[..., mask[0]])


def test_one_direction_never_sees_the_future() -> None:
    net = Rnn(1, bidirectional=False, layers=2, width=6)
    values = torch.randn(2, 1, 12, requires_grad=True)
    net(Batch(values, torch.arange(2)), local=True).local[:, :, 5].square().sum().backward()
    assert values.grad is not None
    assert values.grad[..., 6:].eq(0).all()
    assert values.grad[..., :6].ne(0).all()
