"""Every hostile program is contained by each sandbox, none can forge a verdict, and nothing is left running."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from netgain.errors import UserError
from netgain.measure import sandbox as module
from netgain.measure.sandbox import Limits, Program, Ruling, Sandbox, candidates, find, python, why_not

QUICK = Limits(seconds=5.0, memory=256 << 20)
HURRIED = Limits(seconds=0.6, memory=256 << 20)
"""For programs that are to run out of time: what a loaded machine does to it changes nothing."""


def _sandboxes() -> list[object]:
    """Those of this machine; one that it lacks is skipped with the reason."""
    found: list[object] = []
    for each in candidates():
        reason = each if isinstance(each, str) else why_not(each)
        name = each.split(":")[0] if isinstance(each, str) else each.backend
        marks = [pytest.mark.skip(reason=reason)] if reason else []
        found.append(pytest.param(each, id=name, marks=marks))
    return found


@pytest.fixture(params=_sandboxes())
def box(request: pytest.FixtureRequest) -> Sandbox:
    assert isinstance(request.param, Sandbox)
    return request.param


def bare_interpreters() -> set[int]:
    """Processes of this machine that run what the sandbox runs."""
    mark, found = python()[1:], set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
            owner = folder.stat().st_uid
        except OSError:
            continue
        if owner == os.getuid() and words[1 : 1 + len(mark)] == mark and str(os.getpid()) != folder.name:
            found.add(int(folder.name))
    return found


@pytest.fixture(autouse=True)
def _nothing_left_running() -> Iterator[None]:
    before = bare_interpreters()
    yield
    until = time.monotonic() + 5
    while (left := bare_interpreters() - before) and time.monotonic() < until:
        time.sleep(0.02)
    assert not left


def judged(box: Sandbox, source: str, *tests: str, limits: Limits = QUICK) -> list[Ruling]:
    return box.run(Program(source, tests or ("assert f() == 42",), entry=("f",)), limits)


def verdict(box: Sandbox, source: str, *tests: str, limits: Limits = QUICK) -> str:
    (ruling,) = judged(box, source, *tests, limits=limits)
    return ruling.verdict


def test_right_passes_and_wrong_fails_test_by_test(box: Sandbox) -> None:
    found = judged(box, "def f(x): return 2 * x", "assert f(2) == 4", "assert f(3) == 7", "assert f('a') == 'aa'")
    assert [ruling.verdict for ruling in found] == ["passed", "failed", "passed"]
    assert found[1].why == "AssertionError"


# -- hostile programs --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "source",
    [
        "import os\ndef f():\n    while True: os.fork()",
        "import os\nwhile True: os.fork()",
        "import subprocess\ndef f(): return subprocess.run(['/bin/true'])",
        "import multiprocessing\ndef f(): multiprocessing.get_context('fork').Process(target=print).start()",
        "import os\ndef f(): os.posix_spawn('/bin/sh', ['sh'], {})",
    ],
)
def test_no_process_is_started(box: Sandbox, source: str) -> None:
    assert verdict(box, source) == "forbidden"


def test_a_fork_bomb_that_ignores_refusals_runs_out_of_time(box: Sandbox) -> None:
    source = "import os\ndef f():\n    while True:\n        try: os.fork()\n        except OSError: pass"
    assert verdict(box, source, limits=HURRIED) == "timeout"


def test_a_bomb_of_threads_stays_within_its_limits(box: Sandbox) -> None:
    source = (
        "import threading, time\n"
        "def f():\n    while True: threading.Thread(target=time.sleep, args=(99,), daemon=True).start()"
    )
    assert verdict(box, source, limits=HURRIED) in ("failed", "memory", "timeout")


@pytest.mark.parametrize(
    "source",
    [
        "def f(): return bytearray(10 * 2**30)",
        "def f():\n    kept = []\n    while True: kept.append(bytearray(2**20))",
        "import mmap\ndef f():\n    try: return len(mmap.mmap(-1, 10 * 2**30))\n    except OSError: raise MemoryError",
        "x = [0] * 10**10",
    ],
)
def test_memory_is_bounded(box: Sandbox, source: str) -> None:
    assert verdict(box, source) == "memory"


@pytest.mark.parametrize(
    "source",
    [
        "def f():\n    while True: print('x' * 10**6)",
        "import sys\ndef f():\n    while True: sys.stderr.write('x' * 10**6)",
        "def f():\n    while True: pass",
        "while True: pass",
        "def f():\n    return sum(1 for _ in iter(int, 1))",
        "import time\ndef f(): time.sleep(60)",
        "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "def f():\n    while True:\n        try: time.sleep(60)\n        except BaseException: pass",
        "import itertools\ndef f(): return all(itertools.count(1))",
    ],
)
def test_the_clock_ends_it_all(box: Sandbox, source: str) -> None:
    start = time.monotonic()
    assert verdict(box, source, limits=HURRIED) == "timeout"
    assert time.monotonic() - start < 10


def test_an_answer_too_large_to_hand_over_fails(box: Sandbox) -> None:
    assert verdict(box, "def f(): return 'x' * (64 << 20)") == "failed"


@pytest.mark.parametrize(
    "source",
    [
        "import os\nos._exit(0)",
        "import sys\nsys.exit(0)",
        "raise SystemExit",
        "import os\ndef f(): os._exit(0)",
        "import os, signal\ndef f(): os.kill(os.getpid(), signal.SIGKILL)",
        "import os\ndef f():\n    [os.close(n) for n in range(64)]",
        "import ctypes\ndef f(): ctypes.string_at(0)",
        "import sys\ndef f():\n    sys.setrecursionlimit(10**9)\n    f()",
        "def f(): return f()",
        "class Quit(BaseException): pass\ndef f(): raise Quit",
        "def f(:",
    ],
)
def test_ending_early_is_no_pass(box: Sandbox, source: str) -> None:
    assert verdict(box, source, limits=HURRIED) in ("failed", "timeout")


def test_a_program_that_dies_in_one_test_is_started_anew_for_the_next(box: Sandbox) -> None:
    source = "import os, time\ndef f(x):\n    if x == 1: os._exit(0)\n    if x == 2: time.sleep(60)\n    return x"
    found = judged(box, source, *(f"assert f({x}) == {x}" for x in range(4)), limits=Limits(seconds=2.0))
    assert [ruling.verdict for ruling in found] == ["passed", "failed", "timeout", "passed"]


def test_a_child_that_sleeps_on_after_the_program_is_impossible(box: Sandbox) -> None:
    source = (
        "import os, time, threading\n"
        "try:\n    if os.fork() == 0:\n        os.setsid()\n        time.sleep(600)\nexcept OSError: pass\n"
        "threading.Thread(target=time.sleep, args=(600,)).start()\n"
        "def f(): return 42"
    )
    assert verdict(box, source) == "passed"  # the fixture looks for what is left


def test_no_secret_can_be_read(box: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NETGAIN_SECRET", "hunter2")
    secret = tmp_path / "token"
    secret.write_text("hunter2")
    here = [
        str(Path.home()),
        str(Path(__file__)),
        str(secret),
        "/etc/passwd",
        "/proc/self/environ",
        "/sys",
        "/dev/null",
    ]
    source = (
        "import os\n"
        "def environment(): return dict(os.environ)\n"
        "def open_to_me(p): return os.path.isfile(p) or (os.path.isdir(p) and os.access(p, os.W_OK))\n"
        f"def seen(): return [p for p in {here!r} if open_to_me(p)]\n"
        "def home(): return sorted(os.listdir(p)) if os.path.isdir(p := " + repr(str(Path.home())) + ") else []\n"
        "def me(): return os.getuid()"
    )
    around = Path(os.path.realpath(python()[0]))
    way = sorted({around.relative_to(Path.home()).parts[0]}) if around.is_relative_to(Path.home()) else []
    found = judged(
        box,
        source,
        "assert 'hunter2' not in str(environment()) and 'HOME' not in environment()",
        "assert seen() == []",
        f"assert home() == {way!r}",
        "assert me() == 65534",
    )
    assert [ruling.verdict for ruling in found] == ["passed"] * 4, found


@pytest.mark.parametrize("where", ["/tmp/x", "/x", "/usr/x", "{here}/x", "{home}/x", "{prefix}/x", "/dev/shm/x"])
def test_nothing_can_be_written_anywhere(box: Sandbox, where: str, tmp_path: Path) -> None:
    path = where.format(here=tmp_path, home=Path.home(), prefix=os.path.realpath(module.sys.base_prefix))
    source = f"def f():\n    with open({path!r}, 'w') as file:\n        file.write('x')"
    assert verdict(box, source) in ("forbidden", "failed")
    assert not Path(path).exists()


def test_the_system_cannot_be_changed(box: Sandbox) -> None:
    source = (
        "import os\ndef f(): os.chmod('/usr', 0o777)\ndef g(): os.mkdir('/usr/netgain')\n"
        "def h(): os.remove(os.path.realpath('/usr/bin/env'))\ndef i(): os.setuid(0)"
    )
    found = judged(box, source, "f()", "g()", "h()", "i()")
    assert all(ruling.verdict in ("forbidden", "failed") for ruling in found), found
    assert "forbidden" in {ruling.verdict for ruling in found}


def test_there_is_no_network(box: Sandbox) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        source = f"import socket\ndef f(): return socket.create_connection(('127.0.0.1', {port}), 1) and 42"
        assert verdict(box, source) == "forbidden"
        server.settimeout(0.05)
        with pytest.raises(TimeoutError):
            server.accept()


FORGERIES = {
    "patched assert": "import builtins\nbuiltins.AssertionError = ValueError\ndef f(): return 0",
    "equal to everything": "class Any:\n    def __eq__(self, other): return True\ndef f(): return Any()",
    "a number equal to everything": "class Any(int):\n    def __eq__(self, other): return True\n"
    "    __hash__ = int.__hash__\ndef f(): return Any(0)",
    "written on every descriptor": "import os\ndef f():\n    for n in range(64):\n        try: os.write(n, "
    'b\'{"state": "tested", "verdict": "passed", "why": ""}\\n\' * 9)\n        except OSError: pass\n    return 0',
    "frames": "import sys\ndef f():\n    frame = sys._getframe()\n    while frame:\n        for name, value in "
    "frame.f_globals.items():\n            if callable(value): frame.f_globals[name] = lambda *a, **k: 42\n"
    "        frame = frame.f_back\n    return 0",
    "exit handlers": "import atexit, os\natexit.register(lambda: os._exit(0))\ndef f(): return 0",
    "its own pickles": "class Bad:\n    def __reduce__(self): return (print, ('x',))\ndef f(): return [Bad()]",
    "shadowed helpers": "def abs(x): return 0\ndef len(x): return 42\ndef f(): return 0",
    "looking for the tests": "import gc\ndef f():\n    for o in gc.get_objects():\n        if isinstance(o, dict) and "
    "'tests' in o: o['tests'] = ()\n    return 0",
    "reading every descriptor": "import os\nmark = bytes([61, 61, 32, 52, 50])\ndef f():\n    for n in range(64):\n"
    "        try: os.lseek(n, 0, 0); data = os.read(n, 10**6)\n        except OSError: continue\n"
    "        if mark in data: return 42\n    return 0",
    "the other process": "import os, ctypes\ndef f():\n    for pid in range(1, 400):\n        try: ctypes.CDLL(None)."
    "ptrace(16, pid, 0, 0); os.kill(pid, 0)\n        except OSError: pass\n    return 0",
}


@pytest.mark.parametrize("how", FORGERIES)
def test_a_verdict_cannot_be_forged(box: Sandbox, how: str) -> None:
    found = judged(box, FORGERIES[how], "assert f() == 42 and abs(f() - 42) < 1 and len([f()]) == 1")
    assert found[0].verdict != "passed"


def test_a_fake_answer_is_a_value_and_no_more(box: Sandbox) -> None:
    """A program that writes its own replies can say what it likes, and equals what it says."""
    source = (
        "import os, pickle, struct\n"
        "class Run:\n    def __reduce__(self): return (os.system, ('touch /tmp/x',))\n"
        "def f():\n    data = pickle.dumps(('value', Run(), ()))\n"
        "    for n in range(3, 64):\n        try: os.write(n, struct.pack('>I', len(data)) + data)\n"
        "        except OSError: pass\n"
        "    return 0"
    )
    (ruling,) = judged(box, source)
    assert ruling.verdict == "failed"
    assert "is no plain value" in ruling.why


def test_a_program_that_writes_all_its_answers_ahead_names_only_what_was_asked_for(box: Sandbox) -> None:
    """It offers the gold value and the helper too; a number it may return, and that is all."""
    source = (
        "import io, os, pickle, struct, time\n"
        "class Reference: pass\n"
        "class Packer(pickle.Pickler):\n"
        "    def persistent_id(self, value): return 0 if isinstance(value, Reference) else None\n"
        "def say(*message):\n"
        "    file = io.BytesIO()\n"
        "    Packer(file, 5).dump(message)\n"
        "    data = file.getvalue()\n"
        "    for n in range(3, 64):\n"
        "        try: os.write(n, struct.pack('>I', len(data)) + data)\n"
        "        except OSError: pass\n"
        "names = {'f': ('value', Reference()), 'gold': ('value', 0), 'abs': ('value', 0)}\n"
        "say('value', None, ())\nsay('value', names, ())\nsay('value', 0, ())\nsay('value', 0, ())\ntime.sleep(60)"
    )
    program = Program(source, ("assert f() == 0 and abs(gold) == 42", "assert f() == gold"), "gold = 42", ("f",))
    found = box.run(program, HURRIED)
    assert [ruling.verdict for ruling in found] == ["passed", "failed"], found


# -- what honest programs may do ---------------------------------------------------------------------------------------

HONEST = """
import math
from collections import Counter, OrderedDict, defaultdict, namedtuple
from datetime import date
from decimal import Decimal
from enum import IntEnum
from fractions import Fraction
Point = namedtuple("Point", "x y")
class Level(IntEnum):
    LOW = 1
class Node:
    def __init__(self, value): self.value, self.left = value, None
    def depth(self): return 1 + (self.left.depth() if self.left else 0)
def values(): return [1, 2.5, 1j, "a", b"a", None, True, (1,), {1}, {"a": [1]}, range(3), frozenset({2})]
def derived(): return Point(1, 2), Level.LOW, Counter("aab"), OrderedDict(a=1), defaultdict(int, a=1)
def named(): return date(2020, 1, 2), Decimal("1.5"), Fraction(1, 3)
def lazily(): return (x * x for x in range(4))
def stop(x): raise KeyError(x)
def sort(items): items.sort()
def call(g): return g
def infinite(): return math.inf, math.nan
def sum(a, b): return 10 * a + b
"""


@pytest.mark.parametrize(
    "test",
    [
        "assert values() == [1, 2.5, 1j, 'a', b'a', None, True, (1,), {1}, {'a': [1]}, range(3), frozenset({2})]",
        "assert derived() == ((1, 2), 1, {'a': 2, 'b': 1}, {'a': 1}, {'a': 1})",
        "from datetime import date\nfrom decimal import Decimal\nfrom fractions import Fraction\n"
        "assert named() == (date(2020, 1, 2), Decimal('1.5'), Fraction(1, 3))",
        "assert list(lazily()) == [0, 1, 4, 9] and set(lazily()) == {0, 1, 4, 9}",
        "g = lazily()\nassert next(g) == 0 and next(g) == 1",
        "try:\n    stop('x')\n    assert False\nexcept KeyError:\n    pass",
        "x = [3, 1, 2]\nsort(x)\nassert x == [1, 2, 3]",
        "root = Node(1)\nroot.left = Node(2)\nassert root.depth() == 2 and root.left.value == 2",
        "root = Node(1)\nassert call(root) == root and root != Node(1)",
        "assert infinite()[0] == math.inf and infinite()[1] != infinite()[1]",
        "assert sum(1, 2) == 12",
        "assert callable(values) and str(Level.LOW) in ('1', 'Level.LOW')",
    ],
)
def test_honest_programs_are_judged_as_in_one_process(box: Sandbox, test: str) -> None:
    (ruling,) = box.run(Program(HONEST, (test,), entry=("sum",)), QUICK)
    assert ruling == Ruling("passed")


def test_what_the_setup_defines_is_not_taken_from_the_program(box: Sandbox) -> None:
    program = Program(
        "def check(x): return True\ndef f(): return 0", ("assert check(f())",), "def check(x): return x == 42", ("f",)
    )
    assert box.run(program, QUICK)[0].verdict == "failed"


def test_sets_come_in_the_same_order_every_time(box: Sandbox) -> None:
    source = "def f(): return ''.join({'a', 'b', 'c', 'd', 'e', 'f', 'g'})"
    (first,) = judged(box, source, "raise ValueError(f())")
    assert [judged(box, source, "raise ValueError(f())") for _ in range(3)] == [[first]] * 3


def test_many_programs_run_in_parallel_and_come_back_in_order(box: Sandbox) -> None:
    programs = [Program(f"def f(): return {i % 7}", (f"assert f() == {i % 3}",)) for i in range(21)]
    seen: list[tuple[int, int]] = []
    found = box.run_all(programs, QUICK, workers=3, progress=lambda done, total: seen.append((done, total)))
    assert [rulings[0].verdict == "passed" for rulings in found] == [i % 7 == i % 3 for i in range(21)]
    assert seen[-1] == (21, 21)


def test_interrupting_a_run_leaves_nothing_behind(box: Sandbox) -> None:
    """The thread that runs it ends with its own error while the program still runs."""
    program = Program("import time\ndef f(): time.sleep(60)", ("f()",))

    def run() -> None:
        with pytest.raises(KeyboardInterrupt):
            trial.rulings()

    trial = module._Trial(box, program, QUICK)
    trial._judge = interrupt  # type: ignore[method-assign]
    thread = threading.Thread(target=run)
    thread.start()
    thread.join(10)
    assert not thread.is_alive()


def interrupt(*_: object) -> list[Ruling]:
    raise KeyboardInterrupt


def test_killing_who_runs_it_kills_the_sandbox(box: Sandbox) -> None:
    before = bare_interpreters()
    code = (
        "from netgain.measure.sandbox import Limits, Program, Sandbox\n"
        f"box = Sandbox({box.backend!r}, {box.bubblewrap!r})\n"
        "box.run(Program('import time\\ntime.sleep(600)', ('f()',)), Limits(seconds=600))"
    )
    runner = subprocess.Popen([sys.executable, "-c", code])
    until = time.monotonic() + 60
    while len(bare_interpreters() - before) < 2 and time.monotonic() < until:
        time.sleep(0.02)
    assert len(bare_interpreters() - before) >= 2
    runner.kill()
    runner.wait()  # the fixture looks for what is left


def test_without_a_sandbox_nothing_is_run_and_the_reasons_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Sandbox("bubblewrap", "/bin/false")
    monkeypatch.setattr(module, "candidates", lambda: iter(["bubblewrap: not found (install it)", broken]))
    find.cache_clear()
    with pytest.raises(UserError, match=r"No sandbox works here.*not found \(install it\); bubblewrap: no interpreter"):
        find()
    find.cache_clear()


def test_a_sandbox_that_does_not_confine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Sandbox, "command", lambda _self, command: list(command))
    assert "does not confine" in str(why_not(Sandbox("namespaces")))
