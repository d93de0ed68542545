"""Conversations: the second question stands behind the model's own answer, and nothing but the request decides it."""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch

from netgain.data.chat import Template
from netgain.data.source import Turn
from netgain.errors import UserError
from netgain.ledger.items import Item
from netgain.measure.evaluate import check, evaluate
from netgain.models.generate import generate
from netgain.models.lm import LM
from netgain.models.load import load
from netgain.spec.plugin import TaskPlugin
from netgain.spec.run import ModelSpec
from netgain.tasks._base import Task, tasks_of

torch.set_num_threads(1)
CHATML = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}<eos>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
REFUSE = "{% if messages|length > 2 %}{{ raise_exception('one turn only') }}{% endif %}"
SINGLE = REFUSE + CHATML
QUESTIONS = [
    {"question_id": 81, "category": "writing", "turns": ["Write a line.", "Now rhyme it."]},
    {"question_id": 101, "category": "math", "turns": ["1+1?", "And 2+2?"], "reference": ["two", "four"]},
    {"question_id": 102, "category": "math", "turns": ["3+1?", "And 1+2?"]},
]


@cache
def model(template: str = CHATML) -> LM:
    return load(ModelSpec(id="config:llama", config={"initializer_range": 0.3}, chat_template=template))


@pytest.fixture
def bench(tmp_path: Path) -> Callable[..., dict[str, Task]]:
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in QUESTIONS))

    def make(**fields: object) -> dict[str, Task]:
        value = {"kind": "mt_bench", "path": str(tmp_path / "q.jsonl"), "max_new_tokens": 12, **fields}
        return tasks_of({"mt": TaskPlugin.parse(value)})

    return make


def measure(tasks: dict[str, Task], batch: int = 4) -> list[Item]:
    lm = model()
    return list(evaluate(lm, tasks, template=Template(lm.tok), checkpoint="base", folder=None, batch=batch))


def test_every_question_turn_and_sample_is_a_row(bench: Callable[..., dict[str, Task]]) -> None:
    items = measure(bench(temperature={"writing": 0.8}, samples=3, judges={"overlap": "overlap"}))
    got = {(i.item, i.metric, i.sample) for i in items}
    expected = {
        (f"{q['category']}/{q['question_id']}/{turn}", metric, sample)
        for q in QUESTIONS
        for turn in (1, 2)
        for metric in ("finished", "overlap")
        for sample in range(3 if q["category"] == "writing" else 1)
    }
    assert got == expected
    assert len(items) == len(expected)
    clusters = {i.item.rsplit("/", 1)[0]: i.cluster for i in items}
    assert len(set(clusters.values())) == 3
    assert all(i.output is not None and i.truncated is not None for i in items)


def test_the_second_question_stands_behind_the_models_own_answer(bench: Callable[..., dict[str, Task]]) -> None:
    lm, template = model(), Template(model().tok)
    items = {i.item: i for i in measure(bench())}
    for q in QUESTIONS:
        first = items[f"{q['category']}/{q['question_id']}/1"].output
        second = items[f"{q['category']}/{q['question_id']}/2"]
        assert first is not None
        turns = (Turn("user", q["turns"][0]), Turn("assistant", first), Turn("user", q["turns"][1]))
        (alone,) = generate(lm, [template.prompt(turns)], max_new_tokens=12, stop_ids=template.stop_ids)
        assert second.output == alone.text
        assert second.truncated is alone.truncated


def test_what_is_drawn_depends_on_neither_batch_nor_company(bench: Callable[..., dict[str, Task]]) -> None:
    fields = {"temperature": 0.9, "samples": 2}
    whole = measure(bench(**fields), batch=8)
    assert measure(bench(**fields), batch=1) == whole
    part = measure(bench(**fields, limit=1))
    assert part == [item for item in whole if item.item in {i.item for i in part}]
    other = measure(bench(**fields, seed=5))
    assert [i.output for i in other] != [i.output for i in whole]
    samples = {(i.item, i.sample): i.output for i in whole}
    assert any(samples[item, 0] != samples[item, 1] for item, _ in samples)


def test_references_reach_the_judge_and_missing_ones_are_no_zero(bench: Callable[..., dict[str, Task]]) -> None:
    items = [i for i in measure(bench(judges={"words": "overlap"})) if i.metric == "words"]
    by_item = {i.item: i for i in items}
    assert by_item["math/101/1"].label == "two"
    assert by_item["math/101/2"].value is not None
    assert {by_item[name].reason for name in ("math/102/1", "writing/81/2")} == {"no_reference"}


def test_an_answer_that_never_fit_is_missing_with_all_that_follows(
    bench: Callable[..., dict[str, Task]], monkeypatch: pytest.MonkeyPatch
) -> None:
    lm = model()
    template = Template(lm.tok)
    asked = bench(judges={"words": "overlap"})
    prompts = {i.item: i for i in measure(asked)}
    longest = len(template.prompt([Turn("user", "Write a line.")])) + 12
    monkeypatch.setattr(lm, "max_positions", longest)
    items = measure(asked)
    assert {i.reason for i in items if i.item.endswith("/2")} == {"too_long"}
    assert all(i.output is None and i.value is None for i in items if i.item.endswith("/2"))
    assert [replace(i, value=0) for i in items if i.item == "math/101/1"] == [
        replace(i, value=0) for i in measure(asked) if i.item == "math/101/1"
    ]
    assert prompts["math/101/1"].output == next(i.output for i in items if i.item == "math/101/1")


def test_what_could_never_be_asked_is_refused_before_training(
    bench: Callable[..., dict[str, Task]], tmp_path: Path
) -> None:
    lm = model(SINGLE)
    with pytest.raises(UserError, match="one turn only"):
        check(bench(), Template(lm.tok), None)
    missing = bench(judges={"r": {"kind": "reward", "model": "./nowhere"}})
    with pytest.raises(UserError, match="nowhere"):
        check(missing, Template(model().tok), tmp_path)
    with pytest.raises(ValueError, match="more is better"):
        bench(judges={"my_nll": "overlap"})


def test_temperatures_by_category_are_the_benchmarks_own(bench: Callable[..., dict[str, Task]]) -> None:
    task = bench(temperature="by_category", samples=4)["mt"]
    heats = {q.questions[0]: (q.temperature, q.samples) for q in task.requests(task.examples(None), None)}  # type: ignore[union-attr]
    assert heats == {"Write a line.": (0.7, 4), "1+1?": (0.0, 1), "3+1?": (0.0, 1)}


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"category": "math", "turns": ["a"]}, 'no field "question_id"'),
        ({"question_id": 1, "category": "math", "turns": "a"}, '"turns" is no list of texts'),
        ({"question_id": 1, "category": "math", "turns": []}, '"turns" is empty'),
    ],
)
def test_a_wrong_question_is_named_by_its_line(row: dict[str, object], said: str, tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text(json.dumps(QUESTIONS[0]) + "\n" + json.dumps(row) + "\n")
    task = tasks_of({"mt": TaskPlugin.parse({"kind": "mt_bench", "path": str(path)})})["mt"]
    with pytest.raises(UserError, match=rf"q\.jsonl:2: .*{said}"):
        task.examples(None)
