"""StepMask hides single steps, all channels of them at once."""

import torch

from seqcl.batch import Batch
from seqcl.rng import Rng
from seqcl.views.masking import StepMask


def test_it_hides_the_asked_share_of_steps_in_all_channels() -> None:
    batch = Batch(torch.ones(50, 3, 400), torch.arange(50))
    hidden = StepMask(probability=0.3)(batch, Rng(0)).values == 0
    assert torch.equal(hidden.all(1), hidden.any(1))
    share = hidden[:, 0].float().mean(1)
    assert (share - 0.3).abs().max() < 0.1  # the deviation of one record is 0.023
    assert abs(share.mean() - 0.3) < 0.01
    runs = (hidden[:, 0, 1:] != hidden[:, 0, :-1]).float().mean()
    assert abs(runs - 2 * 0.3 * 0.7) < 0.02, "each step by its own draw"


def test_the_mask_stays_since_a_hidden_step_is_real(refused) -> None:
    mask = torch.ones(4, 20, dtype=torch.bool)
    mask[0, 12:] = False
    batch = Batch(torch.ones(4, 1, 20) * mask[:, None], torch.arange(4), mask=mask)
    assert torch.equal(StepMask()(batch, Rng(0)).mask, mask)
    assert refused(StepMask, "probability", 1.0)
    assert refused(StepMask, "probability", -0.1)
