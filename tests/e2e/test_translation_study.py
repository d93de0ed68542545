"""Runs that are built from runs: order, a failed need, a kill, two workers; and what is built loads in plain PEFT."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from peft import PeftModel
from transformers import AutoModelForCausalLM
from typer.testing import CliRunner

from netgain.cli import app
from netgain.errors import UserError
from netgain.execute.disjoint import refuse_shared_problems
from netgain.execute.export import export_run
from netgain.ledger.store import Ledger
from netgain.models.load import load as load_model
from netgain.spec.load import load
from netgain.spec.run import ModelSpec
from netgain.spec.study import Study, planned

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
ROOT = Path(__file__).parents[2]
FILE = ROOT / "studies" / "adapter_translation.yaml"


def problem(suite: str, seed: int, convention: str, n: int = 40, limit: int = 8) -> dict[str, Any]:
    kind = {"kind": suite, "limit": limit}
    source = {"kind": "embedded", "suite": suite, "n": n, "seed": seed, "convention": convention}
    return {"name": f"{suite}-{convention}", "domain": suite, "task": {**kind, "source": source}}


def tree(**base: Any) -> dict[str, Any]:
    return {
        "name": "carried",
        "question": "Is an adapter carried over?",
        "base": {
            "model": "tiny-gpt2",
            "method": {"kind": "lora", "r": 2, "alpha": 4},
            "data": {"dev": 4},
            "optim": {"learning_rate": 5e-3, "steps": 3, "batch": 4},
            **base,
        },
        "translation": {
            "source": "tiny-llama",
            "anchors": [problem("sentiment", 2 * i, name) for i, name in enumerate(("swapped", "good", "happy"), 1)],
            "held_out": [problem("nli", 2, "yes")],
            "methods": ["mean", "zero", "global_ridge", "distil"],
            "distil": {"steps": 2, "prompts": 6, "batch": 2, "max_new_tokens": 8},
        },
    }


def written(folder: Path, asked: dict[str, Any]) -> Path:
    path = folder / "carried.yaml"
    path.write_text(yaml.safe_dump(asked, sort_keys=False))
    return path


def command(study: Path, ledger: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "netgain", "run", str(study), "--ledger", str(ledger), *more]


def run(study: Path, ledger: Path, *more: str, code: int = 0) -> str:
    env = {**os.environ, "COLUMNS": "300", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command(study, ledger, *more), capture_output=True, text=True, check=False, env=env)
    assert done.returncode == code, done.stderr[-3000:] + done.stdout[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("study"), tree())


@pytest.fixture(scope="module")
def ledger(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("ledger")
    run(study, root)
    return root


def folder_of(study: Path, ledger: Path, arm: str) -> Path:
    return ledger / "runs" / next(each.sig for each in planned(load(study)) if each.arm == arm)


def same(ledger: Path, other: Path) -> None:
    """Every run has the same items and the same adapter, byte for byte."""
    runs = sorted(path.name for path in (other / "runs").iterdir())
    assert sorted(path.name for path in (ledger / "runs").iterdir()) == runs
    for sig in runs:
        ours, theirs = ledger / "runs" / sig, other / "runs" / sig
        assert pq.read_table(ours / "items.parquet").equals(pq.read_table(theirs / "items.parquet"))
        for file in (theirs / "adapter").glob("*.safetensors"):
            assert (ours / "adapter" / file.name).read_bytes() == file.read_bytes()


def test_what_is_built_comes_after_its_anchors_and_loads_in_plain_peft(study: Path, ledger: Path) -> None:
    built = folder_of(study, ledger, "nli-yes global_ridge")
    record = json.loads((built / "record.json").read_text())
    assert record["built"]["scale"] in (0.25, 0.5, 1.0, 1.5)
    when = (built / "record.json").stat().st_mtime_ns
    for each in planned(load(study)):
        if each.sig == built.name:
            assert all((ledger / "runs" / need / "record.json").stat().st_mtime_ns < when for need in each.needs)
            assert len(each.needs) == 7
    net = load_model(ModelSpec(id="tiny-gpt2")).net
    with torch.no_grad():
        ids = torch.arange(5, 30)[None]
        before = net(input_ids=ids).logits
        after = PeftModel.from_pretrained(net, str(built / "adapter")).eval()(input_ids=ids).logits
    assert float((after - before).abs().max()) > 0


def test_a_stitched_adapter_goes_on_from_what_the_source_writes(study: Path, ledger: Path) -> None:
    made = json.loads((folder_of(study, ledger, "nli-yes distil") / "record.json").read_text())["built"]
    assert made["distilled"]["steps"] == 2
    assert 1 <= made["distilled"]["rows"] <= 6
    assert 0 < made["inputs_explained"] < 1


def test_the_strength_of_a_ridge_can_be_chosen_by_what_the_anchors_lose(ledger: Path, tmp_path: Path) -> None:
    shutil.copytree(ledger, tmp_path / "ledger")
    asked = tree()
    asked["translation"] |= {"methods": ["mean", "global_ridge"], "strength": "loss", "layers": "cka"}
    run(written(tmp_path, asked), tmp_path / "ledger")
    folder = folder_of(tmp_path / "carried.yaml", tmp_path / "ledger", "nli-yes global_ridge")
    losses = json.loads((folder / "record.json").read_text())["built"]["left_out_losses"]
    assert len(losses) == 7
    assert all(np.isfinite(list(losses.values())))


def test_what_was_built_is_exported_with_what_it_computes(study: Path, ledger: Path, tmp_path: Path) -> None:
    sig = folder_of(study, ledger, "nli-yes global_ridge").name
    said = export_run(Ledger(ledger).find(sig), tmp_path / "out", merged=False, checkpoint="final")
    assert "the same first choice at 100.0%" in said
    assert export_run(Ledger(ledger).find(sig), tmp_path / "whole", merged=True, checkpoint="final")
    ids = torch.arange(5, 30)[None]
    with torch.no_grad():
        wrapped = PeftModel.from_pretrained(load_model(ModelSpec(id="tiny-gpt2")).net, str(tmp_path / "out")).eval()
        merged = AutoModelForCausalLM.from_pretrained(tmp_path / "whole")
        torch.testing.assert_close(wrapped(input_ids=ids).logits, merged(input_ids=ids).logits, rtol=1e-3, atol=1e-3)
    base = folder_of(study, ledger, "nli-yes base").name
    with pytest.raises(UserError, match="nothing to export"):
        export_run(Ledger(ledger).find(base), tmp_path / "none", merged=False, checkpoint="final")


def test_a_run_is_translated_by_its_sig(study: Path, ledger: Path, tmp_path: Path) -> None:
    sig = folder_of(study, ledger, "nli-yes on source").name
    asked = ["translate", "--from", sig, "--to", "tiny-gpt2", "--method", "subspace", "--ledger", str(ledger)]
    done = CliRunner().invoke(app, [*asked, "--out", str(tmp_path / "out"), "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["target_effect"] > 0


def test_an_adapter_of_zeros_is_the_base_item_for_item(study: Path, ledger: Path) -> None:
    zero, base = (
        pq.read_table(folder_of(study, ledger, f"nli-yes {arm}") / "items.parquet") for arm in ("zero", "base")
    )
    assert zero["item"].equals(base["item"])
    assert zero["value"].to_pylist() == pytest.approx(base["value"].to_pylist(), abs=1e-6)


def test_a_run_whose_anchor_failed_is_skipped_with_that_reason(tmp_path: Path) -> None:
    asked = tree(optim={"learning_rate": 1e30, "steps": 3, "batch": 4, "clip": None})
    said = run(written(tmp_path, asked), tmp_path / "ledger", code=1)
    assert "nli-yes global_ridge seed 0: skipped: it needs run" in said
    assert "which failed (diverged at step" in said
    assert "nli-yes base: measured" in said
    reason = json.loads(
        (folder_of(tmp_path / "carried.yaml", tmp_path / "ledger", "nli-yes mean") / "failure.json").read_text()
    )
    assert "diverged" not in {key for key in reason if key != "reason"}


def test_a_killed_study_goes_on_where_it_was(study: Path, ledger: Path, tmp_path: Path) -> None:
    process = subprocess.Popen(
        command(study, tmp_path), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    while process.poll() is None and len(list(tmp_path.glob("runs/*/record.json"))) < 5:
        time.sleep(0.05)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    run(study, tmp_path)
    same(tmp_path, ledger)


def test_two_workers_share_the_runs_and_wait_for_each_other(study: Path, ledger: Path, tmp_path: Path) -> None:
    run(study, tmp_path, "--jobs", "2")
    same(tmp_path, ledger)


def test_an_anchor_that_learned_what_is_measured_is_refused() -> None:
    asked = tree()
    asked["translation"]["held_out"] = [{**problem("sentiment", 3, "great", n=400, limit=400), "name": "leak"}]
    with pytest.raises(UserError, match=r"learns from .* problems that leak measures"):
        refuse_shared_problems(Study.model_validate(asked))


def test_the_shipped_study_is_a_page_whose_problems_are_disjoint() -> None:
    assert len([line for line in FILE.read_text().splitlines() if line.strip()]) < 60
    tiny = load(FILE, "tiny")
    assert tiny.translation is not None
    assert len(tiny.translation.anchors) >= 6
    assert len(tiny.translation.held_out) >= 2
    refuse_shared_problems(tiny)
    again = Study.model_validate(tiny.to_dict())
    assert [each.sig for each in planned(again)] == [each.sig for each in planned(tiny)]


def test_every_run_that_is_planned_stands_behind_what_it_needs() -> None:
    seen: set[str] = set()
    for each in planned(Study.model_validate(tree())):
        assert seen.issuperset(each.needs)
        seen.add(each.sig)
