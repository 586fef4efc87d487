"""Chunked encoding: loss and gradient of the whole batch, dropout drawn once, statistics once."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from toy_training import CHANNELS, Toy

from seqcl.batch import Batch
from seqcl.encoders.conv1d import Conv1d
from seqcl.methods.base import Loss, Method
from seqcl.methods.simclr import SimCLR
from seqcl.registry import REGISTRIES, registry
from seqcl.rng import Rng
from seqcl.training.gradcache import chunked_backward
from seqcl.training.options import TrainingOptions
from seqcl.training.precision import mixed_precision
from seqcl.training.step import backward
from seqcl.views.frontend import IdentityFrontend

KEY = (3, 1)


def views(rows=10, lengths=(24, 17), dtype=torch.float64, *, padded=False):
    generator = torch.Generator().manual_seed(0)
    host = tuple(1 + 2 * row % 16 for row in range(rows))
    made = []
    for steps in lengths:
        mask = torch.arange(steps) < torch.tensor(host)[:, None]
        values = torch.randn(rows, CHANNELS, steps, generator=generator, dtype=dtype)
        extra = {"lengths": torch.tensor(host), "host_lengths": host, "mask": mask}
        made.append(
            Batch(
                values * mask[:, None] if padded else values,
                ids=torch.arange(rows),
                labels=torch.arange(rows) % 3,
                groups=torch.arange(rows) // 2,
                pairs=(torch.arange(rows) // 2 + 1) * (1 - 2 * (torch.arange(rows) // 2 % 2)),
                start=torch.zeros(rows, dtype=torch.int64),
                **(extra if padded else {}),
            )
        )
    return tuple(made)


def gradients(method):
    found = {name: w.grad.clone() for name, w in method.named_parameters() if w.grad is not None}
    method.zero_grad()
    return found


def assert_same(found, expected, tolerance=1e-10):
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        difference = (found[name] - gradient).norm() / gradient.norm().clamp(min=1e-8)
        assert difference < tolerance, name


class Stepwise(Method):
    """Contrast pooled vectors and, record by record, local features with their mask."""

    needs = frozenset({"two_views", "local"})

    def objective(self, encoded):
        a, b = (one.pooled for one in encoded)
        total = (a @ b.T).logsumexp(1).mean() - (a * b).sum(1).mean()
        for one in encoded:
            local = one.local if one.mask is None else one.local * one.mask[:, None]
            total = total + local.square().mean() * local.mean(2).var()
        return Loss(total, {}, {"keys": b.detach()})


def layer_normed(method=SimCLR, **options):
    torch.manual_seed(0)
    encoder = Conv1d(CHANNELS, widths=(8, 8), norm="layer")
    return method({"main": encoder}, **options).double()


@pytest.mark.parametrize("chunk", [1, 3, 5, 10, 64])
@pytest.mark.parametrize("method", [SimCLR, Stepwise])
@pytest.mark.parametrize("padded", [False, True])
def test_loss_and_gradient_are_those_of_the_whole_batch(method, chunk, padded):
    method, given = layer_normed(method), views(padded=padded)
    whole = backward(method, given, 1, KEY)
    expected = gradients(method)
    loss = backward(method, given, 1, KEY, chunk)
    assert abs(loss.total - whole.total) < 1e-10
    assert_same(gradients(method), expected)
    for name, kept in whole.carry.items():
        torch.testing.assert_close(loss.carry[name], kept, rtol=0, atol=1e-12)


def test_a_chunk_of_5_of_16_is_that_of_the_whole_batch():
    method, given = layer_normed(), views(16)
    whole = backward(method, given, 1, KEY)
    expected = gradients(method)
    loss = backward(method, given, 1, KEY, TrainingOptions(batch_size=16, chunk=5).chunk)
    assert abs(loss.total - whole.total) < 1e-10
    assert_same(gradients(method), expected)


def plain_methods():
    """Return the methods that these views and one plain encoder suffice for."""
    given = {"two_views", "local", "overlap", "labels", "groups", "pairs"}
    return [name for name, kind in sorted(REGISTRIES["methods"].items()) if kind.needs <= given]


@pytest.mark.parametrize("name", plain_methods())
def test_it_holds_for_every_method_whatever_it_reads(name):
    method, given = layer_normed(registry("methods")[name]), views(lengths=(24, 24))
    torch.manual_seed(1)
    whole = backward(method, given, 1, KEY)
    expected = gradients(method)
    loss = backward(method, given, 1, KEY, 4)
    assert abs(loss.total - whole.total) < 1e-10
    assert_same(gradients(method), expected)


@pytest.mark.parametrize("name", ["tcn", "rnn", "resnet1d"])
def test_it_holds_for_other_encoders_that_treat_records_apart(name):
    torch.manual_seed(0)
    method = SimCLR({"main": registry("encoders")[name](CHANNELS)}).double()
    given = views(padded=True)
    backward(method, given, 1, KEY)
    expected = gradients(method)
    backward(method, given, 1, KEY, 3)
    assert_same(gradients(method), expected)


def test_parts_are_chunked_one_by_one():
    method, given = layer_normed(), views(rows=12)
    whole = backward(method, given, 2, KEY)
    expected = gradients(method)
    loss = backward(method, given, 2, KEY, 3)
    assert abs(loss.total - whole.total) < 1e-10
    assert_same(gradients(method), expected)


class Noisy(Conv1d):
    """Ends in dropout, and remembers what it gave."""

    def __init__(self):
        super().__init__(CHANNELS, widths=(8,), norm="layer")
        self.dropout, self.given = nn.Dropout(0.5), []

    def forward(self, batch, local=False):
        encoded = super().forward(batch, local)
        encoded = replace(encoded, pooled=self.dropout(encoded.pooled))
        self.given.append(encoded.pooled.detach())
        return encoded


def test_both_passes_draw_the_same_dropout_and_chunks_different_ones():
    method = SimCLR({"main": Noisy()}).double()
    method.encoder.given.clear()
    chunked_backward(method, views(rows=9, lengths=(24, 24)), 3, KEY)
    first, second = method.encoder.given[:3], method.encoder.given[3:]
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    zeros = [one == 0 for one in first]
    assert not torch.equal(zeros[0], zeros[1])
    assert not torch.equal(zeros[0][:3], zeros[0][3:])


def batch_normed():
    torch.manual_seed(0)
    return SimCLR({"main": Conv1d(CHANNELS, widths=(8, 8))}).double()


def test_batch_norm_in_the_encoder_takes_its_statistics_of_a_chunk():
    method, given = batch_normed(), views(rows=12)
    whole = backward(method, given, 1, KEY)
    expected = gradients(method)
    loss = backward(method, given, 1, KEY, 4)
    found = gradients(method)
    # What a chunk gives is what it gives alone; so the loss is another one, not far from it.
    assert 1e-4 < abs(loss.total - whole.total) < 0.3
    assert any((found[name] - expected[name]).norm() > 1e-4 for name in expected)
    parts = [method.encode(tuple(view[rows] for view in given)) for rows in
             (slice(0, 4), slice(4, 8), slice(8, 12))]  # fmt: skip
    encoded = tuple(
        replace(ones[0], pooled=torch.cat([one.pooled for one in ones]), view=view)
        for ones, view in zip(zip(*parts, strict=True), given, strict=True)
    )
    alone = method.objective(encoded).total
    assert abs(loss.total - alone) < 1e-10
    alone.backward()
    assert_same(found, gradients(method))


def test_running_statistics_see_each_chunk_once():
    method, once, given = batch_normed(), batch_normed(), views(rows=12)
    backward(method, given, 1, KEY, 4)
    for rows in (slice(0, 4), slice(4, 8), slice(8, 12)):
        once.encode(tuple(view[rows] for view in given))
    found, expected = (dict(m.encoder.named_buffers()) for m in (method, once))
    assert int(found["norms.0.num_batches_tracked"]) == 6  # two shapes of view, three chunks
    for name, value in expected.items():
        assert torch.equal(found[name], value), name
    head = dict(method.head.named_buffers())
    assert int(head["layers.1.num_batches_tracked"]) == 1


def test_frozen_encoders_and_unread_views_get_no_gradient():
    method = layer_normed()
    method.encoder.requires_grad_(False)
    backward(method, views(), 1, KEY, 4)
    assert {name.split(".")[0] for name in gradients(method)} == {"head"}

    class First(Stepwise):
        def objective(self, encoded):
            return Loss(encoded[0].pooled.square().mean())

    method = layer_normed(First)
    backward(method, views(), 1, KEY)
    expected = gradients(method)
    backward(method, views(), 1, KEY, 4)
    assert_same(gradients(method), expected)


def test_under_mixed_precision_it_equals_the_whole_batch_as_far_as_bfloat16_goes():
    torch.manual_seed(0)
    method = SimCLR({"main": Conv1d(CHANNELS, widths=(8, 8), norm="layer")})
    given = views(dtype=torch.float32)
    with mixed_precision(method, torch.device("cpu"), "bfloat16"):
        whole = backward(method, given, 1, KEY)
        expected = gradients(method)
        loss = backward(method, given, 1, KEY, 5)
    torch.testing.assert_close(loss.total, whole.total, rtol=1e-3, atol=1e-3)
    flat = [
        torch.cat([g.flatten() for g in each.values()]) for each in (gradients(method), expected)
    ]
    assert (flat[0] - flat[1]).norm() < 0.02 * flat[1].norm()  # 8 bits of mantissa, other sums


def test_too_few_records_are_refused_as_without_chunks():
    with pytest.raises(ValueError, match="SimCLR: a batch of 1 records; at least 2 are needed"):
        backward(layer_normed(), views(rows=1), 1, KEY, 1)


def test_the_backward_pass_holds_one_chunk_at_a_time():
    method, given = layer_normed(), views(rows=12, lengths=(400, 400))
    alive, most = [0], [0]

    class Kept:
        def __init__(self, tensor):
            self.tensor = tensor
            alive[0] += tensor.numel()
            most[0] = max(most[0], alive[0])

        def __del__(self):
            alive[0] -= self.tensor.numel()

    held = {}
    for chunk in (None, 6, 2):
        most[0] = 0
        with torch.autograd.graph.saved_tensors_hooks(Kept, lambda kept: kept.tensor):
            backward(method, given, 1, KEY, chunk)
        held[chunk] = most[0]
    assert held[6] < 0.55 * held[None]
    assert held[2] < 0.4 * held[6]


def test_the_first_step_of_a_toy_without_dropout_is_that_of_the_whole_batch():
    """The toy's own batch norm is in the head, which sees the whole batch."""
    found = []
    for chunk in (None, 2):
        toy = Toy()
        for part in toy.method.modules():
            if isinstance(part, nn.Dropout):
                part.p = 0.0
        batch = next(toy.loader.batches())
        given = toy.views(batch, IdentityFrontend(CHANNELS), Rng(0))
        backward(toy.method, given, 1, KEY, chunk)
        found.append(gradients(toy.method))
    assert_same(found[1], found[0], 1e-5)  # float32
