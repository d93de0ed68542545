"""A run is whole or absent; a damaged file is known by name and never read as data."""

import errno
import json
import multiprocessing as mp
import os
from pathlib import Path

import pyarrow as pa
import pytest

from netgain.errors import UserError
from netgain.ledger import files
from netgain.ledger.claims import Busy
from netgain.ledger.items import Item, higher_is_better, read, table
from netgain.ledger.query import connect
from netgain.ledger.store import Corrupt, Ledger, RunFolder

ITEMS = [
    Item("sst", "accuracy", "a", "final", 1.0, label="yes", prediction="yes", parsed=True),
    Item("sst", "accuracy", "b", "final", None, reason="oom"),
]


def finished(root: Path, sig: str = "0123456789abcdef") -> RunFolder:
    run = Ledger(root).run(sig)
    with run.claim():
        run.start({"run": {"seed": 0}}, {"python": "3"})
        run.append_metrics([{"step": 1, "progress": 0.5, "loss": 2.0, "terms": {"ce": {"raw": 2.0, "weight": 1.0}}}])
        run.write_part("final-sst", ITEMS)
        run.seal_items(["final-sst"])
        (run.path / "adapter").mkdir()
        (run.path / "adapter" / "adapter_model.safetensors").write_bytes(b"tensors")
        run.finish({"steps": 1})
    return run


def test_items_come_back_as_written(tmp_path: Path) -> None:
    run = finished(tmp_path)
    assert [item.value for item in read(run.items())] == [1.0, None]
    assert list(read(run.items()))[1].reason == "oom"


@pytest.mark.parametrize("value", [None, float("nan")])
def test_a_missing_value_needs_a_reason(value: float | None) -> None:
    with pytest.raises(ValueError, match="reason"):
        Item("t", "m", "i", "final", value)


def test_a_value_has_no_reason() -> None:
    with pytest.raises(ValueError, match="reason"):
        Item("t", "m", "i", "final", 0.0, reason="error")


@pytest.mark.parametrize(
    "name", ["items.parquet", "metrics.jsonl", "spec.json", "env.json", "adapter/adapter_model.safetensors"]
)
def test_a_damaged_file_is_named(tmp_path: Path, name: str) -> None:
    run = finished(tmp_path)
    path = run.path / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(Corrupt, match=name):
        run.verify()


def test_a_changed_record_is_not_believed(tmp_path: Path) -> None:
    run = finished(tmp_path)
    path = run.path / "record.json"
    path.write_text(path.read_text().replace('"steps": 1', '"steps": 9'))
    assert run.state() == "corrupt"
    path.write_text("{")
    assert run.state() == "corrupt"


def test_a_file_that_was_read_is_read_again_when_it_changes_and_always_to_verify(tmp_path: Path) -> None:
    run = finished(tmp_path)
    path = run.path / "record.json"
    assert run.record() is run.record()
    sealed, times = path.read_text(), path.stat()
    path.write_text(sealed.replace('"steps": 1', '"steps": 9'))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns + 1))
    assert run.state() == "corrupt"
    path.write_text(sealed)
    items = run.verified("items.parquet")
    run.ledger.read.of(items, files.sha256)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "_stamp", lambda path: (0,))  # a disk that shows no change
        assert run.verified("items.parquet") == items
        items.write_bytes(items.read_bytes()[:-1] + b"x")
        assert run.verified("items.parquet") == items
        with pytest.raises(Corrupt):
            run.verify()


@pytest.mark.parametrize("name", ["items.parquet", "metrics.jsonl", "spec.json", "env.json"])
def test_a_damaged_run_is_refused_by_queries(tmp_path: Path, name: str) -> None:
    run = finished(tmp_path)
    (run.path / name).write_bytes((run.path / name).read_bytes().replace(b"0", b"1").replace(b"3", b"4") + b"\n")
    with pytest.raises(Corrupt, match=name):
        connect(tmp_path)


@pytest.mark.parametrize("task", ["../../escaped", "n" * 300, "a/b", "日本" * 90, "\x00", ".."])
def test_a_task_of_any_name_has_a_part_of_its_own_in_the_run(tmp_path: Path, task: str) -> None:
    run = Ledger(tmp_path).run("aa")
    for name in (f"final-{task}", f"final-{task}2"):
        run.write_part(name, ITEMS)
    assert {path.parent for path in tmp_path.rglob("*.parquet")} == {run.path / "parts"}
    assert len(list((run.path / "parts").iterdir())) == 2
    run.seal_items([f"final-{task}", f"final-{task}2"])
    assert run.part("final-sentiment").name == "final-sentiment.parquet"


def test_states_follow_the_files(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    run = ledger.run("aa")
    assert run.state() == "missing"
    with run.claim():
        assert run.state() == "running"
        run.fail("diverged at step 3")
    assert run.state() == "failed"
    run.start({}, {})
    assert run.state() == "missing"
    assert finished(tmp_path, "bb").state() == "done"


def hold(root: str, ready: "mp.synchronize.Event", done: "mp.synchronize.Event") -> None:
    with Ledger(root).run("aa").claim():
        ready.set()
        done.wait(20)


def test_two_processes_never_hold_one_run_and_a_killed_one_lets_go(tmp_path: Path) -> None:
    context = mp.get_context("spawn")
    ready, done = context.Event(), context.Event()
    child = context.Process(target=hold, args=(str(tmp_path), ready, done))
    child.start()
    assert ready.wait(20)
    run = Ledger(tmp_path).run("aa")
    with pytest.raises(Busy), run.claim():
        pass
    child.kill()
    child.join()
    child.close()
    with run.claim():
        pass


def test_resuming_drops_the_rows_that_will_be_measured_again(tmp_path: Path) -> None:
    run = Ledger(tmp_path).run("aa")
    run.start({}, {})
    run.append_metrics({"step": step, "loss": 1.0} for step in range(1, 6))
    with (run.path / "metrics.jsonl").open("a") as out:
        out.write('{"step": 6, "lo')
    assert [row["step"] for row in run.metrics()] == [1, 2, 3, 4, 5]
    run.metrics_up_to(3)
    run.append_metrics([{"step": 4, "loss": 2.0}])
    assert [row["step"] for row in run.metrics()] == [1, 2, 3, 4]


def test_a_full_disk_is_one_sentence_and_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "spec.json"
    files.write_json(path, {"old": 1})

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(UserError, match="disk is full"):
        files.write_json(path, {"new": 1})
    assert json.loads(path.read_text()) == {"old": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_queries_see_runs_items_metrics_and_terms(tmp_path: Path) -> None:
    run = finished(tmp_path)
    Ledger(tmp_path).write_study("toy", {"runs": [{"sig": run.sig, "arm": "sft", "seed": 3}]})
    db = connect(tmp_path)
    assert db.sql("SELECT arm, seed, state FROM runs").fetchall() == [("sft", 3, "done")]
    assert db.sql("SELECT arm, avg(value), count(*) FROM items GROUP BY arm").fetchall() == [("sft", 1.0, 2)]
    assert db.sql("SELECT run, step, loss FROM metrics").fetchall() == [(run.sig, 1, 2.0)]
    assert db.sql("SELECT term, raw, weight FROM probes").fetchall() == [("ce", 2.0, 1.0)]


def test_an_unfinished_run_is_no_evidence(tmp_path: Path) -> None:
    run = Ledger(tmp_path).run("aa")
    run.start({}, {})
    run.write_part("p", ITEMS)
    run.seal_items(["p"])
    assert connect(tmp_path).sql("SELECT count(*) FROM items").fetchall() == [(0,)]


def test_a_folder_without_a_ledger_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no ledger"):
        connect(tmp_path / "nowhere")


def test_losses_are_better_when_lower() -> None:
    assert higher_is_better("accuracy")
    assert not higher_is_better("nll")
    assert not higher_is_better("label_nll")


def test_the_schema_holds_every_field_of_an_item() -> None:
    rows = table(ITEMS, "aa")
    assert isinstance(rows, pa.Table)
    assert rows.column("run").to_pylist() == ["aa", "aa"]
