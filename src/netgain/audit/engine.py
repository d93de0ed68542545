"""Run the rules over documents and ledgers."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from netgain.audit.evidence import SUFFIX, Evidence, sidecar
from netgain.audit.finding import Severity, Silenced
from netgain.audit.report import Report
from netgain.audit.rule import Rule, rules
from netgain.errors import UserError, did_you_mean
from netgain.interop import documents

DOCUMENTS = (*documents.PROSE, *documents.TABLES)


def run(
    paths: Sequence[str | Path],
    select: Sequence[str] = (),
    ignore: Sequence[str] = (),
    fail_on: Severity = Severity.ERROR,
) -> Report:
    """Audit every path: a document, a folder of documents, or a ledger. Codes select by prefix, as NG2 or NG201."""
    report = Report(fail_on=fail_on)
    for path in _expanded([Path(p) for p in paths]):
        report.files.append(str(path))
        ledger = (path / "runs").is_dir()
        chosen = _chosen(rules(document=not ledger, ledger=ledger), select, ignore)
        evidence, silenced = _ledger(path) if ledger else _document(path)
        _apply(chosen, evidence, silenced, report)
    report.sort()
    return report


def _apply(chosen: list[type[Rule]], evidence: Evidence, silenced: dict[str, str], report: Report) -> None:
    for rule in chosen:
        if not rule.applies(evidence):
            continue
        report.checked.add(rule.code)
        for finding in rule(evidence).check():
            reason = silenced.get(finding.code)
            if reason is None:
                report.findings.append(finding)
            else:
                report.silenced.append(Silenced(finding, reason))


def _expanded(paths: list[Path]) -> Iterator[Path]:
    for path in paths:
        if not path.exists():
            raise UserError(f"{path}: no such file or folder.")
        if path.is_dir() and not (path / "runs").is_dir():
            inside = sorted(f for f in path.rglob("*") if f.suffix in DOCUMENTS and f.is_file())
            if not inside:
                raise UserError(f"{path}: neither a ledger nor a folder with documents ({', '.join(DOCUMENTS)}).")
            yield from inside
        elif not path.name.endswith(SUFFIX):
            yield path


def _chosen(known: list[type[Rule]], select: Sequence[str], ignore: Sequence[str]) -> list[type[Rule]]:
    everything = {rule.code for rule in rules()} if select or ignore else set()
    for prefix in (*select, *ignore):
        if not any(code.startswith(prefix.upper()) for code in everything):
            raise UserError(f'no rule begins with "{prefix}".{did_you_mean(prefix.upper(), everything)}')
    wanted = tuple(p.upper() for p in select) or ("NG",)
    unwanted = tuple(p.upper() for p in ignore)
    return [r for r in known if r.code.startswith(wanted) and not (unwanted and r.code.startswith(unwanted))]


def _document(path: Path) -> tuple[Evidence, dict[str, str]]:
    beside = sidecar(path)
    document = documents.read(path, beside.columns)
    silenced = {code: reason for code, reason, _ in document.silenced}
    return Evidence(str(path), document=document, n=beside.n), {**silenced, **beside.ignore}


def _ledger(path: Path) -> tuple[Evidence, dict[str, str]]:
    from netgain.ledger.query import connect

    beside = sidecar(path)
    return Evidence(str(path), db=connect(path), n=beside.n), dict(beside.ignore)
