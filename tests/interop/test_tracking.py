"""Trackers are told what the ledger holds, once, from a process of their own; the runs never notice."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from netgain.cli import main
from netgain.errors import UserError
from netgain.interop import sinks, tracking
from netgain.interop.tracking import Told, track
from netgain.ledger.items import Item
from netgain.ledger.store import Ledger

STEPS = [
    {"step": k, "progress": k / 3, "loss": 2.0 / k, "lr": 0.1, "terms": {"ce": {"raw": 2.0 / k, "weight": 1.0}}}
    for k in (1, 2, 3)
]
DEV = {"event": "dev", "step": 2, "loss": 0.7, "kl_base": 0.1}


def item(value: float | None, weight: float = 1.0) -> Item:
    reason = None if value is not None else "error"
    return Item(
        task="qa", metric="accuracy", item=f"q{value}{weight}", checkpoint="final", value=value, reason=reason,
        weight=weight,
    )  # fmt: skip


def begin(ledger: Ledger, sig: str) -> Any:
    folder = ledger.run(sig)
    folder.start({"run": {"model": {"id": "tiny"}, "optim": {"steps": 3, "betas": [0.9, 0.99]}}}, {})
    return folder


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """A finished run, and one that failed."""
    made = Ledger(tmp_path / "ledger")
    folder = begin(made, "a" * 16)
    folder.append_metrics([STEPS[0], STEPS[1], DEV, STEPS[2]])
    folder.write_part("qa", [item(1.0, 3.0), item(0.0, 1.0), item(None)])
    folder.seal_items(["qa"])
    folder.finish({"steps": 3})
    broken = begin(made, "b" * 16)
    broken.append_metrics(STEPS[:1])
    broken.fail("diverged at step 2")
    runs = [{"arm": "kl", "seed": 0, "sig": "a" * 16}, {"arm": "kl", "seed": 1, "sig": "b" * 16}]
    made.write_study("demo", {"runs": runs})
    return made


class Heard:
    """A tracker that remembers."""

    def __init__(self, ledger: Path, place: str | None) -> None:
        self.said: list[Any] = SAID

    def begin(self, run: Told, after: int) -> "HeardLine":
        self.said.append(("begin", run.name, after, dict(run.settings)))
        return HeardLine(self.said)


class HeardLine:
    def __init__(self, said: list[Any]) -> None:
        self.said = said

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        self.said.append((step, dict(numbers)))

    def end(self, scores: Mapping[str, float], links: Mapping[str, str], failed: str | None) -> None:
        self.said.append(("end", dict(scores), sorted(links), failed))


SAID: list[Any] = []


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    SAID.clear()
    monkeypatch.setitem(sinks.KINDS, "wandb", Heard)
    return SAID


def test_a_tracker_is_told_all_that_a_run_is_and_only_once(ledger: Ledger, heard: list[Any]) -> None:
    assert track(ledger, "wandb") == {"a" * 16: 3, "b" * 16: 1}
    settings = {"model.id": "tiny", "optim.steps": 3, "optim.betas": "[0.9, 0.99]"}
    assert heard[0] == ("begin", "kl, seed 0", 0, settings)
    first = {"train/loss": 2.0, "train/lr": 0.1, "terms/ce/raw": 2.0, "terms/ce/weight": 1.0}
    assert heard[1] == (1, first)
    assert heard[2][1]["dev/loss"] == 0.7
    assert heard[2][1]["dev/kl_base"] == 0.1
    ended = [row for row in heard if row[0] == "end"]
    assert ended[0] == ("end", {"final/qa/accuracy": 0.75}, ["folder", "items.parquet", "record.json"], None)
    assert ended[1] == ("end", {}, ["failure.json", "folder"], "diverged at step 2")
    heard.clear()
    assert track(ledger, "wandb") == {}
    assert heard == []


def test_a_run_under_way_is_told_step_by_step(ledger: Ledger, heard: list[Any]) -> None:
    folder = begin(ledger, "c" * 16)
    ledger.write_study("more", {"runs": [{"arm": "sft", "seed": None, "sig": "c" * 16}]})
    folder.append_metrics(STEPS[:1])
    track(ledger, "wandb")
    folder.append_metrics(STEPS[1:])
    heard.clear()
    assert track(ledger, "wandb") == {"c" * 16: 2}
    assert [row[:3] if row[0] == "begin" else row[0] for row in heard] == [("begin", "sft", 1), 2, 3]


def test_a_tracker_that_is_not_there_is_a_sentence(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r'"wandbb" is no tracker.*Did you mean'):
        track(ledger, "wandbb")
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UserError, match="needs the package wandb; pip install wandb"):
        track(ledger, "wandb")


def test_the_command_line_tells_what_it_told(
    ledger: Ledger, heard: list[Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["netgain", "track", str(ledger.root), "--to", "wandb"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert "wandb: 2 runs, 4 steps told." in capsys.readouterr().out


def test_a_tracker_that_breaks_is_mentioned_and_changes_nothing(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real process, with a library that fails as soon as it is asked."""
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "wandb.py").write_text("raise RuntimeError('no such server')\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "broken"), *sys.path]))
    said: list[str] = []
    with tracking.following("wandb", ledger.root, said.append):
        inside = ledger.run("a" * 16).record()
    assert inside["steps"] == 3
    assert said[0].startswith("tracker wandb: failed with exit code 1; the runs are not affected")
    assert "no such server" in (ledger.root / "tracked" / "wandb.log").read_text()


def test_a_follower_ends_when_whoever_started_it_is_gone(ledger: Ledger) -> None:
    code = (
        "import sys; from netgain.interop import sinks, tracking; from netgain.ledger.store import Ledger\n"
        "class T:\n    def __init__(self, *a): pass\n    def begin(self, run, after): return self\n"
        "    def log(self, *a): pass\n    def end(self, *a): pass\n"
        "sinks.KINDS['wandb'] = T; tracking.POLL_SECONDS = 0.05\n"
        f"print(tracking.track(Ledger({str(ledger.root)!r}), 'wandb', None, tracking.input_is_open))\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    out, _ = child.communicate(timeout=60)
    assert child.returncode == 0
    assert "3" in out


def test_tensorboard_has_the_curves(ledger: Ledger, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # pyright: ignore[reportMissingImports]

    track(ledger, "tensorboard", str(tmp_path / "tb"))
    found = EventAccumulator(str(tmp_path / "tb" / "demo" / f"kl, seed 0 ({'a' * 16})"))
    found.Reload()
    assert [(point.step, point.value) for point in found.Scalars("train/loss")] == [
        (1, 2.0),
        (2, 1.0),
        (3, pytest.approx(2 / 3)),
    ]
    assert found.Scalars("scores/final/qa/accuracy")[0].value == 0.75
    assert {"links", "settings"} <= set(found.Tags()["tensors"])


@pytest.mark.filterwarnings("ignore")  # what its own libraries say to one another
def test_mlflow_has_the_curves(ledger: Ledger, tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow")
    uri = f"sqlite:///{tmp_path}/m.db"
    track(ledger, "mlflow", uri)
    client = mlflow.MlflowClient(tracking_uri=uri)
    where = client.get_experiment_by_name("demo").experiment_id
    runs = {run.info.run_name: run for run in client.search_runs([where])}
    good, bad = runs["kl, seed 0"], runs["kl, seed 1"]
    assert [m.value for m in client.get_metric_history(good.info.run_id, "train/loss")] == [2.0, 1.0, 2 / 3]
    assert good.data.metrics["scores/final/qa/accuracy"] == 0.75
    assert good.data.params["model.id"] == "tiny"
    assert good.data.tags["netgain.folder"].startswith("file://")
    assert (good.info.status, bad.info.status) == ("FINISHED", "FAILED")
    assert bad.data.tags["netgain.failed"] == "diverged at step 2"


def test_wandb_is_told_offline(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    track(ledger, "wandb")
    files = list((ledger.root / "tracked" / "wandb").rglob(f"run-{'a' * 16}.wandb"))
    assert files
    content = b"".join(file.read_bytes() for file in files)
    assert b"terms/ce/raw" in content
    assert b"final/qa/accuracy" in content


def test_trackio_has_the_rows(ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("trackio")
    code = (
        "import sys; from pathlib import Path; from netgain.interop.tracking import track; "
        f"from netgain.ledger.store import Ledger; track(Ledger({str(ledger.root)!r}), 'trackio', 'demo')"
    )
    env = {**os.environ, "TRACKIO_DIR": str(tmp_path / "trackio"), "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    content = b"".join(file.read_bytes() for file in (tmp_path / "trackio").rglob("*") if file.is_file())
    assert b"train/loss" in content
    assert json.dumps("final/qa/accuracy")[1:-1].encode() in content
