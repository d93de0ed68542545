"""A sandbox without bubblewrap: this file, run by a bare interpreter, leaves the system behind and becomes a command.

New user, mount, network, process, IPC and host-name namespaces; a root of its own that holds the listed folders,
read-only, and nothing else; user nobody without capabilities. What the command may call is its own matter
(`_confined`). Every step that fails ends it with a sentence on standard error and status 125.
"""

import ctypes
import json
import os
import select
import signal
import sys

NEW_MOUNT, NEW_HOST, NEW_IPC, NEW_USER, NEW_PROCESS, NEW_NET = (
    0x20000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000,
)  # fmt: skip
NO_SUID, NO_DEVICES, READ_ONLY, REMOUNT, BIND, RECURSIVE, PRIVATE = 2, 4, 1, 32, 4096, 16384, 1 << 18
DETACH = 2
MOUNT_SETATTR, PIVOT_ROOT = 442, {"x86_64": 155, "aarch64": 41}
CURRENT_FOLDER, RECURSIVELY = -100, 0x8000
NOBODY = 65534
OLD = "/.old"

libc = ctypes.CDLL(None, use_errno=True)


def checked(what: str, result: int) -> None:
    """End with the system's own words when a call failed."""
    if result < 0:
        number = ctypes.get_errno()
        sys.stderr.write(f"{what}: {os.strerror(number)}\n")
        sys.exit(125)


def mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    words = [None if word is None else word.encode() for word in (source, target, kind, data)]
    checked(f"mount {target}", libc.mount(words[0], words[1], words[2], ctypes.c_ulong(flags), words[3]))


def read_only(path: str) -> None:
    """The mount at a path and all below it, whatever they were."""
    attributes = (ctypes.c_uint64 * 4)(READ_ONLY | NO_SUID | NO_DEVICES, 0, 0, 0)
    result = libc.syscall(
        ctypes.c_long(MOUNT_SETATTR), ctypes.c_int(CURRENT_FOLDER), path.encode(), ctypes.c_uint(RECURSIVELY),
        ctypes.byref(attributes), ctypes.c_size_t(32),
    )  # fmt: skip
    checked(f"mount_setattr {path}", result)


def leave(folders: list[str], links: list[tuple[str, str]]) -> None:
    """Enter the namespaces and a root that holds the folders and links only."""
    user, group = os.getuid(), os.getgid()
    checked("unshare", libc.unshare(NEW_USER | NEW_MOUNT | NEW_NET | NEW_PROCESS | NEW_IPC | NEW_HOST))
    for name, text in (
        ("setgroups", "deny"), ("uid_map", f"{NOBODY} {user} 1"), ("gid_map", f"{NOBODY} {group} 1")
    ):  # fmt: skip
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(text)
    mount("none", "/", None, RECURSIVE | PRIVATE)
    mount("sandbox", "/tmp", "tmpfs", NO_SUID | NO_DEVICES, "size=1m,mode=755")
    os.chdir("/tmp")
    os.mkdir(OLD.lstrip("/"))
    checked(
        "pivot_root", libc.syscall(ctypes.c_long(PIVOT_ROOT[os.uname().machine]), b".", OLD.lstrip("/").encode())
    )  # fmt: skip
    os.chdir("/")
    for folder in folders:
        os.makedirs(folder, exist_ok=True)
        mount(OLD + folder, folder, None, BIND | RECURSIVE)
        read_only(folder)
    for target, name in links:
        os.symlink(target, name)
    checked("umount", libc.umount2(OLD.encode(), DETACH))
    os.rmdir(OLD)
    mount("none", "/", None, REMOUNT | BIND | READ_ONLY | NO_SUID | NO_DEVICES)


def die_with_parent() -> None:
    """Be killed when the process that started this one is."""
    checked("prctl", libc.prctl(1, signal.SIGKILL, 0, 0, 0))


def main() -> None:
    """argv[1] is JSON: parent, folders, links, command. Exit with the command's status, 128 + n after signal n.

    A parent that ended before its death could be a signal is looked for once more, on either side of the fork.
    """
    asked = json.loads(sys.argv[1])
    leave(asked["folders"], asked["links"])
    die_with_parent()
    if os.getppid() != asked["parent"]:
        sys.exit(125)
    alive, held = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(held)
        die_with_parent()
        if select.select([alive], [], [], 0)[0]:
            os._exit(125)
        checked("no_new_privs", libc.prctl(38, 1, 0, 0, 0))
        os.execve(asked["command"][0], asked["command"], dict(os.environ))
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    os._exit(code if code >= 0 else 128 - code)


if __name__ == "__main__":
    main()
