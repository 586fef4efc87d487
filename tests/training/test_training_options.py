import pytest

from seqcl.training.options import TrainingOptions


def test_epochs_and_steps_together_are_refused_with_both_values():
    with pytest.raises(ValueError, match="epochs=3 and steps=40 are both set; keep one"):
        TrainingOptions(epochs=3, steps=40)


def test_a_batch_that_cannot_be_split_equally_is_refused():
    with pytest.raises(ValueError, match="batch_size=10 cannot be split into accumulate=4"):
        TrainingOptions(batch_size=10, accumulate=4)


def test_a_chunk_need_not_divide_what_is_contrasted_at_once():
    assert TrainingOptions(batch_size=64, accumulate=2, chunk=24).chunk == 24


def test_all_contradictions_are_told_at_once():
    with pytest.raises(ValueError, match="keep one; batch_size=10 cannot be split") as caught:
        TrainingOptions(epochs=1, steps=1, batch_size=10, accumulate=4)
    assert "training:" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "per_epoch", "total"),
    [
        ({"steps": 7}, 3, 7),
        ({"epochs": 7}, 3, 21),
        ({}, 3, 400),
        ({}, 390, 3900),
    ],
)
def test_length_is_steps_or_epochs_or_ten_epochs_of_at_least_400_steps(options, per_epoch, total):
    assert TrainingOptions(**options).total_steps(per_epoch) == total
