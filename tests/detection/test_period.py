"""The period of recordings with silent channels."""

import numpy as np
import pytest

from seqcl.detection.period import period_of


@pytest.mark.filterwarnings("error")
def test_a_channel_without_a_value_changes_no_period_and_gives_no_warning() -> None:
    rhythm = np.sin(2 * np.pi * np.arange(600) / 25)[:, None].astype(np.float32)
    assert period_of([rhythm]) == 25
    assert period_of([np.hstack([rhythm, np.full_like(rhythm, np.nan)])]) == 25
