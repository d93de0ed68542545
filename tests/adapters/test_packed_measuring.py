"""Arms that are measured in one batch get the rows of evidence that each gets alone."""

from typing import Any

import pytest
import torch

from netgain.adapters.lora import Lora
from netgain.adapters.packed import pack
from netgain.data.chat import Template
from netgain.ledger.items import Item
from netgain.measure.evaluate import evaluate, evaluate_arms
from netgain.models import score
from netgain.models.lm import LM
from netgain.models.load import load
from netgain.spec.identity import torch_stream
from netgain.spec.plugin import TaskPlugin
from netgain.spec.run import ModelSpec

torch.set_num_threads(1)
METHOD = Lora(r=4, alpha=8)


def task(**fields: Any) -> Any:
    return TaskPlugin.parse(fields)


TASKS = {
    "written": task(
        kind="sentiment", answering="generate", source={"kind": "embedded", "suite": "sentiment", "n": 12, "seed": 1}
    ),
    "chosen": task(
        kind="sentiment", source={"kind": "embedded", "suite": "sentiment", "n": 12, "seed": 1}, answering="likelihood"
    ),
    "text": task(kind="ppl", source={"kind": "embedded", "suite": "text", "n": 6, "seed": 3}),
}


def states(lm: LM, arms: int) -> list[dict[str, torch.Tensor]]:
    adapter = METHOD.attach(lm, torch_stream(0, "init"))
    g = torch.Generator().manual_seed(1)
    found = [{n: t + 0.15 * torch.randn(t.shape, generator=g) for n, t in adapter.state().items()} for _ in range(arms)]
    adapter.remove()
    return found


def key(items: list[Item]) -> list[tuple[Any, ...]]:
    return [(i.task, i.metric, i.item, i.output, i.prediction, i.tokens, i.truncated, i.sample) for i in items]


@pytest.mark.parametrize("name", ["tiny-llama", "tiny-gpt2"])
@pytest.mark.parametrize("tree", [True, False], ids=["tree", "cache"])
def test_rows_of_evidence_are_those_of_the_arm_alone(name: str, tree: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    lm = load(ModelSpec(id=name))
    if not tree:
        monkeypatch.setitem(score._takes_tree, lm.net, False)
    template, arms = Template(lm.tok, chat=True), states(lm, 3)
    asked: dict[str, Any] = {"template": template, "checkpoint": "final", "folder": None, "batch": 5}
    alone = []
    for state in arms:
        adapter = METHOD.attach(lm, torch_stream(0, "init"))
        adapter.set_state(state)
        alone.append(list(evaluate(lm, TASKS, **asked)))
        adapter.remove()
    student = pack(METHOD, lm, [0] * 3)
    for adapter, state in zip(student.adapters, arms, strict=True):
        adapter.set_state(state)
    seen: list[tuple[int, int]] = []
    some = evaluate_arms(student, [2, 0], lm, TASKS, **asked, progress=lambda done, total: seen.append((done, total)))
    student.remove()
    assert seen[-1] == (60, 60)
    for ours, theirs in zip(some, (alone[2], alone[0]), strict=True):
        assert key(ours) == key(theirs)
        assert [i.value for i in ours] == pytest.approx([i.value for i in theirs], rel=1e-4)
    assert key(alone[0]) != key(alone[2]), "arms that answer alike show nothing"
