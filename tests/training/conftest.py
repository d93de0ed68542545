"""Small real models, a few rows of bytes, and a training of one arm over them."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
import pytest
import torch

from netgain.adapters.lora import Lora
from netgain.adapters.method import Method
from netgain.data.chat import Encoded
from netgain.data.order import Order
from netgain.data.view import Autoregressive, View
from netgain.models.lm import LM
from netgain.models.load import load
from netgain.objectives.terms.ce import Ce
from netgain.spec.identity import stream, torch_stream
from netgain.spec.run import ModelSpec, OptimSpec, Runtime, Weighted
from netgain.training.arms import Arm, Solo
from netgain.training.loop import Training

torch.set_num_threads(1)
CE = {"ce": Weighted(term=Ce())}


def rows(n: int = 24, seed: int = 0) -> list[Encoded]:
    """Rows of 8 to 24 bytes, the last 3 to 6 of them supervised."""
    rng = np.random.default_rng(seed)
    made = []
    for i in range(n):
        length, answer = int(rng.integers(8, 25)), int(rng.integers(3, 7))
        ids = rng.integers(4, 260, length).tolist()
        made.append(Encoded(f"row {i}", ids, [j >= length - answer for j in range(length)]))
    return made


def views(lm: LM, batch: int = 8, seed: int = 0, data: list[Encoded] | None = None) -> Callable[[int], View]:
    """The View of each step, longest rows first."""
    table = data or rows()
    chosen = Order(len(table), batch, int(stream(seed, "order").integers(2**63)))
    lengths = [len(row.ids) for row in table]
    generator = torch.Generator()
    return lambda k: Autoregressive().view([table[i] for i in chosen.step(k, lengths)], lm.pad_id, generator)


def small(family: str = "llama", dtype: Literal["float32", "bfloat16"] = "float32") -> LM:
    """A random two-layer model."""
    return load(ModelSpec(id=f"config:{family}", dtype=dtype))


def training(
    lm: LM,
    method: Method | None = None,
    *,
    seed: int = 0,
    objective: Mapping[str, Weighted] = CE,
    runtime: Runtime | None = None,
    **optim: Any,
) -> Training:
    """One arm on the small rows."""
    spec = OptimSpec(**{"learning_rate": 5e-3, "steps": 6, "batch": 8, **optim})
    adapter = (method or Lora(r=4, alpha=8)).attach(lm, torch_stream(seed, "init"))
    arm = Arm("arm", adapter, objective, spec)
    return Training(Solo(adapter), [arm], views(lm, spec.batch, seed), seed, runtime or Runtime())


@pytest.fixture
def make() -> Callable[..., Training]:
    """`training`, for tests that only import fixtures."""
    return training


@pytest.fixture
def model() -> Callable[..., LM]:
    """`small`, for tests that only import fixtures."""
    return small


@pytest.fixture
def view_of() -> Callable[..., Callable[[int], View]]:
    """`views`, for tests that only import fixtures."""
    return views
