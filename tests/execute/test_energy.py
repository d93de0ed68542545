"""Energy is what counters say, through their wraps, shared among a pack; where they are silent there is none."""

import os
import time
from pathlib import Path

import pytest

from netgain.execute.energy import Meter, Rapl


def package(root: Path, name: str, joules: float, span: float = 1000.0) -> Path:
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "energy_uj").write_text(f"{int(joules * 1e6)}\n", encoding="ascii")
    (folder / "max_energy_range_uj").write_text(f"{int(span * 1e6)}\n", encoding="ascii")
    return folder


def test_packages_are_summed_through_a_wrap_and_their_parts_are_not(tmp_path: Path) -> None:
    package(tmp_path, "intel-rapl:0", 990.0)
    package(tmp_path, "intel-rapl:1", 10.0)
    package(tmp_path, "intel-rapl:0:0", 5.0)
    rapl = Rapl(tmp_path)
    package(tmp_path, "intel-rapl:0", 15.0)
    package(tmp_path, "intel-rapl:1", 12.0)
    package(tmp_path, "intel-rapl:0:0", 500.0)
    rapl.read()
    assert rapl.joules == pytest.approx(25.0 + 2.0)


def test_a_pack_shares_what_was_spent(tmp_path: Path) -> None:
    package(tmp_path, "intel-rapl:0", 1.0)
    with Meter(None, tmp_path) as meter:
        package(tmp_path, "intel-rapl:0", 61.0)
        assert meter.share(4) == {"joules": 15.0, "sources": ["rapl"]}


def test_nothing_is_said_where_nothing_can_be_read(tmp_path: Path) -> None:
    with Meter(None, tmp_path) as meter:
        assert meter.share(1) is None
    folder = package(tmp_path, "intel-rapl:0", 1.0)
    (folder / "energy_uj").write_text("not a number", encoding="ascii")
    with Meter(None, tmp_path) as meter:
        assert meter.share(1) is None


def test_power_of_a_gpu_becomes_energy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 200.0\n", encoding="ascii")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    start = time.monotonic()
    with Meter("GPU-1", tmp_path / "none", every=0.05) as meter:
        time.sleep(0.3)
        found = meter.share(1)
    took = time.monotonic() - start
    assert found is not None
    assert found["sources"] == ["nvidia-smi"]
    assert 200 * 0.25 < found["joules"] < 200 * took
    tool.write_text("#!/bin/sh\necho '[N/A]'\n", encoding="ascii")
    with Meter("GPU-1", tmp_path / "none") as meter:
        assert meter.share(1) is None
