"""The study and its undisturbed ledger, and the summary: a line for each class of fault, tried / survived / lost."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harm import RUNS, STUDY, TALLY, Warm, count, items, said, start


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker of pytest-xdist hands its counts to the process that prints them."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["tally"] = TALLY


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    for kind, (tried, survived) in getattr(node, "workeroutput", {}).get("tally", {}).items():
        count(kind, tried, survived)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    for kind, (tried, survived) in sorted(TALLY.items()):
        terminalreporter.write_line(f"{kind}: {tried} tried, {survived} survived, {tried - survived} lost")


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("a study") / "chaos.yaml"
    path.write_text(STUDY, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def whole(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ledger of an undisturbed study."""
    ledger = tmp_path_factory.mktemp("whole") / "ledger"
    said(start("run", study, "--ledger", ledger, "--pack", "off"))
    assert len(items(ledger)) == RUNS
    return ledger


@pytest.fixture(scope="session")
def warm() -> Iterator[Warm]:
    """netgain, imported once and forked for each command."""
    process = Warm()
    yield process
    process.close()
