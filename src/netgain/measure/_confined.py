"""What runs inside the sandbox: one process holds the tried program, another its tests; they share a socket, no more.

The tests never run where the program runs. It may patch builtins, walk frames, exit or write to every descriptor it
holds: that process can answer calls and nothing else. Its answers come back as plain data by value (unpickled from a
closed list of types) or as numbered references, so that an object which claims to equal everything equals nothing.
Verdicts are made and written by the tests' process, on a pipe that the program's process does not have.

This file is fed to a bare interpreter; it imports the standard library only.
"""

import builtins
import ctypes
import errno
import importlib
import io
import itertools
import json
import operator
import os
import pickle
import resource
import struct
import sys
from collections.abc import Callable, Iterator
from types import CodeType, ModuleType
from typing import Any

MOST = 16 << 20
"""Bytes of one message."""
ITERATED = 100_000
"""Items of an iterable that are handed over."""
WHY = 300

ATOMS = frozenset(
    {type(None), bool, int, float, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset, range}
)
BASES = (int, float, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset)
NAMED = frozenset(
    {("builtins", kind.__name__) for kind in (*BASES, range)}
    | {("datetime", name) for name in ("date", "datetime", "time", "timedelta", "timezone")}
    | {("decimal", "Decimal"), ("fractions", "Fraction"), ("collections", "deque")}
)
Raised = (Exception, SystemExit, KeyboardInterrupt, GeneratorExit)
REFUSED = (errno.EPERM, errno.EACCES, errno.EROFS)

# -- what the process may do -------------------------------------------------------------------------------------------

DENIED = {
    "x86_64": (
        *(57, 58, 59, 322, 41, 53, 42, 49, 50, 43, 288, 101, 310, 311, 434, 438, 424, 165, 166, 155, 161, 272, 308),
        *(321, 298, 250, 248, 249, 425, 426, 427, 323, 319, 447, 304, 303, 175, 313, 176, 246, 320, 169, 167, 168),
        *(29, 30, 64, 68, 240, 428, 429, 430, 442),
    ),
    "aarch64": (
        *(221, 281, 198, 199, 203, 200, 201, 202, 242, 117, 270, 271, 434, 438, 424, 40, 39, 41, 51, 97, 268),
        *(280, 241, 219, 217, 218, 425, 426, 427, 282, 279, 447, 265, 264, 105, 273, 106, 104, 294, 142, 224, 225),
        *(194, 196, 190, 186, 180, 428, 429, 430, 442),
    ),
}
"""Starting processes and programs, sockets, looking into processes, mounts and namespaces, bpf, perf, keys, io_uring,
memory files, handles, modules, kexec, reboot, swap, System V and POSIX queues, the new mount calls."""
ARCHITECTURE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
CLONE, CLONE3, THREAD = {"x86_64": 56, "aarch64": 220}, 435, 0x10000
X32 = 0x40000000
LOAD, EQUAL, ABOVE, HAS, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
KILL, ALLOW, FAIL = 0x80000000, 0x7FFF0000, 0x00050000


def seccomp_filter(machine: str) -> bytes:
    """The BPF program: another architecture is killed, the denied calls fail with EPERM, threads are allowed."""
    refuse, absent = (RETURN, 0, 0, FAIL | errno.EPERM), (RETURN, 0, 0, FAIL | errno.ENOSYS)
    lines = [(LOAD, 0, 0, 4), (EQUAL, 1, 0, ARCHITECTURE[machine]), (RETURN, 0, 0, KILL), (LOAD, 0, 0, 0)]
    lines += [(ABOVE, 0, 1, X32), (RETURN, 0, 0, KILL)]
    for number in DENIED[machine]:
        lines += [(EQUAL, 0, 1, number), refuse]
    lines += [(EQUAL, 0, 1, CLONE3), absent]
    lines += [(EQUAL, 0, 3, CLONE[machine]), (LOAD, 0, 0, 16), (HAS, 1, 0, THREAD), refuse]
    return b"".join(struct.pack("HBBI", *line) for line in [*lines, (RETURN, 0, 0, ALLOW)])


def confine(memory: int, cpu_seconds: int) -> None:
    """No more memory or processor time than that, no file written, no process started, no way back."""
    limits = (
        (resource.RLIMIT_AS, memory), (resource.RLIMIT_CPU, cpu_seconds), (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, 64), (resource.RLIMIT_CORE, 0),
    )  # fmt: skip
    for what, value in limits:
        resource.setrlimit(what, (value, value))
    code = seccomp_filter(os.uname().machine)
    libc = ctypes.CDLL(None, use_errno=True)

    class Filter(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("lines", ctypes.c_char_p))

    for call in ((38, 1, 0, 0, 0), (22, 2, ctypes.byref(Filter(len(code) // 8, code)), 0, 0)):
        if libc.prctl(*call):
            raise OSError(ctypes.get_errno(), "seccomp is not available")


# -- what the processes say to each other ------------------------------------------------------------------------------


class Gone(BaseException):
    """The other process has ended."""


class ProgramError(Exception):
    """An exception of the program that has no counterpart here."""


class Packer(pickle.Pickler):
    """Plain values by value, as the plain types they derive from; everything else by reference."""

    def __init__(self, file: io.BytesIO, refer: Callable[[Any], int]) -> None:
        super().__init__(file, protocol=5)
        self._refer = refer

    def persistent_id(self, obj: Any) -> int | None:
        kind = type(obj)
        if kind in ATOMS or isinstance(obj, BASES) or (kind.__module__, kind.__qualname__) in NAMED:
            return None
        if isinstance(obj, type) and (obj.__module__, obj.__qualname__) in NAMED:
            return None
        return self._refer(obj)

    def reducer_override(self, obj: Any) -> Any:
        if type(obj) in ATOMS or not isinstance(obj, BASES):
            return NotImplemented
        base: Any = next(each for each in BASES if isinstance(obj, each))
        return base, (base(obj),)


class Unpacker(pickle.Unpickler):
    """Values of the listed types only: nothing that is read can run."""

    def __init__(self, data: bytes, deref: Callable[[int], Any]) -> None:
        super().__init__(io.BytesIO(data))
        self._deref = deref

    def persistent_load(self, pid: Any) -> Any:
        return self._deref(int(pid))

    def find_class(self, module_name: str, global_name: str) -> Any:
        if (module_name, global_name) not in NAMED:
            raise pickle.UnpicklingError(f"{module_name}.{global_name} is no plain value")
        return getattr(importlib.import_module(module_name), global_name)


class Channel:
    """Messages over one descriptor."""

    def __init__(self, descriptor: int, refer: Callable[[Any], int], deref: Callable[[int], Any]) -> None:
        self._descriptor, self._refer, self._deref = descriptor, refer, deref

    def send(self, *message: Any) -> None:
        file = io.BytesIO()
        Packer(file, self._refer).dump(message)
        data = file.getvalue()
        if len(data) > MOST:
            raise ValueError(f"an answer of {len(data)} bytes is too large")
        rest = memoryview(struct.pack(">I", len(data)) + data)
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]

    def receive(self) -> tuple[Any, ...]:
        (length,) = struct.unpack(">I", self._exactly(4))
        if length > MOST:
            raise ValueError(f"an answer of {length} bytes is too large")
        message = Unpacker(self._exactly(length), self._deref).load()
        if not isinstance(message, tuple):
            raise ValueError("an answer of no known form")
        return message

    def _exactly(self, size: int) -> bytes:
        parts: list[bytes] = []
        while size:
            try:
                part = os.read(self._descriptor, min(size, 1 << 16))
            except ConnectionResetError:
                part = b""
            if not part:
                raise Gone
            parts.append(part)
            size -= len(part)
        return b"".join(parts)


# -- the process of the program ----------------------------------------------------------------------------------------


def _names(namespace: dict[str, Any], names: list[str]) -> dict[str, Any]:
    found = {name: namespace[name] for name in names if name in namespace}
    return {name: ("module", v.__name__) if isinstance(v, ModuleType) else ("value", v) for name, v in found.items()}


OPERATIONS: dict[str, Callable[..., Any]] = {
    "call": lambda target, args, kwargs: target(*args, **kwargs),
    "get": getattr,
    "set": setattr,
    "item": operator.getitem,
    "put": operator.setitem,
    "len": len,
    "str": str,
    "repr": repr,
    "bool": bool,
    "eq": lambda left, right: bool(left == right),
    "contains": operator.contains,
    "iter": lambda target: list(itertools.islice(target, ITERATED)),
    "next": next,
}


def serve(source: str, channel_descriptor: int) -> None:
    """Load the program, then answer calls until the tests are over."""
    held: list[Any] = []

    def refer(value: Any) -> int:
        held.append(value)
        return len(held) - 1

    channel = Channel(channel_descriptor, refer, held.__getitem__)
    namespace: dict[str, Any] = {"__name__": "program"}
    channel.send("up")

    def load(*_: Any) -> None:
        exec(compile(source, "program", "exec"), namespace)

    _answer(channel, load, ())
    while True:
        try:
            operation, *arguments = channel.receive()
        except Gone:
            return
        if operation == "names":
            _answer(channel, _names, (namespace, *arguments))
        else:
            _answer(channel, OPERATIONS[operation], tuple(arguments))


def _answer(channel: Channel, work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    """The value and what the arguments became, or what was raised."""
    try:
        channel.send("value", work(*arguments), arguments[1] if work is OPERATIONS["call"] else ())
    except Raised as error:
        number = error.errno if isinstance(error, OSError) else None
        channel.send("raised", type(error).__name__, str(error)[:WHY], number)


# -- the process of the tests ------------------------------------------------------------------------------------------


class Remote:
    """An object of the program, seen from the tests."""

    __slots__ = ("_ask", "_number")

    def __init__(self, ask: Callable[..., Any], number: int) -> None:
        object.__setattr__(self, "_ask", ask)
        object.__setattr__(self, "_number", number)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._ask("call", self, args, kwargs)

    def __getattr__(self, name: str) -> Any:
        return self._ask("get", self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        self._ask("set", self, name, value)

    def __getitem__(self, key: Any) -> Any:
        return self._ask("item", self, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        self._ask("put", self, key, value)

    def __contains__(self, value: Any) -> bool:
        return self._ask("contains", self, value) is True

    def __iter__(self) -> Iterator[Any]:
        return iter(list(self._ask("iter", self)))

    def __next__(self) -> Any:
        return self._ask("next", self)

    def __len__(self) -> int:
        return int(self._ask("len", self))

    def __bool__(self) -> bool:
        return self._ask("bool", self) is True

    def __str__(self) -> str:
        return str(self._ask("str", self))

    def __repr__(self) -> str:
        return str(self._ask("repr", self))

    def __eq__(self, other: object) -> bool:
        """A reference equals no plain value, whatever the program's own `__eq__` says."""
        return isinstance(other, Remote) and self._ask("eq", self, other) is True

    def __hash__(self) -> int:
        return hash(("remote", self._number))


def _number(value: Any) -> int:
    if type(value) is not Remote:
        raise TypeError(f"a {type(value).__name__} of the tests cannot be handed to the program")
    return value._number


def _take_back(given: Any, became: Any) -> None:
    """What the program did to a mutable argument is done here too."""
    if isinstance(given, list) and isinstance(became, list):
        given[:] = became
    elif (isinstance(given, dict) and isinstance(became, dict)) or (isinstance(given, set) and isinstance(became, set)):
        given.clear()
        given.update(became)


def _error(name: Any, message: Any, number: Any) -> Exception:
    """The exception of that name, made anew here."""
    kind = getattr(builtins, str(name), None)
    error: Exception = ProgramError(f"{name}: {message}")
    if isinstance(kind, type) and issubclass(kind, Exception) and not issubclass(kind, ExceptionGroup):
        error = kind.__new__(kind, str(message))
    if isinstance(number, int):
        error.add_note(f"errno {number}")
    return error


def verdict_of(error: BaseException) -> tuple[str, str]:
    """(verdict, why) of what ended a test."""
    notes = getattr(error, "__notes__", [])
    why = f"{type(error).__name__}: {error}".removesuffix(": ")[:WHY]
    if isinstance(error, MemoryError):
        return "memory", why
    if any(f"errno {number}" in notes for number in REFUSED):
        return "forbidden", why
    return "failed", why


class Tests:
    """The tests, their names, and the program behind the channel."""

    def __init__(self, job: dict[str, Any]) -> None:
        self.job, self._report = job, job["report"]
        self.channel = Channel(job["channel"], _number, lambda number: Remote(self.ask, number))

    def say(self, **message: Any) -> None:
        os.write(self._report, json.dumps(message).encode() + b"\n")

    def hear(self) -> Any:
        kind, *rest = self.channel.receive()
        if kind == "raised":
            raise _error(*rest)
        return rest

    def ask(self, operation: str, *arguments: Any) -> Any:
        try:
            self.channel.send(operation, *arguments)
        except BrokenPipeError:
            raise Gone from None
        value, became = self.hear()
        if operation == "call":
            for given, after in zip(arguments[1], became, strict=False):
                _take_back(given, after)
        return value

    def run(self) -> None:
        """Report `up`, `loaded`, then every test's verdict; stop at once when the program is gone."""
        try:
            self.channel.receive()
            self.say(state="up")
            self.hear()
            namespace: dict[str, Any] = {"__name__": "tests"}
            exec(compile(self.job["setup"], "setup", "exec"), namespace)
            codes = [compile(test, "test", "exec") for test in self.job["tests"]]
            namespace |= self.borrowed(codes, namespace)
        except Gone:
            return self.say(state="gone")
        except Raised as error:
            verdict, why = verdict_of(error)
            return self.say(state="unloadable", verdict=verdict, why=why)
        self.say(state="loaded")
        for code in codes:
            verdict, why = "passed", ""
            try:
                exec(code, namespace)
            except Gone:
                return self.say(state="gone")
            except Raised as error:
                verdict, why = verdict_of(error)
            self.say(state="tested", verdict=verdict, why=why)
        return None

    def borrowed(self, codes: list[CodeType], namespace: dict[str, Any]) -> dict[str, Any]:
        """Of the program: the named entry points, and other names that the tests use and nobody else defines."""
        used = {name for code in codes for name in _used(code)}
        asked = {name for name in used if name not in namespace and not hasattr(builtins, name)} | set(
            self.job["entry"]
        )
        found = self.ask("names", sorted(asked))
        taken: dict[str, Any] = {}
        for name in asked & set(found):
            kind, value = found[name]
            if kind == "value":
                taken[name] = value
            elif value in sys.stdlib_module_names:
                taken[name] = importlib.import_module(value)
        return taken


def _used(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _used(constant)


def main() -> None:
    """Read the job from standard input, give up everything that it does not need, do it."""
    job = json.load(sys.stdin)
    os.dup2(1, 2)
    confine(job["memory"], job["cpu_seconds"])
    if job["role"] == "program":
        serve(job["source"], job["channel"])
    else:
        Tests(job).run()


if __name__ == "__main__":
    main()
