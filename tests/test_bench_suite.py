"""The bench suite runs to its end whatever one script does, and records what it measured."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
SAYS = """
from claim import Claim
Claim("good.py", "something", [0.1, 0.3], 0.25, ours_mb=1, theirs_mb=2, drawn="a claim").say()
print('TABLE "| operator |\\\\n| mm |"')
"""
HANGS = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']).wait()"


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """bench/__main__.py, which finds three scripts of ours."""
    monkeypatch.syspath_prepend(str(ROOT / "bench"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "bench"))
    spec = importlib.util.spec_from_file_location("bench_suite", ROOT / "bench" / "__main__.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "bench_suite", module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "HERE", tmp_path)
    for name, text in (("good.py", SAYS), ("bad.py", "raise SystemExit(3)"), ("slow.py", HANGS)):
        (tmp_path / name).write_text(text)
    return module


def test_a_script_that_fails_or_hangs_stops_no_other(suite: ModuleType, tmp_path: Path) -> None:
    made = suite.all_performed({"bad.py": 60.0, "slow.py": 2.0, "good.py": 60.0}, 5)
    assert [each.problem for each in made] == ["ended with status 3", "killed after 2 s", ""]
    assert made[1].seconds < 30  # its own child holds the pipe for a minute, and is killed with it
    told = suite.about(made, suite.Others())
    suite.record(made, told)
    suite.record(made, told)
    runs = json.loads((tmp_path / "RESULTS.json").read_text())
    assert len(runs) == 2
    claim = runs[0]["scripts"][2]["claims"][0]
    assert (claim["ratios"], claim["drawn"]) == ([0.1, 0.3], "a claim")
    page = (tmp_path / "RESULTS.md").read_text()
    assert "| `good.py` | something | 0.2x (0.1 to 0.3, 2 rounds) | 0.25x | 1 MB against 2 |" in page
    assert "\n\n| operator |\n| mm |\n" in page
    assert "`slow.py` (killed after 2 s)" in page


def test_nothing_begins_when_no_time_is_left(suite: ModuleType) -> None:
    assert [each.problem for each in suite.all_performed({"good.py": 60.0}, 0.1)] == ["no time was left"]


@pytest.mark.parametrize("gpu", [False, True])
def test_what_the_scripts_take_fits_into_the_minutes_that_are_promised(suite: ModuleType, gpu: bool) -> None:
    lines = suite.GPU if gpu else suite.CPU
    assert sum(lines.values()) <= 60 * suite.MINUTES[gpu] <= 60 * (9 if gpu else 25)
    assert "2.5 minutes in all; nothing begins after 5" in suite.budget({"one.py": 90.0, "two.py": 60.0}, 5)


@pytest.mark.slow
@pytest.mark.parametrize("where", [[], ["--gpu"]], ids=["cpu", "gpu"])
def test_every_script_runs_at_toy_shapes(where: list[str]) -> None:
    done = subprocess.run([sys.executable, "-m", "bench", "--toy", *where], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
