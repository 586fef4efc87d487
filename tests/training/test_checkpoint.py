import json
import os
import resource
import signal

import pytest
import torch

from seqcl.errors import ArtefactError, TrainingError
from seqcl.training.checkpoint import FORMAT, Checkpoint, Checkpoints


def example(step, size=10):
    method = {"weight": torch.full((size,), float(step)), "count": torch.tensor(step)}
    optimizer = {"weight/exp_avg": torch.arange(3, dtype=torch.bfloat16)}
    return Checkpoint(step, method, optimizer, {"seed": 1})


@pytest.fixture
def checkpoints(tmp_path):
    return Checkpoints(tmp_path / "checkpoints")


def names(checkpoints):
    return sorted(path.name for path in checkpoints.folder.iterdir())


def test_what_was_saved_is_loaded_bit_for_bit(checkpoints):
    saved = example(120)
    assert checkpoints.save(saved).name == "step-00000120"
    loaded, notes = checkpoints.load()
    assert notes == []
    assert (loaded.step, loaded.facts) == (120, {"seed": 1})
    for before, after in ((saved.method, loaded.method), (saved.optimizer, loaded.optimizer)):
        assert before.keys() == after.keys()
        for name in before:
            assert before[name].dtype == after[name].dtype
            assert torch.equal(before[name], after[name])


def test_the_newest_two_are_kept(checkpoints):
    for step in (1, 2, 3):
        checkpoints.save(example(step))
    assert names(checkpoints) == ["step-00000002", "step-00000003"]


def test_no_checkpoint_loads_as_none(checkpoints):
    assert checkpoints.load() == (None, [])
    assert checkpoints.last_good() == "no checkpoint was written"


def test_saving_a_step_again_replaces_it(checkpoints):
    checkpoints.save(example(5))
    checkpoints.save(example(5, size=4))
    assert names(checkpoints) == ["step-00000005"]
    assert len(checkpoints.load()[0].method["weight"]) == 4


def test_strays_of_a_killed_process_are_swept(checkpoints):
    checkpoints.save(example(1))
    stray = checkpoints.folder / "step-00000002.777.tmp"
    stray.mkdir()
    (stray / "method.safetensors").write_bytes(b"half")
    assert names(Checkpoints(checkpoints.folder)) == ["step-00000001"]


def flip_a_bit(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def truncate(path):
    path.write_bytes(path.read_bytes()[:-1])


FILES = ["method.safetensors", "optimizer.safetensors", "facts.json", "manifest.json"]


@pytest.mark.parametrize("damage", [flip_a_bit, truncate, os.unlink])
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_checkpoint_is_passed_over_with_a_note(checkpoints, name, damage):
    checkpoints.save(example(1))
    checkpoints.save(example(2))
    if name == "manifest.json" and damage is flip_a_bit:
        (checkpoints.folder / "step-00000002" / name).write_text('{"format": 1, "files": 3}')
    else:
        damage(checkpoints.folder / "step-00000002" / name)
    loaded, notes = checkpoints.load()
    assert loaded.step == 1
    assert len(notes) == 1
    assert "step-00000002" in notes[0]
    assert notes[0].endswith("going back to the checkpoint before")


def test_no_whole_checkpoint_is_an_error_with_exit_code_12(checkpoints):
    flip_a_bit(checkpoints.save(example(1)) / "method.safetensors")
    with pytest.raises(ArtefactError, match="no checkpoint is whole .*damaged") as caught:
        checkpoints.load()
    assert caught.value.exit_code == 12


def test_a_newer_format_is_refused_even_where_an_older_checkpoint_is_whole(checkpoints):
    checkpoints.save(example(1))
    path = checkpoints.save(example(2)) / "manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps({**manifest, "format": FORMAT + 1}))
    with pytest.raises(ArtefactError, match=f"format {FORMAT + 1} is newer .* upgrade seqcl"):
        checkpoints.load()


def test_a_write_that_fails_leaves_the_last_good_checkpoint_and_no_stray(checkpoints):
    checkpoints.save(example(1))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))  # a write beyond it fails
    try:
        with pytest.raises(TrainingError) as caught:
            checkpoints.save(example(2, size=1_000_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "step-00000002: the checkpoint cannot be written (File too large)" in str(caught.value)
    assert "the last good one is" in str(caught.value)
    assert "step-00000001; free space, then --resume" in str(caught.value)
    assert names(checkpoints) == ["step-00000001"]
    assert checkpoints.load()[0].step == 1


def save_and_be_killed(folder, call):
    """Save twice; kill -9 at sync `call` of the second time. Never returns."""
    calls = 0

    def fsync(handle, real=os.fsync):
        nonlocal calls
        calls += 1
        if calls == call:
            os.kill(os.getpid(), signal.SIGKILL)
        real(handle)

    checkpoints = Checkpoints(folder)
    checkpoints.save(example(1))
    os.fsync = fsync
    checkpoints.save(example(2))
    os._exit(0)


@pytest.mark.parametrize("call", range(1, 7))
def test_kill_9_at_any_sync_while_saving_leaves_a_whole_checkpoint(tmp_path, call):
    folder = tmp_path / "checkpoints"
    child = os.fork()
    if child == 0:
        save_and_be_killed(folder, call)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    loaded, notes = Checkpoints(folder).load()
    assert loaded.step == (2 if call == 6 else 1)  # the sixth sync comes after the rename
    assert notes == []
    assert not list(folder.glob("*.tmp"))


def test_what_an_earlier_removal_left_does_not_hinder_the_next(checkpoints):
    checkpoints.save(example(1))
    stray = checkpoints.folder / "step-00000001.old.tmp"
    stray.mkdir()
    (stray / "facts.json").write_text("{}")
    for step in (2, 3):
        checkpoints.save(example(step))
    assert names(checkpoints) == ["step-00000002", "step-00000003"]


def test_an_old_checkpoint_that_cannot_be_removed_is_an_error_of_one_line(checkpoints):
    checkpoints.save(example(1))
    checkpoints.save(example(2))
    (checkpoints.folder / "step-00000001.old.tmp").write_text("in the way")
    with pytest.raises(TrainingError, match="the last good one is .*step-00000003; free space"):
        checkpoints.save(example(3))
    assert checkpoints.load()[0].step == 3
