"""`python -m bench`: every speed claim that this machine can check, one script after the other.

    python -m bench [--only NAME ...] [--gpu] [--toy] [--minutes N] [--plan] [--no-record]

Each script is a process with a limit of its own; one that fails, hangs or no longer fits into --minutes is named at
the end, and the others run all the same. Ends with a table of the claims, and appends it with date and machine to
bench/RESULTS.md, and everything as data to bench/RESULTS.json. A claim whose target is missed is told, not hidden, and
is no failure; a script that breaks, or whose two sides disagree, is one. --toy runs the same code at toy shapes, to
see that nothing breaks: no figure of it is recorded.
"""

import argparse
import datetime
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from claim import HEADER, MARK, TABLE, Claim, Others, collected, machine  # noqa: E402

CPU: dict[str, float] = {
    "startup.py": 31,
    "sampling.py": 10,
    "sweep.py --size 0.3M --processes 2": 40,
    "sweep.py --size 0.3M --processes 2 --teacher few_shot": 42,
    "linear_loss.py --rounds 2 --length 256 --no-memory": 105,
    "linear_loss.py --rounds 2 --length 256 --dtype bfloat16": 97,
    "linear_loss.py --memory --rows 4": 76,
    "linear_loss.py --rounds 2 --divergence reverse --dtype bfloat16 --hidden 256 --length 128 --no-memory": 35,
    "linear_loss.py --rounds 2 --divergence js --dtype bfloat16 --hidden 256 --length 128 --no-memory": 50,
    "trace.py": 16,
    "items.py": 20,
    "scaling.py": 40,
    "plan.py --studies distillation_lambda anchored_sft": 55,
    "translate.py": 55,
    "diversity.py": 90,
    "generation.py --rounds 1": 108,
    "generation.py --rounds 1 --dtype bfloat16": 120,
    "anchor.py --rounds 1 --length 256": 113,
    "loop.py --rounds 1 --steps 24": 120,
    "sweep.py --size 7M --processes 1 --teacher few_shot": 125,
    "sweep.py --size 90M --processes 1 --teacher few_shot": 95,
}
"""What is run, with the seconds that each takes on two quiet cores."""
GPU: dict[str, float] = {
    "sampling.py --gpu": 25,
    "linear_loss.py --gpu": 50,
    "linear_loss.py --gpu --divergence reverse": 35,
    "linear_loss.py --gpu --divergence js": 35,
    "anchor.py --gpu --rounds 1": 85,
    "anchor.py --gpu --rounds 1 --size 8B --steps 3": 110,
    "sweep.py --gpu --processes 2": 190,
}
"""The same for one GPU: what each may take, since none has been measured yet."""
TOY: dict[bool, dict[str, float]] = {
    False: {
        "startup.py --rounds 1": 60,
        "sampling.py --vocab 2000 --rounds 2": 60,
        "sweep.py --toy": 120,
        "linear_loss.py --toy --rounds 2": 60,
        "linear_loss.py --toy --memory": 60,
        "linear_loss.py --toy --rounds 2 --divergence js --dtype bfloat16": 60,
        "generation.py --toy": 60,
        "anchor.py --toy --rounds 1 --steps 2": 120,
        "loop.py --toy": 90,
        "trace.py --toy": 90,
        "items.py --rows 20000": 60,
        "translate.py --toy": 60,
        "diversity.py --toy": 90,
        "scaling.py --toy": 120,
    },
    True: {
        "sampling.py --gpu --toy": 60,
        "linear_loss.py --gpu --toy": 60,
        "linear_loss.py --gpu --toy --divergence reverse": 60,
        "linear_loss.py --gpu --toy --divergence js": 60,
        "anchor.py --gpu --toy --rounds 1": 120,
        "anchor.py --gpu --toy --rounds 1 --size 8B --steps 3": 120,
        "sweep.py --gpu --toy": 120,
    },
}
MINUTES = {False: 24.5, True: 9.0}
QUIET = 0.05
"""The part of the machine that others may take while figures are to be quoted."""


def limit(seconds: float) -> float:
    """After how long a script is killed that takes so long: a machine may be half as fast."""
    return 2 * seconds + 20


def budget(lines: dict[str, float], minutes: float) -> str:
    """What is going to run, and how long it may take."""
    rows = [f"{seconds:5.0f} s, at most {limit(seconds):4.0f}  {line}" for line, seconds in lines.items()]
    return "\n".join([*rows, f"{sum(lines.values()) / 60:.1f} minutes in all; nothing begins after {minutes:g}"])


@dataclass
class Performed:
    """One script: how it ended ("" where well), how long it took, what it said."""

    line: str
    problem: str = ""
    seconds: float = 0.0
    said: list[str] = field(default_factory=list)

    @property
    def claims(self) -> list[Claim]:
        return collected("".join(self.said))

    @property
    def tables(self) -> list[str]:
        return [json.loads(line.removeprefix(TABLE)) for line in self.said if line.startswith(TABLE)]


def performed(line: str, limit: float) -> Performed:
    """Run one script, show what it says as it comes, and end all of its processes when its time is over."""
    name, *words = line.split()
    print(f"\n== {line}", flush=True)
    done, start = Performed(line), time.monotonic()
    command = [sys.executable, "-W", "ignore", str(HERE / name), *words]
    late = threading.Event()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:

        def end() -> None:
            late.set()
            os.killpg(process.pid, signal.SIGKILL)

        timer = threading.Timer(limit, end)
        timer.start()
        assert process.stdout is not None
        for each in process.stdout:
            done.said.append(each)
            if not each.startswith((MARK, TABLE)):
                print(each, end="", flush=True)
        process.wait()
        timer.cancel()
    done.seconds = time.monotonic() - start
    if late.is_set():
        done.problem = f"killed after {limit:.0f} s"
    elif process.returncode:
        done.problem = f"ended with status {process.returncode}"
    print(f"{name}: {done.seconds:.0f} s{f', {done.problem}' if done.problem else ''}", flush=True)
    return done


def all_performed(lines: dict[str, float], minutes: float) -> list[Performed]:
    """Every script in turn; what would begin behind the last minute is told to be left out."""
    start, found = time.monotonic(), list[Performed]()
    for line, limit in lines.items():
        left = 60 * minutes - (time.monotonic() - start)
        found.append(performed(line, min(limit, left)) if left > 15 else Performed(line, "no time was left"))
    return found


def about(made: list[Performed], others: Others) -> dict[str, object]:
    """Everything, as data: what RESULTS.json gets, newest last."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=HERE, capture_output=True, text=True).stdout
    share = others.share()
    return {
        "date": f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC",
        "machine": machine(),
        "commit": commit.strip() or "unknown",
        "others": round(share, 3),
        "quiet": share <= QUIET,
        "seconds": round(sum(each.seconds for each in made)),
        "scripts": [
            {"line": each.line, "seconds": round(each.seconds, 1), "problem": each.problem,
             "claims": [asdict(claim) for claim in each.claims]}
            for each in made
        ],
    }  # fmt: skip


def section(made: list[Performed], told: dict[str, object]) -> str:
    """What RESULTS.md gets: the claims as a table, and which scripts said none."""
    state = "quiet" if told["quiet"] else "busy: not to be quoted"
    lines = [
        f"\n## {told['date']}, commit {told['commit']}\n",
        f"{told['machine']}; other processes took {told['others']:.0%} of the machine ({state}); "
        f"{told['seconds']} s in all.\n",
        HEADER,
    ]
    lines += [claim.row() for each in made for claim in each.claims]
    lines += [f"\n{table}" for each in made for table in each.tables]
    failed = [f"`{each.line}` ({each.problem})" for each in made if each.problem]
    return "\n".join(lines) + (f"\n\nNot measured to the end: {', '.join(failed)}.\n" if failed else "\n")


def summary(claims: list[Claim]) -> str:
    """One line a claim, the missed ones marked."""
    lines = [f"{'  ' if claim.held else '! '}{claim.row().strip('| ')}" for claim in claims]
    aimed = [claim for claim in claims if claim.target is not None]
    return "\n".join([*lines, f"{sum(claim.held for claim in aimed)} of {len(aimed)} targets held"])


def record(made: list[Performed], told: dict[str, object]) -> None:
    """Append to both files."""
    with (HERE / "RESULTS.md").open("a", encoding="utf-8") as results:
        results.write(section(made, told))
    data = HERE / "RESULTS.json"
    before = json.loads(data.read_text(encoding="utf-8")) if data.exists() else []
    data.write_text(json.dumps([*before, told], indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def main() -> None:
    """Measure, sum up, record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", help="names of scripts, such as sweep")
    parser.add_argument("--gpu", action="store_true", help="the claims about one GPU")
    parser.add_argument("--toy", action="store_true", help="the same code at toy shapes, on this CPU; records nothing")
    parser.add_argument("--minutes", type=float, help="after which nothing new begins (24; with --gpu 9)")
    parser.add_argument("--plan", action="store_true", help="say what would run and how long it takes, and end")
    parser.add_argument("--no-record", action="store_true", help="leave RESULTS.md and RESULTS.json as they are")
    asked = parser.parse_args()
    lines = TOY[asked.gpu] if asked.toy else GPU if asked.gpu else CPU
    chosen = {each: took for each, took in lines.items() if not asked.only or each.split(".py")[0] in asked.only}
    minutes = asked.minutes or MINUTES[asked.gpu]
    print(budget(chosen, minutes), flush=True)
    if asked.plan:
        return
    others = Others()
    made = all_performed({line: limit(took) for line, took in chosen.items()}, minutes)
    told = about(made, others)
    print(f"\n{summary([claim for each in made for claim in each.claims])}")
    if not (asked.no_record or asked.toy):
        record(made, told)
    if failed := [f"{each.line} ({each.problem})" for each in made if each.problem]:
        sys.exit(f"not measured to the end: {', '.join(failed)}")


if __name__ == "__main__":
    main()
