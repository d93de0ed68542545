"""What joint GLUE needs of its tasks: their own files, words of their own, and a control that sees no input."""

from pathlib import Path

import pytest

from netgain.data.overlap import overlap
from netgain.errors import UserError
from netgain.spec.plugin import TaskPlugin
from netgain.tasks._base import Filled, Task, tasks_of

EMBEDDED = {"kind": "embedded", "suite": "paraphrase", "n": 40}


def task(value: object) -> Task:
    return tasks_of({"t": TaskPlugin.parse(value)})["t"]


@pytest.fixture
def glue(tmp_path: Path) -> Path:
    for name in ("QNLI", "CoLA"):
        (tmp_path / "glue" / name).mkdir(parents=True)
    lines = [f"{i}\tWhat is {i // 2}?\tIt is {i}.\t{('entailment', 'not_entailment')[i % 2]}" for i in range(40)]
    (tmp_path / "glue/QNLI/dev.tsv").write_text("index\tquestion\tsentence\tlabel\n" + "\n".join(lines) + "\n")
    for part, word in (("train", "sails"), ("dev", "rows")):
        (tmp_path / f"glue/CoLA/{part}.tsv").write_text(f"gj04\t1\t\tHe {word}.\ngj04\t0\t*\t{word} him he.\n")
    return tmp_path


def test_a_question_is_measured_or_learned_from(glue: Path) -> None:
    qnli = task("qnli")
    measured, learned = qnli.examples(glue), qnli.train_examples(glue)
    assert len(measured) + len(learned) == 40
    assert {r.group for r in measured}.isdisjoint(r.group for r in learned)
    assert measured[0].turns[0].text.endswith("\nAnswered:")
    assert set(qnli.card(glue).labels) == {"yes", "no"}


def test_cola_is_read_without_a_header(glue: Path) -> None:
    cola = task("cola")
    assert [row.answer for row in cola.examples(glue)] == ["yes", "no"]
    assert len(cola.train_examples(glue)) == 2
    assert cola.metrics[-2:] == ("f1", "mcc")
    assert cola.item_metrics == ("accuracy", "accuracy_norm", "label_nll")


def test_every_task_answers_in_its_own_words() -> None:
    asked = task({"kind": "paraphrase", "source": EMBEDDED, "words": {"yes": "same", "no": "different"}})
    rows = asked.examples(None)
    assert {row.answer for row in rows} == {"same", "different"} == set(rows[0].labels)
    card = asked.card(None)
    assert card.positive == "same"
    assert set(card.labels) == {"same", "different"}
    plain = task({"kind": "paraphrase", "source": EMBEDDED}).examples(None)
    assert [r.id for r in plain] == [r.id for r in rows]


def test_words_must_be_complete_and_differ() -> None:
    with pytest.raises(UserError, match='none for the label "no"'):
        task({"kind": "paraphrase", "source": EMBEDDED, "words": {"yes": "same"}}).examples(None)
    with pytest.raises(UserError, match="one word for two labels"):
        task({"kind": "paraphrase", "source": EMBEDDED, "words": {"yes": "a", "no": "a"}}).examples(None)


@pytest.mark.parametrize("suite", ["sentiment", "paraphrase", "nli"])
def test_a_blind_task_asks_one_question_of_all_items(suite: str) -> None:
    """Nothing of the input is left, its items keep their names and groups, and they count as no leak."""
    asked = {"kind": suite, "source": {"kind": "embedded", "suite": suite, "n": 60}}
    seeing, blind = task(asked).examples(None), task({**asked, "blind": True}).examples(None)
    assert [(r.id, r.group, r.answer) for r in seeing] == [(r.id, r.group, r.answer) for r in blind]
    assert len({row.turns for row in blind}) == 1
    assert len({row.turns for row in seeing}) == 60
    cue = seeing[0].turns[0].text.splitlines()[-1]
    assert blind[0].turns[0].text.endswith(cue)
    learned = task({**asked, "blind": True}).train_examples(None)
    pair = overlap(train=learned, test=blind).pairs[0]
    assert (pair.ids, pair.groups, pair.texts, pair.ngrams) == (0, 0, 0, 0)
    assert task({**asked, "blind": True}).card(None).blind


def test_token_accuracy_is_a_diagnostic_without_chance() -> None:
    asked = task({"kind": "sentiment", "answering": "denoise"})
    (score,) = asked.score(asked.examples(None)[0], Filled(0.75))
    assert (score.metric, score.value) == ("token_accuracy", 0.75)
    card = asked.card(None)
    assert (card.metrics, card.chance, card.majority) == (("token_accuracy",), None, None)
