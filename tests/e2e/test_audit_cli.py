"""The judging half from the command line: every format is read, imported and asked; malformed ones are a sentence."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netgain.cli import main
from netgain.ledger.items import Item
from netgain.ledger.store import Ledger

FIXTURES = Path(__file__).parents[1] / "interop" / "fixtures"
DOCUMENTS = Path(__file__).parents[1] / "audit" / "fixtures"
LM_EVAL = FIXTURES / "lm_eval_stories260K", FIXTURES / "lm_eval_tiny-gpt2-stories"
INSPECT = FIXTURES / "inspect_base.json", FIXTURES / "inspect_tuned.eval"


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str


class Shell:
    """netgain as a person runs it, in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str], patch: pytest.MonkeyPatch) -> None:
        self.capsys, self.patch = capsys, patch

    def __call__(self, *words: object) -> Said:
        self.patch.setattr("sys.argv", ["netgain", *map(str, words)])
        code = 0
        try:
            main()
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 1
        out, err = self.capsys.readouterr()
        assert "Traceback" not in out + err
        return Said(code, out, err)


@pytest.fixture
def netgain(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.setenv("COLUMNS", "80")
    return Shell(capsys, monkeypatch)


def table(seed: int, rate: float, n: int = 400) -> pa.Table:
    correct = np.random.default_rng(seed).uniform(size=n) < rate
    return pa.table({"item": [f"q{i}" for i in range(n)], "correct": correct.astype(int)})


def csv(path: Path, made: pa.Table) -> Path:
    from pyarrow import csv as pacsv

    pacsv.write_csv(made, path)
    return path


def parquet(path: Path, made: pa.Table) -> Path:
    pq.write_table(made, path)
    return path


def ledger(root: Path) -> Path:
    """An arm and its base, three seeds each."""
    into, entries = Ledger(root), []
    for arm, rate in (("base", 0.4), ("sft", 0.7)):
        for seed in range(3):
            run, rng = into.run(f"{arm}{seed}"), np.random.default_rng(seed + 10 * len(arm))
            run.start({"arm": arm}, {})
            run.write_part(
                "all", [Item("qa", "acc", f"q{i}", "final", float(rng.uniform() < rate)) for i in range(400)]
            )
            run.seal_items(["all"])
            run.finish({})
            entries.append({"arm": arm, "seed": seed, "sig": run.sig})
    into.write_study("s", {"runs": entries})
    return root


def sides(kind: str, at: Path) -> tuple[object, object]:
    if kind == "ledger":
        root = ledger(at / "ledger")
        return f"{root}:base", f"{root}:sft"
    if kind in ("csv", "parquet"):
        write = csv if kind == "csv" else parquet
        return write(at / f"a.{kind}", table(1, 0.4)), write(at / f"b.{kind}", table(2, 0.8))
    return LM_EVAL if kind == "lm-eval" else INSPECT


KINDS = ("ledger", "lm-eval", "inspect", "csv", "parquet")


@pytest.mark.parametrize("kind", KINDS)
def test_two_results_of_any_kind_are_compared(kind: str, netgain: Shell, tmp_path: Path) -> None:
    said = netgain("compare", *sides(kind, tmp_path))
    assert (said.code, said.err) == (0, "")
    assert "interval" in said.out
    assert max(map(len, said.out.splitlines())) <= 80 + len(str(tmp_path))
    if kind not in ("lm-eval", "inspect"):
        assert "gain: difference +" in said.out


@pytest.mark.parametrize("kind", KINDS)
def test_results_of_any_kind_are_audited(kind: str, netgain: Shell, tmp_path: Path) -> None:
    for side in sides(kind, tmp_path):
        path = str(side).partition(":")[0]
        said = netgain("audit", path, "--json")
        tree = json.loads(said.out)
        assert said.code == int(tree["counts"]["error"] > 0)
        assert {"NG001", "NG010", "NG411", "NG508"} <= set(tree["checked"])


TRACKERS = {
    "trainer_state.json": json.dumps({"log_history": [{"step": s, "loss": 2 / s} for s in range(1, 9)]}),
    "wandb.csv": '"Name","State","Runtime","seed","acc"\n"a","finished","12","1","0.5"\n"b","finished","9","2","0.6"\n',
    "mlflow.csv": "run_id,experiment_id,tags.mlflow.runName,metrics.acc,params.lr\nr1,0,a,0.5,0.1\nr2,0,b,0.6,0.2\n",
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(TRACKERS))
def test_a_trainer_s_log_is_imported_audited_and_asked(name: str, netgain: Shell, tmp_path: Path) -> None:
    path, into = tmp_path / name, tmp_path / "ledger"
    path.write_text(TRACKERS[name], encoding="utf-8")
    assert netgain("import", path, "--as", "log", "--ledger", into).code == 0
    assert netgain("audit", into).code == 0
    assert netgain("audit", path).err == ""
    said = netgain("query", "SELECT count(*) AS n FROM runs WHERE state = 'done'", "--ledger", into, "--json")
    assert json.loads(said.out) == [{"n": 1 if name == "trainer_state.json" else 2}]


@pytest.mark.parametrize("kind", ["lm-eval", "inspect", "csv", "parquet"])
def test_imported_results_are_compared_audited_and_asked(kind: str, netgain: Shell, tmp_path: Path) -> None:
    into = tmp_path / "ledger"
    for name, side in zip(("before", "after"), sides(kind, tmp_path), strict=True):
        said = netgain("import", side, "--as", name, "--ledger", into)
        assert "netgain compare" in said.out, said
    compared = netgain("compare", "before", "after", "--ledger", into)
    assert (compared.code, compared.err) == (0, "")
    reported = json.loads(netgain("report", into, "--versus", "before", "--json").out)
    assert reported["baseline"] == "before"
    assert len(reported["comparisons"]) == 1
    assert "no arm" in netgain("report", into, "--versus", "nobody").err
    tree = json.loads(netgain("audit", into, "--json").out)
    assert "NG901" in tree["checked"]
    rows = netgain(
        "query", "SELECT arm, count(*) AS n FROM items GROUP BY arm ORDER BY arm", "--ledger", into, "--json"
    )
    assert [row["arm"] for row in json.loads(rows.out)] == ["after", "before"]


def test_a_document_is_audited_in_every_way_of_telling(netgain: Shell) -> None:
    path = DOCUMENTS / "seeds" / "sweep.md"
    said = netgain("audit", path)
    assert said.code == 1
    assert max(map(len, said.out.splitlines())) <= max(80, len(str(path)))
    assert said.out.count("fix: ") <= said.out.count("line ")
    assert netgain("audit", path, "--select", "NG104").code == 0
    assert json.loads(netgain("audit", path, "--sarif").out)["version"] == "2.1.0"
    assert netgain("audit", DOCUMENTS / "clean" / "sweep.md", "--fail-on", "warning").code == 0
    assert "no rule begins with" in netgain("audit", path, "--select", "NG7777").err


def test_power_is_told_and_counted(netgain: Shell) -> None:
    said = netgain("power", "--n", 500, "--discordance", 0.1, "--seeds", 3)
    assert max(map(len, said.out.splitlines())) <= 80
    tree = json.loads(netgain("power", "--n", 500, "--discordance", 0.1, "--seeds", 3, "--json").out)
    assert tree["n"] == 500
    assert netgain("power", "--n", 500, "--discordance", 3).code != 0


BAD = {
    "ragged.csv": "item,score\na,1\nb,0,3\n",
    "twins.csv": "item,score,score\na,1,0\n",
    "mixed.csv": "item,score\na,56.6%\nb,0.4\n",
    "thousands.csv": "item;score\na;1,234\nb;2,345\n",
    "commas.csv": "item;score\na;0,25\nb;0.5\n",
    "empty.csv": "",
    "header.csv": "item,score\n",
    "words.csv": "item,score\na,fine\n",
    "repeats.csv": "item,score\na,1\na,0\n",
    "samples_t_2026-01-01T00.jsonl": '{"doc_id": 1',
    "log.eval": "PK no archive",
    "log.json": '{"version": 2, "status": "success", "eval": []}',
    "trainer_state.json": '{"log_history": 3}',
    "rows.parquet": "PAR1 no table PAR1",
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(BAD))
def test_malformed_results_are_one_sentence(name: str, netgain: Shell, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(BAD[name], encoding="utf-8")
    for said in (netgain("compare", path, path), netgain("import", path, "--as", "x", "--ledger", tmp_path / "l")):
        assert said.code != 0
        assert name in said.err
        assert len(said.err.strip()) < 700
        assert said.out == ""
    audited = netgain("audit", path)
    assert audited.out.strip() or name in audited.err


def test_two_tables_of_one_name_are_a_finding(netgain: Shell, tmp_path: Path) -> None:
    path = tmp_path / "twins.md"
    path.write_text(2 * "# Results\n\n| model | accuracy |\n|---|---|\n| x | 0.25 |\n\ntext\n\n", encoding="utf-8")
    assert "two tables named" in " ".join(netgain("audit", path).out.lower().split())


RELAXED = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@RELAXED
@given(content=st.binary(max_size=200) | st.text(alphabet="item,score;|-\n01.%\"'{}[]:", max_size=200).map(str.encode),
       name=st.sampled_from(["r.csv", "r.md", "r.jsonl", "r.json", "r.eval", "r.parquet"]))  # fmt: skip
def test_any_content_ends_in_findings_or_a_sentence(content: bytes, name: str, netgain: Shell, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    said = netgain("audit", path)
    assert said.code in (0, 1) or said.err.strip()
    assert netgain("compare", path, path).err.strip() or b"item" in content
    shutil.rmtree(tmp_path / "ledger", ignore_errors=True)


JUNK = 200_000_000


@pytest.mark.parametrize("name", ["junk.md", "junk.csv", "junk.jsonl", "junk.json", "junk.eval", "junk.parquet"])
def test_200_mb_of_junk_are_a_sentence(name: str, netgain: Shell, tmp_path: Path) -> None:
    path = tmp_path / name
    with path.open("wb") as out:
        out.write(b"no table here\n" * 100_000)
        out.truncate(JUNK)  # sparse: no disk is filled
    said = netgain("audit", path)
    assert said.out.strip() or name in said.err
    refused = netgain("compare", path, path)
    assert refused.code != 0
    assert name in refused.err
