import weakref

import numpy as np
import pytest
import torch
from toy_training import CHANNELS, STEPS, Toy

from seqcl.rng import Rng
from seqcl.training.seeding import own_random_state, seed_torch
from seqcl.training.step import backward, clip_gradient, weights_finite
from seqcl.training.stopwatch import Stopwatch
from seqcl.views.frontend import IdentityFrontend


@pytest.fixture
def toy():
    return Toy()


@pytest.fixture
def views(toy):
    return toy.views(next(toy.loader.batches()), IdentityFrontend(CHANNELS), Rng(0))


def gradients(method):
    return [w.grad.clone() for w in method.parameters() if w.grad is not None]


def test_one_part_is_the_plain_gradient(toy, views):
    seed_torch(1, 0)
    toy.method(views).total.backward()
    plain = gradients(toy.method)
    toy.method.zero_grad()
    backward(toy.method, views, 1, (1,))
    assert all(torch.equal(a, b) for a, b in zip(plain, gradients(toy.method), strict=True))


@pytest.mark.parametrize("parts", [2, 3])
def test_parts_add_up_to_the_mean_over_records(toy, views, parts):
    loss = backward(toy.method, views, parts, (1,))
    found = gradients(toy.method)
    toy.method.zero_grad()
    bounds = {2: [0, 4, 8], 3: [0, 2, 5, 8]}[parts]
    total = 0.0
    for part in range(parts):
        rows = slice(bounds[part], bounds[part + 1])
        seed_torch(1, part)
        alone = toy.method(tuple(view[rows] for view in views)).total
        total = total + alone * (rows.stop - rows.start) / 8
    total.backward()
    torch.testing.assert_close(loss.total, total.detach())
    for a, b in zip(found, gradients(toy.method), strict=True):
        # the same sums in another order, in float32
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_a_part_is_forgotten_before_the_next_one_is_encoded(toy, views):
    seen, objective = [], toy.method.objective

    def look(encoded):
        assert all(earlier() is None for earlier in seen)
        loss = objective(encoded)
        seen.append(weakref.ref(loss.total))
        return loss

    toy.method.objective = look
    backward(toy.method, views, 4, (1,))
    assert len(seen) == 4


def test_what_after_step_gets_is_detached_and_of_the_whole_batch(toy, views):
    loss = backward(toy.method, views, 3, (1,))
    assert loss.carry["keys"].shape == (8, 4)
    for tensor in (loss.total, *loss.parts.values(), *loss.carry.values()):
        assert not tensor.requires_grad


def test_dropout_is_a_function_of_the_key(toy, views):
    losses = [backward(toy.method, views, 1, key).total for key in ((1, 5), (1, 5), (1, 6))]
    assert torch.equal(losses[0], losses[1])
    assert not torch.equal(losses[0], losses[2])


def test_clipping_scales_the_gradient_and_returns_the_norm_before(toy, views):
    backward(toy.method, views, 1, (1,))
    before = gradients(toy.method)
    expected = torch.cat([g.flatten() for g in before]).norm()
    torch.testing.assert_close(clip_gradient(toy.method, None), expected)
    torch.testing.assert_close(clip_gradient(toy.method, 0.5 * float(expected)), expected)
    for a, b in zip(before, gradients(toy.method), strict=True):
        # torch adds 1e-6 to the norm it divides by
        torch.testing.assert_close(0.5 * a, b, rtol=1e-4, atol=1e-7)


def test_weights_that_are_not_finite_are_seen(toy):
    assert weights_finite(toy.method)
    with torch.no_grad():
        toy.method.encoder.conv.weight[0, 0, 0] = torch.inf
    assert not weights_finite(toy.method)


def test_random_state_comes_back_even_after_an_error():
    torch.manual_seed(3)
    before = torch.get_rng_state()

    def fail():
        with own_random_state(torch.device("cpu")):
            seed_torch(1, 2)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert torch.equal(torch.get_rng_state(), before)


def test_views_have_the_records_steps(views):
    assert views[0].values.shape == (8, CHANNELS, STEPS)


def test_a_stopwatch_splits_all_the_time_there_is():
    watch = Stopwatch()
    watch.lap("data")
    watch.lap("step")
    watch.lap("data")
    parts = watch.split()
    assert parts.keys() == {"data", "step"}
    assert 0 < sum(parts.values()) <= watch.elapsed
    assert watch.split() == {}


def test_training_on_the_host_seeds_no_gpu(toy, views, monkeypatch):
    seeded = []
    for name in ("manual_seed", "manual_seed_all"):
        monkeypatch.setattr(torch.cuda, name, seeded.append)
    with own_random_state(torch.device("cpu")):
        backward(toy.method, views, 2, (1,))
    assert seeded == []


def test_the_host_is_seeded_as_torch_does_it():
    with own_random_state(torch.device("cpu")):
        seed_torch(1, 2)
        first = torch.rand(3)
        seed = np.random.SeedSequence(1, spawn_key=(2,)).generate_state(1, np.uint64)[0]
        torch.manual_seed(int(seed))
        assert torch.equal(torch.rand(3), first)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_gpu_is_seeded_by_the_key_and_left_as_it_was():
    device = torch.device("cuda")
    before = torch.cuda.get_rng_state()
    draws = []
    for _ in range(2):
        with own_random_state(device):
            seed_torch(1, 2, device=device)
            draws.append(torch.rand(3, device=device))
    assert torch.equal(draws[0], draws[1])
    assert torch.equal(torch.cuda.get_rng_state(), before)
