import torch
from toy_training import BATCH, CHANNELS, STEPS, Toy, same_bits

from seqcl.training.estimate import estimate
from seqcl.training.options import TrainingOptions
from seqcl.views.frontend import IdentityFrontend


def measured(toy, **options):
    settings = TrainingOptions(**{"batch_size": BATCH, "epochs": 5, **options})
    return estimate(toy.method, toy.views, IdentityFrontend(CHANNELS), toy.loader, settings, seed=0)


def test_shapes_and_counts_are_those_of_a_step():
    toy = Toy()
    found = measured(toy)
    assert found.batch == (BATCH, CHANNELS, STEPS)
    assert found.views == ((BATCH, CHANNELS, STEPS),) * 2
    assert found.pooled == ((2 * BATCH, 16), (BATCH, 16))  # the views share a call; the target
    assert found.projected == ((BATCH, 4),) * 3
    assert found.steps == 5 * 2
    learning = [w.numel() for w in toy.method.parameters() if w.requires_grad]
    assert sum(found.parameters.values()) == sum(learning)
    assert found.parameters["encoders"] == 4 * CHANNELS * 3 + 4
    assert found.step_s > 0


def test_nothing_is_trained_and_no_random_state_is_moved():
    toy = Toy()
    before, random = toy.state(), torch.get_rng_state()
    measured(toy)
    assert same_bits(before, toy.state())
    assert torch.equal(random, torch.get_rng_state())
    assert all(weight.grad is None for weight in toy.method.parameters())


def test_memory_grows_with_the_optimizers_moments_and_shrinks_with_accumulation():
    toy = Toy()
    state = sum(4 * w.numel() for w in toy.method.parameters() if w.requires_grad)
    adamw, sgd = measured(toy).peak_bytes, measured(toy, optimizer="sgd").peak_bytes
    assert adamw - sgd == state
    assert measured(toy, accumulate=2).peak_bytes < adamw


def test_memory_shrinks_with_chunks_and_their_calls_are_told_in_short():
    toy = Toy()
    found = measured(toy, chunk=2)
    assert found.peak_bytes < measured(toy).peak_bytes
    facts = dict(found.facts())
    # four chunks without gradient, the target on the whole batch, four chunks with gradient
    assert facts["pooled"] == "4 times 4 x 16, 8 x 16, 4 times 4 x 16"
    assert facts["projected"] == "3 times 8 x 4"


def test_the_activations_kept_for_the_backward_pass_are_counted():
    toy = Toy()
    values = 4 * BATCH * CHANNELS * STEPS
    local = 4 * (2 * BATCH) * 4 * (STEPS // 2)
    assert measured(toy).peak_bytes > 3 * values + local


def test_facts_are_words_for_people():
    facts = dict(measured(Toy()).facts())
    assert facts["batch"] == "8 x 2 x 20"
    assert facts["views"] == "8 x 2 x 20, 8 x 2 x 20"
    assert facts["weights"].startswith("104 (encoders 28, head 76")
    assert facts.keys() == {
        "weights", "batch", "views", "pooled", "projected", "memory", "one step", "all steps",
    }  # fmt: skip
