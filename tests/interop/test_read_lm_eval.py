"""Rows read from lm-eval's own files say what lm-eval's own summary says."""

import json
import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from netgain.errors import UserError
from netgain.interop import lm_eval
from netgain.interop.samples import ROWS

BASE = "lm_eval_stories260K"


def column(rows: pa.Table, task: str, metric: str, name: str) -> list:
    return [r[name] for r in rows.to_pylist() if r["task"] == task and r["metric"] == metric]


@pytest.mark.parametrize("folder", [BASE, "lm_eval_tiny-gpt2-stories"])
def test_means_equal_the_harness_own_results(fixtures: Path, folder: str) -> None:
    rows = lm_eval.read(fixtures / folder).rows
    summary = json.loads(next((fixtures / folder).glob("results_*.json")).read_text())["results"]
    for metric in ("acc", "acc_norm"):
        assert np.mean(column(rows, "netgain_animals", metric, "value")) == pytest.approx(
            summary["netgain_animals"][f"{metric},none"]
        )
    for name in ("first-number", "whole"):
        assert np.mean(column(rows, "netgain_sums", f"{name}:exact_match", "value")) == pytest.approx(
            summary["netgain_sums"][f"exact_match,{name}"]
        )
    for unit in ("word", "byte"):
        nll = column(rows, "netgain_stories", f"{unit}_nll", "value")
        weight = column(rows, "netgain_stories", f"{unit}_nll", "weight")
        expected = summary["netgain_stories"][f"{unit}_perplexity,none"]
        assert math.exp(np.average(nll, weights=weight)) == pytest.approx(expected)


def test_rows_have_the_schema_and_the_source_is_recorded(fixtures: Path) -> None:
    found = lm_eval.read(fixtures / BASE)
    assert found.rows.schema == ROWS
    assert found.arms == ("stories260K",)
    assert found.source.tool == "lm-evaluation-harness"
    assert found.source.version == "0.4.13"
    assert len(found.source.sha256) == 64


def test_choices_become_labels_and_predictions(fixtures: Path) -> None:
    rows = lm_eval.read(fixtures / BASE).rows
    labels = column(rows, "netgain_animals", "acc", "label")
    guesses = column(rows, "netgain_animals", "acc", "prediction")
    values = column(rows, "netgain_animals", "acc", "value")
    assert labels[:2] == ["meow", "bark"]
    assert [float(a == b) for a, b in zip(labels, guesses, strict=True)] == values


def test_an_answer_that_no_filter_found_is_wrong_and_unparsed(fixtures: Path) -> None:
    rows = lm_eval.read(fixtures / BASE).rows
    assert set(column(rows, "netgain_sums", "first-number:exact_match", "parsed")) == {False}
    assert set(column(rows, "netgain_sums", "first-number:exact_match", "value")) == {0.0}
    assert set(column(rows, "netgain_sums", "first-number:exact_match", "prediction")) == {None}
    assert set(column(rows, "netgain_sums", "whole:exact_match", "parsed")) == {True}


def test_documents_can_be_clustered_by_one_of_their_fields(fixtures: Path) -> None:
    file = next((fixtures / BASE).glob("samples_netgain_animals*"))
    rows = lm_eval.read(file, {"cluster": "passage"}).rows
    assert len(set(rows["cluster"].to_pylist())) == 6
    with pytest.raises(UserError, match=r'no field "passge" to cluster by; it has question, choices, gold, passage'):
        lm_eval.read(file, {"cluster": "passge"})


def line(**changes: object) -> dict[str, object]:
    row: dict[str, object] = {
        "doc_id": 0,
        "target": "8",
        "filtered_resps": ["8"],
        "resps": [["8"]],
        "metrics": ["exact_match"],
    }
    return row | {"exact_match": 1.0, "filter": "none"} | changes


def write(folder: Path, *lines: object) -> Path:
    path = folder / "samples_sums_2026-01-01T00-00-00.1.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in lines))
    return path


@pytest.mark.parametrize(
    ("score", "reason"), [(float("nan"), "undefined"), ("[invalid]", "invalid"), (None, "missing"), ("N/A", "missing")]
)
def test_a_score_that_is_none_is_missing_with_its_reason_and_never_zero(
    tmp_path: Path, score: object, reason: str
) -> None:
    row = lm_eval.read(write(tmp_path, line(exact_match=score))).rows.to_pylist()[0]
    assert (row["value"], row["reason"]) == (None, reason)


def test_a_metric_without_item_scores_is_left_out_with_a_note(tmp_path: Path) -> None:
    found = lm_eval.read(write(tmp_path, line(f1=[0, 1], metrics=["exact_match", "f1"])))
    assert set(found.rows["metric"].to_pylist()) == {"exact_match"}
    assert "f1 is no score of single items" in found.notes[0]


def test_the_harness_perplexity_is_a_log_likelihood_and_becomes_an_nll(tmp_path: Path) -> None:
    rows = lm_eval.read(write(tmp_path, line(perplexity=-3.5, metrics=["perplexity"]))).rows.to_pylist()
    assert [(r["metric"], r["value"]) for r in rows] == [("nll", 3.5)]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"doc_id": [1]}, 'line 1: field "doc_id" is a list'),
        ({"metrics": "acc"}, 'line 1: field "metrics" is text'),
        ({"metrics": ["acc"]}, "line 1: field \"metrics\" names 'acc', which the line does not have"),
    ],
)
def test_a_wrong_field_is_named_with_its_line(tmp_path: Path, changes: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=words.replace("[", r"\[")):
        lm_eval.read(write(tmp_path, line(**changes)))


def test_two_evaluations_of_one_task_in_one_folder_are_refused(fixtures: Path, tmp_path: Path) -> None:
    write(tmp_path, line())
    (tmp_path / "samples_sums_2026-01-02T00-00-00.1.jsonl").write_text(json.dumps(line()) + "\n")
    with pytest.raises(UserError, match="two evaluations of sums; name one file"):
        lm_eval.read(tmp_path)


def test_a_document_that_appears_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"1 rows repeat an earlier one, the first for .*item 0"):
        lm_eval.read(write(tmp_path, line(), line()))
