"""The server of `netgain view`: GET only, behind a token, for this machine's own pages."""

import json
import secrets
import time
from collections.abc import AsyncIterator, Callable
from importlib.resources import files
from typing import Any
from urllib.parse import urlsplit

from anyio import sleep, to_thread
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from netgain.errors import UserError
from netgain.ledger.store import Ledger
from netgain.report.html.markup import element
from netgain.report.html.page import asset
from netgain.report.jsonable import tree
from netgain.report.view import fragments
from netgain.report.view.follow import Follow
from netgain.report.view.judge import Judge
from netgain.report.view.watch import Picture, Row, StudyRow, Watch, changes

LOOPBACK = ("localhost", "127.0.0.1", "::1")
LOOK_SECONDS = 1.0
BEAT_SECONDS = 10.0
"""A stream that has nothing to tell says so, and learns whether anybody still listens."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


class Guard:
    """Refuses what is not this machine's own page: other methods, hosts and origins, and whoever lacks the token.

    The host is checked by name, since a page elsewhere can point its own name at 127.0.0.1; its port is free, since a
    forwarded port is another one.
    """

    def __init__(self, app: ASGIApp, token: str) -> None:
        self.app = app
        self.token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        refused = self._refusal(Request(scope))

        async def sealed(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [*message["headers"], *own]
            await send(message)

        await (refused or self.app)(scope, receive, sealed)

    def _refusal(self, request: Request) -> Response | None:
        host, origin = request.headers.get("host", ""), request.headers.get("origin")
        site, mode = request.headers.get("sec-fetch-site"), request.headers.get("sec-fetch-mode")
        if request.method not in ("GET", "HEAD"):
            return PlainTextResponse("This page only reads.", 405, {"allow": "GET, HEAD"})
        if urlsplit(f"//{host}").hostname not in LOOPBACK:
            return PlainTextResponse("This page answers on localhost only.", 403)
        if origin is not None and origin != f"http://{host}":
            return PlainTextResponse("This page answers its own pages only.", 403)
        if site not in (None, "none", "same-origin") and mode != "navigate":
            return PlainTextResponse("This page answers its own pages only.", 403)
        given = request.url.path.split("/")[1]
        if not secrets.compare_digest(given.encode(), self.token.encode()):
            return PlainTextResponse("Open the address with its token, as the terminal printed it.", 403)
        return None


class View:
    """The routes; every answer is made from the ledger's files."""

    def __init__(self, ledger: Ledger, stopping: Callable[[], bool]) -> None:
        self.ledger = ledger
        self.stopping = stopping
        self.watch = Watch(ledger)
        self.follow = Follow()
        self.judge = Judge(ledger)

    def routes(self) -> list[Route]:
        return [
            Route("/", self.page),
            Route("/view.js", lambda _: _text("view.js", "text/javascript")),
            Route("/view.css", lambda _: _text("view.css", "text/css")),
            Route("/events", self.events),
            Route("/study/{key}/curves", self.curves),
            Route("/study/{key}/verdicts", self.verdicts),
            Route("/run/{key}/{sig}", self.run),
            Route("/report/{key}", self.report),
        ]

    def page(self, _: Request) -> Response:
        text = files("netgain.report.view").joinpath("template", "view.html").read_text(encoding="utf-8")
        name = str(element("span", str(self.ledger.root.resolve()), class_="key"))
        return HTMLResponse(text.replace("<!--ledger-->", name), headers={"content-security-policy": POLICY})

    async def events(self, _: Request) -> Response:
        """What changed, as it changes; a page that comes back is told everything."""

        async def stream() -> AsyncIterator[str]:
            before, said = Picture({}, {}), time.monotonic()
            yield "retry: 1000\n\n"
            first = True
            while not self.stopping():
                now = await to_thread.run_sync(self.watch.picture)
                told = changes(before, now)
                if first or any(told.values()):
                    told["first"] = first
                    text = json.dumps(tree(told), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
                    yield f"event: change\ndata: {text}\n\n"
                    before, said, first = now, time.monotonic(), False
                elif time.monotonic() - said > BEAT_SECONDS:
                    said = time.monotonic()
                    yield "event: beat\ndata: {}\n\n"
                for _ in range(5):
                    if not self.stopping():
                        await sleep(LOOK_SECONDS / 5)

        return StreamingResponse(stream(), media_type="text/event-stream", headers={"x-accel-buffering": "no"})

    def curves(self, request: Request) -> Response:
        key = str(request.path_params["key"])
        picture = self.watch.picture()
        folders = {row.sig: self.ledger.run(row.sig) for row in picture.rows.values() if row.study == key}
        return _fragment(lambda: fragments.curves(key, picture, folders, self.follow))

    def verdicts(self, request: Request) -> Response:
        found = self._study(request)
        if found is None:
            return _unknown()
        made = self.judge.verdicts(*found)
        return HTMLResponse(made) if made is not None else PlainTextResponse("being computed …", 202)

    def run(self, request: Request) -> Response:
        row = self._row(request)
        if row is None:
            return _unknown()
        folder = self.ledger.run(row.sig)
        return _fragment(lambda: fragments.run(row, folder, self.follow.rows(folder)))

    def report(self, request: Request) -> Response:
        """The report made afresh; its own policy, in the page, lets nothing but its own script run."""
        found = self._study(request)
        if found is None:
            return _unknown()
        made = self.judge.page(*found)
        if made is None:
            waiting = element("meta", http_equiv="refresh", content="2")
            text = f"<!doctype html><html lang=en><title>netgain</title>{waiting}<p>The report is being made ..."
            return HTMLResponse(text, 202, {"content-security-policy": "default-src 'none'; frame-ancestors 'none'"})
        return HTMLResponse(made, headers={"content-security-policy": "frame-ancestors 'none'"})

    def _study(self, request: Request) -> tuple[StudyRow, dict[str, Any]] | None:
        key = str(request.path_params["key"])
        row, note = self.watch.picture().studies.get(key), self.watch.noted(key)
        return None if row is None or note is None else (row, note)

    def _row(self, request: Request) -> Row | None:
        key, sig = (str(request.path_params[name]) for name in ("key", "sig"))
        return next((row for row in self.watch.picture().rows.values() if (row.study, row.sig) == (key, sig)), None)


def application(ledger: Ledger, token: str, stopping: Callable[[], bool] = lambda: False) -> ASGIApp:
    """The whole server for one ledger."""
    view = View(ledger, stopping)
    return Guard(Starlette(routes=[Mount(f"/{token}", routes=view.routes())]), token)


def _fragment(make: Callable[[], str]) -> Response:
    try:
        return HTMLResponse(str(make()))
    except UserError as error:
        return HTMLResponse(str(element("p", str(error), class_="fix")))


def _text(name: str, kind: str) -> Response:
    shared = asset("chart.css") + asset("page.css") if kind == "text/css" else ""
    own = files("netgain.report.view").joinpath("template", name).read_text(encoding="utf-8")
    return Response(shared + own, media_type=kind)


def _unknown() -> Response:
    return PlainTextResponse("The ledger has nothing of this name.", 404)
