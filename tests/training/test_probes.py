"""A probe says what autograd says of each term alone, changes nothing, and finds the term that does nothing."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from netgain.adapters.full import Full
from netgain.adapters.lora import Lora
from netgain.adapters.method import Method
from netgain.ledger.query import connect
from netgain.models.lm import LM
from netgain.objectives.compared import Referred
from netgain.objectives.objective import NoGradient
from netgain.objectives.term import Scores
from netgain.objectives.terms.ce import Ce
from netgain.objectives.terms.entropy import Entropy
from netgain.objectives.terms.js import Js
from netgain.objectives.terms.kl import Kl
from netgain.objectives.terms.l2_to_init import L2ToInit
from netgain.spec.run import Last, Runtime, Weighted
from netgain.training.arms import base_reference
from netgain.training.loop import Training, train
from netgain.training.probes import measure, probe

torch.set_num_threads(1)
Make = Callable[..., Training]
Model = Callable[..., LM]
CE = Weighted(term=Ce())
OBJECTIVE = {
    "ce": CE,
    "kd": Weighted(term=Kl(), weight=0.7, tokens=Last(last=2)),
    "h": Weighted(term=Entropy(), weight=-0.2),
    "start": Weighted(term=L2ToInit(), weight=0.05),
}


class Stuck(Referred):
    """A value that has a graph and no slope: it only counts which words the student prefers."""

    kind: Literal["test_stuck"] = "test_stuck"

    def between(self, student: Scores, other: Scores) -> Tensor:
        return 1.0 + 0.0 * student.logp.sum(-1)


def moved(training: Training) -> Training:
    """With its adapter away from its beginning, and the base at hand."""
    training.references = {"base": base_reference(training.student)}
    arm, g = training.arms[0], torch.Generator().manual_seed(1)
    arm.adapter.set_state({n: t + 0.02 * torch.randn(t.shape, generator=g) for n, t in arm.adapter.state().items()})
    return training


def by_hand(training: Training) -> dict[str, Tensor]:
    """Each term's gradient, from the whole logits."""
    student, view, arm = training.student, training.views(0), training.arms[0]
    with torch.no_grad(), student.off():
        p = student.lm.head.logits(student.lm.hidden(view)[view.scored]).log_softmax(-1)
    z = student.lm.head.logits(student.lm.hidden(view)[view.scored])
    q = z.log_softmax(-1)
    last = torch.cat([torch.arange(int((view.row == i).sum())).flip(0) < 2 for i in range(8)])
    values = {
        "ce": F.cross_entropy(z, view.targets),
        "kd": (p.exp() * (p - q)).sum(-1)[last].mean(),
        "h": (q.exp() * q).sum(-1).mean(),
        "start": torch.stack(
            [(t - training.initial[0][n]).square().sum() for n, t in arm.adapter.parameters().items()]
        ).sum(),
    }
    tensors = arm.parameters()
    return {
        name: torch.cat([g.flatten() for g in torch.autograd.grad(value, tensors, retain_graph=True)])
        for name, value in values.items()
    }


@pytest.mark.parametrize("micro", [None, 3])
@pytest.mark.parametrize("method", [Lora(r=4), Full()], ids=["lora", "full"])
def test_a_probe_is_what_autograd_says_of_each_term(
    make: Make, model: Model, method: Method, micro: int | None
) -> None:
    training = moved(make(model(), method, objective=OBJECTIVE, runtime=Runtime(micro_batch=micro)))
    expected = by_hand(training)
    weights = {name: float(each.weight) for name, each in OBJECTIVE.items() if isinstance(each.weight, float)}
    total = torch.stack([weights[name] * g for name, g in expected.items()]).sum(0)
    pushes = {name: abs(weights[name]) * float(g.norm()) for name, g in expected.items()}
    (probes,) = measure(training)
    for name, found in probes.items():
        assert found.grad_norm == pytest.approx(float(expected[name].norm()), rel=1e-4), name
        assert found.grad_share == pytest.approx(pushes[name] / sum(pushes.values()), rel=1e-4), name
        cosine = F.cosine_similarity(weights[name] * expected[name], total, dim=0)
        assert found.grad_cosine == pytest.approx(float(cosine), abs=1e-4), name
    assert list(probes) == list(OBJECTIVE)
    assert all(t.grad is None for t in training.arms[0].parameters())


def test_probing_leaves_the_run_bit_identical(make: Make, model: Model) -> None:
    plain, probed = (moved(make(model(), Lora(r=4, dropout=0.1), objective=OBJECTIVE)) for _ in range(2))
    records = list(probe(train(probed), probed, every=2))
    for a, b in zip(train(plain), records, strict=True):
        assert a.arms[0] is not None
        assert b.arms[0] is not None
        assert (a.arms[0].loss, a.arms[0].grad_norm) == (b.arms[0].loss, b.arms[0].grad_norm)
    first, second = (run.arms[0].adapter.state() for run in (plain, probed))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert [bool(r.arms[0] and r.arms[0].probes) for r in records] == [True, False] * 3


def test_a_run_of_several_terms_is_probed_and_a_run_of_one_is_not(make: Make, model: Model) -> None:
    for objective, expected in ((OBJECTIVE, 2), ({"ce": CE}, 0)):
        training = moved(make(model(), objective=objective, steps=30))
        found = sum(bool(r.arms[0] and r.arms[0].probes) for r in probe(train(training), training))
        assert found == expected


def test_a_term_without_gradient_stops_the_run(make: Make, model: Model) -> None:
    objective = {"ce": CE, "stuck": Weighted(term=Stuck(), weight=0.3)}
    training = moved(make(model(), objective=objective))
    with pytest.raises(NoGradient, match=r"objective\.stuck: its gradient is exactly 0 while its weight is 0\.3"):
        next(probe(train(training), training))
    assert training.step == 0
    alone = moved(make(model(), objective={"stuck": Weighted(term=Stuck(), weight=0.3)}))
    with pytest.raises(NoGradient, match=r"objective\.stuck"):
        next(probe(train(alone), alone))


@pytest.mark.parametrize("term", [Kl(), Js(), Kl(gate="soft")])
def test_an_anchor_that_starts_at_its_base_is_no_error(make: Make, model: Model, term: Kl | Js) -> None:
    training = make(model(), objective={"ce": CE, "anchor": Weighted(term=term, weight=0.3)}, warmup=2)
    training.references = {"base": base_reference(training.student)}
    records = list(probe(train(training), training, every=1))
    first, last = records[0].arms[0], records[-1].arms[0]
    assert first is not None
    assert last is not None
    assert first.probes["anchor"][1] < 1e-3
    if term.gate == "none":
        assert last.probes["anchor"][1] > 1e-3, "its share grows as the student moves"


def test_the_view_of_the_ledger_shows_the_probes(make: Make, model: Model, tmp_path: Path) -> None:
    training = moved(make(model(), objective=OBJECTIVE, steps=4))
    folder = tmp_path / "runs" / "abc"
    folder.mkdir(parents=True)
    rows = [row for record in probe(train(training), training, every=2) for row in record.rows()]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    query = "SELECT term, grad_norm, grad_share, grad_cosine, loss_share FROM probes WHERE step = 3"
    found = {term: values for term, *values in connect(tmp_path).execute(query).fetchall()}
    (own,) = [row for row in rows if row["step"] == 3]
    for term, values in found.items():
        each = own["terms"][term]
        assert values[:3] == [each["grad_norm"], each["grad_share"], each["grad_cosine"]]
        assert values[3] == pytest.approx(each["raw"] * each["weight"] / own["loss"])
    assert sum(values[3] for values in found.values()) == pytest.approx(1.0, rel=1e-5)
    empty = connect(tmp_path).execute("SELECT count(*) FROM probes WHERE step = 2 AND grad_norm IS NULL").fetchone()
    assert empty == (4,)
