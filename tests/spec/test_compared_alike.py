"""Study five compares methods that are given the same: one input, one clipping, one warm-up."""

from pathlib import Path

import pytest

from netgain.spec.load import load as load_study
from netgain.spec.study import Study, expand

STUDY = Path(__file__).parents[2] / "studies" / "peft_diffusion.yaml"


@pytest.fixture(scope="module")
def study() -> Study:
    return load_study(STUDY)


@pytest.mark.parametrize("scale", ["tiny", "small", "full"])
def test_compared_methods_differ_in_method_and_learning_rate_alone(study: Study, scale: str) -> None:
    """One input, one clipping, one warm-up for all: what the original gave to one method only."""
    arms = {arm.name: arm.run for arm in expand(study.at(scale))}
    compared = {
        name: run
        for name, run in arms.items()
        if run.method.learns and not any(part in name for part in ("only", "no-input", "routed"))
    }
    assert len(compared) >= 5
    alike = {"method": True, "optim": {"learning_rate"}}
    shared = {run.model_dump_json(exclude=alike) for run in compared.values()}
    assert len(shared) == 1
    for run in compared.values():
        assert run.optim.clip == 1.0
        assert 0 < run.optim.warmup < run.optim.steps / 2
        assert run.model.denoise is not None
