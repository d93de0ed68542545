"""`python -m bench`: every speed claim that this machine can check, one script after the other.

    python -m bench [--only NAME ...] [--gpu] [--no-record]

Ends with a table of the claims, and appends it with date, machine and load to bench/RESULTS.md. A claim whose target
is missed is told, not hidden, and is no failure; a script that breaks, or whose two sides disagree, is one.
"""

import argparse
import datetime
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from claim import HEADER, MARK, Claim, busy, collected, machine  # noqa: E402

CPU = (
    "startup.py",
    "sampling.py",
    "loop.py --rounds 1 --steps 40",
    "generation.py",
    "generation.py --dtype bfloat16",
    "linear_loss.py --rounds 2",
    "linear_loss.py --rounds 2 --dtype bfloat16",
    "linear_loss.py --rounds 2 --divergence reverse --dtype bfloat16 --hidden 256 --length 256 --no-memory",
    "linear_loss.py --rounds 2 --divergence js --dtype bfloat16 --hidden 256 --length 256 --no-memory",
    "anchor.py --rounds 1",
    "sweep.py",
    "items.py",
    "translate.py",
    "diversity.py",
    "scaling.py --quick",
)
GPU = (
    "sampling.py --gpu",
    "linear_loss.py --gpu",
    "linear_loss.py --gpu --divergence reverse",
    "linear_loss.py --gpu --divergence js",
    "anchor.py --gpu",
    "sweep.py --gpu",
)


def performed(line: str) -> tuple[int, str]:
    """(exit status, what it printed) of one script, which is shown as it comes."""
    name, *words = line.split()
    print(f"\n== {line}", flush=True)
    start = time.monotonic()
    said: list[str] = []
    command = [sys.executable, str(HERE / name), *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for each in process.stdout:
            said.append(each)
            if not each.startswith(MARK):
                print(each, end="", flush=True)
    print(f"{name}: {time.monotonic() - start:.0f} s", flush=True)
    return process.returncode, "".join(said)


def section(said: dict[str, str], load: str) -> str:
    """What RESULTS.md gets: the claims as a table, and the lines of scripts that make none."""
    now = datetime.datetime.now(datetime.UTC)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=HERE, capture_output=True, text=True).stdout
    lines = [f"\n## {now:%Y-%m-%d %H:%M} UTC, {machine()}, {load}, commit {commit.strip() or 'unknown'}\n", HEADER]
    lines += [claim.row() for text in said.values() for claim in collected(text)]
    for line, text in said.items():
        if not collected(text):
            lines += [f"\n`{line}`:\n", "```", text.strip(), "```"]
    return "\n".join(lines) + "\n"


def summary(claims: list[Claim]) -> str:
    """One line a claim, the missed ones marked."""
    lines = [f"{'  ' if claim.held else '! '}{claim.row().strip('| ')}" for claim in claims]
    return "\n".join([*lines, f"{sum(claim.held for claim in claims)} of {len(claims)} claims held"])


def main() -> None:
    """Measure, sum up, record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", help="names of scripts, such as sweep")
    parser.add_argument("--gpu", action="store_true", help="the claims about one GPU")
    parser.add_argument("--no-record", action="store_true", help="leave RESULTS.md as it is")
    asked = parser.parse_args()
    load, said, failed = busy(), dict[str, str](), list[str]()
    for line in GPU if asked.gpu else CPU:
        if asked.only and line.split(".py")[0] not in asked.only:
            continue
        code, said[line] = performed(line)
        failed += [line] if code else []
    claims = [claim for text in said.values() for claim in collected(text)]
    print(f"\n{summary(claims)}")
    if not asked.no_record:
        with (HERE / "RESULTS.md").open("a", encoding="utf-8") as results:
            results.write(section(said, load))
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
