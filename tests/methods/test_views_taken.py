"""How many views a method takes: one that it would pass over is refused, in a run by the preset."""

import pytest
import torch

from seqcl.config.preset import load_preset
from seqcl.data.dataset import dataset_from_arrays
from seqcl.errors import PresetError
from seqcl.methods.base import Method
from seqcl.registry import registry
from seqcl.run.fitting import assemble

TAKEN = {"tf_c": 2, "ts_tcc": 2, "t_loss": 2, "tnc": 3, "simclr": None, "cpc": None, "ts2vec": None}
PRESETS = {"tf_c": "tf-c", "ts_tcc": "ts-tcc", "t_loss": "t-loss", "tnc": "tnc"}


@pytest.mark.parametrize(("name", "most"), TAKEN.items())
def test_a_method_says_how_many_views_it_takes(name: str, most: int | None) -> None:
    method: type[Method] = registry("methods")[name]
    assert method.most_views == most


@pytest.mark.parametrize("name", PRESETS)
def test_a_view_that_would_be_ignored_is_refused_before_training(name: str) -> None:
    most = TAKEN[name]
    assert most is not None
    data = dataset_from_arrays(torch.randn(8, 1, 64).numpy())
    changes = (f"views={{independent: {{views: {most + 1}}}}}", "training.batch_size=4")
    told = f"make {most + 1} views of a record, and .* takes {most}: each has a part"
    with pytest.raises(PresetError, match=told):
        assemble(load_preset(PRESETS[name], changes), data, seed=0, device=torch.device("cpu"))
    changes = (f"views={{independent: {{views: {most}}}}}", "training.batch_size=4")
    parts = assemble(load_preset(PRESETS[name], changes), data, seed=0, device=torch.device("cpu"))
    batch = next(parts.loader().batches())
    assert parts.method is not None
    with pytest.raises(ValueError, match=f"{most + 1} views; it takes at most {most}"):
        parts.method((batch,) * (most + 1))


@pytest.mark.parametrize(("symmetric", "most"), [(True, None), (False, 2)])
def test_moco_takes_two_views_where_it_asks_one_way(symmetric: bool, most: int | None) -> None:
    preset = load_preset("series-moco", (f"method.symmetric={str(symmetric).lower()}",))
    data = dataset_from_arrays(torch.randn(8, 1, 64).numpy())
    method = assemble(preset, data, seed=0, device=torch.device("cpu")).method
    assert method is not None
    assert method.most_views == most
