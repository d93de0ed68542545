"""What a run executes on: versions, device, and the state of the code and of the study's folder."""

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

PACKAGES = ("netgain", "torch", "transformers", "peft", "accelerate", "tokenizers", "datasets", "numpy")
MAX_DIFF = 200_000


def describe(device: str, threads: int, study_folder: Path | None) -> dict[str, Any]:
    """The environment as it goes into env.json; a package that is absent is None."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": threads,
        "device": device,
        "packages": {name: version(name) for name in PACKAGES},
        "code": repository(Path(__file__).parent),
        "study_folder": repository(study_folder) if study_folder else None,
    }


def version(package: str) -> str | None:
    """The installed version of a package."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def processor() -> str:
    """The processor's name as the system tells it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def repository(folder: Path) -> dict[str, Any] | None:
    """{commit, diff} of the git checkout that holds `folder`; None outside of any."""
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return None
    diff = _git(folder, "diff", "HEAD", "--", ".") or ""
    return {"commit": commit.strip(), "diff": diff[:MAX_DIFF], "diff_cut": len(diff) > MAX_DIFF}


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=20, check=False
        )
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
