"""Measuring a real (tiny, random) model: brute force agrees, the batch size does not matter, failures are typed."""

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from netgain.data.chat import Template
from netgain.data.view import Autoregressive
from netgain.errors import UserError
from netgain.ledger.items import Item
from netgain.measure import evaluate as module
from netgain.measure.evaluate import check, evaluate, option_ids
from netgain.measure.summary import summary
from netgain.models.generate import Generation, generate
from netgain.models.lm import LM
from netgain.models.load import load
from netgain.spec.plugin import TaskPlugin
from netgain.spec.run import ModelSpec
from netgain.tasks._base import Likelihood, Task, tasks_of

torch.set_num_threads(1)

SPECS = {
    "sentiment": {"kind": "sentiment", "limit": 7},
    "shown": {"kind": "sentiment", "limit": 3, "shots": 2},
    "nli": {"kind": "nli", "source": {"kind": "embedded", "suite": "nli", "n": 5}},
    "arithmetic": {"kind": "arithmetic", "limit": 5},
    "text": {"kind": "ppl", "limit": 5, "characters": 300},
    "pos": {"kind": "pos", "source": {"kind": "embedded", "suite": "pos", "n": 3}, "max_new_tokens": 150},
}


def tasks(*names: str, **more: object) -> dict[str, Task]:
    return tasks_of({name: TaskPlugin.parse({**SPECS[name], **more}) for name in names})


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def lm(request: pytest.FixtureRequest) -> LM:
    return load(ModelSpec(id=f"config:{request.param}", config={"seed": 3, "initializer_range": 0.3}))


@pytest.fixture(scope="module")
def llama() -> LM:
    return load(ModelSpec(id="config:llama", config={"seed": 3, "initializer_range": 0.3}))


def measure(lm: LM, asked: dict[str, Task], batch: int = 4, **more) -> list[Item]:
    template = Template(lm.tok, chat=False)
    return list(evaluate(lm, asked, template=template, checkpoint="base", folder=None, batch=batch, **more))


def logprob(lm: LM, prompt: list[int], answer: list[int]) -> float:
    """sum_t log p(answer_t | prompt, answer_<t), one plain forward pass."""
    with torch.no_grad():
        logits = lm.net(input_ids=torch.tensor([prompt + answer])).logits[0].double()
    rows = logits[len(prompt) - 1 : -1].log_softmax(-1)
    return float(rows.gather(1, torch.tensor(answer)[:, None]).sum())


def test_likelihood_equals_brute_force(lm: LM) -> None:
    template = Template(lm.tok, chat=False)
    asked = tasks("sentiment", "shown", "nli")
    found = {(item.task, item.item, item.metric): item for item in measure(lm, asked)}
    for name, task in asked.items():
        rows = task.examples(None)
        for row, request in zip(rows, task.requests(rows, None), strict=True):
            assert isinstance(request, Likelihood)
            prompt = template.prompt(request.turns, request.demonstrations)
            scores = [
                logprob(lm, prompt, template.answer(request.turns, o, demonstrations=request.demonstrations, end=False))
                for o in row.labels
            ]
            per_character = [score / len(label) for score, label in zip(scores, row.labels, strict=True)]
            gold = row.labels.index(row.answer)
            nll = -scores[gold] + math.log(sum(math.exp(score) for score in scores))
            assert found[name, row.id, "label_nll"].value == pytest.approx(nll, abs=1e-4)
            for metric, values in (("accuracy", scores), ("accuracy_norm", per_character)):
                picked = row.labels[values.index(max(values))]
                assert found[name, row.id, metric].prediction == picked
                assert found[name, row.id, metric].value == float(picked == row.answer)


def test_text_loss_equals_brute_force_over_every_token(lm: LM) -> None:
    asked = tasks("text")["text"]
    found = {(item.item, item.metric): item for item in measure(lm, {"text": asked})}
    assert isinstance(lm.tok.bos_token_id, int)
    for row in asked.examples(None):
        text = asked.cut(row.answer)
        ids = lm.tok.encode(text, add_special_tokens=False)
        total = -logprob(lm, [lm.tok.bos_token_id], ids)
        nll, byte = found[row.id, "nll"], found[row.id, "byte_nll"]
        assert nll.value == pytest.approx(total / len(ids), abs=1e-5)
        assert nll.weight == len(ids)
        assert byte.value is not None
        assert byte.value * byte.weight == pytest.approx(total, rel=1e-5)
        assert byte.weight == len(text.encode())


def test_generation_is_the_argmax_step_by_step(llama: LM) -> None:
    template = Template(llama.tok, chat=False)
    asked = tasks("arithmetic", max_new_tokens=6)["arithmetic"]
    outputs = {item.item: item for item in measure(llama, {"a": asked})}
    for row in asked.examples(None):
        prompt, ids = template.prompt(row.turns), list[int]()
        while len(ids) < 6 and (not ids or ids[-1] not in template.stop_ids):
            with torch.no_grad():
                ids.append(int(llama.net(input_ids=torch.tensor([prompt + ids])).logits[0, -1].argmax()))
        item = outputs[row.id]
        ended = ids[-1] in template.stop_ids
        assert item.tokens == len(ids)
        assert item.truncated is not ended
        assert item.output == llama.tok.decode(ids[:-1] if ended else ids, skip_special_tokens=True)


def test_results_do_not_depend_on_the_batch_size(lm: LM) -> None:
    asked = tasks("sentiment", "nli", "arithmetic", "text")
    first, *others = (measure(lm, asked, batch) for batch in (1, 3, 64))
    for other in others:
        assert [replace(item, value=0) for item in other] == [replace(item, value=0) for item in first]
        assert [item.value for item in other] == pytest.approx([item.value for item in first], abs=1e-5)


def test_rows_come_in_the_order_of_the_examples_and_progress_counts_them(llama: LM) -> None:
    asked = tasks("sentiment", "text")
    seen: list[tuple[int, int]] = []
    items = measure(llama, asked, batch=2, progress=lambda done, total: seen.append((done, total)))
    expected = [(name, row.id) for name, task in asked.items() for row in task.examples(None)]
    assert list(dict.fromkeys((item.task, item.item) for item in items)) == expected
    assert seen[-1] == (12, 12)
    assert seen == sorted(seen)
    for name, task in asked.items():
        groups = {row.id: row.group for row in task.examples(None)}
        assert all(item.cluster == groups[item.item] for item in items if item.task == name)


def failing_above(limit: int, real, counted: list[int]):
    def call(lm: LM, prompts: list[list[int]], *rest, **more):
        counted.append(len(prompts))
        if len(prompts) > limit:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
        return real(lm, prompts, *rest, **more)

    return call


@pytest.mark.parametrize(
    ("name", "function"), [("arithmetic", "generate"), ("nli", "label_logprobs"), ("text", "token_nll")]
)
def test_out_of_memory_halves_the_batch_and_marks_the_rows(
    llama: LM, monkeypatch: pytest.MonkeyPatch, name: str, function: str
) -> None:
    asked, counted = tasks(name), list[int]()
    plain = measure(llama, asked, batch=2)
    monkeypatch.setattr(module, function, failing_above(2, getattr(module, function), counted))
    halved = measure(llama, asked, batch=4)
    assert counted == [4, 2, 2, 1]
    assert sum(item.retried for item in halved) == 4 * len(asked[name].item_metrics)
    assert [replace(item, retried=False, value=0) for item in halved] == [replace(item, value=0) for item in plain]
    assert [item.value for item in halved] == pytest.approx([item.value for item in plain], abs=1e-5)


def test_what_never_fits_is_missing_and_no_zero(llama: LM, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "label_logprobs", failing_above(0, module.label_logprobs, []))
    items = measure(llama, tasks("nli"))
    assert {(item.value, item.reason, item.parsed, item.retried) for item in items} == {(None, "oom", None, True)}
    assert {item.metric for item in items} == {"accuracy", "accuracy_norm", "label_nll"}
    found = summary(items)["nli", "accuracy", "base"]
    assert (found.mean, found.n, found.missing) == (None, 0, 5)


def test_other_errors_are_not_swallowed(llama: LM, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> object:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(module, "generate", broken)
    with pytest.raises(RuntimeError, match="mat1"):
        measure(llama, tasks("arithmetic"))


def test_a_prompt_beyond_the_models_positions_is_missing(llama: LM) -> None:
    short = load(ModelSpec(id="config:llama", config={"max_position_embeddings": 100, "initializer_range": 0.3}))
    items = measure(short, tasks("nli", "text"))
    nli = [item for item in items if item.task == "nli"]
    long = {item.item for item in nli if item.reason == "too_long"}
    template = Template(short.tok, chat=False)
    for row in tasks("nli")["nli"].examples(None):
        assert (row.id in long) == (len(template.prompt(row.turns)) + len(" contradiction") > 100)
    assert long
    assert all(item.value is not None for item in items if item.task == "text")


def test_a_budget_below_the_longest_gold_answer_is_refused_with_both_numbers(llama: LM) -> None:
    template = Template(llama.tok, chat=False)
    needed = len(" positive") + 1
    small = tasks("sentiment", answering="generate", max_new_tokens=needed - 1)
    with pytest.raises(UserError, match=rf"max_new_tokens is {needed - 1} .* takes {needed} tokens"):
        measure(llama, {**tasks("text"), **small})
    with pytest.raises(UserError, match="max_new_tokens"):
        check(small, template, None)
    enough = tasks("sentiment", answering="generate", max_new_tokens=needed)
    check(enough, template, None)
    assert all(item.tokens is not None and item.tokens <= needed for item in measure(llama, enough))


def test_the_end_of_an_answer_counts_only_between_nested_options(llama: LM) -> None:
    template = Template(llama.tok, chat=False)
    turns = tasks("sentiment")["sentiment"].examples(None)[0].turns
    eos = llama.tok.eos_token_id
    apart = option_ids(template, Likelihood(turns, (), ("yes", "no")))
    nested = option_ids(template, Likelihood(turns, (), ("no", "no way")))
    assert not any(eos in ids for ids in apart)
    assert all(ids[-1] == eos for ids in nested)


def test_an_untrained_models_scribble_is_unparsed_and_wrong(llama: LM) -> None:
    items = measure(llama, tasks("pos") | tasks("sentiment", answering="generate"))
    assert all(item.value == 0 and item.parsed is False and item.prediction is None for item in items)
    found = summary(items)
    assert found["sentiment", "accuracy", "base"].parse_failures == 1.0
    cut = [item.truncated for item in items if item.task == "sentiment"]
    assert any(cut)
    assert found["sentiment", "accuracy", "base"].truncated == sum(map(bool, cut)) / len(cut)


@pytest.fixture
def overfitted() -> tuple[LM, dict[str, Task]]:
    """A model that has learned the rows of three tasks by heart, through the template that training uses."""
    asked = tasks("sentiment", answering="generate", limit=3) | tasks("arithmetic", limit=2) | tasks("pos", limit=2)
    lm = load(ModelSpec(id="config:llama", config={"seed": 1}))
    template = Template(lm.tok, chat=False)
    rows = [template.encode(row, 512) for task in asked.values() for row in task.examples(None)]
    view = Autoregressive().view(rows, lm.pad_id, torch.Generator())
    lm.net.requires_grad_(True)
    optimiser = torch.optim.AdamW(lm.net.parameters(), lr=5e-3, weight_decay=0.0)
    for _ in range(250):
        loss = F.cross_entropy(lm.head.logits(lm.hidden(view)[view.scored]), view.targets)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if loss.item() < 0.03:
            break
    lm.net.requires_grad_(False)
    return lm, asked


def test_what_was_learned_is_measured_as_right(overfitted: tuple[LM, dict[str, Task]]) -> None:
    """Training and evaluation render, end and read answers in the same way, or this could not be perfect."""
    items = measure(*overfitted)
    wrong = [(item.task, item.label, item.output) for item in items if item.value != 1.0]
    assert wrong == []
    assert all(item.parsed and item.truncated is False for item in items)


def test_another_writer_is_asked_for_greedy_answers_only(llama: LM) -> None:
    asked = tasks("arithmetic", "sentiment")
    calls: list[int] = []

    def writer(prompts: Sequence[list[int]], budget: int, stop_ids: Sequence[int]) -> list[Generation]:
        calls.append(len(prompts))
        return generate(llama, prompts, max_new_tokens=budget, stop_ids=stop_ids)

    assert measure(llama, asked, writer=writer) == measure(llama, asked)
    assert calls == [5], "all prompts at once, and labels are scored by the network"
