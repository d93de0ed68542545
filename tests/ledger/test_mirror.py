"""A copied run is whole or absent, and never another run than the one that was sealed."""

import json
from pathlib import Path
from typing import Any

import fsspec
import pytest

from netgain.errors import UserError
from netgain.ledger.items import Item
from netgain.ledger.mirror import Mirror
from netgain.ledger.store import Corrupt, Ledger, RunFolder

SIG = "0123456789abcdef"


@pytest.fixture
def url() -> Any:
    yield "memory://mirror"
    fsspec.filesystem("memory").store.clear()


def finished(root: Path) -> RunFolder:
    run = Ledger(root).run(SIG)
    run.start({"run": {"seed": 0}}, {"python": "3"})
    run.write_part("final-sst", [Item("sst", "accuracy", "a", "final", 1.0, label="yes", prediction="yes")])
    run.seal_items(["final-sst"])
    (run.path / "adapter").mkdir()
    (run.path / "adapter" / "adapter_model.safetensors").write_bytes(bytes(range(256)) * 50)
    run.finish({"steps": 1})
    return run


def contents(run: RunFolder) -> dict[str, bytes]:
    return {str(f.relative_to(run.path)): f.read_bytes() for f in run.path.rglob("*") if f.is_file()}


def test_a_run_arrives_as_it_left(tmp_path: Path, url: str) -> None:
    here, there = finished(tmp_path / "here"), Ledger(tmp_path / "there").run(SIG)
    Mirror(url).push(here)
    Mirror(url).pull(there)
    assert contents(there) == contents(here)
    there.verify()


def test_a_file_url_is_a_folder(tmp_path: Path) -> None:
    here, there = finished(tmp_path / "here"), Ledger(tmp_path / "there").run(SIG)
    Mirror(f"file://{tmp_path}/mirror").push(here)
    Mirror(str(tmp_path / "mirror")).pull(there)
    assert contents(there) == contents(here)


def test_a_copy_without_its_record_is_absent(tmp_path: Path, url: str) -> None:
    mirror, there = Mirror(url), Ledger(tmp_path / "there").run(SIG)
    mirror.push(finished(tmp_path / "here"))
    mirror.fs.rm(f"{mirror.root}/runs/{SIG}/record.json")
    mirror.pull(there)
    assert there.state_on_disk() == "missing"


@pytest.mark.parametrize("name", ["items.parquet", "spec.json", "adapter/adapter_model.safetensors", "record.json"])
def test_a_damaged_copy_is_refused_by_name(name: str, tmp_path: Path, url: str) -> None:
    mirror, there = Mirror(url), Ledger(tmp_path / "there").run(SIG)
    mirror.push(finished(tmp_path / "here"))
    mirror.fs.pipe_file(f"{mirror.root}/runs/{SIG}/{name}", b"damaged")
    with pytest.raises(Corrupt, match=name):
        mirror.pull(there)
    assert there.state_on_disk() == "missing"


def test_a_record_that_points_elsewhere_writes_nothing_there(tmp_path: Path, url: str) -> None:
    mirror, there = Mirror(url), Ledger(tmp_path / "there").run(SIG)
    mirror.push(finished(tmp_path / "here"))
    path = f"{mirror.root}/runs/{SIG}/record.json"
    record = json.loads(mirror.fs.cat_file(path))
    record["files"] = {"../../escaped": "0" * 64}
    mirror.fs.pipe_file(path, json.dumps(record).encode())
    with pytest.raises(Corrupt, match="outside"):
        mirror.pull(there)
    assert not list(tmp_path.rglob("escaped"))


def test_a_failure_keeps_its_reason_and_a_finished_run_is_never_replaced(tmp_path: Path, url: str) -> None:
    mirror = Mirror(url)
    failed = Ledger(tmp_path / "a").run(SIG)
    failed.start({}, {})
    failed.fail("diverged at step 3")
    mirror.push(failed)
    there = Ledger(tmp_path / "b").run(SIG)
    mirror.pull(there)
    assert there.json("failure.json")["reason"] == "diverged at step 3"
    done = finished(tmp_path / "c")
    before = contents(done)
    mirror.pull(done)
    assert contents(done) == before


def test_an_unknown_kind_of_url_is_one_sentence() -> None:
    with pytest.raises(UserError, match="nowhere://x"):
        Mirror("nowhere://x")
