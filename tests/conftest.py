"""Shared by every test: one thread, no network, no inherited environment."""

import os
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from netgain.report.html.page import Rendered

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test sees no ledger and no data folder of the person who runs it."""
    for name in ("NETGAIN_LEDGER", "NETGAIN_DATA"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def uncounted() -> "Callable[[Rendered], dict[str, str]]":
    """The captions of a page that do not say over how many items or runs, and over how many seeds."""
    counts = re.compile(r"\bn = \d"), re.compile(r"\d seeds?\b|One run an arm")

    def found(page: "Rendered") -> dict[str, str]:
        assert page.captions.keys() == page.figures.keys()
        return {name: words for name, words in page.captions.items() if not all(c.search(words) for c in counts)}

    return found
