"""What was said is judged again, by anyone and side by side, without being said again."""

import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from chat_server import Script, says, serving
from typer.testing import CliRunner

from netgain.cli import app
from netgain.data.chat import Template
from netgain.errors import UserError
from netgain.execute.rejudge import answers, head_to_head, rejudge
from netgain.judges._base import Bench
from netgain.judges.endpoint import Endpoint
from netgain.judges.overlap import Overlap
from netgain.ledger.items import Item
from netgain.ledger.store import Ledger, RunFolder
from netgain.measure.evaluate import evaluate
from netgain.models.load import load
from netgain.spec.plugin import TaskPlugin
from netgain.spec.run import ModelSpec
from netgain.tasks._base import tasks_of

torch.set_num_threads(1)
QUESTIONS = [
    {"question_id": i, "category": "stem", "turns": [f"first {i}?", f"second {i}?"], "reference": ["a b", "c"]}
    for i in range(3)
]


@pytest.fixture
def server() -> Iterator[Script]:
    with serving() as script:
        yield script


def sealed(ledger: Ledger, sig: str, seed: int, folder: Path) -> tuple[RunFolder, list[Item]]:
    """A run that answered the questions, twice each, and was finished."""
    task = {"kind": "mt_bench", "path": str(folder / "q.jsonl"), "temperature": 0.9, "samples": 2, "max_new_tokens": 8}
    task["judges"] = {"overlap": {"kind": "overlap"}}
    lm = load(ModelSpec(id="config:llama", config={"initializer_range": 0.3, "seed": seed}))
    tasks = tasks_of({"chat": TaskPlugin.parse(task)})
    template = Template(lm.tok)
    items = list(evaluate(lm, tasks, template=template, checkpoint="final", folder=None, batch=8))
    run = ledger.run(sig)
    run.start({"format": 1, "run": {"tasks": {"chat": tasks["chat"].model_dump(mode="json")}}}, {})
    run.write_part("final-chat", items)
    run.seal_items(["final-chat"])
    run.finish({})
    return run, items


@pytest.fixture
def runs(tmp_path: Path) -> tuple[RunFolder, RunFolder, list[Item], Bench]:
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in QUESTIONS))
    ledger = Ledger(tmp_path / "ledger")
    tuned, items = sealed(ledger, "aa", 1, tmp_path)
    base, _ = sealed(ledger, "bb", 2, tmp_path)
    return tuned, base, items, Bench(None, tmp_path / "cache")


def test_the_same_judge_says_the_same_of_sealed_answers(
    runs: tuple[RunFolder, RunFolder, list[Item], Bench],
) -> None:
    tuned, _, items, bench = runs
    before = {(i.item, i.sample): (i.value, i.output, i.cluster) for i in items if i.metric == "overlap"}
    again = rejudge(tuned, "chat", "later", Overlap(), bench)
    assert {(i.item, i.sample): (i.value, i.output, i.cluster) for i in again} == before
    rows = pq.read_table(tuned.ledger.root / "judged" / "aa" / "chat-later-final.parquet").to_pylist()
    assert {row["metric"] for row in rows} == {"later"}
    assert {row["run"] for row in rows} == {"aa"}
    tuned.verify()


def test_a_conversation_is_what_was_sealed(runs: tuple[RunFolder, RunFolder, list[Item], Bench]) -> None:
    tuned, _, items, bench = runs
    said = {(i.item, i.sample): i.output for i in items}
    found = {(item.item, item.sample): case for item, case in answers(tuned, "chat", "final", bench.folder)}
    assert len(found) == 12
    for (item, sample), case in found.items():
        category, question, turn = item.split("/")
        assert case.answer == said[item, sample]
        assert case.turns[0].text == f"first {question}?"
        if turn == "2":
            assert case.turns[1].text == said[f"{category}/{question}/1", sample]
            assert case.references == ("a b", "c")


def test_two_runs_are_compared_in_both_orders(
    runs: tuple[RunFolder, RunFolder, list[Item], Bench], server: Script
) -> None:
    tuned, base, items, bench = runs
    ours = {i.output for i in items}
    assert all(ours)

    def prefers(body: dict, n: int) -> tuple[int, bytes]:
        shown = body["messages"][1]["content"].split("[Answer of A]\n")[1].split("\n[End of A]")[0]
        return says("[[A]]" if shown in ours else "[[B]]")

    server.reply = prefers
    judge = Endpoint.model_validate({"kind": "endpoint", "url": server.url, "model": "m"})
    found = head_to_head(tuned, base, "chat", judge, bench)
    assert found.share == 1.0
    assert found.swap is not None
    assert (found.swap.wins_a, found.swap.inconsistent.estimate, found.missing) == (12, 0.0, 0)
    assert len(server.seen) == 24
    server.reply = lambda body, n: says("[[A]]")
    biased = judge.model_copy(update={"model": "biased"})
    other = head_to_head(tuned, base, "chat", biased, bench)
    assert other.share == 0.5
    assert other.swap is not None
    assert other.swap.refused


def test_what_cannot_be_judged_is_a_sentence(
    runs: tuple[RunFolder, RunFolder, list[Item], Bench], tmp_path: Path
) -> None:
    tuned, _, _, bench = runs
    with pytest.raises(UserError, match='no task "chatt"'):
        rejudge(tuned, "chatt", "x", Overlap(), bench)
    with pytest.raises(UserError, match="checkpoint best"):
        rejudge(tuned, "chat", "x", Overlap(), bench, "best")
    (tmp_path / "q.jsonl").write_text(json.dumps(QUESTIONS[0]) + "\n")
    with pytest.raises(UserError, match="restore its question file"):
        rejudge(tuned, "chat", "x", Overlap(), bench)


def command(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["rejudge", *map(str, arguments)])
    if isinstance(done.exception, UserError):
        return 2, str(done.exception)
    return done.exit_code, done.output


def test_the_command_rates_keeps_and_compares(
    runs: tuple[RunFolder, RunFolder, list[Item], Bench],
    server: Script,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NETGAIN_CACHE", str(tmp_path / "kept"))
    tuned, _, items, _ = runs
    ledger = tuned.ledger.root
    (tmp_path / "judge.yaml").write_text("kind: overlap")
    code, said = command("aa", "chat", tmp_path / "judge.yaml", "--as", "again", "--ledger", ledger, "--json")
    assert code == 0, said
    found = json.loads(said)
    values = [item.value for item in items if item.metric == "overlap" and item.value is not None]
    assert found["mean"]["estimate"] == pytest.approx(sum(values) / len(values))
    assert (ledger / "judged" / "aa" / "chat-again-final.parquet").exists()
    server.reply = lambda body, n: says("[[A]]") if "Answer of A" in str(body) else says("Rating: [[4]]")
    (tmp_path / "chat.yaml").write_text(json.dumps({"kind": "endpoint", "url": server.url, "model": "m"}))
    code, said = command("aa", "chat", tmp_path / "chat.yaml", "--versus", "bb", "--ledger", ledger)
    assert code == 0, said
    assert "100.0 % of 12 verdicts changed" in said
    assert "this judge cannot say which is better" in said


def test_a_judge_file_that_is_none_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "odd.yaml").write_text("kind: overlapp")
    for name, sentence in (("missing.yaml", "no such file"), ("odd.yaml", "overlap")):
        code, said = command("aa", "chat", tmp_path / name, "--ledger", tmp_path / "ledger")
        assert code == 2
        assert sentence in said
