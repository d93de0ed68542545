"""`netgain verify REPORT`: every number and figure of a report, recomputed from the ledger and compared."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from netgain.errors import UserError
from netgain.ledger.store import Corrupt, Ledger
from netgain.report.html.markup import VOID
from netgain.report.html.page import FORMAT, Price, maker, read_json, render
from netgain.report.study import build
from netgain.spec.run import SpecError
from netgain.spec.study import Study, planned

QUIET = ("script", "style")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing in the report that the ledger does not say."""

    identity: str
    report: str
    ledger: str

    def sentence(self) -> str:
        return f"{self.identity}: the report says {self.report}; the ledger says {self.ledger}."


@dataclass(frozen=True)
class Verified:
    """What was compared, and what does not hold."""

    path: Path
    ledger: str
    compared: int
    problems: tuple[Problem, ...]
    other: str = ""
    """That another netgain wrote the page, where one did: the first thing to know about any difference."""

    def lines(self) -> Iterator[str]:
        """What to print: whose page it is when that is not this netgain, what does not hold, and how much that is."""
        if self.other:
            yield self.other
        yield from (problem.sentence() for problem in self.problems)
        yield self.sentence()

    def sentence(self) -> str:
        if not self.problems:
            return f"{self.path}: all {self.compared} bound numbers and figures hold in {self.ledger}."
        return f"{self.path}: {len(self.problems)} of {self.compared} do not hold in {self.ledger}."

    def to_json(self) -> dict[str, Any]:
        return {
            "report": str(self.path),
            "ledger": self.ledger,
            "compared": self.compared,
            "other_netgain": self.other or None,
            "problems": [{"id": p.identity, "report": p.report, "ledger": p.ledger} for p in self.problems],
        }


@dataclass
class Bound:
    """What stands inside one bound element: its text, and its markup with every coordinate."""

    text: list[str] = field(default_factory=list)
    drawn: list[str] = field(default_factory=list)


class Reader(HTMLParser):
    """The bound elements of a page by identity, and the words that stand outside of any."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.bound: dict[str, list[Bound]] = {}
        self.loose: list[str] = []
        self.code: list[str] = []
        """Scripts and styles: what could make a page show something else than its text."""
        self._open: list[tuple[str, Bound | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        inside = self._inside()
        if inside is not None:
            inside.drawn.append(f"<{tag} {attrs}>")
        if tag in VOID:
            return
        identity = dict(attrs).get("data-bound")
        made = Bound() if identity is not None else None
        if made is not None:
            self.bound.setdefault(str(identity), []).append(made)
            made.drawn.append(f"<{tag} {attrs}>")
        payload = dict(attrs).get("type") == "application/json"
        self._open.append(("json" if payload else tag, made))

    def handle_endtag(self, tag: str) -> None:
        while self._open:
            name, _ = self._open.pop()
            if name == tag or (name == "json" and tag == "script"):
                return

    def handle_data(self, data: str) -> None:
        within = self._open[-1][0] if self._open else ""
        if within in QUIET:
            self.code.append(data)
        if not data.strip() or within in (*QUIET, "json"):
            return
        inside = self._inside()
        if inside is not None:
            inside.text.append(data.strip())
            inside.drawn.append(data)
        else:
            self.loose.append(data.strip())

    def _inside(self) -> Bound | None:
        return next((bound for _, bound in reversed(self._open) if bound is not None), None)


def parse(html: str) -> Reader:
    """The page, read as a browser reads it: what is shown, not what a payload claims to be shown."""
    reader = Reader()
    reader.feed(html)
    reader.close()
    return reader


def verify(path: Path, ledger: Path | None = None) -> Verified:
    """Make the page again from the ledger alone, and compare all that it bound."""
    try:
        html = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {error}.") from None
    try:
        meta = read_json(html, "report")
    except (UserError, ValueError) as error:
        raise UserError(f"{path}: {error}") from None
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        raise UserError(
            f"{path}: written by another netgain, in a format that is not {FORMAT}, which this one reads: report again."
        )
    root = Ledger(ledger or _place(path, str(meta.get("ledger"))))
    study, other = _study(path, meta, root)
    damaged = list(_damaged(study, root))
    try:
        fresh = _again(study, meta, root)
    except Corrupt:
        if not damaged:
            raise
        return Verified(path, str(root.root), 0, (*other, *damaged), _other(path, meta))
    problems = [*other, *damaged, *_compared(html, fresh)]
    return Verified(path, str(root.root), len(parse(fresh).bound), tuple(problems), _other(path, meta))


def _other(path: Path, meta: dict[str, Any]) -> str:
    """The sentence about a page that another netgain wrote; nothing for one of this netgain."""
    wrote = meta.get("maker")
    if wrote == maker():
        return ""
    here = f"{maker()['netgain']} (build {maker()['build']})"
    whose = "an older netgain, which left no version"
    if isinstance(wrote, dict) and {"netgain", "build"} <= wrote.keys():
        whose = f"netgain {wrote['netgain']} (build {wrote['build']})"
    return (
        f"{path}: written by {whose}; this is netgain {here}. Where the two say or draw something differently, what "
        "follows names it too: report again, or verify with the netgain that wrote the page."
    )


def _place(path: Path, recorded: str) -> Path:
    """The ledger of a report: where it was, else the folder around the report that holds runs."""
    around = (Path(recorded), *path.resolve().parents)
    for folder in around:
        if (folder / "runs").is_dir():
            return folder
    raise UserError(f"{path}: its ledger {recorded} is not here; say where it is with --ledger.")


def _study(path: Path, meta: dict[str, Any], ledger: Ledger) -> tuple[Study, list[Problem]]:
    """The study as the ledger noted it when it ran: margins and contrasts are not the report's to choose."""
    scale = meta.get("scale")
    said: dict[str, Any] = dict(meta.get("study") or {})
    name = str(said.get("name"))
    noted = ledger.studies().get(f"{name}-{scale}" if scale else name, {}).get("study")
    try:
        study = Study.model_validate({**(noted or said), "scale": scale})
    except (ValidationError, SpecError):
        raise UserError(f"{path}: the study that it describes cannot be read; report again.") from None
    if json.loads(json.dumps(study.to_dict())) == said:
        return study, []
    return study, [Problem("study", "another study file", "the one that was noted when it ran")]


def _damaged(study: Study, ledger: Ledger) -> Iterator[Problem]:
    """Runs whose files are not the sealed ones; where reports read such a file, no page can be made again."""
    for sig in dict.fromkeys(each.sig for each in planned(study)):
        run = ledger.run(sig)
        try:
            if run.state() == "done":
                run.verify()
        except Corrupt as error:
            yield Problem(f"run {sig}", "that it is sealed", str(error).rstrip("."))


def _again(study: Study, meta: dict[str, Any], ledger: Ledger) -> str:
    """The page made afresh."""
    price = Price(**meta["price"]) if meta.get("price") else None
    return render(replace(build(study, ledger), ledger=str(meta["ledger"])), ledger, price).html


def _compared(html: str, fresh: str) -> Iterator[Problem]:
    ours, theirs = parse(html), parse(fresh)
    for identity, expected in theirs.bound.items():
        found = ours.bound.get(identity)
        if found is None:
            yield Problem(identity, "nothing", _quoted(expected))
        elif [b.text for b in found] != [b.text for b in expected]:
            yield Problem(identity, _quoted(found), _quoted(expected))
        elif [b.drawn for b in found] != [b.drawn for b in expected]:
            yield Problem(identity, "so, drawn otherwise", _quoted(expected))
    for identity, found in ours.bound.items():
        if identity not in theirs.bound:
            yield Problem(identity, _quoted(found), "nothing")
    for words in (Counter(ours.loose) - Counter(theirs.loose)).elements():
        yield Problem("words bound to nothing", f'"{words[:120]}"', "nothing of the kind")
    for words in (Counter(theirs.loose) - Counter(ours.loose)).elements():
        yield Problem("words bound to nothing", "nothing", f'"{words[:120]}"')
    if ours.code != theirs.code:
        yield Problem("the page's script or style", "another one", "the one that this netgain writes")
    for name in ("basis", "items"):
        yield from _blob(name, html, fresh)


def _blob(name: str, html: str, fresh: str) -> Iterator[Problem]:
    """The numbers behind the page: what hovering says, and the items of the explorer."""
    has, expects = (f'id="data-{name}"' in text for text in (html, fresh))
    if has != expects:
        yield Problem(name, "something" if has else "nothing", "something" if expects else "nothing")
    if not (has and expects):
        return
    ours, theirs = read_json(html, name), read_json(fresh, name)
    keys = list(dict.fromkeys((*theirs, *ours)))
    for key in keys:
        left, right = ours.get(key), theirs.get(key)
        if left != right:
            yield Problem(f"{name}, {key}", *_first_difference(left, right))


def _first_difference(left: Any, right: Any) -> tuple[str, str]:
    if isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        for a, b in zip(left, right, strict=True):
            if a != b:
                return _first_difference(a, b)
    if isinstance(left, dict) and isinstance(right, dict):
        for key in right:
            if left.get(key) != right[key]:
                return f"{key} {left.get(key)!r}"[:160], f"{right[key]!r}"[:160]
    return repr(left)[:160], repr(right)[:160]


def _quoted(found: list[Bound]) -> str:
    words = " ".join(found[0].text) if found else ""
    return f'"{words[:160]}"' if words else "a figure"
