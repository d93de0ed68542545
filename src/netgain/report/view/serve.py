"""`netgain view`: the server on loopback, its address with the token, and how to reach it from another machine."""

import hashlib
import os
import secrets
import socket
from pathlib import Path

import uvicorn

from netgain.errors import UserError
from netgain.ledger.store import Ledger
from netgain.report.view.app import application

PORT = 8642
TRIED = 20
"""Ports after the usual one that are tried when it is taken."""


def serve(root: Path, port: int | None) -> None:
    """Serve until it is stopped."""
    ledger = Ledger(root)
    bound = bind(port)
    token = token_of(root)
    app = application(ledger, token, lambda: server.should_exit)
    server = uvicorn.Server(
        uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off", server_header=False)
    )
    number = bound.getsockname()[1]
    print(f"netgain view of {root}: http://127.0.0.1:{number}/{token}/", flush=True)
    if "SSH_CONNECTION" in os.environ:
        host = socket.gethostname()
        print(
            f"from your own machine: ssh -L {number}:127.0.0.1:{number} {host}, then open the same address", flush=True
        )
    if not (root / "studies").is_dir():
        print("nothing has been run here yet; the page fills as soon as netgain run begins", flush=True)
    server.run(sockets=[bound])


def bind(port: int | None) -> socket.socket:
    """A socket on loopback: the asked port, else the usual one or one of those after it."""
    for number in (port,) if port is not None else range(PORT, PORT + TRIED):
        made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            made.bind(("127.0.0.1", number))
            made.listen(64)  # from now on a page may be opened; it is answered as soon as the server is up
            return made
        except OSError:
            made.close()
    wanted = f"port {port} is" if port is not None else f"ports {PORT} to {PORT + TRIED - 1} are"
    raise UserError(f"{wanted} taken; choose another with --port (0 takes any free one).")


def token_of(root: Path) -> str:
    """The ledger's token, kept for this person only, so that an open page finds a server that was started again."""
    home = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "netgain"
    path = home / f"view-{hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:16]}"
    made = secrets.token_urlsafe(24)
    try:
        home.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        return path.read_text(encoding="ascii")
    except OSError:
        return made  # nowhere to keep it: the address is another one after a restart
    with os.fdopen(handle, "w", encoding="ascii") as out:
        out.write(made)
    return made
