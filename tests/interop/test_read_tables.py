"""Tables: roles from names, scores in any one notation, and a sentence with file and row for everything else."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from netgain.errors import UserError
from netgain.interop import tables
from netgain.interop.find import read


def csv(folder: Path, text: str, name: str = "r.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def values(path: Path, **roles: str) -> list[float | None]:
    return tables.read(path, roles).rows["value"].to_pylist()


def test_roles_are_inferred_from_names(tmp_path: Path) -> None:
    path = csv(tmp_path, "ID,Model,seed,benchmark,correct,passage,Gold\nq1,m,3,arc,1,p,A\nq2,m,3,arc,0,p,B\n")
    row = tables.read(path).rows.to_pylist()[0]
    expected = {"item": "q1", "arm": "m", "seed": 3, "task": "arc", "metric": "correct", "value": 1.0, "cluster": "p"}
    assert {name: row[name] for name in expected} == expected
    assert (row["label"], row["run"], row["checkpoint"], row["weight"]) == ("A", "m-s3", "final", 1.0)


def test_stated_roles_win_and_a_misspelt_one_is_named(tmp_path: Path) -> None:
    path = csv(tmp_path, "id,points,score\na,0.5,9\n")
    assert values(path, value="points") == [0.5]
    with pytest.raises(UserError, match=r'no column "pionts". Did you mean "points"\?'):
        values(path, value="pionts")
    with pytest.raises(UserError, match=r'"itm" is no role of a column. Did you mean "item"'):
        values(path, itm="id")


def test_several_score_columns_are_several_metrics(tmp_path: Path) -> None:
    rows = tables.read(csv(tmp_path, "id,correct,nll\na,1,2.5\n")).rows.to_pylist()
    assert {(row["metric"], row["value"]) for row in rows} == {("correct", 1.0), ("nll", 2.5)}


@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet", "jsonl"])
def test_one_table_reads_the_same_in_every_format(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"r.{suffix}"
    if suffix == "parquet":
        pq.write_table(pa.table({"id": ["a", "b"], "score": [1.0, None]}), path)
    elif suffix == "jsonl":
        path.write_text('{"id": "a", "score": 1}\n{"id": "b", "score": null}\n')
    else:
        tab = "\t" if suffix == "tsv" else ","
        path.write_text(f"id{tab}score\na{tab}1\nb{tab}\n")
    rows = read(path).rows
    assert rows["value"].to_pylist() == [1.0, None]
    assert rows["reason"].to_pylist() == [None, "missing"]
    assert rows["task"].to_pylist() == ["items", "items"]


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["50%", "12.5 %", "0"], [0.5, 0.125, 0.0]),
        (["0,5", "0,25", "1"], [0.5, 0.25, 1.0]),
        (["true", "False", "TRUE"], [1.0, 0.0, 1.0]),
        (["C", "I", "I"], [1.0, 0.0, 0.0]),
        (["pass", "failed", "fail"], [1.0, 0.0, 0.0]),
        (["1e-3", "-2", ".5"], [0.001, -2.0, 0.5]),
    ],
)
def test_scores_in_one_notation_are_read(tmp_path: Path, cells: list[str], expected: list[float]) -> None:
    body = "".join(f'{i};"{cell}"\n' for i, cell in enumerate(cells))
    assert values(csv(tmp_path, f"id;score\n{body}")) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("cell", "reason"),
    [("", "missing"), ("nan", "undefined"), ("inf", "undefined"), ("OOM", "oom"), ("[invalid]", "invalid"),
     ("failed", "error"), ("timeout", "timeout"), ("N/A", "missing")],
)  # fmt: skip
def test_what_is_no_score_is_missing_with_its_reason(tmp_path: Path, cell: str, reason: str) -> None:
    rows = tables.read(csv(tmp_path, f"id,score\na,1\nb,{cell}\n")).rows
    assert rows["value"].to_pylist() == [1.0, None]
    assert rows["reason"].to_pylist() == [None, reason]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("id,score\na,56.6%\nb,0.57\n", r'mixes "56.6%" \(data row 1\) and "0.57" \(data row 2\)'),
        ("id;score\na;0,5\nb;0.25\n", r'mixes "0,5" \(data row 1\) and "0.25" \(data row 2\)'),
        ("id,score\na,true\nb,0.25\n", r'mixes "true" \(data row 1\) and "0.25" \(data row 2\)'),
        ('id,score\na,"1,234"\n', 'data row 1: "1,234" may be a decimal or thousands'),
        ("id,score\na,banana\n", 'column "score", data row 1: "banana" is no score'),
        ("id,score\na,1\nb\n", "line 3: has 1 fields where the header has 2"),
        ("id,score\na,1\n,0\n", 'data row 2: no item id in column "id"'),
        ("id,id,score\na,a,1\n", 'two columns are called "id"'),
        ("name,score\na,1\n", "no column says which item a row is about"),
        ("id,word\na,1\n", "no column holds a score; name it with --column value=COLUMN. Its columns are id, word"),
        ("id,score,seed\na,1,x\n", "the seed must be a whole number"),
        ("id,score\na,1\na,0\n", "1 rows repeat an earlier one, the first for .*item a"),
        ("id,score\n", "has a header and no rows"),
        ("", "the file is empty"),
        (" \n\n", "the file is empty"),
        ("id,score\na,\0\n", "holds NUL bytes"),
        (f"id,score\na,{'9' * 500}\n", "is no score"),
    ],
)
def test_a_wrong_table_is_one_sentence_with_its_place(tmp_path: Path, text: str, words: str) -> None:
    path = csv(tmp_path, text)
    with pytest.raises(UserError, match=words) as caught:
        read(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"id": 1, "score": 1}\n{"id": 2, "sco', "line 2: not valid JSON at column"),
        ('{"id": 1, "score": [1]}\n', "a score must be a number, true or false"),
        ("[1, 2]\n", "line 1: expected a JSON object, found a list"),
        ('{"id": 1, "score": ' + "9" * 400 + "}\n", "is no score"),
        ('{"id": 1, "score": ' + "9" * 9000 + "}\n", "more than 4000 digits"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_wrong_json_lines_are_one_sentence_with_their_line(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        read(csv(tmp_path, text, "r.jsonl"))


def test_ids_beyond_64_bits_stay_exact(tmp_path: Path) -> None:
    path = csv(tmp_path, f'{{"id": {10**30}, "score": 1}}\n{{"id": {10**30 + 1}, "score": 0}}\n', "r.jsonl")
    assert tables.read(path).rows["item"].to_pylist() == [str(10**30), str(10**30 + 1)]


def test_a_damaged_parquet_file_is_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "r.parquet"
    pq.write_table(pa.table({"id": ["a"], "score": [1.0]}), path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match=r"r\.parquet: damaged Parquet file"):
        read(path)
    path.write_bytes(b"hello")
    with pytest.raises(UserError, match="not a Parquet file"):
        read(path)
