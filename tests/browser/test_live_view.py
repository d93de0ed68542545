"""The view in a browser: a run appears, learns and finishes there; looks are marked; guarded, quick at 1,000 runs."""

import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest

pytest.importorskip("playwright", reason="make test-browser installs it")

from drawn import fill, study
from playwright.sync_api import Page, expect
from watched import Watched

from netgain.ledger.store import Ledger
from netgain.spec.study import planned

pytestmark = pytest.mark.browser

RUN = """\
name: watched
question: Does it learn while somebody looks?
base:
  model: tiny-llama
  method: lora
  data: {sources: {rows: {kind: embedded, suite: sentiment, n: 64, seed: 1}}}
  optim: {learning_rate: 0.005, steps: 40, batch: 8}
  dev: {every: 10}
  tasks: {sentiment: {kind: sentiment, source: {kind: embedded, suite: sentiment, n: 40, seed: 2}}}
seeds: [0, 1]
vary:
  arm:
    base: {method: none}
    tuned: {}
contrasts:
  - {arm: tuned, versus: base, task: sentiment, metric: accuracy}
"""


class Served:
    """`netgain view` as a process of its own, on a ledger."""

    def __init__(self, ledger: Path, state: Path, port: int = 0) -> None:
        self.ledger = ledger
        self.environment = {**os.environ, "XDG_STATE_HOME": str(state)}
        self.start(port)

    def start(self, port: int) -> None:
        command = [sys.executable, "-m", "netgain", "view", str(self.ledger), "--port", str(port)]
        self.process = subprocess.Popen(command, env=self.environment, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().split()[-1]
        self.port = int(urlsplit(self.address).port or 0)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)
        self.process.communicate(timeout=10)

    def status(self, path: str, method: str = "GET", **headers: str) -> int:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)) as line:
            line.request(method, path, headers=headers)
            with line.getresponse() as answer:
                return answer.status


@pytest.fixture(scope="module")
def halfway(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three arms of three seeds, of which one arm lacks all and one lacks a seed."""
    root = tmp_path_factory.mktemp("halfway")
    asked = study(arms=("sft", "anchored", "reverse"), seeds=(0, 1, 2))
    ledger = fill(root, asked, 60)
    for each in planned(asked):
        if each.arm == "reverse" or (each.arm, each.seed) == ("anchored", 2):
            (ledger.run(each.sig).path / "record.json").unlink()
    return root


@pytest.fixture
def served(halfway: Path, tmp_path: Path) -> Iterator[Served]:
    made = Served(halfway, tmp_path)
    yield made
    made.stop()


def opened(watched: Watched, served: Served) -> Page:
    watched.page.goto(served.address)
    expect(watched.page.locator("#line")).to_have_text("live")
    watched.page.locator("#verdicts table").wait_for()
    watched.page.locator("#curves svg").first.wait_for(state="attached")
    return watched.page


def test_a_run_appears_is_peeked_at_and_finishes(desk: Watched, tmp_path: Path) -> None:
    (tmp_path / "watched.yaml").write_text(RUN, encoding="utf-8")
    served = Served(tmp_path / "ledger", tmp_path / "state")
    page = desk.page
    page.goto(served.address)
    expect(page.locator("#empty")).to_be_visible()
    command = [sys.executable, "-m", "netgain", "run", str(tmp_path / "watched.yaml"), "--pack", "off"]
    run = subprocess.Popen([*command, "--ledger", str(tmp_path / "ledger")], stdout=subprocess.DEVNULL)
    expect(page.locator("#studies a").first).to_have_text("watched", timeout=120_000)
    expect(page.locator("#runs .state-running").first).to_be_visible(timeout=120_000)
    page.locator("#runs a", has_text="tuned").first.click()
    expect(page.locator("#run h2")).to_have_text("tuned, seed 0")
    expect(page.locator("#run svg").first).to_be_visible(timeout=120_000)
    expect(page.locator("#run pre").first).to_contain_text("training", timeout=120_000)
    expect(page.locator("#verdicts .peek").nth(1)).to_have_text("peek 1 of 2", timeout=120_000)
    expect(page.locator("#studies td").nth(1)).to_contain_text("3 of 3", timeout=120_000)
    assert run.wait(timeout=60) == 0
    expect(page.locator("#verdicts")).to_contain_text("all runs finished", timeout=20_000)
    expect(page.locator("#verdicts .peek")).to_have_count(0)
    expect(page.locator("#runs .state-done")).to_have_count(3)
    with page.context.expect_page() as tab:
        page.get_by_role("link", name="report", exact=True).click()
    expect(tab.value.locator("h1")).to_have_text("Does it learn while somebody looks?")
    assert desk.complaints == []
    assert {urlsplit(url).netloc for url in desk.requests} == {f"127.0.0.1:{served.port}"}
    served.stop()


def test_the_view_is_silent_and_fits(watched: Watched, served: Served) -> None:
    page = opened(watched, served)
    page.locator("#runs a").first.click()
    page.locator("#run svg").first.wait_for(state="attached")
    assert watched.complaints == []
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    boxes = page.evaluate(
        "[...document.querySelectorAll('figure')].map(f => [...f.querySelectorAll('svg')]"
        ".map(s => s.getBoundingClientRect()).filter(b => b.width > 200 && b.height > 80).length)"
    )
    assert len(boxes) == 3
    assert set(boxes) == {1}


def test_looks_before_the_end_are_marked(desk: Watched, served: Served) -> None:
    page = opened(desk, served)
    rows = page.locator("#verdicts tbody tr")
    assert "peek 3 of 3" in rows.nth(0).inner_text()
    assert "98.33 % this look" in rows.nth(0).inner_text()
    assert "peek 2 of 3" in rows.nth(1).inner_text()
    assert "no finished run of reverse yet" in rows.nth(2).inner_text()


def test_runs_are_filtered_and_searched(desk: Watched, served: Served) -> None:
    page = opened(desk, served)
    page.select_option("#runs-state", "stopped")
    expect(page.locator("#runs tbody tr")).to_have_count(4)
    page.fill("#runs-search", "anch")
    expect(page.locator("#runs tbody tr")).to_have_count(1)
    expect(page.locator("#runs-count")).to_have_text("1 to 1 of 1 runs")


def test_the_view_survives_a_restart(desk: Watched, served: Served) -> None:
    page = opened(desk, served)
    served.stop()
    expect(page.locator("#line")).to_contain_text("trying again", timeout=10_000)
    before = served.address
    served.start(served.port)
    assert served.address == before
    expect(page.locator("#line")).to_have_text("live", timeout=15_000)


def test_only_this_machine_s_own_page_is_answered(served: Served) -> None:
    path = urlsplit(served.address).path
    assert served.status(path) == 200
    assert served.status("/") == 403
    assert served.status("/wrong-token/") == 403
    assert served.status(path, method="POST") == 405
    assert served.status(path, Host="evil.example") == 403
    assert served.status(path, Host="localhost:9000") == 200  # a forwarded port
    assert served.status(path + "events", Origin="https://evil.example") == 403
    assert served.status(path, **{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}) == 403


def test_the_view_has_no_serious_violation(watched: Watched, served: Served) -> None:
    axe = os.environ.get("NETGAIN_AXE", "")
    if not Path(axe).is_file():
        pytest.skip("axe-core is not here: npm install axe-core, then NETGAIN_AXE=.../axe.min.js")
    page = opened(watched, served)
    page.locator("#runs a").first.click()
    page.locator("#run svg").first.wait_for(state="attached")
    page.evaluate(Path(axe).read_text(encoding="utf-8"))
    found = page.evaluate("axe.run(document)")["violations"]
    serious = {f"{v['id']}: {v['nodes'][0]['html'][:200]}" for v in found if v["impact"] in ("serious", "critical")}
    assert serious == set()


@pytest.fixture(scope="module")
def thousand(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """250 arms of four seeds; the last run is at work."""
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    root = tmp_path_factory.mktemp("thousand")
    asked = study(arms=[f"arm-{i:03d}" for i in range(250)], seeds=(0, 1, 2, 3))
    ledger = fill(root, asked, 4, texts=2)
    monkeypatch.undo()
    (ledger.run(planned(asked)[-1].sig).path / "record.json").unlink()
    return root


def test_a_thousand_runs_do_not_lag(desk: Watched, thousand: Path, tmp_path: Path) -> None:
    served = Served(thousand, tmp_path)
    page = desk.page
    page.add_init_script(
        "window.blocked = []; new PerformanceObserver(list => list.getEntries()"
        ".forEach(e => window.blocked.push(e.duration))).observe({type: 'longtask'})"
    )
    start = time.perf_counter()
    page.goto(served.address)
    expect(page.locator("#runs-count")).to_have_text("1 to 50 of 1001 runs", timeout=10_000)
    assert time.perf_counter() - start < 4
    page.locator("#curves svg").first.wait_for(state="attached")
    sig = Ledger(thousand).studies()["drawn"]["runs"][-1]["sig"]
    page.evaluate("window.blocked.length = 0")
    for step in range(21, 27):
        Ledger(thousand).run(sig).append_metrics([{"step": step, "progress": 0.9, "loss": 0.5, "terms": {}}])
        page.wait_for_timeout(500)
    expect(page.locator("#runs tbody tr").first.locator("td").nth(2)).to_contain_text("26", timeout=3_000)
    start = time.perf_counter()
    page.fill("#runs-search", "arm-123")
    expect(page.locator("#runs-count")).to_have_text("1 to 4 of 4 runs")
    assert time.perf_counter() - start < 0.5
    assert max(page.evaluate("window.blocked"), default=0) < 200
    served.stop()
