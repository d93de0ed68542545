"""lm-eval's tasks on the resident model: every score is what lm-eval's own Hugging Face wrapper gives, item by item."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from netgain.data.chat import Template
from netgain.errors import UserError
from netgain.ledger.items import Item
from netgain.measure import harness
from netgain.measure.evaluate import evaluate
from netgain.models.lm import LM
from netgain.models.load import load
from netgain.spec.plugin import TaskPlugin
from netgain.spec.run import ModelSpec
from netgain.tasks._base import tasks_of
from netgain.tasks.lm_eval import LmEval

pytest.importorskip("lm_eval", reason='needs the extra: pip install "netgain[lm_eval]"')
pytestmark = [pytest.mark.filterwarnings("ignore")]
torch.set_num_threads(1)

DOCUMENTS = [
    {
        "question": f"Which word is number {i}? " + "Think about it. " * (i % 3),
        "choices": [f"word {i}", "nothing", "both of them", f"the {i}th"][: 2 + i % 3],
        "answer": i % 2,
        "text": f"Number {i} is said.\n" * (1 + i),
        "last": f" word{i}",
        "said": f"{i}",
    }
    for i in range(9)
]
CHOICE = {
    "output_type": "multiple_choice",
    "doc_to_text": "Question: {{question}}\nAnswer:",
    "doc_to_choice": "{{choices}}",
    "doc_to_target": "answer",
    "metric_list": [{"metric": each, "aggregation": "mean", "higher_is_better": True} for each in ("acc", "acc_norm")],
}
TASKS: dict[str, dict[str, Any]] = {
    "choice": CHOICE,
    "shown": {**CHOICE, "num_fewshot": 2, "fewshot_split": "test"},
    "pairs": {**CHOICE, "doc_to_text": ""},
    "last": {
        "output_type": "loglikelihood",
        "doc_to_text": "{{question}}",
        "doc_to_target": "{{last}}",
        "metric_list": [
            {"metric": "perplexity", "aggregation": "perplexity", "higher_is_better": False},
            {"metric": "acc", "aggregation": "mean", "higher_is_better": True},
        ],
    },
    "text": {
        "output_type": "loglikelihood_rolling",
        "doc_to_text": "",
        "doc_to_target": "{{text}}",
        "metric_list": [{"metric": each} for each in ("word_perplexity", "byte_perplexity", "bits_per_byte")],
    },
    "written": {
        "output_type": "generate_until",
        "doc_to_text": "{{question}}",
        "doc_to_target": "{{said}}",
        "generation_kwargs": {"until": ["e", "\n\n"], "max_gen_toks": 24, "do_sample": False},
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
        "filter_list": [
            {"name": "plain", "filter": [{"function": "take_first"}]},
            {
                "name": "digit",
                "filter": [{"function": "regex", "regex_pattern": "(\\d)"}, {"function": "take_first"}],
            },
        ],
    },
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("own")
    (home / "rows.jsonl").write_text("".join(json.dumps(each) + "\n" for each in DOCUMENTS))
    data = {"dataset_path": "json", "dataset_kwargs": {"data_files": {"test": str(home / "rows.jsonl")}}}
    for name, config in TASKS.items():
        made = {"task": f"own_{name}", **data, "test_split": "test", **config}
        (home / f"{name}.yaml").write_text(json.dumps(made))  # JSON is YAML
    return home


@pytest.fixture(scope="module", params=["config:llama", "config:gpt2"])
def lm(request: pytest.FixtureRequest) -> LM:
    return load(ModelSpec(id=request.param, config={"seed": 3, "initializer_range": 0.3}))


def measure(lm: LM, folder: Path, name: str, batch: int = 4, **more: object) -> list[Item]:
    asked = TaskPlugin.parse({"kind": "lm_eval", "path": f"{name}.yaml", **more})
    template = Template(lm.tok, chat=False)
    return list(evaluate(lm, {name: asked}, template=template, checkpoint="base", folder=folder, batch=batch))


def by_lm_eval(lm: LM, folder: Path, name: str) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """filter -> what lm-eval logs of each document with its own wrapper of the same network."""
    from lm_eval.evaluator import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    theirs = HFLM(pretrained=lm.net, tokenizer=lm.tok, batch_size=2, max_length=lm.max_positions)
    asked = [str(folder / f"{name}.yaml")]
    manager = TaskManager(include_defaults=False)
    found = simple_evaluate(model=theirs, tasks=asked, task_manager=manager, bootstrap_iters=0)
    assert found is not None
    filters: dict[str, Any] = {}
    for sample in found["samples"][f"own_{name}"]:
        filters.setdefault(sample["filter"], []).append(sample)
    return filters


def values(items: list[Item], metric: str) -> list[float | None]:
    return [item.value for item in items if item.metric == metric]


@pytest.mark.parametrize("name", ["choice", "shown", "pairs"])
def test_choices_score_what_lm_eval_gives_them(lm: LM, folder: Path, name: str) -> None:
    theirs = by_lm_eval(lm, folder, name)["none"]
    ours = measure(lm, folder, name)
    assert values(ours, "acc") == [each["acc"] for each in theirs]
    assert values(ours, "acc_norm") == [each["acc_norm"] for each in theirs]
    assert 0 < sum(filter(None, values(ours, "acc"))) < len(DOCUMENTS), "neither all right nor all wrong"
    first = next(item for item in ours if item.metric == "acc")
    choices = DOCUMENTS[0]["choices"]
    likely = [logprob for (logprob, _), *_ in theirs[0]["resps"]]
    assert first.prediction == choices[likely.index(max(likely))]
    assert first.label == choices[0]


def test_last_words_are_as_likely_and_as_greedy_as_lm_eval_says(lm: LM, folder: Path) -> None:
    theirs = by_lm_eval(lm, folder, "last")["none"]
    ours = measure(lm, folder, "last")
    assert values(ours, "nll") == pytest.approx([-each["perplexity"] for each in theirs], rel=1e-5)
    assert values(ours, "acc") == [each["acc"] for each in theirs]


def test_texts_are_as_surprising_in_every_window(lm: LM, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lm, "max_positions", 48)
    theirs = by_lm_eval(lm, folder, "text")["none"]
    ours = measure(lm, folder, "text")
    assert {item.metric for item in ours} == {"word_nll", "byte_nll"}
    found = [-item.value * item.weight for item in ours if item.metric == "word_nll" and item.value is not None]
    assert found == pytest.approx([each["word_perplexity"][0] for each in theirs], rel=1e-5)
    assert len(lm.tok.encode(DOCUMENTS[-1]["text"])) > 2 * 48, "several windows"


def test_written_answers_and_filters_are_lm_evals(lm: LM, folder: Path) -> None:
    theirs = by_lm_eval(lm, folder, "written")
    ours = measure(lm, folder, "written")
    for filtered, rows in theirs.items():
        own = [item for item in ours if item.metric == f"{filtered}:exact_match"]
        assert [item.value for item in own] == [each["exact_match"] for each in rows]
        assert [item.output for item in own] == [each["resps"][0][0] for each in rows]
    assert any(item.truncated for item in ours)
    assert any(not item.parsed for item in ours if item.metric == "digit:exact_match")


def test_the_batch_changes_nothing(lm: LM, folder: Path) -> None:
    for name in ("choice", "written"):
        assert [(i.item, i.prediction) for i in measure(lm, folder, name, batch=1)] == [
            (i.item, i.prediction) for i in measure(lm, folder, name, batch=16)
        ]


def test_a_subset_has_the_items_of_the_whole(lm: LM, folder: Path) -> None:
    whole = {(item.item, item.metric): item.value for item in measure(lm, folder, "choice")}
    some = measure(lm, folder, "choice", limit=4)
    assert len({item.item for item in some}) == 4
    assert all(whole[item.item, item.metric] == item.value for item in some)


def test_what_does_not_fit_is_missing_with_its_reason(lm: LM, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lengths = [len(lm.tok.encode(f"Question: {each['question']}\nAnswer:")) for each in DOCUMENTS]
    monkeypatch.setattr(lm, "max_positions", min(lengths) + 20)
    found = [item for item in measure(lm, folder, "choice") if item.metric == "acc"]
    long = [item.reason == "too_long" for item in found]
    assert any(long)
    assert not all(long)
    assert all((item.value is None) == (item.reason is not None) for item in found)


def test_too_little_memory_is_tried_again_and_noted(lm: LM, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = harness.label_choices

    def small(lm: LM, prompts: list[list[int]], labels: list[list[list[int]]], batch: int) -> object:
        if len(prompts) > 2:
            raise RuntimeError("out of memory")
        return whole(lm, prompts, labels, batch)

    expected = values(measure(lm, folder, "choice"), "acc")
    monkeypatch.setattr(harness, "label_choices", small)
    found = measure(lm, folder, "choice")
    assert values(found, "acc") == expected
    assert any(item.retried for item in found)


def test_the_card_says_what_guessing_is_worth(folder: Path) -> None:
    task = tasks_of({"choice": TaskPlugin.parse({"kind": "lm_eval", "path": "choice.yaml"})})["choice"]
    card = task.card(folder)
    assert (card.metric, card.binary, card.mode, card.items) == ("acc", ("acc", "acc_norm"), "likelihood", 9)
    assert card.chance == pytest.approx(sum(1 / len(each["choices"]) for each in DOCUMENTS) / 9)
    shown = tasks_of({"shown": TaskPlugin.parse({"kind": "lm_eval", "path": "shown.yaml"})})["shown"].card(folder)
    assert shown.shots == 2
    text = tasks_of({"text": TaskPlugin.parse({"kind": "lm_eval", "path": "text.yaml"})})["text"].card(folder)
    assert (text.metrics, text.direction, text.chance) == (("word_nll", "byte_nll"), "lower", None)


@pytest.mark.slow
def test_a_task_that_lm_eval_does_not_know_is_one_sentence() -> None:
    asked = LmEval(name="arc_eazy")
    with pytest.raises(UserError, match=r'no task, tag or group "arc_eazy"\. Did you mean "arc_easy"\?'):
        asked.leaves(None)
