"""Random models of every family, with weights large enough that their choices are far from ties."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch

from netgain.models.lm import LM
from netgain.models.load import load
from netgain.spec.run import ModelSpec

torch.set_num_threads(1)

FAMILIES = ("llama", "gpt2", "qwen2", "qwen3", "gemma3")


@cache
def model(family: str, sliding_window: int | None = None) -> LM:
    config: dict[str, object] = {"initializer_range": 0.3}
    if sliding_window is not None:
        config["sliding_window"] = sliding_window
    if family == "gemma3":
        config["final_logit_softcapping"] = 5.0
    return load(ModelSpec(id=f"config:{family}", config=config))


@pytest.fixture(params=FAMILIES)
def lm(request: pytest.FixtureRequest) -> LM:
    return model(request.param)


@pytest.fixture
def family() -> Callable[..., LM]:
    return model


@pytest.fixture
def shared_model() -> Callable[[str], LM]:
    """A pretrained tiny model from the material folder beside the project, where there is one."""

    def find(name: str) -> LM:
        folder = Path(__file__).resolve().parents[3] / "shared" / "models" / name
        if not folder.exists():
            pytest.skip(f"needs {name} beside the project")
        return _pretrained(str(folder))

    return find


@cache
def _pretrained(folder: str) -> LM:
    return load(ModelSpec(id=folder))
