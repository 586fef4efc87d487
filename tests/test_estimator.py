"""ContrastiveEncoder and load: scikit-learn's conventions over the command line's functions."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

import seqcl
from seqcl import ContrastiveEncoder
from seqcl.config import load_preset
from seqcl.errors import DataError, PresetError, UsageError
from seqcl.run import Settings, pretrain

SMALL = ("training.steps=4", "training.batch_size=8", "encoder.widths=[8,8]")


def series(count: int = 20, channels: int = 2) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.normal(size=(count, channels, 48)).astype(np.float32)


def encoder(**options: object) -> ContrastiveEncoder:
    return ContrastiveEncoder("series", **{"overrides": SMALL, "device": "cpu", **options})


def test_fit_transform_embeds_each_record() -> None:
    X = series()
    found = encoder().fit_transform(X)
    assert found.shape == (20, 32)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()


def test_equal_seeds_give_equal_embeddings_and_others_do_not() -> None:
    X = series()
    first, second = (encoder().fit(X).transform(X) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert not np.allclose(first, encoder(random_state=1).fit(X).transform(X))


def test_random_state_follows_scikit_learn() -> None:
    X = series()
    one = [encoder(random_state=np.random.RandomState(5)).fit_transform(X) for _ in range(2)]
    np.testing.assert_array_equal(*one)
    same = np.random.RandomState(5)
    first, second = (encoder(random_state=same).fit_transform(X) for _ in range(2))
    np.testing.assert_array_equal(first, one[0])
    assert not np.allclose(first, second)
    assert encoder(random_state=None).fit_transform(X).shape == (20, 32)
    np.testing.assert_array_equal(
        encoder(random_state=np.int64(3)).fit_transform(X), encoder(random_state=3).fit_transform(X)
    )
    with pytest.raises(ValueError, match="random_state is -1; needed: 0 to 4294967295, a RandomS"):
        encoder(random_state=-1).fit(X)
    with pytest.raises(ValueError, match="'a' cannot be used to seed"):
        encoder(random_state="a").fit(X)


def test_one_override_may_be_a_text() -> None:
    found = ContrastiveEncoder("series-instant", overrides="embedding=identity").fit(series())
    assert found.train_result_ is None
    with pytest.raises(PresetError, match="--set steps: needs the form section.option=value"):
        ContrastiveEncoder(overrides="steps").fit(series())


def test_groups_and_labels_are_arguments_of_fit() -> None:
    X = series()
    loss = (*SMALL, "method.loss={nt_xent: {exclude: [group]}}")
    with pytest.raises(DataError, match=r"exclude=\[group\] needs groups; .*\(groups of fit\)"):
        encoder(overrides=loss).fit(X)
    groups = [f"subject{row % 3}" for row in range(20)]
    found = encoder(overrides=loss).fit_transform(X, groups=groups)
    assert not np.allclose(found, encoder().fit_transform(X))
    with pytest.raises(DataError, match=r"SupCon needs labels; .*\(y of fit\)"):
        encoder(overrides=(*SMALL, "method=supcon")).fit(X)


def test_the_constructor_stores_its_arguments_alone_and_clones() -> None:
    made = encoder(random_state=3)
    assert made.get_params() == clone(made).get_params()
    assert vars(made).keys() == made.get_params().keys()
    assert clone(made.set_params(random_state=5)).random_state == 5


def test_the_input_is_left_as_it_is_and_the_result_pickles() -> None:
    X = series()
    before = X.copy()
    fitted = encoder().fit(X)
    expected = fitted.transform(X)
    np.testing.assert_array_equal(X, before)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(fitted)).transform(X), expected)


def test_it_works_in_a_pipeline_under_grid_search() -> None:
    X, y = series(24), np.arange(24) % 2
    pipeline = make_pipeline(encoder(), LogisticRegression())
    search = GridSearchCV(pipeline, {"contrastiveencoder__random_state": [0, 1]}, cv=2)
    assert set(search.fit(X, y).predict(X)) <= {0, 1}


def test_unequal_lengths_and_one_channel_are_taken() -> None:
    lists = [record[:, : 30 + row % 9] for row, record in enumerate(series())]
    assert encoder().fit(lists).transform(lists).shape == (20, 32)
    assert (
        encoder().fit(series(channels=1)[:, 0]).transform(series(channels=1)[:, 0]).shape[0] == 20
    )


def test_transform_before_fit_and_other_channels_are_refused() -> None:
    with pytest.raises(NotFittedError, match=r"call fit\(X\) first"):
        encoder().transform(series())
    with pytest.raises(ValueError, match="3 channels, fit saw 2"):
        encoder().fit(series()).transform(series(channels=3))


def test_a_wrong_override_and_a_single_record_say_so() -> None:
    with pytest.raises(PresetError, match="Did you mean 'training'"):
        ContrastiveEncoder(overrides=("trainig.steps=1",)).fit(series())
    with pytest.raises(DataError, match="at least 2"):
        encoder().fit(series(1))


@pytest.mark.parametrize("number", [0, -1])
def test_no_thread_at_all_is_refused(number: int) -> None:
    with pytest.raises(UsageError, match="at least 1 is needed"):
        encoder(threads=number).fit(series())


def test_a_detector_and_options_that_mean_nothing_for_arrays_are_refused() -> None:
    with pytest.raises(PresetError, match=r"is a detector; fit seqcl\.AnomalyDetector"):
        ContrastiveEncoder("sensor-anomaly").fit(series())
    for option in ("data.columns=[c0]", "data.max_steps=10", "data.label=y"):
        with pytest.raises(PresetError, match=r"data\.\w+: has no effect on arrays"):
            encoder(overrides=(*SMALL, option)).fit(series())


def test_a_run_refuses_arrays_of_another_form(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", X=series())
    settings = Settings(sources=(str(tmp_path / "x.npz"),), device="cpu")
    run = seqcl.load(pretrain(load_preset("series", SMALL), settings, tmp_path / "run").folder)
    with pytest.raises(DataError, match="X holds series of 3 channels; the run takes series"):
        run.embed(series(4, channels=3))
    with pytest.raises(DataError, match="X holds images of 2 channels; the run takes series"):
        run.embed(np.zeros((4, 2, 8, 8)))
    with pytest.raises(ValueError, match="level is 'steps'; known: instance, step"):
        run.embed(series(4), level="steps")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="device is 'gpu'; known: auto, cpu, cuda"):
        run.embed(series(4), device="gpu")


def test_images_may_have_their_channels_last() -> None:
    images = np.random.default_rng(0).integers(0, 255, (12, 8, 8, 3), dtype=np.uint8)
    overrides = ("training.steps=2", "training.batch_size=4", "encoder.width=4")
    fitted = ContrastiveEncoder("image-simclr", overrides=overrides, device="cpu").fit(images)
    assert fitted.n_channels_in_ == 3
    first = np.moveaxis(images, 3, 1)
    assert np.array_equal(fitted.transform(images), fitted.transform(first))
    tensor = torch.from_numpy(first / 255).requires_grad_()
    assert np.allclose(fitted.transform(tensor), fitted.transform(first), atol=1e-5)


def test_gaps_are_held_where_the_preset_says_so() -> None:
    X = series()
    X[:, 1, 10:30] = np.nan
    held = encoder(overrides=(*SMALL, "data.missing=hold")).fit_transform(X)
    assert np.isfinite(held).all()
    assert not np.allclose(held, encoder().fit_transform(X))


def test_the_command_line_and_the_estimator_give_the_same_embeddings(tmp_path: Path) -> None:
    X = series()
    np.savez(tmp_path / "x.npz", X=X)
    settings = Settings(sources=(str(tmp_path / "x.npz"),), overrides=SMALL, device="cpu")
    pretrain("series", settings, tmp_path / "run")
    by_run = seqcl.load(tmp_path / "run").embed(X, device="cpu")
    np.testing.assert_array_equal(by_run, encoder().fit(X).transform(X))
    steps = seqcl.load(str(tmp_path / "run")).embed(X, level="step", device="cpu")
    assert steps.shape == (20 * 48, 32)


def test_a_preset_object_is_taken_too(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", X=series())
    settings = Settings(sources=(str(tmp_path / "x.npz"),), device="cpu")
    result = pretrain(load_preset("series", SMALL), settings, tmp_path / "run")
    assert result.train is not None
    assert result.train.weights_moved > 0
