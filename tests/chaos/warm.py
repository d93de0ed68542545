"""A process that has imported all that netgain needs, and forks it whenever a line of standard input says so.

What begins with a fork begins at once, so that a fault can strike a hundred times. A line is
{"start": arguments, "out": file, "full": [n, folder]}, {"poll": pid} or {"wait": pid}; the answer is a pid, or an exit
code (null while it runs). `full` makes everything from the n-th write below the folder on fail, as on a full disk (see
FULL in test_disk.py).
"""

import ctypes
import json
import os
import sys
from typing import Any


def main() -> None:
    import netgain.execute.run
    import netgain.report.paper  # noqa: F401

    for line in sys.stdin:
        asked = json.loads(line)
        if "start" in asked:
            answer: int | None = begun(asked)
        else:
            pid, status = os.waitpid(asked.get("poll", asked.get("wait")), os.WNOHANG if "poll" in asked else 0)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        print(json.dumps(answer), flush=True)


def begun(asked: dict[str, Any]) -> int:
    pid = os.fork()
    if pid:
        return pid
    os.setsid()
    out = os.open(asked["out"], os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for handle, name in ((nothing, 0), (out, 1), (out, 2)):
        os.dup2(handle, name)
    code = 1
    try:
        code = performed(asked)
    finally:
        sys.stdout.flush()
        os._exit(code)


def performed(asked: dict[str, Any]) -> int:
    from netgain import cli

    disk = ctypes.CDLL(None) if asked.get("full") else None
    if disk is not None:
        at, folder = asked["full"]
        disk.full_from(ctypes.c_long(at), folder.encode())
    sys.argv = ["netgain", *asked["start"]]
    try:
        cli.main()
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    except Exception:  # as the interpreter would show it
        import traceback

        traceback.print_exc()
        code = 1
    if disk is not None:
        print(f"writes {disk.writes_so_far()}")
    return code


if __name__ == "__main__":
    main()
