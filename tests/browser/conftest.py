"""A real browser on real report files; run by `make test-browser`, never by `make test`."""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser
    from watched import Watched

sys.path.insert(0, str(Path(__file__).parents[1] / "report"))
CHROMIUM = os.environ.get("NETGAIN_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
"""Debian's; without one, the browser that `playwright install chromium` brought."""


@pytest.fixture(scope="session")
def browser() -> Iterator["Browser"]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        made = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield made
        made.close()


@pytest.fixture(params=[(1440, "light"), (390, "light"), (1440, "dark"), (390, "dark")], ids=lambda p: f"{p[0]}-{p[1]}")
def watched(browser: "Browser", request: pytest.FixtureRequest) -> Iterator["Watched"]:
    from watched import Watched

    width, scheme = request.param
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    yield Watched(context)
    context.close()


@pytest.fixture
def desk(browser: "Browser") -> Iterator["Watched"]:
    from watched import Watched

    context = browser.new_context(viewport={"width": 1440, "height": 900})
    yield Watched(context)
    context.close()
