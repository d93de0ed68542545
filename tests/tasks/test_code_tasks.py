"""Tasks that run programs or draw samples: right answers pass, changed ones fail, and samples hang on nothing else."""

import gzip
import json
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from netgain.data.chat import Template
from netgain.data.source import Example
from netgain.errors import UserError
from netgain.ledger.items import Item
from netgain.measure import sandbox
from netgain.measure.evaluate import evaluate
from netgain.models.load import load
from netgain.spec.plugin import TaskPlugin
from netgain.spec.run import ModelSpec
from netgain.tasks._base import Generate, Generated, Task, tasks_of
from netgain.tasks._programs import Programs, code_in, completed
from netgain.tasks.humaneval import Humaneval
from netgain.tasks.mbpp import Mbpp

torch.set_num_threads(1)

DATA = os.environ.get("NETGAIN_DATA")
"""Read before the tests' own environment hides it; public problems need their files."""


def _why_not() -> str | None:
    try:
        sandbox.find()
    except UserError as error:
        return str(error)
    return None


WHY_NOT = _why_not()
confined = pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))


def task(value: object) -> Task:
    return tasks_of({"t": TaskPlugin.parse(value)})["t"]


def programs(value: object) -> Programs:
    found = task(value)
    assert isinstance(found, Programs)
    return found


def wrote(text: str) -> Generated:
    return Generated(text, 1, truncated=False)


def values(asked: Task, rows: list[Example], texts: list[str]) -> list[float | None]:
    scores = asked.score_all(rows, [[wrote(text)] for text in texts])
    return [score.value for samples in scores for found in samples for score in found]


CHANGED = """

_right = {entry}

def _changed(value):
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value + 1
    if isinstance(value, str):
        return value + "x"
    if isinstance(value, list):
        return [*value, 0]
    if isinstance(value, tuple):
        return (*value, 0)
    if isinstance(value, dict):
        return {{**value, "x": 0}}
    if isinstance(value, set):
        return value | {{"x"}}
    return 0

def {entry}(*args):
    return _changed(_right(*args))
"""
"""Appended to a right program: every answer keeps its type and changes its value."""


@confined
def test_every_answer_of_the_embedded_suite_passes_and_every_changed_one_fails() -> None:
    asked = programs({"kind": "code", "source": {"kind": "embedded", "suite": "code", "n": 40}})
    rows = asked.examples(None)
    assert values(asked, rows, [row.answer for row in rows]) == [1.0] * 40
    changed = [row.answer + CHANGED.format(entry=row.meta["entry"]) for row in rows]
    assert values(asked, rows, changed) == [0.0] * 40


@confined
def test_a_programs_verdict_is_in_its_row() -> None:
    asked = programs("code")
    row = asked.examples(None)[0]
    (right,), (wrong,), (none,) = asked.score_all(
        [row], [[wrote(row.answer), wrote("import os\nos.fork()"), wrote(" \n")]]
    )[0]
    assert (right.value, right.prediction, right.parsed) == (1.0, "passed", True)
    assert (wrong.value, wrong.parsed) == (0.0, True)
    assert str(wrong.prediction).startswith("forbidden")
    assert (none.value, none.prediction, none.parsed) == (0.0, None, False)


@pytest.mark.parametrize(
    ("output", "code"),
    [
        ("x = 1", "x = 1"),
        ("Sure:\n```python\nx = 1\n```\nDone.", "x = 1\n"),
        ("```\nx = 1\n```\nand\n```py\ny = 2\n```", "x = 1\n\ny = 2\n"),
        ("```bash\nls\n```\n```python\nx = 1\n```", "x = 1\n"),
        ("```python\nx = 1", "x = 1"),
        ("<think>```python\nbad\n```</think>\nx = 1", "x = 1"),
        ("<think>x = 1", None),
        ("   \n", None),
    ],
)
def test_code_is_found_in_an_answer(output: str, code: str | None) -> None:
    assert code_in(output) == code


HEAD = 'import math\n\ndef helper(x):\n    return x\n\ndef f(x):\n    """Double."""\n'


@pytest.mark.parametrize(
    "code",
    [
        "    return 2 * helper(x)\n\nprint(f(1))\ndef g(): pass",
        "return 2 * helper(x)",
        "def f(x):\n    return 2 * helper(x)",
        "from os import path\n\ndef f(x):\n    return 2 * helper(x)\n",
        "    # twice\n\n    y = helper(x)\n    return 2 * y\nText behind.",
    ],
)
def test_a_continuation_and_a_whole_function_are_the_same_program(code: str) -> None:
    namespace: dict[str, object] = {}
    exec(completed(HEAD, "f", code), namespace)
    assert callable(found := namespace["f"])
    assert found(21) == 42
    assert "g" not in namespace


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Two problems of each corpus, in their own formats."""
    (tmp_path / "code").mkdir()
    (tmp_path / "gsm8k").mkdir()
    head = 'def half(x):\n    return x / 2\n\ndef f(x):\n    """Twice the half."""\n'
    test = "def check(candidate):\n    assert candidate(3) == 3 and half(2) == 1\n"
    problem = {
        "task_id": "HumanEval/0", "prompt": head, "entry_point": "f", "canonical_solution": "    return 2 * half(x)\n",
        "test": test,
    }  # fmt: skip
    with gzip.open(tmp_path / "code/HumanEval.jsonl.gz", "wt") as file:
        file.write(json.dumps(problem) + "\n")
    node = "class Node:\r\n    def __init__(self, x):\r\n        self.x = x\r\ndef value(n):\r\n    return n.x"
    mbpp = [
        {"task_id": 11, "text": "Give a value.", "code": node, "test_setup_code": "root = Node(4)",
         "test_list": ["assert value(root) == 4"]},
        {"task_id": 12, "text": "Add.", "code": "def sum(a, b):\n    return 10 * a + b", "test_setup_code": "",
         "test_list": ["assert sum(1, 2) == 12", "assert sum(2, 1) == 21"]},
        {"task_id": 601, "text": "To learn from.", "code": "def g(): return 1", "test_setup_code": "",
         "test_list": ["assert g() == 1"]},
    ]  # fmt: skip
    (tmp_path / "code/mbpp.jsonl").write_text("".join(json.dumps(each) + "\n" for each in mbpp))
    for part, question in (("test", "2 and 2?"), ("train", "3 and 3?")):
        line = {"question": question, "answer": "It is 2+2=<<2+2=4>>4.\n#### 4"}
        (tmp_path / f"gsm8k/{part}.jsonl").write_text(json.dumps(line) + "\n")
    return tmp_path


@confined
@pytest.mark.parametrize("kind", ["humaneval", "mbpp"])
def test_public_problems_are_judged_by_their_own_tests(files: Path, kind: str) -> None:
    asked = programs(kind)
    rows = asked.examples(files)
    assert values(asked, rows, [row.answer for row in rows]) == [1.0] * len(rows)
    assert values(asked, rows, ["def f(x): return 0\ndef value(n): return 0\ndef sum(a, b): return 0"] * len(rows)) == [
        0.0
    ] * len(rows)


@confined
def test_a_program_cannot_bring_the_helpers_that_judge_it(files: Path) -> None:
    asked = programs("humaneval")
    rows = asked.examples(files)
    hidden = "def half(x):\n    return 0\n\ndef f(x):\n    return 2 * half(x)\n"
    assert values(asked, rows, [hidden]) == [0.0]


def test_learning_and_measuring_use_the_authors_split(files: Path) -> None:
    asked = task("mbpp")
    assert [row.id for row in asked.examples(files)] == ["mbpp-11", "mbpp-12"]
    assert [row.id for row in asked.train_examples(files)] == ["mbpp-601"]


def test_gsm8k_wants_the_number_and_shows_no_calculator(files: Path) -> None:
    asked = task("gsm8k")
    (row,) = asked.examples(files)
    assert row.answer == "It is 2+2=4.\n#### 4"
    for output, value in (("5 or so\n#### 4.0", 1.0), ("The answer is 4, not 5.", 1.0), ("4 or 5", 0.0), ("four", 0.0)):
        assert asked.score(row, wrote(output))[0].value == value
    assert [each.id for each in asked.train_examples(files)] == ["gsm8k-train-0"]


def test_several_greedy_answers_are_refused() -> None:
    with pytest.raises(ValueError, match="temperature above 0"):
        task({"kind": "gsm8k", "samples": 4})
    with pytest.raises(ValueError, match="two samples or more"):
        task({"kind": "replies", "samples": 1})


def test_programs_are_asked_for_only_where_they_can_be_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> sandbox.Sandbox:
        raise UserError("No sandbox works here")

    asked = programs("code")
    monkeypatch.setattr("netgain.tasks._programs.find", none)
    with pytest.raises(UserError, match="No sandbox works here"):
        asked.requests(asked.examples(None), None)


# -- samples -----------------------------------------------------------------------------------------------------------


def measured(value: dict[str, object], batch: int) -> list[Item]:
    lm = load(ModelSpec(id="config:llama", config={"seed": 3, "initializer_range": 0.3}))
    template = Template(lm.tok, chat=False)
    return list(evaluate(lm, {"t": task(value)}, template=template, checkpoint="base", folder=None, batch=batch))


REPLIES: dict[str, object] = {"kind": "replies", "limit": 3, "samples": 3, "max_new_tokens": 90, "length": 4}


def test_samples_are_rows_and_hang_on_neither_batch_nor_neighbours() -> None:
    few = {**REPLIES, "limit": 2}
    one, all_at_once, fewer = (measured(value, batch) for value, batch in ((REPLIES, 1), (REPLIES, 64), (few, 64)))
    assert one == all_at_once
    ids = {item.item for item in fewer}
    assert [item for item in one if item.item in ids] == fewer
    samples = [item for item in one if item.metric == "reference_f1"]
    assert [item.sample for item in samples] == [0, 1, 2] * 3
    assert len({item.output for item in samples}) == 9


def test_a_messages_replies_are_judged_together_once() -> None:
    items = measured(REPLIES, 8)
    names = task(REPLIES).metrics
    for item in {item.item for item in items}:
        mine = [each for each in items if each.item == item and each.metric != "reference_f1"]
        assert sorted(each.metric for each in mine) == sorted(names[1:])
        assert all(each.sample == 0 and each.output is None for each in mine)
    assert "hashed_vendi" in names


def test_identical_replies_have_the_diversity_of_one() -> None:
    asked = task(REPLIES)
    row = asked.examples(None)[0]
    found = {score.metric: score for score in asked.score_set(row, [wrote("How nice, I am happy for you.")] * 3)}
    assert found["self_bleu"].value == pytest.approx(1.0)
    assert found["answer_clusters"].value == 1.0
    assert found["hashed_semantic_distance"].value == pytest.approx(0.0, abs=1e-12)
    assert found["hashed_vendi"].value == pytest.approx(1.0)
    nothing = {score.metric: score for score in asked.score_set(row, [wrote("")] * 3)}
    assert (nothing["distinct2"].value, nothing["distinct2"].reason) == (None, "too_short")
    assert nothing["hashed_vendi"].reason == "no_direction"


def test_questions_that_are_not_sampled_are_asked_as_before() -> None:
    requests = task({"kind": "arithmetic", "limit": 2}).requests(
        task({"kind": "arithmetic", "limit": 2}).examples(None), None
    )
    assert all(isinstance(request, Generate) and request.sampling.temperature == 0 for request in requests)


# -- the public problems, where they are at hand -----------------------------------------------------------------------


@confined
@pytest.mark.slow
@pytest.mark.skipif(not DATA or not Path(DATA, "code/HumanEval.jsonl.gz").exists(), reason="needs NETGAIN_DATA")
def test_every_solution_of_humaneval_passes_and_every_changed_one_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETGAIN_DATA", str(DATA))
    asked = Humaneval()
    rows = asked.examples(None)
    start = time.monotonic()
    right = values(asked, rows, [row.answer for row in rows])
    whole = [completed(row.meta["head"], row.meta["entry"], row.answer) for row in rows]
    changed = values(asked, rows, [w + CHANGED.format(entry=r.meta["entry"]) for w, r in zip(whole, rows, strict=True)])
    seconds = time.monotonic() - start
    assert (sum(v or 0 for v in right), sum(v or 0 for v in changed), len(rows)) == (164, 0, 164)
    assert seconds < 180


@confined
@pytest.mark.slow
@pytest.mark.skipif(not DATA or not Path(DATA, "code/mbpp.jsonl").exists(), reason="needs NETGAIN_DATA")
def test_every_solution_of_mbpp_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETGAIN_DATA", str(DATA))
    asked = Mbpp()
    rows = [replace(row) for row in asked.examples(None)]
    assert sum(v or 0 for v in values(asked, rows, [row.answer for row in rows])) == len(rows) == 500
