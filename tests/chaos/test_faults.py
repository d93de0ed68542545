"""Corrupted, starved of disk, told rubbish: no finished run is lost or done twice, and every fault is one sentence."""

import shutil
import time
import zipfile
from pathlib import Path

import pytest
import yaml
from harm import RUNS, STUDY, Process, Warm, fault, identical, items, kill, said, same

from netgain.ledger.store import Corrupt, Ledger
from netgain.report.frame import Frame
from netgain.report.study import build
from netgain.spec.load import load

pytestmark = pytest.mark.chaos
LONG = "n" * 300


def test_every_corrupted_file_is_found_by_name_read_by_nobody_and_done_again(
    study: Path, whole: Path, warm: Warm, tmp_path: Path
) -> None:
    """A report refuses a damaged file by name, or does not read it and says what it said before."""
    ledger = shutil.copytree(whole, tmp_path / "ledger")
    sig = next(run.sig for run in Ledger(ledger).runs() if (run.path / "adapter").exists())
    run = Ledger(ledger).run(sig)
    asked, plain = load(study), build(load(study), Ledger(ledger)).to_json()
    for name in (*run.record()["files"], "record.json"):
        file = run.path / name
        content = file.read_bytes()
        for damaged in (content[: len(content) // 2], b"", bytes([content[0] ^ 1]) + content[1:]):
            with fault("a corrupted file"):
                file.write_bytes(damaged)
                with pytest.raises(Corrupt) as error:
                    run.verify()
                assert Path(name).name in str(error.value)
        with fault("a corrupted file that a report would read"):
            if name.startswith("adapter") and not name.startswith("adapter/adapter_model"):
                assert build(asked, Ledger(ledger)).to_json() == plain
            elif name == "record.json":
                assert Frame(asked, Ledger(ledger)).states[sig] == "corrupt"  # and so it is missing
            else:
                with pytest.raises(Corrupt, match=Path(name).name):
                    build(asked, Ledger(ledger))
        file.write_bytes(content)
    (run.path / "items.parquet").write_bytes(b"PAR1 rubbish PAR1")
    with fault("a corrupted file"):
        assert "items.parquet" in said(warm.start("report", study, "--ledger", ledger), code=2)
        said(warm.start("run", study, "--ledger", ledger, "--redo", sig, "--pack", "off"))
        identical(ledger, whole)


def test_half_a_checkpoint_is_not_a_checkpoint(study: Path, whole: Path, warm: Warm, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    process = warm.start("run", study, "--ledger", ledger, "--pack", "off")
    deadline = time.monotonic() + 120
    while not (states := list((ledger / "runs").glob("*/checkpoint/state.safetensors"))):
        assert time.monotonic() < deadline
        if process.poll() is not None:
            pytest.skip("every run ended between two looks")
        time.sleep(0.01)
    kill(process)
    for state in states:
        if state.exists():
            with fault("half a checkpoint"):
                state.write_bytes(state.read_bytes()[: state.stat().st_size // 2])
                out, _ = warm.start("run", study, "--ledger", ledger).communicate()
                if "state.safetensors" in out:
                    said(warm.start("run", study, "--ledger", ledger, "--redo", state.parents[1].name))
    said(warm.start("run", study, "--ledger", ledger))
    same(ledger, whole)


@pytest.mark.parametrize("count", [2, 4, 8])
def test_many_launchers_do_every_run_once(count: int, study: Path, whole: Path, warm: Warm, tmp_path: Path) -> None:
    with fault("launchers at once"):
        crowd = [warm.start("run", study, "--ledger", tmp_path, "--pack", "off") for _ in range(count)]
        for process in crowd:
            said(process)
        same(tmp_path, whole)
        logs = [(folder / "log.txt").read_text() for folder in (tmp_path / "runs").iterdir()]
        assert [log.count(" loading") for log in logs] == [1] * RUNS


def test_a_run_that_diverges_says_where_and_stops_no_other(warm: Warm, tmp_path: Path) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text(
        STUDY.replace("    more:", "    lost: {optim.learning_rate: 1.0e+30, optim.clip: null}\n    more:")
    )
    with fault("a loss that is not a number"):
        out = said(warm.start("run", broken, "--ledger", tmp_path / "ledger"), code=1)
        assert "diverged at step" in out
        assert len(items(tmp_path / "ledger")) == RUNS


@pytest.mark.parametrize("name", ["with spaces", "ünï-日本-🧪", "n" * 200, "-dash", "quote'\"quote"])
def test_any_name_of_a_folder_holds_a_ledger(name: str, study: Path, whole: Path, warm: Warm, tmp_path: Path) -> None:
    with fault("an odd path"):
        said(warm.start("run", study, "--ledger", tmp_path / name / "ledger"))
        same(tmp_path / name / "ledger", whole)


@pytest.mark.parametrize("name", [LONG, "ünï 日本 🧪" * 30, "../../../escaped/a", "<b>=1+1</b>|`$(x)`", "%s{0}"])
def test_any_name_of_an_arm_a_task_and_a_source(name: str, whole: Path, warm: Warm, tmp_path: Path) -> None:
    tree = yaml.safe_load(STUDY)
    tree["base"]["tasks"] = {LONG: tree["base"]["tasks"]["sentiment"]}
    tree["base"]["data"]["sources"] = {LONG: tree["base"]["data"]["sources"]["reviews"]}
    tree["vary"]["arm"] = {"sft": {}, name: {"optim.learning_rate": 1e-3}}
    tree["contrasts"] = [{"arm": name, "versus": "sft", "task": LONG, "metric": "accuracy"}]
    tree["seeds"], tree["base"]["optim"]["steps"] = [0], 2
    asked = tmp_path / "home" / "named.yaml"
    asked.parent.mkdir()
    asked.write_text(yaml.safe_dump(tree, allow_unicode=True), encoding="utf-8")
    ledger = tmp_path / "home" / "ledger"
    with fault("an odd name"):
        said(warm.start("run", asked, "--ledger", ledger))
        said(warm.start("report", asked, "--ledger", ledger, "--figures", tmp_path / "home" / "figures"))
        said(warm.start("verify", ledger / "reports" / "chaos" / "report.html", "--ledger", ledger))
        assert {row["task"] for rows in items(ledger).values() for row in rows} == {LONG}
        assert {path.name for path in tmp_path.iterdir()} == {"home"}
    if name != LONG:
        with fault("an odd name"):
            tree["base"]["tasks"] = {name: tree["base"]["tasks"][LONG]}
            asked.write_text(yaml.safe_dump(tree, allow_unicode=True), encoding="utf-8")
            assert "a name is letters, digits, - and _" in one_sentence(warm.start("plan", asked, "--ledger", ledger))


def test_a_run_at_work_is_not_done_again_under_its_process(
    study: Path, whole: Path, warm: Warm, tmp_path: Path
) -> None:
    ledger = shutil.copytree(whole, tmp_path / "ledger")
    run = Ledger(ledger).runs()[0]
    with fault("--redo of a run at work"), run.claim():
        out = said(warm.start("run", study, "--ledger", ledger, "--redo", run.sig), code=2)
        assert "another process is at work on this run" in out
        assert "Traceback" not in out
    identical(ledger, whole)


def one_sentence(process: Process) -> str:
    out = said(process, code=2)
    assert "Traceback" not in out
    return out


def test_what_is_not_trusted_is_refused(warm: Warm, tmp_path: Path) -> None:
    with fault("hostile input"):
        model = tmp_path / "pickled"
        model.mkdir()
        (model / "config.json").write_text('{"model_type": "llama", "architectures": ["LlamaForCausalLM"]}')
        (model / "pytorch_model.bin").write_bytes(
            b"cos\nsystem\n(S'touch " + str(tmp_path / "pwned").encode() + b"'\ntR."
        )
        asked = tmp_path / "pickled.yaml"
        asked.write_text(STUDY.replace("tiny-llama", str(model)))
        one_sentence(warm.start("run", asked, "--ledger", tmp_path / "ledger"))
        assert not (tmp_path / "pwned").exists()
    with fault("hostile input"):
        shutil.copy(model / "pytorch_model.bin", model / "adapter_model.bin")
        (model / "adapter_config.json").write_text(
            '{"peft_type": "LORA", "r": 2, "base_model_name_or_path": "tiny-llama"}'
        )
        out = tmp_path / "translated"
        one_sentence(warm.start("translate", "--from", model, "--to", "tiny-llama", "--out", out, "--method", "stitch"))
        assert not out.exists()
        assert not (tmp_path / "pwned").exists()
    with fault("hostile input"):
        own = tmp_path / "own code"
        own.mkdir()
        (own / "config.json").write_text('{"model_type": "own", "auto_map": {"AutoConfig": "own.Own"}}')
        (own / "own.py").write_text(f"open({str(tmp_path / 'pwned')!r}, 'w')\nclass Own: ...\n")
        asked.write_text(STUDY.replace("model: tiny-llama", f"model: {{id: '{own}'}}"))
        one_sentence(warm.start("run", asked, "--ledger", tmp_path / "ledger"))
        assert not (tmp_path / "pwned").exists()
    with fault("hostile input"):
        bomb = tmp_path / "bomb.yaml"
        rows = ["a: &a [x, x, x, x, x, x, x, x, x]"]
        rows += [f"{b}: &{b} [{', '.join(['*' + a] * 9)}]" for a, b in zip("abcdefgh", "bcdefghi", strict=True)]
        bomb.write_text("\n".join(rows))
        one_sentence(warm.start("plan", bomb))
    with fault("hostile input"):
        log = tmp_path / "bomb.eval"
        with zipfile.ZipFile(log, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("header.json", "{}")
            archive.writestr("samples/1.json", b" " * (1 << 28))
        assert "unsafe" in one_sentence(warm.start("audit", log))
    with fault("hostile input"):
        name = tmp_path / "long.yaml"
        name.write_text(STUDY.replace("name: chaos", f"name: {'n' * 300}"))
        out, _ = (process := warm.start("plan", name)).communicate()
        assert process.returncode in (0, 2)
        assert "Traceback" not in out
