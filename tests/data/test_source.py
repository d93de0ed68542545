"""Sources: every kind of file gives the same examples, and whatever is wrong is named with its file and line."""

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import TypeAdapter

from netgain.data.source import Example, Turn, read
from netgain.errors import UserError
from netgain.spec.run import Source

ROWS = [{"sentence": f"film {i} is 'good\"", "label": i % 2, "uid": f"u{i}", "film": f"f{i // 2}"} for i in range(6)]
FIELDS = {"prompt": "Review: {sentence}\nSentiment:", "answer": "label", "labels": {"0": "bad", "1": "good"}}


def source(**fields: Any) -> Any:
    return TypeAdapter(Source).validate_python(fields)


def jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n", encoding="utf-8")
    return path


def examples(folder: Path, **fields: Any) -> list[Example]:
    jsonl(folder / "rows.jsonl", ROWS)
    return read(source(kind="jsonl", path="rows.jsonl", **{**FIELDS, **fields}), folder)


def test_every_kind_of_file_gives_the_same_examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    expected = examples(tmp_path)
    assert expected[1].turns == (Turn("user", "Review: film 1 is 'good\"\nSentiment:"),)
    assert (expected[1].answer, expected[1].labels) == ("good", ("bad", "good"))

    with gzip.open(tmp_path / "rows.jsonl.gz", "wt") as stream:
        stream.write((tmp_path / "rows.jsonl").read_text())
    (tmp_path / "rows.json").write_text(json.dumps(ROWS))
    lines = ["\ufeffsentence\tlabel", *(f"{row['sentence']}\t{row['label']}" for row in ROWS)]
    (tmp_path / "rows.tsv").write_text("\n".join(lines), encoding="utf-8")
    quoted = [f'"{row["sentence"]}"'.replace('d"', 'd""') + f",{row['label']}" for row in ROWS]
    (tmp_path / "rows.csv").write_text("\n".join(quoted))
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "rows.parquet")
    names = datasets.Features(
        {"sentence": datasets.Value("string"), "label": datasets.ClassLabel(names=["bad", "good"])}
    )
    (tmp_path / "hf").mkdir()
    table = datasets.Dataset.from_list([{"sentence": r["sentence"], "label": r["label"]} for r in ROWS], features=names)
    table.to_parquet(str(tmp_path / "hf" / "train.parquet"))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")

    unlabelled = {name: value for name, value in FIELDS.items() if name != "labels"}
    for found in (
        read(source(kind="jsonl", path="rows.jsonl.gz", **FIELDS), tmp_path),
        read(source(kind="jsonl", path="rows.json", **FIELDS), tmp_path),
        read(source(kind="csv", path="rows.tsv", **FIELDS), tmp_path),
        read(source(kind="csv", path="rows.csv", header=["sentence", "label"], **FIELDS), tmp_path),
        read(source(kind="parquet", path="rows.parquet", **FIELDS), tmp_path),
        read(source(kind="hf", path=str(tmp_path / "hf"), **FIELDS), None),
        read(source(kind="hf", path=str(tmp_path / "hf"), **unlabelled), None),
    ):
        assert found == expected


def test_the_embedded_suites_are_a_source() -> None:
    found = read(source(kind="embedded", suite="sentiment", n=7, seed=3), None)
    assert len(found) == 7
    assert all(example.answer in example.labels for example in found)


def test_paths_are_looked_up_in_the_data_folder_and_then_beside_the_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "study").mkdir()
    jsonl(tmp_path / "data" / "rows.jsonl", ROWS[:1])
    jsonl(tmp_path / "study" / "rows.jsonl", ROWS[:2])
    asked = source(kind="jsonl", path="rows.jsonl", **FIELDS)
    assert len(read(asked, tmp_path / "study")) == 2
    monkeypatch.setenv("NETGAIN_DATA", str(tmp_path / "data"))
    assert len(read(asked, tmp_path / "study")) == 1
    with pytest.raises(UserError, match=r"none.jsonl: no such file: neither .*data/none.jsonl nor .*study/none.jsonl"):
        read(source(kind="jsonl", path="none.jsonl", **FIELDS), tmp_path / "study")


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    file = jsonl(tmp_path / "rows.jsonl", [ROWS[0]] * 20)
    lines = file.read_bytes().splitlines(keepends=True)
    asked = source(kind="jsonl", path=str(file), **FIELDS)
    for broken, sentence in (
        (b'{"sentence": "no end\n', "not valid JSON"),
        (b"[1, 2]\n", "a row is a JSON object, not a list"),
        (b'{"sentence": "\xff", "label": 0}\n', "not UTF-8 text"),
        (b'{"sentence": "x", "label": null}\n', 'the field "label" is empty'),
        (b'{"sentense": "x", "label": 1}\n', 'no field "sentence". Did you mean "sentense"?'),
        (b'{"sentence": "x", "label": 2}\n', 'label "2" is not in `labels` (0, 1)'),
    ):
        file.write_bytes(b"".join([*lines[:16], broken, *lines[17:]]))
        with pytest.raises(UserError) as error:
            read(asked, None)
        assert str(error.value).startswith(f"{file}:17: "), error.value
        assert sentence in str(error.value)
        assert "\n" not in str(error.value)


def test_a_csv_row_with_too_few_cells_is_named(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text('sentence,label\n"two\nlines",1\nonly one\n')
    with pytest.raises(UserError, match=r"rows.csv:4: 1 cells where there are 2 columns"):
        read(source(kind="csv", path="rows.csv", **FIELDS), tmp_path)


def test_files_that_are_not_what_they_are_called_are_named(tmp_path: Path) -> None:
    (tmp_path / "rows.parquet").write_text("no parquet")
    with pytest.raises(UserError, match=r"rows.parquet: cannot be read as Parquet"):
        read(source(kind="parquet", path="rows.parquet", **FIELDS), tmp_path)
    (tmp_path / "rows.jsonl.gz").write_text("no gzip")
    with pytest.raises(UserError, match=r"rows.jsonl.gz: cannot be read"):
        read(source(kind="jsonl", path="rows.jsonl.gz", **FIELDS), tmp_path)
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(UserError, match=r"empty.jsonl: holds no rows"):
        read(source(kind="jsonl", path="empty.jsonl", **FIELDS), tmp_path)
    with pytest.raises(UserError, match=r"cannot be loaded"):
        read(source(kind="hf", path=str(tmp_path), **FIELDS), None)


def test_ids_and_groups_depend_on_content_alone(tmp_path: Path) -> None:
    first = examples(tmp_path)
    jsonl(tmp_path / "more.jsonl", [*reversed(ROWS), ROWS[2]])
    more = read(source(kind="jsonl", path="more.jsonl", **FIELDS), tmp_path)
    assert {e.id for e in first} < {e.id for e in more}
    assert [e.id for e in more if e.turns == first[2].turns] == [first[2].id, f"{first[2].id}-2"]
    assert len({e.group for e in more}) == 6


def test_explicit_ids_and_groups(tmp_path: Path) -> None:
    found = examples(tmp_path, id="uid", group="film")
    assert [e.id for e in found] == [f"u{i}" for i in range(6)]
    assert [len({found[2 * k].group, found[2 * k + 1].group}) for k in range(3)] == [1, 1, 1]
    assert len({e.group for e in found}) == 3
    with pytest.raises(UserError, match='the id "f0" appears twice'):
        examples(tmp_path, id="film")


def test_limits_take_the_first_rows_or_a_stable_sample(tmp_path: Path) -> None:
    everything = examples(tmp_path)
    assert examples(tmp_path, limit=2) == everything[:2]
    sample = examples(tmp_path, limit=3, shuffle_seed=1)
    assert len(sample) == 3
    assert sample == examples(tmp_path, limit=3, shuffle_seed=1)
    assert {tuple(e.id for e in examples(tmp_path, limit=3, shuffle_seed=s)) for s in range(5)} != {
        tuple(e.id for e in sample)
    }


def test_conversations_of_either_form(tmp_path: Path) -> None:
    chat = [{"role": r, "content": c} for r, c in (("user", "hi"), ("assistant", "yes?"), ("user", "2+2"))]
    rows = [
        {"chat": [*chat, {"role": "assistant", "content": "4"}]},
        {"chat": [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "hello"}]},
    ]
    jsonl(tmp_path / "chat.jsonl", rows)
    asked = {"kind": "jsonl", "path": "chat.jsonl", "messages": "chat"}
    first, second = read(source(**asked, system="Be {tone}.".replace("{tone}", "brief")), tmp_path)
    assert [turn.role for turn in first.turns] == ["system", "user", "assistant", "user"]
    assert (first.answer, second.answer) == ("4", "hello")
    assert second.turns[1:] == (Turn("user", "hi"),)
    jsonl(tmp_path / "chat.jsonl", [{"chat": chat}])
    with pytest.raises(UserError, match=r'chat.jsonl:1: the last message of "chat" is no assistant'):
        read(source(**asked), tmp_path)
    jsonl(tmp_path / "chat.jsonl", [{"chat": [{"role": "system", "content": "s"}, *chat[:2]]}])
    with pytest.raises(UserError, match=r"system turn of its own"):
        read(source(**asked, system="t"), tmp_path)


def test_templates_reach_into_nested_fields_and_keep_literal_braces(tmp_path: Path) -> None:
    jsonl(tmp_path / "qa.jsonl", [{"q": "who?", "answers": {"text": ["Ada", "Lovelace"]}, "ok": True, "n": 3.0}])
    asked = {"kind": "jsonl", "path": "qa.jsonl", "answer": "{answers.text.0}"}
    [found] = read(source(**asked, prompt="{{json}} {q} {ok} {n}"), tmp_path)
    assert (found.turns[0].text, found.answer) == ("{json} who? true 3", "Ada")
    for template, sentence in (("{q", "literal brace"), ("{q!r}", "one field name"), ("{}", "one field name")):
        with pytest.raises(UserError, match=sentence):
            read(source(**asked, prompt=template), tmp_path)


def test_labels_that_a_dataset_does_not_declare_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    names = datasets.Features({"sentence": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])})
    table = datasets.Dataset.from_list([{"sentence": "a", "label": 1}, {"sentence": "b", "label": -1}], features=names)
    (tmp_path / "hf").mkdir()
    table.to_parquet(str(tmp_path / "hf" / "train.parquet"))
    with pytest.raises(UserError, match=r'row 2: label "-1" is none of no, yes'):
        read(source(kind="hf", path=str(tmp_path / "hf"), prompt="{sentence}", answer="label"), None)
