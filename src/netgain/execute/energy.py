"""The energy that a machine spent while runs were done on it, where its counters can be read.

Processors   the packages' RAPL counters under /sys/class/powercap: all that the machine did, memory apart
GPU          power as nvidia-smi tells it every few seconds, times the time between; of the GPU that the runs are on

A counter that cannot be read (most often for want of permission) leaves energy out; nothing is estimated from time.
"""

import shutil
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

POWERCAP = Path("/sys/class/powercap")
EVERY_SECONDS = 5.0
"""RAPL counters begin again at about 260 kJ, which takes minutes: far longer than this."""


class Rapl:
    """The sum of the packages' counters since it was made, through any number of their wraps."""

    def __init__(self, root: Path = POWERCAP) -> None:
        packages = [each for each in sorted(root.glob("intel-rapl:*")) if each.name.count(":") == 1]
        self.spans = {each: _number(each / "max_energy_range_uj") for each in packages}
        self.last = {each: _number(each / "energy_uj") for each in packages}
        self.readable = bool(packages) and None not in (*self.last.values(), *self.spans.values())
        self.joules = 0.0

    def read(self) -> None:
        """Add what was spent since the last reading."""
        for package, before in self.last.items():
            now = _number(package / "energy_uj")
            if now is None or before is None:
                self.readable = False
                return
            spent = now - before
            self.joules += (spent if spent >= 0 else spent + (self.spans[package] or 0)) / 1e6
            self.last[package] = now


class Gpu:
    """Power times time of one NVIDIA GPU, by the trapezoid rule."""

    def __init__(self, uuid: str | None) -> None:
        self.uuid = uuid
        self.readable = uuid is not None and shutil.which("nvidia-smi") is not None
        self.joules = 0.0
        self.last: tuple[float, float] | None = None
        self.read()

    def read(self) -> None:
        """Add the energy since the last reading; a driver that gives no number ends it."""
        if not self.readable:
            return
        watts = self._watts()
        now = time.monotonic()
        if watts is None:
            self.readable = False
        else:
            if self.last is not None:
                self.joules += (watts + self.last[1]) / 2 * (now - self.last[0])
            self.last = now, watts

    def _watts(self) -> float | None:
        command = ["nvidia-smi", f"--id={self.uuid}", "--query-gpu=power.draw", "--format=csv,noheader,nounits"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
            return float(done.stdout.strip()) if done.returncode == 0 else None
        except (OSError, subprocess.TimeoutExpired, ValueError):
            return None


class Meter:
    """Reads in a thread of its own while it is open."""

    def __init__(self, gpu: str | None, powercap: Path = POWERCAP, every: float = EVERY_SECONDS) -> None:
        self.rapl, self.gpu = Rapl(powercap), Gpu(gpu)
        self.every = every
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Meter":
        if self._sources():
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()

    def share(self, runs: int) -> dict[str, Any] | None:
        """Joules so far of one of `runs` that are done together, and where they were read; None where they cannot be.

        They are those since this process took the run up: a run that was killed and continued spent more.
        """
        self._read()
        sources = self._sources()
        if not sources:
            return None
        joules = sum(each.joules for each in sources.values())
        return {"joules": round(joules / runs, 3), "sources": sorted(sources)}

    def _sources(self) -> dict[str, Rapl | Gpu]:
        both: Sequence[tuple[str, Rapl | Gpu]] = (("rapl", self.rapl), ("nvidia-smi", self.gpu))
        return {name: each for name, each in both if each.readable}

    def _watch(self) -> None:
        while not self._over.wait(self.every):
            self._read()

    def _read(self) -> None:
        with self._lock:
            for each in self._sources().values():
                each.read()


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
