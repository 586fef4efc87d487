from __future__ import annotations

import pytest

from seqcl.modalities.base import Baseline, Modality
from seqcl.registry import registry


@pytest.mark.parametrize("name", list(registry("modalities")))
def test_a_modality_names_components_that_are_registered(name):
    modality = registry("modalities")[name]
    assert isinstance(modality, Modality)
    assert modality.name == name
    assert modality.encoder in registry("encoders")
    assert modality.frontend in registry("frontends")
    assert set(modality.baselines) <= set(registry("baselines"))
    assert set(modality.views) <= set(registry("views"))
    assert modality.reader is None or modality.reader in registry("readers")


@pytest.mark.parametrize("name", list(registry("baselines")))
def test_a_baseline_says_its_name_and_its_evaluators(name):
    baseline = registry("baselines")[name]
    assert issubclass(baseline, Baseline)
    assert baseline.name == name
    assert baseline.evaluators
    assert set(baseline.evaluators) <= set(registry("evaluators"))
