"""Running programs that a model wrote, against tests that it cannot reach.

    find().run(Program(source, tests=("assert f(2) == 4",), entry=("f",)))  ->  one Ruling a test
    find().run_all(programs)                                                ->  the same, several programs at once

Program and tests are two processes in two sandboxes with one socket between them (`_confined`), so a verdict cannot be
forged from inside the program. A sandbox has no network, no home, no environment, no writable file, no processes to
start, bounded memory and processor time, and is killed as a whole when the clock runs out. It is bubblewrap's, else one
made of user namespaces; where neither works, nothing is run.
"""

import json
import math
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

from netgain.errors import UserError

Verdict = Literal["passed", "failed", "timeout", "memory", "forbidden"]

START = 60.0
"""Seconds that two bare interpreters may take to start on a busy machine; the program has not run by then."""
ENDING = 5.0
"""Seconds in which a process that hung up should have ended."""
LONGEST = 1 << 16
"""Bytes of a report; most are a few hundred."""
SYSTEM = ("/usr", "/lib", "/lib32", "/lib64")
NOBODY = 65534
PREFIX = os.path.realpath(sys.base_prefix)
SETTINGS = {"PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8", "PATH": "/usr/bin", "LD_LIBRARY_PATH": f"{PREFIX}/lib"}
INSTALL = "install it with `apt-get install bubblewrap`"


@dataclass(frozen=True, slots=True)
class Limits:
    """`seconds` for loading the program and again for each test; `memory` bytes for each of the two processes."""

    seconds: float = 10.0
    memory: int = 512 << 20


@dataclass(frozen=True, slots=True)
class Program:
    """What to run and how to judge it.

    source   the program: untrusted
    tests    pieces of code that raise when the program is wrong, run in this order, in one namespace
    setup    code that the tests stand on (imports, helpers), run on their side
    entry    names that the tests call in the program even where the setup or Python has one of that name
    """

    source: str
    tests: tuple[str, ...]
    setup: str = ""
    entry: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ruling:
    """The verdict on one test, and why when it was not passed."""

    verdict: Verdict
    why: str = ""


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A way to confine a command that was seen to work here."""

    backend: Literal["bubblewrap", "namespaces"]
    bubblewrap: str = ""

    def run(self, program: Program, limits: Limits = Limits()) -> list[Ruling]:
        """A ruling for every test; a program that ends or hangs in one is started anew for the next."""
        rulings: list[Ruling] = []
        while len(rulings) < len(program.tests):
            rest = replace(program, tests=program.tests[len(rulings) :])
            rulings += _Trial(self, rest, limits).rulings()
        return rulings

    def run_all(
        self,
        programs: Sequence[Program],
        limits: Limits = Limits(),
        *,
        workers: int | None = None,
        progress: Callable[[int, int], object] = lambda done, total: None,
    ) -> list[list[Ruling]]:
        """The rulings of every program, in order; equal programs are run once."""
        distinct = list(dict.fromkeys(programs))
        found: dict[Program, list[Ruling]] = {}
        with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
            for program, rulings in zip(distinct, pool.map(lambda p: self.run(p, limits), distinct), strict=True):
                found[program] = rulings
                progress(len(found), len(distinct))
        return [found[program] for program in programs]

    def command(self, command: Sequence[str]) -> list[str]:
        """The command line that runs `command` confined."""
        folders, links = visible()
        if self.backend == "namespaces":
            asked = json.dumps({"parent": os.getpid(), "folders": folders, "links": links, "command": list(command)})
            return [*python(), _source("_namespaces.py"), asked]
        words = [
            self.bubblewrap, "--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts",
            "--uid", str(NOBODY), "--gid", str(NOBODY), "--cap-drop", "ALL", "--die-with-parent",
        ]  # fmt: skip
        for folder in folders:
            words += ["--ro-bind", folder, folder]
        for target, name in links:
            words += ["--symlink", target, name]
        return [*words, "--remount-ro", "/", "--chdir", "/", "--", *command]


def python() -> list[str]:
    """The interpreter under any virtual environment, without site packages, up to the code to run."""
    return [os.path.realpath(sys.executable), "-S", "-s", "-P", "-B", "-c"]


def visible() -> tuple[list[str], list[tuple[str, str]]]:
    """(folders, links as (target, name)) of the sandbox: the system's libraries and the interpreter."""
    folders = [folder for folder in SYSTEM if Path(folder).is_dir() and not Path(folder).is_symlink()]
    links = [(os.readlink(folder), folder) for folder in SYSTEM if Path(folder).is_symlink()]
    if not any(Path(PREFIX).is_relative_to(folder) for folder in folders):
        folders.append(PREFIX)
    return folders, links


@cache
def _source(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


# -- one program and its tests -----------------------------------------------------------------------------------------


class Broken(UserError):
    """The sandbox itself did not come up; what it said."""


class _Trial:
    """A program and its tests, from their start to the last verdict that could be had."""

    def __init__(self, sandbox: Sandbox, program: Program, limits: Limits) -> None:
        self.sandbox, self.program, self.limits = sandbox, program, limits

    def rulings(self) -> list[Ruling]:
        """At least one: of all tests if the program does not load, else up to the first that it did not survive."""
        ours, theirs = socket.socketpair()
        reading, writing = os.pipe()
        cpu_seconds = math.ceil(self.limits.seconds * (len(self.program.tests) + 1)) + 1
        limit = {"memory": self.limits.memory, "cpu_seconds": cpu_seconds}
        tried = {"role": "program", "source": self.program.source, "channel": theirs.fileno(), **limit}
        tests = {
            "role": "tests", "setup": self.program.setup, "tests": self.program.tests, "entry": self.program.entry,
            "channel": ours.fileno(), "report": writing, **limit,
        }  # fmt: skip
        with (
            ours,
            theirs,
            os.fdopen(reading, "rb", 0) as reports,
            os.fdopen(writing, "wb", 0) as report,
            _Process(self.sandbox, tried, (theirs.fileno(),)) as program,
            _Process(self.sandbox, tests, (ours.fileno(), writing)) as judge,
        ):
            for mine in (ours, theirs, report):
                mine.close()
            return self._judge(_Lines(reports.fileno()), program, judge)

    def _judge(self, lines: "_Lines", program: "_Process", judge: "_Process") -> list[Ruling]:
        """Read reports against the clock: START until the program begins, then `seconds` for each step."""
        rulings: list[Ruling] = []
        begun, loaded = False, False
        while len(rulings) < len(self.program.tests):
            told = lines.next(self.limits.seconds if begun else START)
            match told:
                case {"state": "up"}:
                    begun = True
                case {"state": "loaded"}:
                    loaded = True
                case {"state": "tested", "verdict": verdict, "why": why}:
                    rulings.append(Ruling(verdict, why))
                case {"state": "unloadable", "verdict": verdict, "why": why}:
                    return self._rest(rulings, False, Ruling(verdict, why))
                case _ if not begun:
                    raise Broken(f"sandbox: {judge.said() or program.said() or 'no interpreter started'}")
                case {"state": "gone"}:
                    return self._rest(rulings, loaded, program.ruling())
                case {"state": "late"}:
                    return self._rest(rulings, loaded, Ruling("timeout", f"more than {self.limits.seconds:g} s"))
                case _:
                    return self._rest(rulings, loaded, Ruling("failed", "an answer ended the tests"))
        return rulings

    def _rest(self, rulings: list[Ruling], loaded: bool, ruling: Ruling) -> list[Ruling]:
        """The ruling on this test, or on every test when the program did not even load."""
        return [*rulings, ruling] if loaded else [ruling] * len(self.program.tests)


class _Process:
    """A confined process that does a job; on leaving, whatever is left of it is killed."""

    def __init__(self, sandbox: Sandbox, job: dict[str, Any], descriptors: tuple[int, ...]) -> None:
        self._errors = os.fdopen(os.memfd_create("errors"), "wb+")
        with os.fdopen(os.memfd_create("job"), "wb+") as fed:
            fed.write(json.dumps(job).encode())
            fed.seek(0)
            self._process = subprocess.Popen(
                sandbox.command([*python(), _source("_confined.py")]), stdin=fed, stdout=subprocess.DEVNULL,
                stderr=self._errors, env=SETTINGS, cwd="/", pass_fds=descriptors, start_new_session=True,
            )  # fmt: skip

    def __enter__(self) -> "_Process":
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._errors.close()

    def said(self) -> str:
        """What was written before the interpreter took over."""
        self._errors.seek(0)
        lines = self._errors.read(1 << 16).decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""

    def ruling(self) -> Ruling:
        """What its end says about the program in it."""
        try:
            status = self._process.wait(ENDING)
        except subprocess.TimeoutExpired:
            return Ruling("failed", "hung up before the tests were over")
        number = -status if status < 0 else status - 128
        if number == signal.SIGXCPU:
            return Ruling("timeout", "processor time used up")
        if number == signal.SIGSYS:
            return Ruling("forbidden", "a system call that is not allowed")
        if number > 0:
            return Ruling("failed", f"ended by {_name(number)}")
        return Ruling("failed", f"exited with status {status} before the tests were over")


def _name(number: int) -> str:
    return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"


class _Lines:
    """JSON lines from a pipe, each within a time."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor, self._rest = descriptor, b""

    def next(self, seconds: float) -> dict[str, Any]:
        """The next line; {"state": "late"} when there was none in time, {"state": "ended"} when there is none."""
        until = time.monotonic() + seconds
        while b"\n" not in self._rest:
            left = until - time.monotonic()
            if left <= 0 or not select.select([self._descriptor], [], [], left)[0]:
                return {"state": "late"}
            part = os.read(self._descriptor, 1 << 16)
            if not part or len(self._rest) > LONGEST:
                return {"state": "ended"}
            self._rest += part
        line, _, self._rest = self._rest.partition(b"\n")
        return json.loads(line)


# -- what works here ---------------------------------------------------------------------------------------------------

PROBE = Program(
    "import os\ndef f():\n    return 42\ndef fork():\n    os.fork()\ndef home():\n    return os.path.exists('/etc')",
    ("assert f() == 42", "fork()", "assert not home()"),
)


@cache
def find() -> Sandbox:
    """The first sandbox that works on this machine: it ran a program, kept it from forking, and hid the system."""
    refused = []
    for candidate in candidates():
        reason = candidate if isinstance(candidate, str) else why_not(candidate)
        if reason is None and isinstance(candidate, Sandbox):
            return candidate
        refused.append(reason)
    raise UserError(
        f"No sandbox works here, and programs of a model are not run without one: {'; '.join(map(str, refused))}."
    )


def candidates() -> Iterator[Sandbox | str]:
    """Sandboxes to try, best first, or why there is none of a sort."""
    if sys.platform != "linux":
        yield f"it needs Linux, and this is {sys.platform}"
        return
    found = shutil.which("bwrap")
    yield Sandbox("bubblewrap", found) if found else f"bubblewrap: not found ({INSTALL})"
    yield Sandbox("namespaces")


def why_not(sandbox: Sandbox) -> str | None:
    """What keeps a sandbox from working here, None when it works."""
    try:
        rulings = sandbox.run(PROBE, Limits(seconds=START))
    except Broken as error:
        return f"{sandbox.backend}: {str(error).removeprefix('sandbox: ')}"
    if [ruling.verdict for ruling in rulings] == ["passed", "forbidden", "passed"]:
        return None
    return f"{sandbox.backend}: it does not confine ({', '.join(ruling.why or ruling.verdict for ruling in rulings)})"
