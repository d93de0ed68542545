"""Whatever bytes a file holds, a reader returns evidence or raises one sentence; never another error."""

import json
import tempfile
import tracemalloc
import warnings
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netgain.errors import UserError
from netgain.interop.find import read
from netgain.interop.samples import ROWS, SCORES, Samples

NAMES = ("r.csv", "r.tsv", "r.parquet", "r.jsonl", "samples_t_2026-01-01T00.jsonl", "results_1.json", "log.json",
         "log.eval", "trainer_state.json")  # fmt: skip
RELAXED = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just("\ud83d")
trees = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
fields = st.sampled_from(
    ["doc_id", "target", "resps", "filtered_resps", "metrics", "acc", "arguments", "filter", "doc_hash", "id", "score",
     "correct", "seed", "item", "value", "sample"]
)  # fmt: skip
ENTRY = st.sampled_from(["id", "epoch", "scores", "target", "messages", "output", "step", "loss"])
SPEC = st.fixed_dictionaries({"task": trees, "model": trees})
logs = st.dictionaries(
    st.sampled_from(["version", "status", "eval", "samples", "results", "log_history", "n-samples", "model_name"]),
    trees | SPEC | st.lists(
        st.dictionaries(ENTRY, trees)
    ),
)  # fmt: skip


def outcome(path: Path) -> Samples | UserError:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            return read(path)
        except UserError as error:
            return error


def sentence_or_samples(path: Path) -> None:
    found = outcome(path)
    if isinstance(found, UserError):
        assert str(path) in str(found)
        return
    assert found.rows.schema == ROWS
    assert found.scores.schema == SCORES
    for row in found.rows.to_pylist():
        assert (row["value"] is None) == (row["reason"] is not None)


@RELAXED
@given(name=st.sampled_from(NAMES), content=st.binary(max_size=300))
def test_any_bytes_under_any_name(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    sentence_or_samples(path)


@RELAXED
@given(cells=st.lists(st.lists(st.text(alphabet="01.,;%\"'\t\nabnan-eE ", max_size=6), max_size=4), max_size=5))
def test_any_cells_in_a_table(tmp_path: Path, cells: list[list[str]]) -> None:
    path = tmp_path / "r.csv"
    path.write_text("id,score\n" + "\n".join(",".join(row) for row in cells))
    sentence_or_samples(path)


@RELAXED
@given(lines=st.lists(st.dictionaries(fields, trees, max_size=8), max_size=4), name=st.sampled_from(NAMES[3:5]))
def test_any_json_lines(tmp_path: Path, lines: list[dict[str, object]], name: str) -> None:
    path = tmp_path / name
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    sentence_or_samples(path)


@RELAXED
@given(tree=logs, name=st.sampled_from(["results_1.json", "log.json", "trainer_state.json"]))
def test_any_json_document(tmp_path: Path, tree: dict[str, object], name: str) -> None:
    path = tmp_path / name
    path.write_text(json.dumps(tree))
    sentence_or_samples(path)


@RELAXED
@given(data=st.data())
def test_a_real_log_cut_or_damaged_anywhere(fixtures: Path, data: st.DataObject) -> None:
    real = data.draw(
        st.sampled_from(sorted(f for f in fixtures.rglob("*") if f.suffix in (".jsonl", ".json", ".eval")))
    )
    content = bytearray(real.read_bytes())
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content)))]
    for _ in range(data.draw(st.integers(0, 3))):
        if content:
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / real.name
        path.write_bytes(content)
        sentence_or_samples(path)


@pytest.mark.parametrize("name", ["r.csv", "r.jsonl", "results_1.json", "log.eval", "r.parquet"])
@pytest.mark.parametrize("byte", [b"x", b"[", b"\0", b"1,"])
def test_a_file_of_junk_is_refused_in_bounded_memory(tmp_path: Path, name: str, byte: bytes) -> None:
    path = tmp_path / name
    with path.open("wb") as out:
        for _ in range(48):
            out.write(byte * ((1 << 20) // len(byte)))
    tracemalloc.start()
    try:
        with pytest.raises(UserError):
            read(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 160 << 20
