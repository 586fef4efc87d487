"""The detector: what it finds, what it promises, and that it comes back as it was."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from seqcl.detection.detector import Detector
from seqcl.detection.fusion import balanced_weights
from seqcl.detection.incidents import Rules
from seqcl.detection.live import Live
from seqcl.detection.period import period_of
from seqcl.detection.self_test import injected_copies, widened
from seqcl.detection.series import Series, filled
from seqcl.errors import ArtefactError, DataError
from seqcl.registry import Spec
from seqcl.rng import Rng

SMALL = (
    Spec("scorers", "kernel_distance", {"scale": 1.0, "directions": 24}),
    Spec("scorers", "mean_shift"),
    Spec("scorers", "forecast", {"lags": 6}),
    Spec("scorers", "amplitude"),
)


def machine(rows: int, seed: int, channels: int = 4) -> npt.NDArray[np.float32]:
    """Return (rows, channels) of a machine: a rhythm, shared load and noise of each sensor."""
    rng = np.random.default_rng(seed)
    time = np.arange(rows)
    load = np.sin(2 * np.pi * time / 20)[:, None] * rng.uniform(0.5, 1.5, channels)
    return (load + 0.2 * rng.normal(size=(rows, channels)) + 5.0).astype(np.float32)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def detector() -> Detector:
    torch.set_num_threads(1)
    found = Detector(scorers=SMALL)
    found.fit([Series(machine(900, 0))])
    return found


def broken(rows: int = 500, seed: int = 0, channel: int = 2) -> np.ndarray:
    """Return a machine whose one sensor is shifted for 30 rows from row 300 on."""
    values = machine(rows, seed)
    values[300:330, channel] += 2.0
    return values


def test_a_broken_sensor_scores_highest_and_is_named(detector: Detector) -> None:
    values = broken()
    for causal in (False, True):
        found = detector.score(values, causal=causal)
        peak = int(np.nanargmax(found.fused))
        assert 295 <= peak < 345
        (found,) = detector.explain(values, [peak], causal=causal)
        assert np.argmax(found.shares) == 2


def test_the_scores_of_normal_rows_keep_the_rate_that_was_asked_for(detector: Detector) -> None:
    calibration = detector.calibrations["centred"]
    share = max(0.1, calibration.lowest_share)
    found = detector.score(machine(4_000, 0)[1_000:]).fused
    assert share / 2 < (found >= calibration.threshold(share)).mean() < 2 * share


def test_a_stream_in_any_pieces_scores_as_a_file_does(detector: Detector) -> None:
    values = broken()
    values[100:104, 1] = np.nan
    wanted = detector.score(values, causal=True).fused
    live = Live(detector, Rules(threshold=3.0))
    found, first = [], 0
    for size in (1, 1, 7, 64, 200, 227):
        found += live.push(values[first : first + size])
        first += size
        if first == 9:  # go on in another process
            state, live = live.state(), Live(detector, Rules(threshold=3.0))
            live.restore(state)
    scores = np.array([result.score for result in found])
    assert [result.row for result in found] == list(range(500))
    assert np.array_equal(np.isnan(scores), np.isnan(wanted))
    assert np.nanmax(np.abs(scores - wanted)) < 1e-3
    assert np.argmax(live.explain().shares) == 2  # type: ignore[union-attr]
    assert len(live._context) <= detector.reach + detector.window


def test_a_state_of_another_detector_is_refused(detector: Detector) -> None:
    state = Live(detector, Rules(threshold=3.0)).state()
    with pytest.raises(ArtefactError, match="does not fit this run"):
        Live(detector, Rules(threshold=3.0)).restore({**state, "context": [[1.0]]})


def test_what_was_learnt_comes_back_bit_for_bit(detector: Detector) -> None:
    again = Detector(scorers=SMALL)
    again.restore(detector.tensors())
    values = broken()
    assert np.array_equal(detector.score(values).fused, again.score(values).fused)
    assert again.weights == detector.weights
    assert detector.explain(values, [310])[0].start == again.explain(values, [310])[0].start
    tensors = detector.tensors()
    del tensors["calibration.centred.counts"]
    with pytest.raises(ArtefactError, match="train the run again|pretrain again"):
        Detector(scorers=SMALL).restore(tensors)


def test_a_fleet_is_learnt_together(detector: Detector) -> None:
    fleet = Detector(scorers=SMALL)
    fleet.fit([Series(machine(400, 0), "a"), Series(machine(500, 0), "b")])
    assert np.nanargmax(fleet.score(broken()).fused) // 10 in range(29, 35)


def test_recordings_too_short_for_the_window_of_the_others_are_left_out() -> None:
    alone, fleet = Detector(scorers=SMALL), Detector(scorers=SMALL)
    alone.fit([Series(machine(500, 0), "a")])
    others = [Series(machine(rows, 1), f"{rows} rows") for rows in (12, 3 * alone.window)]
    fleet.fit([others[0], Series(machine(500, 0), "a"), others[1]])
    assert fleet.window == alone.window
    assert fleet.kept == (1,)
    assert np.array_equal(fleet.score(broken()).fused, alone.score(broken()).fused)
    many = Detector(scorers=SMALL)  # which hold more than half of the rows
    many.fit([Series(machine(100, n), str(n)) for n in range(6)] + [Series(machine(500, 0))])
    assert many.kept == tuple(range(7))
    assert many.window == 100 * 3 // 4 // 4
    tiny = [Series(machine(63, n), f"tiny {n}") for n in range(20)]
    with pytest.raises(DataError, match="tiny 0: has 63 rows and a detector needs 64"):
        many.fit([*tiny, Series(machine(66, 0))])
    with pytest.raises(DataError, match="no channel has a value"):
        many.fit([Series(np.full((900, 4), np.nan, np.float32)), Series(machine(80, 0))])


def test_of_many_channels_the_one_that_broke_is_named() -> None:
    wide = Detector(scorers=(Spec("scorers", "mean_shift"),))
    wide.fit([Series(machine(600, 0, channels=40))])
    values = machine(400, 1, channels=40)
    values[300:330, 33] += 3.0
    (found,) = wide.explain(values, [310])
    assert found.shares.argmax() == 33
    assert found.shares.sum() == pytest.approx(1.0)


def test_too_short_and_empty_recordings_are_told() -> None:
    with pytest.raises(DataError, match="pump: has 40 rows and a detector needs 64"):
        Detector(scorers=SMALL).fit([Series(machine(40, 0), "pump")])


def test_the_period_of_a_rhythm_is_found() -> None:
    time = np.arange(600)
    wave = np.sin(2 * np.pi * time / 40)[:, None].astype(np.float32)
    noise = np.random.default_rng(0).normal(size=(600, 1)).astype(np.float32)
    assert period_of([wave + 0.1 * noise]) in (40, 80, 120)
    assert period_of([np.zeros((300, 2), np.float32)]) == 32


def test_injected_copies_change_an_eighth_of_the_slice_and_one_anomaly_more_and_say_where(
    detector: Detector,
) -> None:
    scaled = detector.scaling(machine(900, 0))
    for copy, labels in injected_copies(scaled, 600, 16, Rng(0)):
        assert (copy[:600] == scaled[:600]).all()
        changed = (copy != scaled).any(1).numpy()
        assert not changed[~labels].any()
        assert 0 < labels[600:].mean() < 0.12 + 300 / 8 / 300
    assert widened(np.array([0, 0, 0, 1, 0, 0, 0], bool), 2).tolist() == [0, 1, 1, 1, 1, 1, 0]


def test_weights_go_to_the_score_that_tells_and_none_is_negative() -> None:
    rng = np.random.default_rng(0)
    labels = rng.random(2_000) < 0.2
    scores = np.stack([labels * 3.0 + rng.normal(size=2_000), rng.normal(size=2_000),
                       labels * -3.0 + rng.normal(size=2_000)], 1)  # fmt: skip
    weights = balanced_weights(scores, labels)
    assert weights.sum() == pytest.approx(1)
    assert weights[0] > 0.6
    assert (weights >= 0).all()
    assert balanced_weights(scores, np.zeros(2_000, bool)).tolist() == pytest.approx([1 / 3] * 3)


def test_gaps_hold_the_last_value() -> None:
    values = np.array([[np.nan, 1], [2, np.nan], [np.nan, np.nan]], np.float32)
    held = filled(values, np.array([7, 8], np.float32))
    assert held.tolist() == [[7, 1], [2, 1], [2, 1]]


def test_a_missing_and_a_stuck_sensor_are_faults_of_their_own(detector: Detector) -> None:
    values = machine(400, 0)
    values[100:250, 0] = np.nan
    values[150:300, 3] = values[150, 3]
    live = Live(detector, Rules(threshold=1e9))
    faults = [fault for result in live.push(values) for fault in result.faults]
    told = {(fault.kind, fault.phase, fault.channel) for fault in faults}
    assert told == {
        (k, p, c) for k, c in (("missing", 0), ("stuck", 3)) for p in ("begins", "ends")
    }
    ended = {fault.kind: fault.rows for fault in faults if fault.phase == "ends"}
    assert ended == {"missing": 150, "stuck": 150}
    wild = machine(400, 0)
    assert detector.faults(wild) == []
    assert len(detector.faults(values)) == 4


def test_after_constant_data_any_change_is_an_anomaly() -> None:
    constant = Detector(scorers=SMALL)
    constant.fit([Series(np.ones((200, 2), np.float32))])
    assert constant.constant == (0, 1)
    moved = np.ones((constant.reach + 100, 2), np.float32)
    at = constant.reach + 50
    moved[at : at + 5, 1] += 0.5
    for causal in (False, True):
        scores = constant.score(moved, causal=causal).fused
        assert abs(int(np.nanargmax(scores)) - at) <= constant.window
        assert (scores[at : at + 5] > np.nanmedian(scores)).all()


def test_missing_data_teach_nothing_and_short_data_cannot_be_scored(detector: Detector) -> None:
    with pytest.raises(DataError, match="no channel has a value"):
        Detector(scorers=SMALL).fit([Series(np.full((200, 2), np.nan, np.float32))])
    with pytest.raises(DataError, match="10 rows are too few for this detector"):
        detector.score(machine(10, 0))
    assert np.isnan(detector.score(machine(10, 0), causal=True).fused).all()


def test_drift_begins_where_the_load_is_another_and_ends_with_it() -> None:
    detector = Detector(scorers=SMALL)
    detector.fit([Series(machine(2_400, 0))])
    window = detector.drifts["trailing"].window
    assert window == 60
    values = np.concatenate(
        [machine(600, 0), 3 * machine(400, 0) - 2 * machine(400, 0).mean(0), machine(600, 0)]
    )
    live = Live(detector, Rules(threshold=1e9))
    found = [result.drift for result in live.push(values) if result.drift]
    assert [drift.phase for drift in found] == ["begins", "ends"]
    assert 600 <= found[0].row < 600 + window
    assert 1_000 <= found[1].row < 1_000 + window + detector.reach
    assert found[0].discrepancy > 1 > found[1].discrepancy
    scores = detector.score(values, causal=True)
    assert detector.drift(scores, causal=True) == found
    again = Detector(scorers=SMALL)
    again.restore(detector.tensors())
    assert again.drift(scores, causal=True) == found


def test_two_incidents_of_one_batch_are_explained_each_by_its_own_peak(
    detector: Detector,
) -> None:
    values = machine(600, 0)
    values[250:255, 0] += 6.0
    values[400:405, 3] += 6.0
    live = Live(detector, Rules(threshold=4.0, merge_gap=40))
    results = live.push(values)
    closed = [
        explanation
        for result in results
        for change, explanation in zip(result.changes, result.explanations, strict=True)
        if change.kind == "closed"
    ]
    assert [int(one.shares.argmax()) for one in closed if one is not None] == [0, 3]


def test_windows_and_shares_that_do_not_fit_the_rows_are_refused() -> None:
    series = [Series(machine(200, 0), "pump")]
    with pytest.raises(DataError, match=r"150 rows are fitted to and the window has 64.*=37"):
        Detector(window=64, scorers=SMALL).fit(series)
    for share, rows in ((0.9, "leaves 19 of 200"), (0.01, "leaves 198 of 200")):
        with pytest.raises(DataError, match=rows):
            Detector(calibration=share, scorers=SMALL).fit(series)


@pytest.mark.parametrize("row", [0, 3, 250, 296, 299])
def test_any_row_is_explained_by_the_score_it_has(row: int) -> None:
    longer = Detector(
        window=16, scorers=(Spec("scorers", "kernel_distance", {"scale": 3.0, "directions": 8}),)
    )
    longer.fit([Series(machine(600, 0))])
    values = machine(300, 0)
    values[row, 1] += 30.0
    (found,) = longer.explain(values, [row])
    assert found.shares.argmax() == 1
    assert found.shares.sum() == pytest.approx(1)


@pytest.mark.parametrize("causal", [False, True])
def test_a_peak_before_the_first_whole_window_is_explained(causal: bool) -> None:
    short = Detector(window=20, scorers=(Spec("scorers", "amplitude"),))
    short.fit([Series(machine(300, 0))])
    values = machine(60, 0)
    values[3, 2] += 9.0
    found = short.explain(values, [3], causal=causal)[0]
    assert int(found.shares.argmax()) == 2
    live = Live(short, Rules(threshold=5.0))
    opened = [one for result in live.push(values) for one in result.explanations if one]
    assert int(opened[0].shares.argmax()) == 2


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("forecast", {"lags": 600}),
        ("forecast", {"lags": 170}),
        ("kernel_distance", {"scale": 4.0}),
        ("contrastive", {"scale": 3.0}),
        ("each_channel", {"scorer": Spec("scorers", "forecast", {"lags": 600})}),
    ],
)
def test_a_scorer_that_looks_back_farther_than_a_recording_goes_is_refused(
    name: str, options: dict[str, Any]
) -> None:
    rows = np.random.default_rng(0).normal(size=(300, 2)).astype(np.float32)
    detector = Detector(window=56, scorers=(Spec("scorers", name, options),))
    with pytest.raises(DataError, match="has 300 rows, of which 169 are fitted to"):
        detector.fit([Series(rows, "pump")])
