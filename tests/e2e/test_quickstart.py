"""One study, end to end, through the command line: planned, run, killed, resumed, reported, queried, exported."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import netgain as ng

ROOT = Path(__file__).parents[2]
STUDY = ROOT / "studies" / "quickstart.yaml"


def netgain(*arguments: str | Path, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "netgain", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "100"},
    )
    assert done.returncode == code, done.stderr[-2000:] + done.stdout[-2000:]
    return done.stdout if code == 0 else done.stderr


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny") / "a ledger with spaces"
    netgain("run", STUDY, "--scale", "tiny", "--ledger", folder)
    return folder


def runs(ledger: Path) -> dict[str, Path]:
    return {path.name: path for path in (ledger / "runs").iterdir()}


def test_every_run_is_sealed_with_all_its_evidence(ledger: Path) -> None:
    plan = json.loads(netgain("plan", STUDY, "--scale", "tiny", "--ledger", ledger, "--json"))
    assert [run["state"] for run in plan["runs"]] == ["done"] * 3
    assert plan["missing"] == 0
    for run in plan["runs"]:
        folder = ledger / "runs" / run["sig"]
        names = {path.name for path in folder.iterdir()}
        assert {"spec.json", "env.json", "items.parquet", "record.json"} <= names
        assert not names & {"checkpoint", "parts", "failure.json"}
        if run["arm"] == "sft":
            assert {"data.json", "metrics.jsonl", "adapter", "adapter-best"} <= names


def test_finished_work_is_never_done_twice(ledger: Path) -> None:
    before = {path: (path / "record.json").stat().st_mtime_ns for path in runs(ledger).values()}
    netgain("run", STUDY, "--scale", "tiny", "--ledger", ledger)
    assert before == {path: (path / "record.json").stat().st_mtime_ns for path in runs(ledger).values()}


def test_best_and_final_are_both_measured_on_the_same_items(ledger: Path) -> None:
    for path in runs(ledger).values():
        rows = pq.read_table(path / "items.parquet").to_pylist()
        by_checkpoint: dict[str, set[tuple[str, str, str]]] = {}
        for row in rows:
            by_checkpoint.setdefault(row["checkpoint"], set()).add((row["task"], row["metric"], row["item"]))
        assert set(by_checkpoint) in ({"base"}, {"final", "best"})
        assert len(set(map(frozenset, by_checkpoint.values()))) == 1


def test_the_report_answers_both_questions(ledger: Path) -> None:
    said = netgain("report", STUDY, "--scale", "tiny", "--ledger", ledger)
    assert "Gained?" in said
    assert "Forgotten?" in said
    text = (ledger / "reports" / "quickstart-tiny" / "report.md").read_text()
    assert "Gained?" in text
    assert "Forgotten?" in text
    assert "initial adapter" in text


def test_the_report_holds_at_eighty_columns(ledger: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "netgain", "report", str(STUDY), "--scale", "tiny", "--ledger", str(ledger)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "COLUMNS": "80"},
    )
    body = [line for line in done.stdout.splitlines() if not line.startswith("report: ")]
    assert max(map(len, body)) <= 80


def test_sql_sees_the_runs(ledger: Path) -> None:
    rows = json.loads(
        netgain("query", "SELECT arm, count(*) AS n FROM runs GROUP BY arm", "--ledger", ledger, "--json")
    )
    assert {(row["arm"], row["n"]) for row in rows} == {("base", 1), ("sft", 2)}
    assert "failed" in netgain("query", "SELEC 1", "--ledger", ledger, code=2)


def test_an_exported_adapter_and_a_merged_model_load_elsewhere(ledger: Path, tmp_path: Path) -> None:
    sig = next(name for name, path in runs(ledger).items() if (path / "adapter").exists())
    netgain("export", sig[:8], tmp_path / "adapter", "--adapter", "--ledger", ledger)
    netgain("export", sig[:8], tmp_path / "merged", "--merged", "--ledger", ledger)
    assert (tmp_path / "adapter" / "adapter_config.json").exists()
    assert (tmp_path / "merged" / "config.json").exists()
    assert "exists" in netgain("export", sig[:8], tmp_path / "merged", "--merged", "--ledger", ledger, code=2)
    for name, step in (("adapter", "adapter"), ("merged", "merged model")):
        found = json.loads((tmp_path / f"{name}.parity.json").read_text())
        assert found["run"] == sig
        assert found["steps"][step]["holds"]
        assert found["steps"][step]["positions"] > 0
    netgain("export", sig[:8], "--gguf", tmp_path / "tuned.gguf", "--type", "q8_0", "--ledger", ledger)
    found = json.loads((tmp_path / "tuned.gguf.parity.json").read_text())
    assert {name: step["holds"] for name, step in found["steps"].items()} == {"merged": True, "gguf": True}
    assert found["export"] == "gguf q8_0 by netgain"


def test_show_data_shows_what_is_supervised(ledger: Path) -> None:
    shown = json.loads(netgain("show-data", STUDY, "--scale", "tiny", "--n", "2", "--json"))
    assert len(shown["examples"]) == 2
    for example in shown["examples"]:
        assert example["supervised"]
        assert len(example["supervised"]) < len(example["text"])


def test_a_changed_default_is_drift_and_refused(ledger: Path) -> None:
    sig, path = next((name, p) for name, p in runs(ledger).items() if (p / "adapter").exists())
    spec = path / "spec.json"
    content, sealed = spec.read_text(), (path / "record.json").read_text()
    try:
        tree = json.loads(content)
        tree["run"]["optim"]["clip"] = 7.0
        spec.write_text(json.dumps(tree))
        message = netgain("run", STUDY, "--scale", "tiny", "--ledger", ledger, code=2)
        assert "optim.clip" in message
        assert sig in message
    finally:
        spec.write_text(content)
        (path / "record.json").write_text(sealed)


@pytest.mark.parametrize("kills", [4, pytest.param(10, marks=pytest.mark.slow)])
def test_kill_nine_at_random_moments_changes_nothing(ledger: Path, tmp_path: Path, kills: int) -> None:
    undisturbed = {name: (path / "items.parquet").read_bytes() for name, path in runs(ledger).items()}
    draw = random.Random(kills)
    command = [sys.executable, "-m", "netgain", "run", str(STUDY), "--scale", "tiny", "--ledger", str(tmp_path / "k")]
    for _ in range(kills):
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        time.sleep(draw.uniform(3.0, 9.0))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    netgain("run", STUDY, "--scale", "tiny", "--ledger", tmp_path / "k")
    again = {name: (path / "items.parquet").read_bytes() for name, path in runs(tmp_path / "k").items()}
    assert again == undisturbed


def test_two_launchers_share_the_work(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "netgain", "run", str(STUDY), "--scale", "tiny", "--ledger", str(tmp_path)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    texts = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    for path in runs(tmp_path).values():
        assert (path / "record.json").exists()
    trained = sum(text.count("trained") + text.count("measured") for text in texts)
    assert trained == 3


def test_two_jobs_give_what_one_gives(ledger: Path, tmp_path: Path) -> None:
    netgain("run", STUDY, "--scale", "tiny", "--ledger", tmp_path, "--jobs", "2")
    alone = {name: (path / "items.parquet").read_bytes() for name, path in runs(ledger).items()}
    assert {name: (path / "items.parquet").read_bytes() for name, path in runs(tmp_path).items()} == alone


def test_a_mistyped_field_is_one_sentence_with_its_line(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(STUDY.read_text().replace("learning_rate", "learing_rate"))
    message = netgain("run", wrong, "--ledger", tmp_path / "ledger", code=2)
    assert 'Did you mean "learning_rate"' in message
    assert "wrong.yaml:" in message
    assert "Traceback" not in message
    assert not (tmp_path / "ledger").exists()


def test_a_broken_data_line_is_named_and_the_ledger_stays_whole(tmp_path: Path) -> None:
    rows = [json.dumps({"q": f"question {i}?", "a": "yes"}) for i in range(30)]
    rows[16] = '{"q": "broken'
    (tmp_path / "rows.jsonl").write_text("\n".join(rows) + "\n")
    study = tmp_path / "study.yaml"
    source = "{kind: jsonl, path: rows.jsonl, prompt: q, answer: a}"
    study.write_text(re.sub(r"(sources:\n\s+reviews: )\{.*\}", rf"\g<1>{source}", STUDY.read_text()))
    message = netgain("run", study, "--scale", "tiny", "--ledger", tmp_path / "ledger", code=2)
    assert "rows.jsonl" in message
    assert "17" in message
    assert "Traceback" not in message


def test_an_unreadable_model_folder_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    study = tmp_path / "study.yaml"
    study.write_text(STUDY.read_text().replace("base.model: tiny-llama", f"base.model: {tmp_path / 'model'}"))
    message = netgain("run", study, "--scale", "tiny", "--ledger", tmp_path / "ledger", code=2)
    assert "model" in message
    assert "Traceback" not in message


def test_python_and_the_command_line_are_the_same_objects(ledger: Path) -> None:
    study = ng.load(STUDY, scale="tiny")
    assert ng.run(study, ledger) == 0
    judged = ng.verdicts(study, ledger)
    assert [(each.arm, each.versus, each.task) for each in judged] == [
        ("sft", "base", "sentiment"),
        ("sft", "base", "english"),
    ]
    printed = json.loads(netgain("report", STUDY, "--scale", "tiny", "--ledger", ledger, "--json"))
    assert [each.sentence() for each in judged] == [each["sentence"] for each in printed["contrasts"]]
