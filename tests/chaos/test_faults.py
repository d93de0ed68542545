"""Corrupted, starved of disk, told rubbish: no finished run is lost or done twice, and every fault is one sentence."""

import shutil
import subprocess
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from harm import RUNS, STUDY, fault, items, kill, said, same, start

from netgain.ledger.store import Corrupt, Ledger

pytestmark = pytest.mark.chaos


def test_every_corrupted_file_is_found_by_name_and_done_again(study: Path, whole: Path, tmp_path: Path) -> None:
    ledger = shutil.copytree(whole, tmp_path / "ledger")
    sig = next(run.sig for run in Ledger(ledger).runs() if (run.path / "adapter").exists())
    run = Ledger(ledger).run(sig)
    for name in (*run.record()["files"], "record.json"):
        file = run.path / name
        content = file.read_bytes()
        for damaged in (content[: len(content) // 2], bytes([content[0] ^ 1]) + content[1:], b""):
            with fault("a corrupted file"):
                file.write_bytes(damaged)
                with pytest.raises(Corrupt) as error:
                    run.verify()
                assert Path(name).name in str(error.value)
        file.write_bytes(content)
    (run.path / "items.parquet").write_bytes(b"PAR1 rubbish PAR1")
    with fault("a corrupted file"):
        assert "items.parquet" in said(start("report", study, "--ledger", ledger), code=2)
        said(start("run", study, "--ledger", ledger, "--redo", sig))
        same(ledger, whole)


def test_half_a_checkpoint_is_not_a_checkpoint(study: Path, whole: Path, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    process = start("run", study, "--ledger", ledger, "--pack", "off")
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
                out, _ = start("run", study, "--ledger", ledger).communicate()
                if "state.safetensors" in out:
                    said(start("run", study, "--ledger", ledger, "--redo", state.parents[1].name))
    said(start("run", study, "--ledger", ledger))
    same(ledger, whole)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], check=False)
    if mounted.returncode:
        pytest.skip("this user may not mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_at_any_write_is_one_sentence_and_loses_nothing(study: Path, whole: Path, small_disk: Path) -> None:
    ledger, size = small_disk / "ledger", 64.0
    for _ in range(40):
        process = start("run", study, "--ledger", ledger, "--pack", "off")
        out, _ = process.communicate(timeout=600)
        if process.returncode == 0:
            break
        with fault("a full disk"):
            assert process.returncode == 2, out[-2000:]
            assert "free some space" in out
            assert "Traceback" not in out
            size *= 1.4
            subprocess.run(["mount", "-o", f"remount,size={int(size)}k", str(small_disk)], check=True)
    same(ledger, whole)


def test_many_launchers_do_every_run_once(study: Path, whole: Path, tmp_path: Path) -> None:
    with fault("four launchers at once"):
        crowd = [start("run", study, "--ledger", tmp_path, "--pack", "off") for _ in range(4)]
        for process in crowd:
            said(process)
        same(tmp_path, whole)
        logs = [(folder / "log.txt").read_text() for folder in (tmp_path / "runs").iterdir()]
        assert [log.count(" loading") for log in logs] == [1] * RUNS


def test_a_run_that_diverges_says_where_and_stops_no_other(study: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text(
        STUDY.replace("    more:", "    lost: {optim.learning_rate: 1.0e+30, optim.clip: null}\n    more:")
    )
    with fault("a loss that is not a number"):
        out = said(start("run", broken, "--ledger", tmp_path / "ledger"), code=1)
        assert "diverged at step" in out
        assert len(items(tmp_path / "ledger")) == RUNS


@pytest.mark.parametrize("name", ["with spaces", "ünï-日本-🧪", "n" * 200, "-dash", "quote'\"quote"])
def test_any_name_of_a_folder_holds_a_ledger(name: str, study: Path, whole: Path, tmp_path: Path) -> None:
    with fault("an odd path"):
        said(start("run", study, "--ledger", tmp_path / name / "ledger"))
        same(tmp_path / name / "ledger", whole)


def one_sentence(process: subprocess.Popen[str]) -> str:
    out = said(process, code=2)
    assert "Traceback" not in out
    return out


def test_what_is_not_trusted_is_refused(study: Path, tmp_path: Path) -> None:
    with fault("hostile input"):
        model = tmp_path / "pickled"
        model.mkdir()
        (model / "config.json").write_text('{"model_type": "llama", "architectures": ["LlamaForCausalLM"]}')
        (model / "pytorch_model.bin").write_bytes(
            b"cos\nsystem\n(S'touch " + str(tmp_path / "pwned").encode() + b"'\ntR."
        )
        asked = tmp_path / "pickled.yaml"
        asked.write_text(STUDY.replace("tiny-llama", str(model)))
        one_sentence(start("run", asked, "--ledger", tmp_path / "ledger"))
        assert not (tmp_path / "pwned").exists()
    with fault("hostile input"):
        bomb = tmp_path / "bomb.yaml"
        rows = ["a: &a [x, x, x, x, x, x, x, x, x]"]
        rows += [f"{b}: &{b} [{', '.join(['*' + a] * 9)}]" for a, b in zip("abcdefgh", "bcdefghi", strict=True)]
        bomb.write_text("\n".join(rows))
        one_sentence(start("plan", bomb))
    with fault("hostile input"):
        log = tmp_path / "bomb.eval"
        with zipfile.ZipFile(log, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("header.json", "{}")
            archive.writestr("samples/1.json", b" " * (1 << 28))
        assert "unsafe" in one_sentence(start("audit", log))
    with fault("hostile input"):
        name = tmp_path / "long.yaml"
        name.write_text(STUDY.replace("name: chaos", f"name: {'n' * 300}"))
        out, _ = (process := start("plan", name)).communicate()
        assert process.returncode in (0, 2)
        assert "Traceback" not in out
