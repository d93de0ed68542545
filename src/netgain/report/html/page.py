"""A report as a page: sections, the numbers they bound, the figures they drew, in one file that needs no network."""

import base64
import hashlib
import importlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

from markupsafe import Markup

from netgain import __version__
from netgain.errors import UserError
from netgain.ledger.store import Ledger
from netgain.report.frame import Frame
from netgain.report.html.basis import Basis, rows_of
from netgain.report.html.markup import element, joined, script_json
from netgain.report.html.svg import NARROW, WIDE
from netgain.report.jsonable import tree
from netgain.report.study import Judged, Report
from netgain.report.words import style_of

FORMAT = 1
"""Raised when a page of an older netgain can no longer be compared with a fresh one."""

TONES = {"green": "good", "red": "bad", "yellow": "open"}

Draw = Callable[[float], Markup]
COUNTED = re.compile(r"\d seeds?\b|One run an arm")
"""A caption that says how many seeds it is about."""


@dataclass(frozen=True, slots=True)
class Price:
    """What an hour of the machine costs, given by whoever asks for the report."""

    an_hour: float
    currency: str = ""


@dataclass
class Page:
    """What sections write on: each number leaves its basis here, each figure its drawing."""

    report: Report
    frame: Frame
    price: Price | None = None
    bases: dict[str, Basis] = field(default_factory=dict)
    figures: dict[str, Draw] = field(default_factory=dict)
    captions: dict[str, str] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    """What scripts of the page read, by name; verified like every number."""

    # ---- numbers
    def bind(self, identity: str, basis: Basis) -> str:
        """Leave a number's basis; one identity means one basis."""
        if self.bases.setdefault(identity, basis) != basis:
            raise ValueError(f"{identity} is bound to two different things")
        return identity

    def number(self, identity: str, words: object, basis: Basis) -> Markup:
        """Words that rest on numbers: pointing at them, or reaching them by keyboard, says on which."""
        kind = "quiet" if isinstance(words, str) and len(words) > 40 else ""
        return element(
            "span",
            words,
            class_=f"bound {kind}".strip(),
            data_bound=self.bind(identity, basis),
            role="button",
            tabindex="0",
        )

    def handle(self, identity: str, words: object) -> Markup:
        """What to point at inside an element that is bound as a whole."""
        kind = "bound quiet" if isinstance(words, str) and len(words) > 40 else "bound"
        return element("span", words, class_=kind, data_tip=identity, role="button", tabindex="0")

    def row(self, identity: str, cells: Sequence[object], basis: Basis, handle: int = 1) -> Markup:
        """A table row that rests on one basis; the cell number `handle` is the one to point at."""
        self.bind(identity, basis)
        made: list[Markup] = []
        for i, cell in enumerate(cells):
            shown: object = "-" if cell is None else cell
            if i == handle:
                shown = self.handle(identity, shown)
            made.append(element("th", shown, scope="row") if i == 0 else element("td", shown, class_=_breadth(cell)))
        return element("tr", made, data_bound=identity)

    # ---- blocks
    def paragraph(self, *children: object, kind: str | None = None) -> Markup:
        return element("p", *children, class_=kind)

    def table(self, caption: object, columns: Sequence[str], rows: Iterable[Markup]) -> Markup:
        """A table that scrolls sideways inside its own box on narrow screens."""
        head = element("thead", element("tr", [element("th", name, scope="col") for name in columns]))
        made = element("table", element("caption", element("span", caption)), head, element("tbody", rows))
        return element("div", made, class_="scroll", tabindex="0", role="region", aria_label=_words(caption))

    def figure(self, name: str, caption: object, draw: Draw, basis: Basis) -> Markup:
        """A chart in two widths, of which the page shows the one that fits; also written by --figures."""
        self.figures[name] = draw
        wide = element("div", draw(WIDE), class_="wide")
        narrow = element("div", draw(NARROW), class_="narrow")
        identity = self.bind(f"figure/{name}", basis)
        seeds = "" if COUNTED.search(_words(caption)) else f" {self.seeds}"
        self.captions[name] = _words(caption) + seeds
        return element(
            "figure", wide, narrow, element("figcaption", caption, seeds), data_bound=identity, id=f"fig-{name}"
        )

    def details(self, summary: object, *children: object) -> Markup:
        return element("details", element("summary", summary), *children)

    # ---- what sections ask
    def tone(self, judged: Judged) -> str:
        """good, bad or open: a class; the word itself always stands beside it."""
        return TONES[style_of(judged)]

    def rows(self, arms: Iterable[str], task: str, metric: str, checkpoint: str) -> str:
        """Which rows of the ledger a number about these arms is made of."""
        members = {m.folder.sig: m for arm in arms for m in self.frame.members[arm]}
        return rows_of(list(members.values()), task, metric, checkpoint)

    def short(self, judged: Judged) -> str:
        """The baseline without the coordinates that it shares with the arm."""
        return " ".join(word for word in judged.versus.split() if word not in judged.arm.split()) or judged.versus

    @cached_property
    def seeds(self) -> str:
        """How many seeds the arms of the study have, for captions that do not say it of their own."""
        arms = self.frame.members.values()
        counts = sorted({len(members) for members in arms if members and members[0].seed is not None})
        if not counts:
            return "One run an arm."
        most = f" to {counts[-1]}" if len(counts) > 1 else ""
        return f"{counts[0]}{most} seed{'' if counts == [1] else 's'} an arm."

    @cached_property
    def metrics(self) -> dict[str, list[tuple[int | None, list[dict[str, Any]]]]]:
        """arm -> (seed, metric rows) of each finished run that learned."""
        return {
            arm: [(m.seed, m.folder.metrics()) for m in members if m.record.get("steps")]
            for arm, members in self.frame.members.items()
        }


def _breadth(cell: object) -> str | None:
    """Numbers stay on one line, sentences get room."""
    if not isinstance(cell, str) or isinstance(cell, Markup):
        return None
    return "long" if len(cell) > 40 else "brief"


def key_of(judged: Judged) -> str:
    """What identifies a declared contrast among all numbers of the page."""
    return f"contrast/{judged.arm}/{judged.versus}/{judged.task}/{judged.metric}/{judged.checkpoint}/{judged.question}"


@dataclass(frozen=True, slots=True)
class Section:
    name: str
    place: int
    title: str
    write: Callable[[Page], Iterator[Markup]]


def sections() -> list[Section]:
    """Every section file, in the order of its place."""
    package = importlib.import_module("netgain.report.sections")
    found: list[Section] = []
    for file in (file for folder in package.__path__ for file in Path(folder).glob("*.py")):
        if not file.stem.startswith("_"):
            module = importlib.import_module(f"{package.__name__}.{file.stem}")
            found.append(Section(file.stem, module.PLACE, module.TITLE, module.section))
    return sorted(found, key=lambda each: (each.place, each.name))


@dataclass(frozen=True, slots=True)
class Rendered:
    """The finished page, and the figures on it with the words beneath them."""

    html: str
    figures: dict[str, Draw]
    captions: dict[str, str]


def render(report: Report, ledger: Ledger, price: Price | None = None) -> Rendered:
    """The whole page; the same ledger and the same netgain give the same bytes."""
    page = Page(report, Frame(report.study, ledger), price)
    written = [(each, list(each.write(page))) for each in sections()]
    kept = [(each, blocks) for each, blocks in written if blocks]
    body = [element("section", element("h2", s.title), blocks, id=s.name) for s, blocks in kept]
    links = [element("li", element("a", s.title, href=f"#{s.name}")) for s, _ in kept]
    meta = {
        "format": FORMAT,
        "maker": maker(),
        "study": report.study.to_dict(),
        "scale": report.study.scale,
        "ledger": report.ledger,
    }
    if price is not None:
        meta["price"] = tree(price)
    blobs = {"report": meta, "basis": {k: _short(b) for k, b in page.bases.items()}, **page.data}
    return Rendered(_document(report, links, body, blobs), page.figures, page.captions)


@cache
def maker() -> dict[str, str]:
    """Which netgain writes: its version, and a digest of the code that decides what a page says."""
    package = Path(str(files("netgain")))
    sources = [file for room in ("stats", "audit", "report") for file in sorted((package / room).rglob("*"))]
    text = "".join(file.read_text(encoding="utf-8") for file in sources if file.suffix in (".py", ".js", ".css"))
    return {"netgain": __version__, "build": hashlib.sha256(text.encode()).hexdigest()[:12]}


def _document(report: Report, links: Sequence[Markup], body: Sequence[Markup], blobs: dict[str, Any]) -> str:
    style, script = Markup(asset("chart.css") + asset("page.css")), Markup(asset("page.js"))
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    head = element(
        "head",
        element("meta", charset="utf-8"),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{policy}">'),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="referrer", content="no-referrer"),
        element("title", f"{report.study.key}: {report.study.question}"),
        element("style", style),
    )
    payload = [
        element("script", script_json(value), type="application/json", id=f"data-{name}")
        for name, value in blobs.items()
    ]
    page = element(
        "body",
        element("a", "Skip to the results", href="#main", class_="skip"),
        element("header", element("p", report.study.key, class_="key"), element("h1", report.study.question)),
        element("nav", element("ol", links), aria_label="Sections"),
        element("main", body, id="main"),
        element("footer", element("p", "Made by netgain from the ledger alone. Point at a number to see its basis.")),
        element("div", id="tip", role="tooltip", hidden="hidden"),
        payload,
        element("script", script),
    )
    return f"<!doctype html>\n{element('html', head, page, lang='en')}\n"


def asset(name: str) -> str:
    """A file of the template folder."""
    return files("netgain.report.html").joinpath("template", name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _short(basis: Basis) -> dict[str, Any]:
    return {name: value for name, value in tree(basis).items() if value is not None}


def _words(caption: object) -> str:
    return Markup(joined([caption])).striptags()


def read_json(html: str, name: str) -> Any:
    """A JSON block of a page that was written earlier."""
    import json

    opening = f'<script type="application/json" id="data-{name}">'
    start = html.find(opening)
    if start < 0:
        raise UserError(f'not a report of netgain: it has no "{name}" block.')
    text = html[start + len(opening) : html.index("</script>", start)]
    return json.loads(text)
