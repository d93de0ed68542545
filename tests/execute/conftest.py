"""A small run with a teacher, and its references worked out in a ledger of its own."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from netgain.adapters.method import Adapter, Method
from netgain.data.chat import Template
from netgain.data.view import Autoregressive, View
from netgain.execute.prepare import Prepared, prepare, template_of
from netgain.execute.teachers import References, references_for
from netgain.models.lm import LM
from netgain.models.load import load
from netgain.spec.identity import torch_stream
from netgain.spec.run import ModelSpec, Run, Runtime
from netgain.training.arms import Solo

torch.set_num_threads(1)

FEW_SHOT = {"kind": "few_shot", "shots": 3}


@cache
def model(name: str, dtype: str = "float32") -> LM:
    return load(ModelSpec.model_validate({"id": name, "dtype": dtype}))


def run_of(
    references: Mapping[str, Any] | None = None,
    term: Mapping[str, Any] | None = None,
    *,
    rows: int = 24,
    **fields: Any,
) -> Run:
    """LoRA on tiny-llama with a distillation term; `rows` training and 6 dev rows of a suite that needs context."""
    sources = {"tags": {"kind": "embedded", "suite": "sentiment", "n": rows + 6, "seed": 1}}
    tree: dict[str, Any] = {
        "model": "tiny-llama",
        "method": {"kind": "lora", "r": 4, "alpha": 8},
        "data": {"sources": sources, "dev": 6},
        "optim": {"learning_rate": 1e-3, "steps": 8, "batch": 8},
        "tasks": {"s": {"kind": "sentiment", "source": {"kind": "embedded", "suite": "sentiment", "n": 8, "seed": 2}}},
        "references": {"teacher": FEW_SHOT} if references is None else references,
        "objective": {"ce": "ce", "kd": {"term": term or {"kind": "kl", "reference": "teacher"}, "weight": 0.5}},
    }
    return Run.model_validate({**tree, **fields})


@dataclass
class Scene:
    """A run at the moment when its references are wanted."""

    run: Run
    lm: LM
    template: Template
    prepared: Prepared
    adapter: Adapter
    student: Solo
    cache: Path

    def references(self, runtime: Runtime | None = None) -> References:
        return references_for(
            self.run, self.student, self.prepared, self.lm, self.template, None, self.cache, self.heard, runtime
        )

    def heard(self, done: int, total: int, words: str) -> None:
        self.said.append((done, total, words))

    def view(self, rows: list[int]) -> View:
        batch = [self.prepared.train.rows[i] for i in rows]
        return Autoregressive().view(batch, self.lm.pad_id, torch.Generator(), rows)

    def __post_init__(self) -> None:
        self.said: list[tuple[int, int, str]] = []


def scene_of(run: Run, cache: Path, lm: LM | None = None) -> Scene:
    lm = lm or model(run.model.id, run.model.dtype)
    template = template_of(run.model, lm.tok)
    assert isinstance(run.method, Method)
    adapter = run.method.attach(lm, torch_stream(run.seed, "init"))
    return Scene(run, lm, template, prepare(run, template, None), adapter, Solo(adapter), cache)


@pytest.fixture
def make_run() -> Callable[..., Run]:
    """`run_of`, for tests that only import fixtures."""
    return run_of


@pytest.fixture
def scene(tmp_path: Path) -> Any:
    """Scenes on one cache; their adapters are taken out of the shared models afterwards."""
    made: list[Scene] = []

    def make(run: Run | None = None, cache: Path | None = None) -> Scene:
        for other in made:
            other.adapter.remove()
        made.clear()
        made.append(scene_of(run or run_of(), cache or tmp_path / "ledger" / "teachers"))
        return made[0]

    yield make
    for other in made:
        other.adapter.remove()


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of rows of every forward pass of any model from now on."""
    counted: list[int] = []
    real = LM.hidden

    def hidden(self: LM, inputs: Any, *args: Any, **keywords: Any) -> torch.Tensor:
        ids = inputs if isinstance(inputs, torch.Tensor) else inputs.input_ids
        counted.append(len(ids))
        return real(self, inputs, *args, **keywords)

    monkeypatch.setattr(LM, "hidden", hidden)
    return counted
