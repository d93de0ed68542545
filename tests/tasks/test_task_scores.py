"""What an outcome is worth: nothing unparseable is ever right, and nothing broken is ever an answer."""

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netgain.data.source import Example, Turn
from netgain.spec.plugin import TaskPlugin
from netgain.tasks._base import Generated, Likelihood, Score, Scored, Surprise, Task, tasks_of
from netgain.tasks._classify import choice_scores

ASKED = (Turn("user", "?"),)
LABELS = ("contradiction", "entailment", "neutral")


def task(value: object) -> Task:
    return tasks_of({"t": TaskPlugin.parse(value)})["t"]


def example(answer: str, labels: tuple[str, ...] = (), **meta: str) -> Example:
    return Example("i", "g", ASKED, answer, labels, meta)


def written(text: str) -> Generated:
    return Generated(text, tokens=3, truncated=False)


GENERATED = (
    ("sentiment", example("positive", ("negative", "positive")), "negative"),
    ("nli", example("neutral", LABELS), "entailment"),
    ("qa", example("Paris", references="Paris\nthe city of Paris"), "London"),
    ("pos", example("a/DET dog/NOUN", ("DET", "NOUN")), "a/NOUN dog/DET"),
    ("entities", example("Ann/B-PER is/O", ("O", "B-PER")), "Ann/O is/B-PER"),
    ("arithmetic", example("12"), "21"),
)


def asked(kind: str) -> Task:
    return task({"kind": kind, "answering": "generate"} if kind in ("sentiment", "nli") else kind)


@pytest.mark.parametrize(("kind", "row", "wrong"), GENERATED)
def test_the_gold_answer_scores_full_marks_and_a_wrong_one_none(kind: str, row: Example, wrong: str) -> None:
    right = asked(kind).score(row, written(f" {row.answer}\nnext line"))
    assert all(score.parsed and score.prediction for score in right)
    values = {score.metric: score.value for score in right}
    for metric in asked(kind).item_metrics:
        expected = 0.0 if metric in ("span_fp", "span_fn") else 1.0
        assert values[metric] == expected
    bad = {score.metric: score.value for score in asked(kind).score(row, written(wrong))}
    first = "span_tp" if "span_tp" in bad else asked(kind).metrics[0]
    assert bad[first] == 0.0


@pytest.mark.parametrize("output", ["", "\n", "<think>\n\n", "###", "<think>\n\n</think>\n\n"])
@pytest.mark.parametrize(("kind", "row", "wrong"), GENERATED)
def test_what_holds_no_answer_is_wrong_and_unparsed(kind: str, row: Example, wrong: str, output: str) -> None:
    scores = asked(kind).score(row, written(output))
    assert {score.metric for score in scores} == set(asked(kind).item_metrics)
    if (kind, output) == ("qa", "###"):
        assert [score.value for score in scores] == [0.0, 0.0]
        return
    for score in scores:
        assert score.parsed is False
        assert score.prediction is None
        assert score.value == (1.0 if score.metric == "span_fn" else 0.0)


@given(st.text(max_size=30))
def test_no_output_is_read_as_a_default_label(output: str) -> None:
    """Whatever is written, every label of the set is chosen by naming it and by nothing else."""
    (score,) = asked("nli").score(example("neutral", LABELS), written(output))
    assert score.prediction is None or score.prediction in output.casefold()
    assert score.value == float(score.prediction == "neutral")


def test_span_counts_of_a_sentence_without_entities() -> None:
    row = example("it/O rains/O", ("O", "B-PER"))
    values = {s.metric: s.value for s in task("entities").score(row, written("it/O rains/O"))}
    assert values == {"sentence_accuracy": 1.0, "span_tp": 0.0, "span_fp": 0.0, "span_fn": 0.0}


def test_what_a_model_writes_behind_the_sentence_is_no_false_span() -> None:
    row = example("Ann/B-PER is/O", ("O", "B-PER"))
    values = {s.metric: s.value for s in task("entities").score(row, written("Ann/B-PER is/O Bob/B-PER Bob/B-PER"))}
    assert values == {"sentence_accuracy": 1.0, "span_tp": 1.0, "span_fp": 0.0, "span_fn": 0.0}


def test_one_dropped_tag_costs_one_token_and_a_flood_of_tags_gains_nothing() -> None:
    row = example("a/DET b/NOUN c/VERB d/DET", ("DET", "NOUN", "VERB"))

    def value(output: str) -> float | None:
        (score,) = task("pos").score(row, written(output))
        assert score.weight == 4
        return score.value

    assert value("a/DET b c/VERB d/DET") == 0.75
    assert value("b/NOUN c/VERB d/DET") == 0.75
    assert value("uh/VERB a/DET b/NOUN c/VERB d/DET") == 0.75
    assert value("a/DET b/NOUN c/VERB d/DET a/VERB b/VERB and so on") == 1.0
    flood = " ".join(f"{word}/{tag}" for word in "abcd" for tag in ("DET", "NOUN", "VERB"))
    assert value(flood) == 0.25


def test_qa_takes_the_best_reference() -> None:
    row = example("1920s", references="1920s\nthe 1920s\nin the early 1920s")
    values = [score.value for score in task("qa").score(row, written("early 1920s"))]
    assert values == pytest.approx([0.8, 0.0])


FINITE = st.lists(st.floats(-50, 0), min_size=3, max_size=3)


@given(FINITE, st.integers(0, 2))
def test_a_choice_is_the_argmax_and_its_nll_a_softmax(logprobs: list[float], gold: int) -> None:
    options = ("aa", "b", "cccc")
    accuracy, norm, nll = choice_scores(options, options[gold], logprobs)
    probabilities = [math.exp(x) for x in logprobs]
    assert nll.value == pytest.approx(-math.log(probabilities[gold] / sum(probabilities)), abs=1e-9)
    for score, values in ((accuracy, logprobs), (norm, [x / len(o) for x, o in zip(logprobs, options, strict=True)])):
        if values.count(max(values)) == 1:
            assert score.prediction == options[values.index(max(values))]
            assert score.value == float(score.prediction == options[gold])


def test_a_tie_is_no_choice() -> None:
    scores = choice_scores(("a", "b"), "a", (-1.0, -1.0))
    assert [(s.value, s.prediction, s.parsed) for s in scores[:2]] == [(0.0, None, False)] * 2
    assert scores[2].value == pytest.approx(math.log(2))


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
def test_a_broken_model_has_no_score(broken: float) -> None:
    expected = [Score(m, None, reason="undefined") for m in ("accuracy", "accuracy_norm", "label_nll")]
    assert choice_scores(("a", "b"), "a", (broken, -1.0)) == expected
    scored = task("sentiment").score(example("a", ("a", "b")), Scored((broken, -1.0)))
    assert scored == expected


def test_text_is_measured_per_token_and_per_byte() -> None:
    row = Example("i", "g", (), "naïve")
    nll, byte = task("ppl").score(row, Surprise(total=12.0, tokens=4))
    assert (nll.metric, nll.value, nll.weight) == ("nll", 3.0, 4)
    assert (byte.metric, byte.value, byte.weight) == ("byte_nll", 2.0, 6)


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_a_diverged_model_has_no_text_loss(broken: float) -> None:
    scores = task("ppl").score(Example("i", "g", (), "text"), Surprise(broken, 4))
    assert scores == [Score(metric, None, reason="undefined") for metric in ("nll", "byte_nll")]


@pytest.mark.parametrize(
    ("match", "gold", "output", "right", "parsed"),
    [
        ("exact", "New York", "new york.\nBoston", True, True),
        ("exact", "New York", "York", False, True),
        ("contains", "New York", "It is\nNew York!", True, True),
        ("contains", "York", "Yorkshire", False, True),
        ("numeric", "#### 18", "9 * 2 = 18 dollars", True, True),
        ("numeric", "18", "eighteen", False, False),
        ("label", "yes", "Yes.", True, True),
        ("label", "yes", "yes or no", False, False),
        ("exact", "x", "", False, False),
    ],
)
def test_generic_rows_match_as_they_say(match: str, gold: str, output: str, right: bool, parsed: bool) -> None:
    source = {"kind": "jsonl", "path": "x.jsonl", "prompt": "q", "answer": "a"}
    row = example(gold, ("no", "yes") if match == "label" else ())
    (score,) = task({"kind": "jsonl", "match": match, "source": source}).score(row, written(output))
    assert (score.value, score.parsed) == (float(right), parsed)
    assert (score.prediction is None) == (not parsed)


def test_every_kind_is_found_by_its_name() -> None:
    here = {path.stem for path in (Path(__file__).parents[2] / "src/netgain/tasks").glob("[a-z]*.py")}
    assert set(TaskPlugin.kinds()) == here
    assert all(TaskPlugin.resolve(kind).model_fields["kind"].default == kind for kind in here)


def test_a_long_answer_may_be_measured_by_its_beginning() -> None:
    row = example("one two three four")
    asking = task({"kind": "answers", "characters": 9, "source": {"kind": "embedded", "suite": "qa", "n": 2}})
    (request,) = asking.requests([row], None)
    assert isinstance(request, Likelihood)
    assert request.options == ("one two",)
    (score,) = asking.score(row, Scored((-14.0,)))
    assert (score.value, score.weight) == (pytest.approx(2.0), 7)
