"""Study five's original, bug by bug: put back into a real run that is then finished, each is named by the audit."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from netgain.audit import run
from netgain.audit.finding import Severity
from netgain.data.source import Example
from netgain.errors import UserError
from netgain.execute.local import execute
from netgain.ledger.store import Ledger
from netgain.models import load as loading
from netgain.models.lm import LM
from netgain.models.load import load
from netgain.spec.run import Runtime
from netgain.spec.study import Study
from netgain.tasks._base import Likelihood, Score, Scored
from netgain.tasks._classify import Classification
from netgain.training import loop
from netgain.training.arms import Arm

torch.set_num_threads(1)
Patch = pytest.MonkeyPatch
LENGTH = 4
ARMS = {"lora": {"kind": "lora", "r": 4, "alpha": 8}, "bottleneck": {"kind": "bottleneck", "width": 8}}


def study(*arms: str) -> Study:
    """Two tasks at once, as small as the rules on items still look at."""
    tasks = {
        "sentiment": {"kind": "sentiment", **_rows("sentiment")},
        "pairs": {"kind": "paraphrase", "words": {"yes": "same", "no": "different"}, **_rows("paraphrase")},
    }
    return Study.model_validate(
        {
            "name": "bugs",
            "question": "Which of two methods teaches a masked-diffusion model more?",
            "base": {
                "model": {"id": "tiny-mlm", "denoise": {"length": LENGTH}},
                "method": ARMS["lora"],
                "data": {"sources": {n: {"kind": "task", "task": task} for n, task in tasks.items()}, "dev": 8},
                "optim": {"learning_rate": 1e-2, "steps": 12, "batch": 8, "warmup": 2, "clip": 1.0},
                "tasks": tasks,
            },
            "seeds": [0],
            "vary": {"arm": {name: {"method": ARMS[name]} for name in arms}},
        }
    )


def _rows(suite: str) -> dict[str, Any]:
    source = {"kind": "embedded", "suite": suite}
    return {"source": {**source, "n": 24}, "train": {**source, "n": 80, "seed": 1}}


def errors(root: Path, *arms: str) -> dict[str, str]:
    """code -> what was found, of everything that fails an audit of the finished runs."""
    assert execute(study(*arms), Ledger(root), Runtime(threads=1, probe_every=3)) == 0
    return {f.code: f.evidence for f in run([root]).findings if f.severity is Severity.ERROR}


def no_input(patch: Patch) -> None:
    """The sentence never reaches the denoiser: only the answer's own places, and how far along the row they are."""

    def blank(_: nn.Module, args: tuple[Any, ...], fed: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        ids, mask = fed["input_ids"], fed["attention_mask"]
        mask = torch.ones_like(ids) if mask is None else mask
        left = mask.sum(1, keepdim=True) - torch.arange(ids.shape[1])
        return args, {**fed, "input_ids": ids.masked_fill(left > LENGTH, 0)}

    def loaded(*asked: Any) -> LM:
        lm = load(*asked)
        lm.body.register_forward_pre_hook(blank, with_kwargs=True)
        return lm

    patch.setattr(loading, "load", loaded)


def both_zero(patch: Patch) -> None:
    """Both projections of a bottleneck begin at zero."""
    patch.setattr(
        "netgain.adapters._torch.bottleneck.normal", lambda shape, std, generator: nn.Parameter(torch.zeros(shape))
    )


def clip_list(patch: Patch) -> None:
    """Clipping measures one tensor of the many that learn."""

    def of_one(arms: Sequence[Arm]) -> list[Tensor]:
        ends = [next(t for name, t in arm.adapter.parameters().items() if "lora_B" in name) for arm in arms]
        return [torch.zeros(()) if end.grad is None else end.grad.norm() for end in ends]

    patch.setattr(loop, "_grad_norms", of_one)


def one_label_set(patch: Patch) -> None:
    """Every task is answered with the first task's labels."""
    first = ("negative", "positive")

    def ask(self: Classification, example: Example, shown: tuple[Example, ...]) -> Likelihood:
        return Likelihood(example.turns, shown, first)

    def score(self: Classification, example: Example, outcome: Scored) -> list[Score]:
        found = first[outcome.logprobs.index(max(outcome.logprobs))]
        return [Score("accuracy", float(found == example.answer), prediction=found, parsed=True)]

    patch.setattr(Classification, "ask", ask)
    patch.setattr(Classification, "score", score)


def test_the_study_itself_is_clean(tmp_path: Path) -> None:
    assert errors(tmp_path, "lora", "bottleneck") == {}


@pytest.mark.parametrize(
    ("bug", "arm", "code", "says"),
    [
        (no_input, "lora", "NG705", "behind the prompts of other rows the answers of 8 rows are predicted as before"),
        (both_zero, "bottleneck", "NG607", "trained tensors are exactly 0 after 12 steps"),
        (clip_list, "lora", "NG606", "the norm that clipping saw is not that of the gradient"),
        (one_label_set, "lora", "NG704", "predictions are no label of the data"),
    ],
)
def test_a_bug_that_is_put_back_is_named(
    bug: Callable[[Patch], None], arm: str, code: str, says: str, tmp_path: Path, monkeypatch: Patch
) -> None:
    bug(monkeypatch)
    found = errors(tmp_path, arm)
    assert says in found[code]


def test_a_clip_list_without_any_gradient_is_refused_at_the_first_step(tmp_path: Path, monkeypatch: Patch) -> None:
    monkeypatch.setattr(loop, "_grad_norms", lambda arms: [torch.zeros(()) for _ in arms])
    with pytest.raises(UserError, match="its gradient is exactly 0"):
        execute(study("lora"), Ledger(tmp_path), Runtime(threads=1))
