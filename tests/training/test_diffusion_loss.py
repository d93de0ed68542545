"""What a masked-diffusion run minimises, and that its arms differ in nothing but what is compared."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from netgain.data.chat import Encoded, Template
from netgain.data.view import MaskedDiffusion, View
from netgain.execute.prepare import prepare, template_of
from netgain.execute.run import views
from netgain.models import diffusion
from netgain.models.load import load
from netgain.spec.identity import torch_stream
from netgain.spec.run import ModelSpec, OptimSpec, Run, Weighted
from netgain.tasks.nli import Nli
from netgain.training.arms import Arm, Solo
from netgain.training.loop import Training, train

torch.set_num_threads(1)
LENGTH = 3
PROMPT, ANSWER = [1, 50, 60, 2], [70, 80, 2]
MODEL = {"id": "config:bert", "config": {"initializer_range": 0.5, "hidden_size": 32, "num_hidden_layers": 1}}


def first_loss(view: View) -> float:
    """The loss that one step of training reports for a View."""
    from netgain.adapters.lora import Lora

    lm = load(ModelSpec.model_validate({**MODEL, "denoise": {"length": LENGTH}}))
    adapter = Lora(r=2).attach(lm, torch_stream(0, "init"))
    arm = Arm("a", adapter, {"ce": Weighted.model_validate("ce")}, OptimSpec(learning_rate=1e-3, steps=1, batch=1))
    (record,) = train(Training(Solo(adapter), [arm], lambda k: view, 0))
    assert record.arms[0] is not None
    return record.arms[0].loss


def test_the_loss_of_training_is_the_bound_that_is_measured() -> None:
    """E over t and masks of (the step's loss x L) = NELBO: over all sets of hidden tokens and many times, by the sum.

    Given k of L tokens hidden, at time t with chance C(L, k) t^k (1 - t)^(L - k) / (1 - (1 - t)^L), a row weighs
    (1 - (1 - t)^L) / t; a grid over t in (0, 1) makes the expectation a finite sum.
    """
    lm = load(ModelSpec.model_validate({**MODEL, "denoise": {"length": LENGTH}}))
    (bound,) = diffusion.nelbo(lm, [PROMPT], [ANSWER], batch=8)
    assert bound.error == 0
    grid = (np.arange(4000) + 0.5) / 4000
    total = 0.0
    for hidden in itertools.product([False, True], repeat=LENGTH):
        if not (k := sum(hidden)):
            continue
        weight = float(np.mean(grid**k * (1 - grid) ** (LENGTH - k) / grid))
        total += weight * first_loss(fed(hidden))
    assert total == pytest.approx(bound.value / LENGTH, rel=1e-4)


def fed(hidden: tuple[bool, ...]) -> View:
    """The row with some of its answer hidden, each hidden token weighing 1."""
    ids = torch.tensor([[*PROMPT, *ANSWER]])
    scored = torch.tensor([[False] * len(PROMPT) + list(hidden)])
    lm = load(ModelSpec.model_validate({**MODEL, "denoise": {"length": LENGTH}}))
    targets = ids[scored]
    return View(
        input_ids=ids.masked_fill(scored, lm.mask_id),
        attention_mask=torch.ones_like(ids, dtype=torch.bool),
        scored=scored,
        targets=targets,
        weight=torch.ones(len(targets)),
        row=torch.zeros(len(targets), dtype=torch.long),
        counts=torch.tensor([float(LENGTH)]),
        content=torch.ones(len(targets), dtype=torch.bool),
        origin=torch.tensor([-1]),
        causal=False,
    )


def test_drawn_views_have_that_expectation() -> None:
    """The View's own draws and weights, over many steps, against the exact bound; within four standard errors."""
    lm = load(ModelSpec.model_validate({**MODEL, "denoise": {"length": LENGTH}}))
    (bound,) = diffusion.nelbo(lm, [PROMPT], [ANSWER], batch=8)
    row = Encoded("r", [*PROMPT, *ANSWER], [False] * len(PROMPT) + [True] * LENGTH, end=1)
    costs = []
    with torch.no_grad():
        for seed in range(40):
            view = lm.family.view([row] * 64, lm.pad_id, torch.Generator().manual_seed(seed))
            logp = lm.head.logits(lm.hidden(view)[view.scored]).double().log_softmax(-1)
            ce = -logp.gather(1, view.targets[:, None])[:, 0]
            costs.append(float((ce * view.weight).sum()) / 64)
    mean, error = float(np.mean(costs)), float(np.std(costs, ddof=1)) / len(costs) ** 0.5
    assert abs(mean - bound.value) < 4 * error
    assert error < 0.02 * bound.value


WORDS = {"entailment": "it follows", "contradiction": "it does not follow at all", "neutral": "unknown"}


def encoded(length: int, n: int) -> tuple[MaskedDiffusion, list[Encoded], list[str]]:
    """Rendered rows of a task whose labels differ in length, with their labels."""
    lm = load(ModelSpec.model_validate({"id": "tiny-mlm", "denoise": {"length": length}}))
    template = Template(lm.tok, chat=True, name="tiny-mlm")
    source = {"kind": "embedded", "suite": "nli", "n": n, "seed": 1}
    examples = Nli.model_validate({"kind": "nli", "source": source, "words": WORDS}).examples(None)
    assert isinstance(lm.family, MaskedDiffusion)
    return lm.family, template.encode_all(examples, 512, "error").rows, [example.answer for example in examples]


def test_a_classifier_that_knows_only_lengths_is_at_chance() -> None:
    """Labels of one, two and more tokens: behind a prompt every answer has one length, and no length of a row tells."""
    family, rows, labels = encoded(16, 400)
    padded = [family.fixed(row) for row in rows]
    totals = [len(row.ids) for row in padded]
    assert len(set(labels)) == 3
    assert {len(row.ids) - row.supervised.index(True) for row in padded} == {16}
    half = len(labels) // 2
    guess = {
        length: max(set(own), key=own.count)
        for length in set(totals[:half])
        if (own := [labels[i] for i in range(half) if totals[i] == length])
    }
    most = max(set(labels), key=labels.count)
    right = [guess.get(totals[i], most) == labels[i] for i in range(half, len(labels))]
    chance = labels[half:].count(most) / half
    assert np.mean(right) < chance + 3 * (chance * (1 - chance) / half) ** 0.5


def test_the_lengths_of_plain_answers_would_have_told() -> None:
    """The test above can fail: without padding the length behind a prompt gives labels away."""
    _, rows, labels = encoded(16, 60)
    lengths = {
        label: {len(row.answer) for row, own in zip(rows, labels, strict=True) if own == label} for label in labels
    }
    assert len(lengths) == 3
    assert not set.intersection(*lengths.values())


def run_of(method: Any, seed: int = 0) -> Run:
    rows = {"kind": "embedded", "suite": "sentiment", "n": 40, "seed": 1}
    tree = {
        "model": {"id": "tiny-mlm", "denoise": {"length": 4}},
        "method": method,
        "data": {"sources": {"reviews": rows}, "dev": 4},
        "optim": {"learning_rate": 1e-3, "steps": 4, "batch": 8},
        "tasks": {"s": {"kind": "sentiment", "source": {**rows, "n": 8, "seed": 2}}},
        "seed": seed,
    }
    return Run.model_validate(tree)


def test_arms_share_rows_times_and_masks_and_seeds_do_not() -> None:
    lm = load(ModelSpec.model_validate({"id": "tiny-mlm", "denoise": {"length": 4}}))
    fed: list[Callable[[int], View]] = []
    for run in (run_of({"kind": "lora", "r": 2}), run_of("bitfit"), run_of("prefix"), run_of("bitfit", seed=1)):
        fed.append(views(run, prepare(run, template_of(run.model, lm.tok), None), lm))
    for step in range(3):
        one, *others, elsewhere = (view(step) for view in fed)
        for other in others:
            assert other.input_ids.equal(one.input_ids)
            assert other.weight.equal(one.weight)
            assert one.time is not None
            assert other.time is not None
            assert other.time.equal(one.time)
        assert not elsewhere.input_ids.equal(one.input_ids)
