"""The study of anchors at its full scale: planned from data sets in the form of the hub's, before anything is paid."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from netgain.execute import plan as planning
from netgain.ledger.store import Ledger
from netgain.spec.load import load

FILE = Path(__file__).parents[2] / "studies" / "anchored_sft.yaml"
HUB = {
    "t-tech/T-Wix": [
        {"messages": [{"role": "user", "content": f"q{i}"}, {"role": "assistant", "content": f"a{i}"}],
         "subset": "reasoning" if i % 4 == 0 else "general"} for i in range(1200)
    ],
    "yahma/alpaca-cleaned": [{"instruction": f"do {i}", "input": "", "output": f"done {i}"} for i in range(120)],
    "t-tech/ru-mt-bench": [
        {"question_id": i, "category": "math", "turns": ["one?", "two?"], "reference": ["1", "2"]} for i in range(3)
    ],
    "allenai/ai2_arc": [
        {"question": f"Which {i}?", "choices": {"text": ["a", "b"], "label": ["A", "B"]}, "answerKey": "B"}
        for i in range(5)
    ],
    "cais/mmlu": [{"question": f"Where {i}?", "choices": ["a", "b", "c", "d"], "answer": 2} for i in range(5)],
    "google/IFEval": [
        {"key": i, "prompt": f"Say {i}.", "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{"letter": None}]}
        for i in range(5)
    ],
    "text/pile_text.jsonl": [{"text": f"A general text about {i}."} for i in range(5)],
}  # fmt: skip


def written(folder: Path) -> dict[str, str]:
    """Hub id -> a local folder that the datasets library reads in its place (a file for a path)."""
    places: dict[str, str] = {}
    for name, rows in HUB.items():
        own = folder / name.replace("/", "-").removesuffix(".jsonl")
        own.mkdir()
        file = own / "train.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        places[name] = str(file if name.endswith(".jsonl") else own)
    return places


def local(tree: Any, places: dict[str, str]) -> Any:
    """The study file with hub ids replaced; what names a configuration or split of the hub has one split here."""
    if isinstance(tree, dict):
        inside = {key: local(value, places) for key, value in tree.items()}
        if tree.get("hub") in places:
            inside |= {"split": "train"} | ({"config": None} if "config" in tree else {})
        return inside
    if isinstance(tree, list):
        return [local(value, places) for value in tree]
    return places.get(tree, tree) if isinstance(tree, str) else tree


def test_small_reads_public_files_where_they_are_and_embedded_rows_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NETGAIN_DATA", str(tmp_path))
    bare = load(FILE, "small")
    assert bare.key == "anchored_sft-small"
    assert {source.kind for source in bare.base.data.sources.values()} == {"embedded"}
    assert {task.model_dump()["source"]["kind"] for task in bare.base.tasks.values()} == {"embedded"}
    file = tmp_path / "llamafactory" / "alpaca_en_demo.json"
    file.parent.mkdir()
    file.touch()
    real = load(FILE, "small")
    assert real.key == "anchored_sft-small-real"
    assert {source.kind for source in real.base.data.sources.values()} == {"jsonl"}
    assert {"english", "science", "geography", "mt_bench"} <= set(real.base.tasks)


@pytest.mark.slow
def test_the_full_scale_plans_without_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    tree = local(yaml.safe_load(FILE.read_text(encoding="utf-8")), written(tmp_path))
    tree["scales"]["full"]["base"]["data"] |= {"rows": 100, "dev": 4}
    study = tmp_path / "study.yaml"
    study.write_text(yaml.safe_dump(tree, sort_keys=False))
    asked = load(study, "full")
    made = planning.make(asked, Ledger(tmp_path / "ledger"))
    arms = {run.arm for run in made.runs}
    assert len(arms) == 18 * 3 * 2
    assert {len({run.seed for run in made.runs if run.arm == arm}) for arm in arms if "base" not in arm} == {3}
    assert made.warnings == ()
    ranks = {arm.run.method.model_dump()["r"] for arm in planning.expand(asked) if arm.run.method.learns}
    assert ranks == {8, 16}
