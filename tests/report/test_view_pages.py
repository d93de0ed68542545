"""The view's pictures follow the files, its looks hold together, its door opens to nobody without the token."""

import asyncio
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from drawn import fill, study

pytest.importorskip("starlette", reason="the extra netgain[view]")

from starlette.types import Message, Scope

from netgain.interop.importing import import_results
from netgain.ledger.store import Ledger
from netgain.report.frame import Frame
from netgain.report.view.app import application
from netgain.report.view.follow import Follow
from netgain.report.view.peek import Nothing, Peek, peeks, worded
from netgain.report.view.watch import Picture, Watch, changes
from netgain.spec.study import planned
from netgain.stats.verdict import contrast


def unseal(ledger: Ledger, sig: str) -> None:
    (ledger.run(sig).path / "record.json").unlink()


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures are never kept."""
    monkeypatch.setattr("netgain.report.view.watch.FRESH_SECONDS", 0.0)


@pytest.mark.usefixtures("now")
def test_a_run_goes_through_its_states(tmp_path: Path) -> None:
    asked = study(seeds=(0,))
    ledger = fill(tmp_path, asked, 10)
    sig = planned(asked)[-1].sig
    watch = Watch(ledger)

    def seen() -> tuple[str, str]:
        row = next(row for row in watch.picture().rows.values() if row.sig == sig)
        return row.state, row.phase

    before = watch.picture()
    assert seen() == ("done", "")
    unseal(ledger, sig)
    assert seen() == ("stopped", "")
    folder = ledger.run(sig)
    with folder.claim():
        folder.note("training")
        assert seen() == ("running", "training")
        folder.append_metrics([{"step": 21, "loss": 0.25}])
        told = changes(before, watch.picture())
        assert [(row["state"], row["step"], row["loss"]) for row in told["rows"]] == [("running", 21, 0.25)]
        assert [each["states"] for each in told["studies"]] == [{"done": 1, "running": 1}]
    folder.fail("diverged at step 3")
    assert seen() == ("failed", "diverged at step 3")
    folder.forget()
    assert seen() == ("missing", "")


@pytest.mark.usefixtures("now")
def test_nothing_is_told_twice(tmp_path: Path) -> None:
    watch = Watch(fill(tmp_path, study(), 10))
    first, second = watch.picture(), watch.picture()
    assert changes(first, second) == {"studies": [], "rows": [], "gone": []}
    assert len(changes(Picture({}, {}), second)["rows"]) == 3


def test_metric_rows_are_read_once_and_anew_after_a_resume(tmp_path: Path) -> None:
    folder = Ledger(tmp_path).run("r")
    folder.start({}, {})
    follow = Follow()
    assert follow.rows(folder) == []
    folder.append_metrics([{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0}])
    assert [row["step"] for row in follow.rows(folder)] == [1, 2]
    with (folder.path / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"step": 3, "lo')
    assert [row["step"] for row in follow.rows(folder)] == [1, 2]
    folder.metrics_up_to(1)
    folder.append_metrics([{"step": 2, "loss": 0.5}])
    assert [row["loss"] for row in follow.rows(folder)] == [2.0, 0.5]


def test_a_look_rests_on_shared_seeds_at_a_level_that_allows_for_looking(tmp_path: Path) -> None:
    asked = study(arms=("sft", "anchored"), seeds=(0, 1, 2))
    ledger = fill(tmp_path, asked, 40)
    for each in planned(asked):
        if (each.arm, each.seed) == ("sft", 2) or each.arm == "anchored":
            unseal(ledger, each.sig)
    found = {(each.arm, each.task): each for each in peeks(asked, Frame(asked, ledger), {})}
    sft, anchored = found["sft", "label"], found["anchored", "label"]
    assert isinstance(sft, Peek)
    assert (sft.seeds, sft.looks, sft.scope) == (2, 3, "this recipe")
    assert sft.level == pytest.approx(1 - 0.05 / 3)
    kept = found["sft", "text"]
    assert isinstance(kept, Peek)
    assert kept.level == pytest.approx(1 - 2 * 0.05 / 3)
    assert kept.low <= kept.estimate <= kept.high
    assert isinstance(anchored, Nothing)


@pytest.mark.parametrize(("spread", "first"), [(0.0, 1), (0.4, 2)])
def test_all_looks_together_err_seldom(spread: float, first: int) -> None:
    """Nothing is gained; whoever stops at the first look that says otherwise is wrong at most one time in 20.

    Where seeds differ, a look at one of them is about that checkpoint, which does differ from the base.
    """
    rng = np.random.default_rng(7)
    wrong, studies, looks = 0, 150, 4
    for _ in range(studies):
        hard = rng.normal(size=80)
        shift = rng.normal(scale=spread, size=looks)
        tuned = np.array([rng.random(80) < 1 / (1 + np.exp(-hard - s)) for s in shift], dtype=float)
        base = (rng.random((1, 80)) < 1 / (1 + np.exp(-hard))).astype(float)
        answers = [
            contrast(tuned[:k], base, binary=True, level=1 - 0.05 / looks).answer for k in range(first, looks + 1)
        ]
        wrong += any(worded(each, True, None, looks)[1] != "cannot tell" for each in answers)
    assert wrong / studies <= 0.09


def asked(app: object, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], str]:
    """One request, without a network."""
    sent: list[Message] = []
    named = {"host": "127.0.0.1:8642", **{name.replace("_", "-"): value for name, value in headers.items()}}
    scope: Scope = {
        "type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in named.items()], "scheme": "http",
        "server": ("127.0.0.1", 8642), "client": ("127.0.0.1", 1), "http_version": "1.1", "asgi": {"version": "3.0"},
    }  # fmt: skip

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))  # pyright: ignore[reportCallIssue]
    found = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], found, b"".join(each.get("body", b"") for each in sent[1:]).decode()


def test_the_door(tmp_path: Path) -> None:
    app = application(Ledger(tmp_path), "secret")
    status, headers, page = asked(app, "/secret/")
    assert status == 200
    assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self';")
    assert headers["referrer-policy"] == "no-referrer"
    assert str(tmp_path) in page
    assert asked(app, "/secret/", host="localhost:9000")[0] == 200
    assert asked(app, "/secret/", host="[::1]:9000")[0] == 200
    assert asked(app, "/secret/", origin="http://127.0.0.1:8642")[0] == 200
    assert asked(app, "/secret/", sec_fetch_site="cross-site", sec_fetch_mode="navigate")[0] == 200
    for path in ("/", "/secre/", "/secret2/", "//secret/", "/events"):
        assert asked(app, path)[0] == 403
    for headers in (
        {"host": "evil.example"}, {"host": "127.0.0.1.evil.example:8642"}, {"host": ""}, {"origin": "null"},
        {"origin": "http://localhost:3000"}, {"sec_fetch_site": "same-site", "sec_fetch_mode": "cors"},
    ):  # fmt: skip
        assert asked(app, "/secret/", **headers)[0] == 403
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        assert asked(app, "/secret/", method)[0] == 405
    assert asked(app, "/secret/study/nothing/verdicts")[0] == 404
    assert asked(app, "/secret/run/nothing/..%2f..")[0] == 404


def test_imported_results_are_listed_and_not_judged(tmp_path: Path) -> None:
    rows = [f"q{i},{arm},qa,accuracy,{(i + n) % 3 // 2}" for n, arm in enumerate(("base", "tuned")) for i in range(30)]
    (tmp_path / "r.csv").write_text("\n".join(["item,arm,task,metric,value", *rows]), encoding="utf-8")
    import_results(tmp_path / "r.csv", "old", tmp_path / "ledger")
    app = application(Ledger(tmp_path / "ledger"), "t")
    key = next(iter(Ledger(tmp_path / "ledger").studies()))
    assert asked(app, f"/t/study/{key}/curves")[0] == 200
    for path in (f"/t/study/{key}/verdicts", f"/t/report/{key}"):
        status, _, text = asked(app, path)
        assert status == 200
        assert "imported results" in text


def test_names_from_a_ledger_are_inert(tmp_path: Path) -> None:
    bad = "<img src=x onerror=alert(1)>"
    one = study(arms=(bad,), seeds=(0,))
    ledger = fill(tmp_path, one, 10)
    unseal(ledger, planned(one)[-1].sig)
    ledger.run(planned(one)[-1].sig).note(bad)
    app = application(ledger, "t")
    sig = planned(one)[-1].sig
    for path in ("/t/study/drawn/verdicts", "/t/study/drawn/curves", f"/t/run/drawn/{sig}"):
        status, _, text = asked(app, path)
        assert status == 200
        assert "<img" not in text
        assert "&lt;img" in text


def test_the_view_needs_no_torch(tmp_path: Path) -> None:
    import subprocess

    code = "import sys, netgain.report.view.serve; print(int('torch' in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == 0
