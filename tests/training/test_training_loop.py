import json
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from toy_training import BATCH, CHANNELS, RECORDS, STEPS, Collecting, Toy, same_bits

from seqcl.errors import ArtefactError, PresetError, TrainingError, UsageError
from seqcl.methods.simclr import SimCLR
from seqcl.registry import REGISTRIES, Spec, registry
from seqcl.training.interrupts import Interrupted
from seqcl.training.sinks import JsonlSink

OPTIMIZERS = ["adamw", "sgd", "lars"]


@pytest.fixture(scope="module", params=OPTIMIZERS)
def uninterrupted(request):
    torch.set_num_threads(1)
    toy = Toy()
    toy.train(optimizer=request.param)
    return request.param, toy.state()


def stop_at(step):
    """Return a sink that sends SIGINT once `step` is logged."""

    def act(record):
        if record["step"] == step:
            signal.raise_signal(signal.SIGINT)

    return Collecting(act)


def test_training_lowers_the_loss_and_moves_the_weights():
    sink = Collecting()
    result = Toy().train(steps=100, log_every=25, sinks=[sink], lr=0.02)
    losses = [record["loss"] for record in sink.records if record["step"] >= 25]
    assert losses[-1] < losses[0]
    assert (result.steps, result.stopped) == (100, "done")
    assert result.weights_moved > 0.05
    assert result.metrics == sink.records[-1]


def test_sinks_are_told_start_log_and_end_in_order():
    sink = Collecting()
    Toy().train(sinks=[sink])
    assert sink.events == [("start", 12, 0), ("end",)]
    assert [record["step"] for record in sink.records] == [0, 1, 4, 8, 12]
    cosines = {f"{kind}_cosine{s}" for kind in ("positive", "negative") for s in ("", "s")}
    collapse = {"relative_std", "rankme", "alignment", "uniformity"}
    assert sink.records[0].keys() == {"step"} | collapse | cosines
    last = sink.records[-1]
    assert {"epoch", "loss", "contrast", "away", "grad_norm", "lr", "records_per_s"} <= last.keys()
    assert {"data_s", "views_s", "step_s", "other_s"} <= last.keys()
    assert last["epoch"] == 12 / (RECORDS // BATCH)
    assert 0 < last["rankme"] <= 16


def test_equal_arguments_give_equal_bits_and_another_seed_does_not(uninterrupted):
    name, state = uninterrupted
    again, other = Toy(), Toy(seed=1)
    again.train(optimizer=name)
    other.train(optimizer=name)
    assert same_bits(again.state(), state)
    assert not same_bits(other.state(), state)


@pytest.mark.parametrize("stop", [1, 3, 4, 10])
def test_a_stopped_and_resumed_run_equals_the_uninterrupted_one(tmp_path, uninterrupted, stop):
    name, state = uninterrupted
    with pytest.raises(Interrupted):
        Toy().train(folder=tmp_path, optimizer=name, log_every=1, sinks=[stop_at(stop)])
    toy = Toy()
    sink = Collecting()
    result = toy.train(folder=tmp_path, resume=True, optimizer=name, sinks=[sink])
    assert sink.events[0] == ("start", 12, stop + 1)  # the signal lets one more step finish
    assert same_bits(toy.state(), state)
    assert result.weights_moved > 0


def toy_of(name):
    """Return a toy training by a registered method, with the encoder and views that it needs."""
    kind = registry("methods")[name]

    def build(encoders):
        if "time_frequency" in kind.needs:
            encoders = {"main": registry("encoders")["time_frequency"](CHANNELS)}
        return kind(encoders)

    toy = Toy(method=build)
    if "overlap" in kind.needs:
        toy.views = registry("views")["overlapping"]()
    return toy


@pytest.mark.parametrize("name", sorted(REGISTRIES["methods"]))
def test_every_method_resumes_to_the_same_bits(tmp_path, name):
    whole, stopped, resumed = (toy_of(name) for _ in range(3))
    whole.train(steps=6)
    with pytest.raises(Interrupted):
        stopped.train(steps=6, folder=tmp_path, log_every=1, sinks=[stop_at(3)])
    resumed.train(steps=6, folder=tmp_path, resume=True)
    assert same_bits(resumed.state(), whole.state())


STATEFUL = {
    "moco": ({"queue": 20}, ("target", "queue")),
    "moco_v3": ({}, ("target",)),
    "byol": ({}, ("target",)),
    "nnclr": ({"queue": 20}, ("queue",)),
    "swav": ({"prototypes": 4, "queue": 20, "frozen": 0.5}, ("queue", "prototypes")),
}


@pytest.mark.parametrize("chunk", [None, 4])
@pytest.mark.parametrize("name", STATEFUL)
def test_targets_queues_and_prototypes_resume_to_the_same_bits(tmp_path, name, chunk):
    options, parts = STATEFUL[name]

    def toy():
        made = Toy(method=lambda encoders: registry("methods")[name](encoders, **options))
        if name == "swav":
            made.views = registry("views")["multi_crop"](before=(Spec("augmentations", "jitter"),))
        return made

    whole, stopped, resumed = (toy() for _ in range(3))
    whole.train(steps=6, chunk=chunk)
    with pytest.raises(Interrupted):
        stopped.train(steps=6, chunk=chunk, folder=tmp_path, log_every=1, sinks=[stop_at(3)])
    resumed.train(steps=6, chunk=chunk, folder=tmp_path, resume=True)
    assert same_bits(resumed.state(), whole.state())
    initial, final = toy().state(), whole.state()
    for part in parts:
        changed = [key for key in final if key.startswith(part)]
        assert changed
        assert any(not torch.equal(final[key], initial[key]) for key in changed), part


@pytest.mark.parametrize("name", sorted(REGISTRIES["temperatures"]))
@pytest.mark.parametrize("chunk", [None, 4])
def test_temperatures_and_chunks_resume_to_the_same_bits(tmp_path, name, chunk):
    def build(encoders):
        return SimCLR(encoders, temperature=Spec("temperatures", name))

    whole, stopped, resumed = (Toy(method=build) for _ in range(3))
    whole.train(steps=6, chunk=chunk)
    with pytest.raises(Interrupted):
        stopped.train(steps=6, chunk=chunk, folder=tmp_path, log_every=1, sinks=[stop_at(3)])
    resumed.train(steps=6, chunk=chunk, folder=tmp_path, resume=True)
    assert same_bits(resumed.state(), whole.state())
    changed = [key for key in whole.state() if key.startswith("temperature.")]
    assert changed
    initial = Toy(method=build).state()
    assert not any(torch.equal(whole.state()[key], initial[key]) for key in changed)


def test_how_often_is_logged_diagnosed_and_saved_does_not_change_the_weights(tmp_path):
    a, b = Toy(), Toy()
    a.train()
    b.train(folder=tmp_path, log_every=1, checkpoint_every=1, diagnose_every=1)
    assert same_bits(a.state(), b.state())


def test_loader_workers_do_not_change_the_weights():
    a, b = Toy(), Toy(workers=1)
    a.train(steps=3)
    b.train(steps=3)
    assert same_bits(a.state(), b.state())


def test_a_run_killed_with_kill_9_resumes_to_the_same_bits(tmp_path):
    script = Path(__file__).with_name("toy_training.py")
    child = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    while child.stdout.readline().strip() != "10":
        assert child.poll() is None, "the training ended by itself"
    child.kill()
    assert child.wait() == -signal.SIGKILL
    child.stdout.close()

    newest = sorted((tmp_path / "checkpoints").glob("step-*[0-9]"))[-1]
    first = int(newest.name.removeprefix("step-"))
    assert first >= 8
    resumed, straight = Toy(), Toy()
    for toy, folder in ((resumed, tmp_path), (straight, tmp_path / "straight")):
        with pytest.raises(Interrupted):
            toy.train(
                folder=folder, resume=True, steps=100_000, log_every=1, sinks=[stop_at(first + 5)]
            )
    assert same_bits(resumed.state(), straight.state())


def test_an_interrupt_ends_after_the_step_with_a_checkpoint_and_the_exit_code(tmp_path):
    with pytest.raises(Interrupted) as caught:
        Toy().train(folder=tmp_path, log_every=1, sinks=[stop_at(5)])
    newest = tmp_path / "checkpoints" / "step-00000006"
    assert caught.value.exit_code == 130
    assert str(caught.value) == (
        f"interrupted by SIGINT after step 6; the last good one is {newest}; go on with --resume"
    )
    assert newest.is_dir()


def test_time_that_runs_out_ends_with_a_checkpoint_to_go_on_from(tmp_path):
    whole, parts = Toy(), Toy()
    whole.train(steps=3)
    first = parts.train(folder=tmp_path, steps=3, max_minutes=0)
    assert (first.steps, first.stopped) == (1, "max_minutes")
    parts = Toy()
    second = parts.train(folder=tmp_path, steps=3, resume=True)
    assert (second.steps, second.stopped) == (3, "done")
    assert same_bits(parts.state(), whole.state())


def test_resuming_a_finished_run_trains_no_step(tmp_path):
    a, b = Toy(), Toy()
    a.train(folder=tmp_path)
    result = b.train(folder=tmp_path, resume=True)
    assert (result.steps, result.stopped) == (12, "done")
    assert same_bits(a.state(), b.state())


def test_resuming_without_a_checkpoint_starts_and_says_so(tmp_path):
    sink = Collecting()
    Toy().train(folder=tmp_path, resume=True, sinks=[sink])
    assert sink.events[0] == ("start", 12, 0)
    assert sink.notes == [
        f"{tmp_path / 'checkpoints'}: no checkpoint to resume; starting at step 0"
    ]


def test_a_damaged_checkpoint_is_passed_over_and_the_result_is_the_same(tmp_path, uninterrupted):
    name, state = uninterrupted
    with pytest.raises(Interrupted):
        Toy().train(folder=tmp_path, optimizer=name, log_every=1, sinks=[stop_at(9)])
    weights = tmp_path / "checkpoints" / "step-00000010" / "method.safetensors"
    weights.write_bytes(weights.read_bytes()[:-7])
    toy, sink = Toy(), Collecting()
    toy.train(folder=tmp_path, resume=True, optimizer=name, sinks=[sink])
    assert sink.events[0] == ("start", 12, 8)
    assert "method.safetensors: damaged" in sink.notes[0]
    assert same_bits(toy.state(), state)


def test_resuming_with_another_seed_or_length_is_refused(tmp_path):
    Toy().train(folder=tmp_path)
    with pytest.raises(UsageError, match="of another run: seed was 0, now 1, total_steps was 12"):
        Toy(seed=1).train(folder=tmp_path, resume=True, steps=20)


def test_resuming_in_other_surroundings_is_told(tmp_path):
    Toy().train(folder=tmp_path)
    facts = tmp_path / "checkpoints" / "step-00000012" / "facts.json"
    manifest = facts.with_name("manifest.json")
    before = facts.read_text()
    content = json.loads(before)
    content["surroundings"]["threads"] = 99
    replace_file(facts, manifest, json.dumps(content))
    sink = Collecting()
    Toy().train(folder=tmp_path, resume=True, sinks=[sink])
    assert sink.notes[-1].startswith("threads was 99 and is now")
    assert sink.notes[-1].endswith("the result will not be the same bit for bit")


def replace_file(path, manifest, text):
    from hashlib import sha256

    path.write_text(text)
    content = json.loads(manifest.read_text())
    content["files"][path.name] = sha256(text.encode()).hexdigest()
    manifest.write_text(json.dumps(content))


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    Toy().train(folder=tmp_path)
    toy = Toy()
    toy.method.register_buffer("extra", torch.zeros(1))
    with pytest.raises(ArtefactError, match="does not fit Student .*extra"):
        toy.train(folder=tmp_path, resume=True)


def poisoned(toy, step):
    """Make the loss NaN at 0-based `step`."""
    calls, objective = iter(range(10_000)), toy.method.objective

    def poison(encoded):
        loss = objective(encoded)
        return replace(loss, total=loss.total * torch.nan) if next(calls) == step else loss

    toy.method.objective = poison


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_nan_loss_stops_with_step_parts_records_and_last_good_checkpoint(tmp_path, name):
    toy, good = Toy(), Toy()
    poisoned(toy, 9)  # logged, and so found out, after step 12
    good.train(
        steps=12, optimizer=name, folder=tmp_path / "good", checkpoint_every=9, max_minutes=9
    )
    with pytest.raises(TrainingError) as caught:
        toy.train(folder=tmp_path, optimizer=name)
    text = str(caught.value)
    newest = tmp_path / "checkpoints" / "step-00000008"
    assert caught.value.exit_code == 5
    assert "\n" not in text
    assert text.startswith(
        "step 10: the loss or its gradient is not finite (loss=nan, grad_norm=nan, "
    )
    assert f"the last good one is {newest}; lower training.lr" in text
    named = text.partition("on records ")[2].partition(";")[0].split(", ")
    batch = next(Toy().loader.batches(9))
    assert named == [toy.dataset.ids[row] for row in batch.ids.tolist()]
    assert newest.is_dir()
    assert sorted(path.name for path in newest.parent.iterdir())[-1] == newest.name


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_weights_stay_as_they_were_before_the_first_bad_step(name):
    bad, good = Toy(), Toy()
    poisoned(bad, 2)
    states = []
    after_step = good.method.after_step

    def remember(progress, loss):
        after_step(progress, loss)
        states.append(good.state())

    good.method.after_step = remember
    good.train(steps=12, optimizer=name)
    with pytest.raises(TrainingError, match="no run folder"):
        bad.train(steps=12, optimizer=name, log_every=4, checkpoint_every=4)
    weights = dict(bad.method.encoder.named_parameters())
    assert all(torch.equal(states[1][f"encoders.main.{key}"], weights[key]) for key in weights)


def test_weights_that_overflow_are_never_saved(tmp_path):
    with pytest.raises(TrainingError, match="not finite"):
        Toy().train(folder=tmp_path, optimizer="sgd", lr=1e38, clip_norm=None, warmup=0.0)
    assert not (tmp_path / "checkpoints").exists()


def test_many_records_of_a_bad_step_are_cut_short(tmp_path):
    toy = Toy()
    poisoned(toy, 0)
    toy.loader.dataset = Renamed(toy.dataset)
    with pytest.raises(TrainingError, match="name.*; no run folder"):
        toy.train()


class Renamed:
    def __init__(self, dataset):
        self.ids = [f"name {row}" for row in range(len(dataset))]

    def __len__(self):
        return len(self.ids)


def test_torchs_random_state_is_left_as_it_was():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    toy = Toy()
    torch.set_rng_state(before)
    toy.train(steps=2)
    assert torch.equal(torch.get_rng_state(), before)


def test_signal_handlers_are_put_back(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted):
        Toy().train(folder=tmp_path, log_every=1, sinks=[stop_at(1)])
    assert signal.getsignal(signal.SIGTERM) is before


def test_without_a_folder_ctrl_c_is_a_keyboard_interrupt():
    with pytest.raises(KeyboardInterrupt):
        Toy().train(log_every=1, sinks=[stop_at(1)])


def test_batches_below_what_the_method_needs_are_refused_before_the_first_step():
    values = np.random.default_rng(0).standard_normal((3, CHANNELS, STEPS))
    with pytest.raises(PresetError, match="accumulate=4 with 3 records give batches of 0, and Stu"):
        Toy(values=values).train(accumulate=4)


def test_bfloat16_trains_and_keeps_weights_in_float32():
    toy = Toy()
    result = toy.train(precision="bfloat16")
    assert np.isfinite(result.metrics["loss"])
    assert {weight.dtype for weight in toy.method.parameters()} == {torch.float32}


@pytest.mark.parametrize("pieces", [{"accumulate": 2}, {"chunk": 4}])
def test_pieces_of_a_batch_train_and_after_step_is_shown_the_whole(pieces):
    toy = Toy()
    shapes, after_step = [], toy.method.after_step

    def look(progress, loss):
        shapes.append(tuple(loss.carry["keys"].shape))
        after_step(progress, loss)

    toy.method.after_step = look
    toy.train(steps=2, **pieces)
    assert shapes == [(BATCH, 4)] * 2


def test_the_log_of_a_resumed_run_has_each_step_once(tmp_path):
    path = tmp_path / "metrics.jsonl"
    with pytest.raises(Interrupted):
        Toy().train(folder=tmp_path, log_every=1, sinks=[JsonlSink(path), stop_at(6)])
    shutil.rmtree(tmp_path / "checkpoints" / "step-00000007")
    Toy().train(folder=tmp_path, log_every=1, sinks=[JsonlSink(path)], resume=True)
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == list(range(13))


def test_a_checkpoint_that_cannot_be_written_ends_the_run_and_keeps_the_one_before(tmp_path):
    toy = Toy()
    sink = Collecting(lambda record: record["step"] == 8 and block(tmp_path / "checkpoints"))

    def block(folder):
        (folder / "step-00000008").mkdir()
        (folder / "step-00000008.old.tmp").write_text("in the way")

    with pytest.raises(TrainingError, match="cannot be written .Not a directory.*step-0000000"):
        toy.train(folder=tmp_path, sinks=[sink])
    assert (tmp_path / "checkpoints" / "step-00000004" / "manifest.json").exists()
