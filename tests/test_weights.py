import pytest
import torch
from torch import nn

from seqcl.errors import ArtefactError
from seqcl.weights import load_state, read_tensors, save_state, state_tensors


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 2)
        self.norm = nn.BatchNorm1d(2)
        self.register_buffer("coarse", torch.randn(4).bfloat16())
        self.register_buffer("empty", torch.zeros(0))
        self.register_buffer("passing", torch.ones(1), persistent=False)


def test_a_state_that_was_saved_is_loaded_bit_for_bit(tmp_path):
    a, b = Net(), Net()
    save_state(a, tmp_path / "net.safetensors")
    load_state(b, tmp_path / "net.safetensors")
    for name, tensor in a.state_dict().items():
        assert torch.equal(tensor, b.state_dict()[name])
        assert tensor.dtype == b.state_dict()[name].dtype
    assert [path.name for path in tmp_path.iterdir()] == ["net.safetensors"]


def test_names_may_get_a_prefix_and_passing_buffers_are_left_out():
    assert set(state_tensors(nn.Linear(2, 1), "head.")) == {"head.weight", "head.bias"}
    assert "passing" not in state_tensors(Net())


def test_two_names_of_one_tensor_are_refused():
    net = Net()
    net.again = net.layer
    with pytest.raises(
        ValueError, match="Net: 'again.(weight|bias)' and 'layer.(weight|bias)' share memory"
    ):
        state_tensors(net)


def test_tensors_that_overlap_are_refused():
    net = nn.Module()
    whole = torch.zeros(4)
    net.register_buffer("second", whole[1:])
    net.register_buffer("first", whole[:2])
    with pytest.raises(ValueError, match="'second' and 'first' share memory"):
        state_tensors(net)


def flat_rnn():
    """Return a GRU whose weights lie in one block of memory, as cuDNN lays them out."""
    net = nn.GRU(3, 2)
    block = torch.cat([weight.detach().flatten() for weight in net.parameters()])
    parts = block.split([weight.numel() for weight in net.parameters()])
    for weight, part in zip(net.parameters(), parts, strict=True):
        weight.data = part.view_as(weight)
    return net


def test_weights_side_by_side_in_one_block_are_saved_and_loaded(tmp_path):
    a, b = flat_rnn(), flat_rnn()
    save_state(a, tmp_path / "net.safetensors")
    load_state(b, tmp_path / "net.safetensors")
    for first, second in zip(a.parameters(), b.parameters(), strict=True):
        assert torch.equal(first, second)


def test_a_transposed_tensor_is_saved_as_it_reads(tmp_path):
    net = nn.Module()
    net.register_buffer("slanted", torch.arange(6.0).view(2, 3).T)
    save_state(net, tmp_path / "net.safetensors")
    found = read_tensors((tmp_path / "net.safetensors").read_bytes(), "net")
    assert torch.equal(found["slanted"], net.slanted)


@pytest.mark.parametrize("damage", [lambda d: d[:-1], lambda d: b"", lambda d: b"\x80\x04K\x01."])
def test_a_file_that_is_cut_or_a_pickle_is_refused_with_its_name(tmp_path, damage):
    path = tmp_path / "net.safetensors"
    save_state(Net(), path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ArtefactError, match="net.safetensors: is no whole safetensors file"):
        load_state(Net(), path)


def test_a_state_of_another_network_is_refused_with_the_first_difference(tmp_path):
    path = tmp_path / "net.safetensors"
    save_state(nn.Linear(3, 2), path)
    with pytest.raises(ArtefactError, match=r"does not fit Linear \(size mismatch for weight"):
        load_state(nn.Linear(4, 2), path)
    with pytest.raises(ArtefactError, match=r"does not fit Bilinear"):
        load_state(nn.Bilinear(3, 3, 2), path)
