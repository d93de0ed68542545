"""Sampled answers in the loop: the exact gradient of what is raised, drawn the same way whatever surrounds it."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from torch import Tensor

from netgain.adapters.lora import Lora
from netgain.models.lm import LM
from netgain.objectives.objective import NoGradient
from netgain.objectives.sampling import Answers, Rollout, TaskQuality
from netgain.objectives.term import Scores, Term
from netgain.objectives.terms.ce import Ce
from netgain.objectives.terms.diversity import Diversity
from netgain.objectives.terms.pass_at_k import PassAtK
from netgain.spec.run import FromSource, Runtime, Weighted
from netgain.training import checkpoint, rollouts
from netgain.training.loop import Training, train
from netgain.training.probes import probe
from netgain.training.stop import dev_losses

torch.set_num_threads(1)
Make = Callable[..., Training]
Model = Callable[..., LM]
CE = Weighted(term=Ce())
DRAWS = 120
SMALL = {"prompts": 2, "samples": 8, "max_new_tokens": 5}


def kind_of(text: str) -> int:
    """Three unequal classes of texts."""
    return 0 if not text else 1 if ord(text[0]) < 40 else 2


def classed(kinds: Sequence[int], texts: Sequence[str]) -> Answers:
    """Share of pairs of another class; the quality is 1 for texts of class 1 and 0.2 for others."""

    def spread(members: Sequence[int]) -> float:
        pairs = list(itertools.combinations(members, 2))
        return float(np.mean([kinds[i] != kinds[j] for i, j in pairs])) if pairs else 0.0

    return Answers(tuple(texts), spread, np.array([1.0 if kind == 1 else 0.2 for kind in kinds]))


def judge(term: Rollout, origin: int, texts: Sequence[str]) -> Answers:
    """Classes that few answers share by chance."""
    return classed([sum(map(ord, text)) % 3 for text in texts], texts)


def sampling(make: Make, model: Model, term: Rollout, weight: float = 0.3, **more: object) -> Training:
    """CE and the term, on an adapter away from its beginning, so that some answers are likelier than others."""
    objective = {"ce": CE} | ({"diversity": Weighted(term=term, weight=weight)} if weight != -1 else {})
    training = make(model(), Lora(r=4, alpha=8, dropout=0.1), objective=objective, **more)
    arm, g = training.arms[0], torch.Generator().manual_seed(1)
    arm.adapter.set_state({n: t + 0.3 * torch.randn(t.shape, generator=g) for n, t in arm.adapter.state().items()})
    training.judge = judge
    return training


def flat(training: Training) -> Tensor:
    return torch.cat([p.grad.flatten() for p in training.arms[0].parameters() if p.grad is not None])


def shares(training: Training, temperature: float) -> Tensor:
    """(prompts, 3) probability of each class of answer of at most two tokens, by enumeration, differentiable."""
    lm, view = training.student.lm, training.views(0)
    stop = set(lm.eos_ids)
    found = []
    for row in range(len(view.input_ids)):
        before = rollouts.prompt(view, row)

        def logp(ids: list[list[int]]) -> Tensor:
            states = lm.hidden(torch.tensor(ids), torch.ones(len(ids), len(ids[0]), dtype=torch.bool))[:, -1]
            return (lm.head.logits(states) / temperature).log_softmax(-1)

        first = logp([before])[0]
        second = logp([[*before, a] for a in range(lm.vocab)])
        classes = torch.zeros(lm.vocab, lm.vocab + 1, 3)
        for a in range(lm.vocab):
            if a in stop:
                classes[a, -1, 0] = 1.0
                continue
            alone = kind_of(str(lm.tok.decode([a], skip_special_tokens=True)))
            for b in range(lm.vocab):
                text = str(lm.tok.decode([a, b], skip_special_tokens=True)) if alone == 0 else ""
                classes[a, b, alone if b in stop or alone else kind_of(text)] = 1.0
        mass = torch.cat([(first[:, None] + second).exp(), first.exp()[:, None]], 1)
        mass = torch.where(torch.tensor([a in stop for a in range(lm.vocab)])[:, None], mass * _last(mass), mass)
        mass[:, -1] = torch.where(torch.tensor([a in stop for a in range(lm.vocab)]), first.exp(), mass[:, -1] * 0)
        found.append(torch.einsum("ab,abc->c", mass, classes))
    return torch.stack(found)


def _last(mass: Tensor) -> Tensor:
    """1 in the last column, 0 elsewhere."""
    keep = torch.zeros_like(mass)
    keep[:, -1] = 1.0
    return keep


@pytest.mark.parametrize(
    ("term", "value"),
    [
        (Diversity(samples=16, prompts=2, max_new_tokens=2, temperature=0.7), lambda p: 1 - (p**2).sum(-1)),
        (Diversity(samples=32, prompts=2, max_new_tokens=2, credit="set", set_size=4), lambda p: 1 - (p**2).sum(-1)),
        (
            PassAtK(k=2, samples=8, prompts=2, max_new_tokens=2, quality=TaskQuality(task="judged"), passes=0.3),
            lambda p: 1 - (1 - p[:, 1]) ** 2,
        ),
    ],
    ids=["marginal", "set", "pass@2"],
)
def test_the_loops_gradient_is_the_exact_one(
    make: Make, model: Model, term: Rollout, value: Callable[[Tensor], Tensor]
) -> None:
    """All answers of at most two tokens are enumerated; the mean of many samplings agrees within 4 standard errors."""
    training = sampling(make, model, term, weight=1.0, batch=2)
    training.judge = lambda t, origin, texts: _without_quality(classed([kind_of(text) for text in texts], texts), term)
    training.student.zero_grad()
    shared = shares(training, term.temperature)
    assert shared.sum(-1).tolist() == pytest.approx([1.0, 1.0], abs=1e-4)
    (-value(shared).mean()).backward()
    exact = flat(training)
    training.student.zero_grad()
    (each,) = training.objective.rolled([0.0], 0)
    view, drawn = training.views(0), []
    for step in range(DRAWS):
        training.step = step
        found = rollouts.roll(training, each, view)
        rollouts.backward(training, found, 1.0, term.temperature)
        drawn.append(flat(training))
        training.student.zero_grad()
    directions = torch.randn(5, len(exact), generator=torch.Generator().manual_seed(2))
    directions = torch.cat([directions, exact[None]]) / torch.cat([directions, exact[None]]).norm(dim=1, keepdim=True)
    sampled, wanted = torch.stack(drawn) @ directions.T, directions @ exact
    error = sampled.std(0) / len(drawn) ** 0.5
    assert float(wanted[-1] / error[-1]) > 4.5, "the test could see a difference"
    assert ((sampled.mean(0) - wanted).abs() < 4 * error).all()


def _without_quality(answers: Answers, term: Rollout) -> Answers:
    """A plain spread has no quality; pass@k needs it."""
    return Answers(answers.texts, answers.diversity, None if isinstance(term, Diversity) else answers.quality)


def test_a_weight_of_zero_is_no_term_and_any_other_moves_the_parameters(make: Make, model: Model) -> None:
    states = {}
    for weight in (-1, 0.0, 0.3):
        training = sampling(make, model, Diversity(**SMALL), weight=weight)
        list(train(training))
        states[weight] = training.arms[0].adapter.state()
    assert all(torch.equal(states[-1][name], states[0.0][name]) for name in states[0.0])
    assert not all(torch.equal(states[0.0][name], states[0.3][name]) for name in states[0.0])


@pytest.mark.parametrize("term", [Diversity(**SMALL), Diversity(**SMALL, toward_base=0.1, length_neutral=True)])
def test_the_gradient_does_not_depend_on_how_the_step_is_cut(make: Make, model: Model, term: Rollout) -> None:
    found = []
    for runtime in (Runtime(), Runtime(micro_batch=3, chunk=5), Runtime(gradient_checkpointing=True)):
        training = sampling(make, model, term, runtime=runtime)
        (each,) = training.objective.rolled([0.0], 0)
        rollouts.backward(training, rollouts.roll(training, each, training.view()), 0.3, 1.0)
        found.append(flat(training))
    assert float(found[0].norm()) > 0
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=1e-4, atol=1e-6)


def test_the_surrogate_is_the_one_of_the_credit(make: Make, model: Model) -> None:
    """-sum A_i log pi(y_i), with log pi written out from whole logits."""
    training = sampling(make, model, Diversity(**SMALL))
    (each,) = training.objective.rolled([0.0], 0)
    drawn = rollouts.roll(training, each, training.view())
    rollouts.backward(training, drawn, 0.3, 1.0)
    found = flat(training)
    training.student.zero_grad()
    written, lm = drawn.written, training.student.lm
    logp = lm.head.logits(lm.hidden(written.ids, written.mask)).log_softmax(-1)
    total = torch.zeros(())
    for i, length in enumerate(written.lengths):
        (places,) = written.scored[i].nonzero(as_tuple=True)
        assert len(places) == length
        for at in places.tolist():
            token = int(written.ids[i, at + 1])
            own = logp[i, at, list(lm.eos_ids)].logsumexp(-1) if token in lm.eos_ids else logp[i, at, token]
            total = total - 0.3 * drawn.credit[i] * own
    total.backward()
    torch.testing.assert_close(found, flat(training), rtol=1e-4, atol=1e-6)


class Polychromic(Term):
    """-D as a number beside the loss, as in the method that this study is about."""

    kind: Literal["test_polychromic"] = "test_polychromic"
    graph: bool = False

    def values(self, student: Scores, references: Mapping[str, Scores]) -> Tensor:
        number = torch.full_like(student.target_logp.detach(), -0.25)
        return number + 0.0 * student.target_logp if self.graph else number


@pytest.mark.parametrize(
    ("graph", "words"),
    [(True, r"objective\.diversity: its gradient is exactly 0 while its weight is 0\.3"), (False, "was detached")],
)
def test_a_diversity_that_is_a_number_is_refused(make: Make, model: Model, graph: bool, words: str) -> None:
    objective = {"ce": CE, "diversity": Weighted(term=Polychromic(graph=graph), weight=0.3)}
    training = make(model(), objective=objective)
    with pytest.raises(NoGradient, match=words):
        next(probe(train(training), training))
    assert training.step == 0


def test_answers_of_equal_credit_are_no_error(make: Make, model: Model) -> None:
    training = sampling(make, model, Diversity(**SMALL))
    training.judge = lambda term, origin, texts: Answers(tuple(texts), lambda members: 0.5)
    (first, *_) = probe(train(training), training, every=1)
    assert first.arms[0] is not None
    assert first.arms[0].probes["diversity"][1] == 0
    assert first.arms[0].terms["diversity"] == pytest.approx((-0.5, 0.3))


def test_probes_share_the_answers_of_their_step_and_change_nothing(make: Make, model: Model) -> None:
    calls: list[int] = []

    def counting(term: Rollout, origin: int, texts: Sequence[str]) -> Answers:
        calls.append(origin)
        return judge(term, origin, texts)

    plain, probed = (sampling(make, model, Diversity(**SMALL, every=2)) for _ in range(2))
    plain.judge = probed.judge = counting
    list(train(plain))
    assert len(calls) == 3 * 2
    records = list(probe(train(probed), probed, every=1))
    assert len(calls) == 2 * 3 * 2
    first, second = (run.arms[0].adapter.state() for run in (plain, probed))
    assert all(torch.equal(first[name], second[name]) for name in first)
    own = [record.arms[0] for record in records]
    assert [bool(each and each.sampled) for each in own] == [True, False] * 3
    assert [bool(each and each.probes) for each in own] == [True, False] * 3
    assert own[0] is not None
    row = own[0].row()["diversity"]
    assert row["answers"] == 16
    assert row["raw"] == pytest.approx(-row["score"])
    assert 0 < row["grad_share"] < 1


def test_a_resumed_training_draws_what_it_would_have_drawn(make: Make, model: Model, tmp_path: Path) -> None:
    whole = sampling(make, model, Diversity(**SMALL, every=2))
    records = list(train(whole))
    stopped = sampling(make, model, Diversity(**SMALL, every=2))
    for record in train(stopped):
        if record.step == 3:
            checkpoint.save(stopped, [tmp_path / "state"])
            break
    resumed = sampling(make, model, Diversity(**SMALL, every=2))
    checkpoint.load(resumed, [tmp_path / "state"])
    rest = list(train(resumed))
    assert [each.step for each in rest] == [4, 5, 6]
    for before, after in zip(records[3:], rest, strict=True):
        assert before.arms[0] is not None
        assert after.arms[0] is not None
        assert before.arms[0].terms == after.arms[0].terms
    first, second = (run.arms[0].adapter.state() for run in (whole, resumed))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_rows_are_asked_across_the_whole_step_and_dev_losses_never_sample(make: Make, model: Model) -> None:
    training = sampling(make, model, Diversity(**SMALL), runtime=Runtime(micro_batch=2))
    view = training.view()
    drawn = [rollouts.asked(view, 2, 0, step) for step in range(40)]
    assert {row for each in drawn for row in each} == set(range(8))
    assert drawn == [rollouts.asked(view, 2, 0, step) for step in range(40)]
    training.judge = None
    dev_losses(training.student, 1, [view], None)
    with pytest.raises(ValueError, match="needs a judge"):
        next(train(training))


def test_a_term_of_one_source_asks_its_rows_and_waits_for_them(make: Make, model: Model) -> None:
    asked: list[int] = []

    def noting(term: Rollout, origin: int, texts: Sequence[str]) -> Answers:
        asked.append(origin)
        return judge(term, origin, texts)

    def numbered(sources: Sequence[str]) -> Training:
        training = make(model(), Lora(r=4), objective=objective)
        plain = training.views
        training.views = lambda k: replace(plain(k), origin=torch.arange(len(plain(k).input_ids)))
        training.judge, training.sources = noting, sources
        return training

    objective = {"ce": CE, "diversity": Weighted(term=Diversity(**SMALL), weight=0.3, tokens=FromSource(source="odd"))}
    mixed, alone = numbered(["even", "odd"] * 4), numbered(["even"] * 8)
    records = [record.arms[0] for record in probe(train(mixed), mixed, every=1)]
    assert asked
    assert all(origin % 2 for origin in asked)
    asked.clear()
    (first, *_) = probe(train(alone), alone, every=1)
    assert asked == []
    assert records[0] is not None
    assert records[0].sampled
    assert first.arms[0] is not None
    assert not first.arms[0].sampled


def test_the_pull_toward_the_base_has_no_force_at_the_base(make: Make, model: Model) -> None:
    term = Diversity(**SMALL, toward_base=1.0)
    training = make(model(), Lora(r=4), objective={"ce": CE, "diversity": Weighted(term=term, weight=0.3)})
    training.judge = lambda term, origin, texts: Answers(tuple(texts), lambda members: 0.5)
    (each,) = training.objective.rolled([0.0], 0)
    assert rollouts.roll(training, each, training.view()).credit == pytest.approx(np.zeros(16), abs=1e-5)
    moved = sampling(make, model, term)
    moved.judge = training.judge
    assert np.abs(rollouts.roll(moved, each, moved.view()).credit).max() > 1e-3


def test_likelihood_is_that_of_the_base(make: Make, model: Model) -> None:
    seen: list[np.ndarray] = []

    class Watched(Diversity):
        def credited(self, answers: Answers):  # type: ignore[no-untyped-def]
            assert answers.quality is not None
            seen.append(answers.quality)
            return super().credited(answers)

    training = sampling(make, model, Watched(**SMALL, quality="likelihood", temperature=0.8))
    (each,) = training.objective.rolled([0.0], 0)
    drawn = rollouts.roll(training, each, training.view())
    with training.student.off():
        expected = np.exp(rollouts.logprobs(training, drawn.written, 1.0) / np.array(drawn.written.lengths))
    assert np.concatenate(seen) == pytest.approx(expected)
