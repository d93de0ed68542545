"""Where it comes from, and how to make it again: specs, versions, seeds, hashes, code."""

from collections.abc import Iterator
from typing import Any

from markupsafe import Markup

from netgain.report.frame import Member
from netgain.report.html.basis import counted
from netgain.report.html.markup import element
from netgain.report.html.page import Page
from netgain.spec.study import as_yaml

PLACE = 1000
TITLE = "Provenance, and how to reproduce this"
LONGEST_DIFF = 40_000


def section(page: Page) -> Iterator[Markup]:
    study = page.report.study
    scale = f" --scale {study.scale}" if study.scale else ""
    commands = (
        f"netgain run {study.name}.yaml{scale}\nnetgain report {study.name}.yaml{scale}\nnetgain verify report.html"
    )
    yield page.paragraph("One command runs what is missing, one makes this page, one recomputes every number on it:")
    yield element("pre", element("code", commands), tabindex="0")
    yield page.details(f"The study, as it was asked ({study.name}.yaml)", _code(as_yaml(study)))
    members = {m.folder.sig: (arm, m) for arm, found in page.frame.members.items() for m in found}
    columns = ("run", "arm", "seed", "initial adapter", "template", "items.parquet", "data.json")
    rows = [_run(page, sig, arm, member) for sig, (arm, member) in members.items()]
    yield page.table("Runs and the hashes that seal them (first 12 digits of each sha256).", columns, rows)
    tasks = [_task(page, arm, task) for arm, task in _tasks(page)]
    yield page.table("Tasks, as each arm's record describes them.", ("task", "arm", "items", "clusters", "ids"), tasks)
    yield from _environments(page, [member for _, member in members.values()])


def _code(text: str) -> Markup:
    return element("pre", element("code", text), tabindex="0", data_plain="")


def _run(page: Page, sig: str, arm: str, member: Member) -> Markup:
    record = member.record
    hashes = [record["files"].get(name, "")[:12] or None for name in ("items.parquet", "data.json")]
    adapter = (record.get("initial_adapter") or "")[:12] or None
    cells = (sig, arm, member.seed, adapter, record["template"], *hashes)
    basis = counted(f"run {sig}", f"{arm}, seed {member.seed}", f"runs/{sig}/record.json")
    return page.row(f"run/{sig}", cells, basis, handle=5)


def _tasks(page: Page) -> list[tuple[str, str]]:
    """The first arm that measured each different set of items."""
    seen: dict[tuple[str, str], tuple[str, str]] = {}
    for arm, members in page.frame.members.items():
        for member in members[:1]:
            for task, card in member.record["tasks"].items():
                seen.setdefault((task, card["ids"]), (arm, task))
    return list(seen.values())


def _task(page: Page, arm: str, task: str) -> Markup:
    card = page.frame.card(arm, task) or {}
    cells = (task, arm, card.get("items"), card.get("clusters"), str(card.get("ids"))[:12])
    basis = counted(f"{task}: items", f"{card.get('items')} items", f"record.json of {arm}")
    return page.row(f"task/{arm}/{task}", cells, basis, handle=2)


def _environments(page: Page, members: list[Member]) -> Iterator[Markup]:
    """Versions and code; said once for all runs that share them."""
    groups: dict[str, tuple[dict[str, Any], list[str]]] = {}
    for member in members:
        env = member.folder.json("env.json")
        key = repr((env["packages"], env["device"], env["processor"], env["code"], env.get("study_folder")))
        groups.setdefault(key, (env, []))[1].append(member.folder.sig[:8])
    for i, (env, sigs) in enumerate(groups.values()):
        packages = ", ".join(f"{name} {version}" for name, version in env["packages"].items() if version)
        code = env["code"] or {}
        words = (
            f"{len(sigs)} of {len(members)} runs: {packages}; Python {env['python']}; {env['platform']}; "
            f"{env['device']}. Commit {code.get('commit') or 'unknown'}"
            f"{', with local changes' if code.get('diff') else ''}."
        )
        basis = counted("versions", ", ".join(sigs), "env.json of these runs")
        yield page.paragraph(page.number(f"environment/{i}", words, basis))
        for name, label in (("code", "Code"), ("study_folder", "Study folder")):
            diff = (env.get(name) or {}).get("diff") or ""
            if diff:
                cut = "" if len(diff) <= LONGEST_DIFF else "\n… (cut; env.json holds more)"
                yield page.details(f"{label}: changes that were not committed", _code(diff[:LONGEST_DIFF] + cut))
