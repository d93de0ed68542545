"""Rows read from Inspect's own logs agree with Inspect's own results, and a hostile archive is refused."""

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netgain.errors import UserError
from netgain.interop import inspect


def log(**changes: Any) -> dict[str, Any]:
    spec = {"task": "sums", "model": "mock", "packages": {"inspect_ai": "0.3.1"}}
    return {"version": 2, "status": "success", "eval": spec, "samples": [sample()]} | changes


def sample(**changes: Any) -> dict[str, Any]:
    base = {"id": 1, "epoch": 1, "input": "1 + 1 =", "target": "2", "scores": {"match": {"value": "C", "answer": "2"}}}
    return base | changes


def write(path: Path, tree: dict[str, Any]) -> Path:
    path.write_text(json.dumps(tree))
    return path


def archive(path: Path, *samples: dict[str, Any], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as out:
        out.writestr("header.json", json.dumps({k: v for k, v in log().items() if k != "samples"}))
        for each in samples:
            out.writestr(f"samples/{each['id']}_epoch_{each.get('epoch', 1)}.json", json.dumps(each))
    return path


def test_means_equal_the_log_own_results(fixtures: Path) -> None:
    path = fixtures / "inspect_base.json"
    rows = inspect.read(path).rows.to_pylist()
    for score in json.loads(path.read_text())["results"]["scores"]:
        mine = [row["value"] for row in rows if row["metric"] == score["name"]]
        assert np.mean(mine) == pytest.approx(score["metrics"]["accuracy"]["value"])


def test_an_eval_archive_as_inspect_writes_it_reads_like_json(fixtures: Path) -> None:
    found = inspect.read(fixtures / "inspect_tuned.eval", {"cluster": "family"})
    assert found.source.version == "0.3.285"
    rows = found.rows.to_pylist()
    assert {row["sample"] for row in rows} == {0, 1}
    assert {row["cluster"] for row in rows} == {"0", "1", "2", "3"}
    assert np.mean([row["value"] for row in rows if row["metric"] == "match"]) == pytest.approx(0.875)
    base = inspect.read(fixtures / "inspect_base.json").rows
    assert base["document"].to_pylist() == found.rows["document"].to_pylist()
    assert base["prompt"].to_pylist() == found.rows["prompt"].to_pylist()


@pytest.mark.parametrize(
    ("raw", "value", "reason"),
    [("C", 1, None), ("I", 0, None), ("P", 0.5, None), ("N", 0, None), (0.25, 0.25, None), (True, 1, None),
     (float("nan"), None, "unscored"), ("[invalid]", None, "invalid")],
)  # fmt: skip
def test_every_kind_of_score_has_its_value_or_its_reason(tmp_path: Path, raw: Any, value: Any, reason: Any) -> None:
    path = write(tmp_path / "log.json", log(samples=[sample(scores={"match": {"value": raw}})]))
    row = inspect.read(path).rows.to_pylist()[0]
    assert (row["value"], row["reason"]) == (value, reason)
    assert row["parsed"] is (False if raw == "N" else None)


def test_a_score_of_several_values_is_several_metrics(tmp_path: Path) -> None:
    path = write(tmp_path / "log.json", log(samples=[sample(scores={"grade": {"value": {"a": 1, "b": 0.5}}})]))
    assert {(r["metric"], r["value"]) for r in inspect.read(path).rows.to_pylist()} == {
        ("grade/a", 1),
        ("grade/b", 0.5),
    }


def test_a_sample_that_crashed_is_missing_in_every_metric(tmp_path: Path) -> None:
    crashed = sample(id=2, scores={}, error={"message": "boom"})
    found = inspect.read(write(tmp_path / "log.json", log(samples=[sample(), crashed], status="error")))
    row = found.rows.to_pylist()[1]
    assert (row["item"], row["metric"], row["value"], row["reason"]) == ("2", "match", None, "error")
    assert "did not finish" in found.notes[0]


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_stored_and_deflated_members_are_read(tmp_path: Path, method: int) -> None:
    path = archive(tmp_path / "log.eval", sample(), sample(id=2), method=method)
    assert inspect.read(path).rows["item"].to_pylist() == ["1", "2"]


def test_an_archive_that_unpacks_to_too_much_is_refused_before_unpacking(tmp_path: Path) -> None:
    path = archive(tmp_path / "log.eval", sample(input="a" * (8 << 20)))
    with pytest.raises(UserError, match=r"unpacks to 8 MB in 2 members .* refused as unsafe"):
        inspect.read(path)


def test_a_member_that_unpacks_to_more_than_it_claims_is_refused(tmp_path: Path) -> None:
    path = archive(tmp_path / "log.eval", sample(input="a" * 5000))
    with zipfile.ZipFile(path) as opened:
        size = next(i.file_size for i in opened.infolist() if i.filename.startswith("samples"))
    raw = path.read_bytes().replace(size.to_bytes(4, "little"), (size - 4000).to_bytes(4, "little"))
    path.write_bytes(raw)
    with pytest.raises(UserError, match=r"1_epoch_1.json: damaged \(its checksum does not match\)"):
        inspect.read(path)


def test_a_path_in_an_archive_is_never_used(tmp_path: Path) -> None:
    path = tmp_path / "log.eval"
    archive(path, sample())
    with zipfile.ZipFile(path, "a") as out:
        out.writestr("samples/../../escaped.json", json.dumps(sample(id=9)))
    inspect.read(path)
    assert [file.name for file in tmp_path.iterdir()] == ["log.eval"]
    assert not (tmp_path.parent / "escaped.json").exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"eval": 3}, 'field "eval" is a number'),
        ({"samples": {}}, "holds no scored sample"),
        ({"samples": {"a": 1}}, 'field "samples" is an object'),
        ({"samples": [[]]}, r"samples\[0\]: expected an object, found a list"),
        ({"samples": [{"id": None}]}, r'samples\[0\]: field "id" is null'),
        ({"samples": [{"id": 1, "epoch": "x"}]}, 'field "epoch" is no ordinary whole number'),
        ({"samples": [{"id": 1, "scores": {"m": 3}}]}, 'field "scores.m" has no value'),
    ],
)
def test_a_wrong_field_is_named(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        inspect.read(write(tmp_path / "log.json", log(**changes)))


def test_an_eval_file_that_is_no_archive_is_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "log.eval"
    path.write_bytes(b"{}")
    with pytest.raises(UserError, match="not an Inspect log"):
        inspect.read(path)
