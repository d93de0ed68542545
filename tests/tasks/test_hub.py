"""Tasks read from the hub's data sets: prompts as from files, labels by the data's own names, never by a hand list.

The data sets are written here as the hub has them (Parquet with declared features, configurations in the card).
"""

from pathlib import Path
from typing import Any

import pytest

from netgain.data.source import Example, read
from netgain.errors import UserError
from netgain.spec.run import HfSource, TaskSource
from netgain.tasks._base import Task, read_source
from netgain.tasks._sentence import GlueSentence
from netgain.tasks.choice import Choice
from netgain.tasks.cola import Cola
from netgain.tasks.mt_bench import MtBench
from netgain.tasks.ner import Ner
from netgain.tasks.nli import Nli
from netgain.tasks.paraphrase import Paraphrase
from netgain.tasks.pos import Pos
from netgain.tasks.qa import Qa
from netgain.tasks.qnli import Qnli
from netgain.tasks.sst2 import Sst2

datasets = pytest.importorskip("datasets")

UDPOS = "ADJ ADP ADV AUX CCONJ DET INTJ NOUN NUM PART PRON PROPN PUNCT SCONJ SYM VERB X"
PANX = "O B-PER I-PER B-ORG I-ORG B-LOC I-LOC"


def publish(folder: Path, config: str, splits: dict[str, dict[str, list[Any]]], features: Any) -> str:
    """One configuration of a data set, in a folder of its own."""
    lines = ["---", "configs:", f"- config_name: {config}", "  data_files:"]
    for split, columns in splits.items():
        datasets.Dataset.from_dict(columns, features=features).to_parquet(folder / f"{split}.parquet")
        lines += [f"  - split: {split}", f"    path: {split}.parquet"]
    (folder / "README.md").write_text("\n".join([*lines, "---", ""]))
    return str(folder)


def both(task: Task) -> tuple[list[Example], list[Example]]:
    return task.examples(None), task.train_examples(None)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))


def test_xnli_takes_its_labels_from_the_features(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["entailment", "neutral", "contradiction"]
    features = datasets.Features(
        premise=datasets.Value("string"), hypothesis=datasets.Value("string"), label=datasets.ClassLabel(names=names)
    )
    rows = {"premise": ["A dog.", "A cat.", "A cow."], "hypothesis": ["An animal."] * 3, "label": [0, 1, 2]}
    more = {**rows, "premise": ["A dog.", "A hen.", "A fox."]}
    monkeypatch.setattr("netgain.tasks.nli.XNLI", publish(tmp_path, "en", {"test": rows, "train": more}, features))
    test, train = both(Nli(kind="nli", hub=True))
    assert [row.answer for row in test] == names
    assert test[0].turns[0].text == "Premise: A dog.\nHypothesis: An animal.\nLabel:"
    assert [row.turns[0].text.splitlines()[0] for row in train] == ["Premise: A hen.", "Premise: A fox."]


def test_pawsx_keeps_pairs_of_a_test_sentence_out_of_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    columns = {"sentence1": ["a b", "c d"], "sentence2": ["b a", "d c"], "label": ["1", "0"]}
    more = {"sentence1": ["a b", "e f", "g"], "sentence2": ["x y", "f e", "h"], "label": ["0", "1", "0"]}
    features = datasets.Features({name: datasets.Value("string") for name in columns})
    place = publish(tmp_path, "PAWS-X.en", {"test": columns, "train": more}, features)
    monkeypatch.setattr("netgain.tasks.paraphrase.XTREME", place)
    test, train = both(Paraphrase(kind="paraphrase", corpus="pawsx", hub=True))
    assert [row.answer for row in test] == ["yes", "no"]
    assert train[0].turns[0].text == "Sentence 1: e f\nSentence 2: f e\nSame meaning:"
    assert [row.answer for row in train] == ["yes", "no"]


def test_mlqa_is_measured_and_squad_is_learned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = datasets.Value("string")
    features = datasets.Features(context=text, question=text, answers={"text": datasets.Sequence(text)})
    asked = {
        "context": ["Rome is old."],
        "question": ["What is old? "],
        "answers": [{"text": ["Rome", "Rome", "city"]}],
    }
    learned = {"context": ["Oslo is cold."], "question": ["Where?"], "answers": [{"text": ["Oslo"]}]}
    for name, config, split, rows in (("m", "MLQA.en.en", "test", asked), ("s", "SQuAD", "train", learned)):
        (tmp_path / name).mkdir()
        publish(tmp_path / name, config, {split: rows}, features)
    task = Qa(kind="qa", corpus="mlqa", hub=True)
    monkeypatch.setattr("netgain.tasks.qa.XTREME", str(tmp_path / "m"))
    test = task.examples(None)
    assert task.golds(test[0]) == ("Rome", "city")
    monkeypatch.setattr("netgain.tasks.qa.XTREME", str(tmp_path / "s"))
    assert task.own_train_rows(None)[0].answer == "Oslo"


def tagged(names: str, field: str, tags: list[int]) -> tuple[dict[str, list[Any]], Any]:
    features = {"tokens": datasets.Sequence(datasets.Value("string"))}
    features[field] = datasets.Sequence(datasets.ClassLabel(names=names.split()))
    return {"tokens": [[f"w{i}" for i in range(len(tags))]], field: [tags]}, datasets.Features(features)


def test_pos_tags_are_the_data_sets_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The seed listed the tags by hand, began with X, and was off by one everywhere."""
    rows, features = tagged(UDPOS, "pos_tags", [0, 7, 15, 16])
    monkeypatch.setattr("netgain.tasks._hub.XTREME", publish(tmp_path, "udpos.English", {"test": rows}, features))
    found = Pos(kind="pos", hub=True).examples(None)
    assert found[0].answer == "w0/ADJ w1/NOUN w2/VERB w3/X"
    with pytest.raises(UserError, match="no language"):
        Pos(kind="pos", hub=True, language="tlh").examples(None)


def test_wikiann_is_read_in_bio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, features = tagged(PANX, "ner_tags", [0, 1, 2, 5])
    monkeypatch.setattr("netgain.tasks._hub.XTREME", publish(tmp_path, "PAN-X.en", {"test": rows}, features))
    found = Ner(kind="ner", corpus="wikiann").examples(None)
    assert found[0].answer == "w0/O w1/B-PER w2/I-PER w3/B-LOC"


def test_a_source_of_kind_task_gives_the_tasks_own_rows() -> None:
    task = {"kind": "pos", "source": {"kind": "embedded", "suite": "pos", "n": 20}}
    source = TaskSource.model_validate({"kind": "task", "task": task})
    rows = read_source(source, None)
    assert rows == source.task.train_examples(None)  # type: ignore[attr-defined]
    few, more = (read_source(source.model_copy(update={"limit": n}), None) for n in (5, 9))
    assert len(few) == 5
    assert {row.id for row in few} < {row.id for row in more} < {row.id for row in rows}


def test_choices_come_in_the_two_forms_of_the_hub(tmp_path: Path) -> None:
    (tmp_path / "arc").mkdir()
    (tmp_path / "mmlu").mkdir()
    texts = datasets.Sequence({"text": datasets.Value("string"), "label": datasets.Value("string")})
    arc = {
        "question": ["What burns?", "What is wet?"],
        "choices": [{"text": ["ice", "wood"], "label": ["A", "B"]}, {"text": ["rain", "sand"], "label": ["1", "2"]}],
        "answerKey": ["B", "1"],
    }
    features = datasets.Features(question=datasets.Value("string"), choices=texts, answerKey=datasets.Value("string"))
    place = publish(tmp_path / "arc", "ARC-Easy", {"test": arc}, features)
    found = Choice(kind="choice", hub=place, config="ARC-Easy").examples(None)
    assert [(row.answer, row.labels) for row in found] == [("wood", ("ice", "wood")), ("rain", ("rain", "sand"))]
    mmlu = {"question": ["2 + 2 is"], "choices": [["3", "4"]], "answer": [1]}
    names = datasets.Features(
        question=datasets.Value("string"),
        choices=datasets.Sequence(datasets.Value("string")),
        answer=datasets.ClassLabel(names=["A", "B", "C", "D"]),
    )
    place = publish(tmp_path / "mmlu", "algebra", {"test": mmlu}, names)
    assert [row.answer for row in Choice(kind="choice", hub=place, config="algebra").examples(None)] == ["4"]


def test_a_chat_set_is_drawn_by_subset_and_a_question_set_asks_both_turns(tmp_path: Path) -> None:
    """In the form of t-tech/T-Wix and t-tech/ru-mt-bench."""
    (tmp_path / "chat").mkdir()
    (tmp_path / "questions").mkdir()
    said = [[{"role": "user", "content": f"q{i}"}, {"role": "assistant", "content": f"a{i}"}] for i in range(4)]
    rows = {"messages": said, "subset": ["general", "reasoning", "general", "reasoning"]}
    place = publish(tmp_path / "chat", "default", {"train": rows}, None)
    source = HfSource(kind="hf", path=place, messages="messages", where={"subset": "reasoning"})
    assert [row.answer for row in read(source, None)] == ["a1", "a3"]
    asked = {"question_id": [1], "category": ["math"], "turns": [["one?", "two?"]], "reference": [["1", "2"]]}
    bench = MtBench(kind="mt_bench", hub=publish(tmp_path / "questions", "default", {"train": asked}, None))
    (row,) = bench.examples(None)
    assert [turn.text for turn in row.turns] == ["one?", "two?"]
    assert (row.meta["reference/1"], row.meta["reference/2"]) == ("1", "2")


GLUE = {
    "sst2": (Sst2, ("negative", "positive"), ("sentence",), ("negative", "positive")),
    "qnli": (Qnli, ("entailment", "not_entailment"), ("question", "sentence"), ("yes", "no")),
    "mrpc": (Paraphrase, ("not_equivalent", "equivalent"), ("sentence1", "sentence2"), ("no", "yes")),
    "cola": (Cola, ("unacceptable", "acceptable"), ("sentence",), ("no", "yes")),
}


@pytest.mark.parametrize("config", GLUE)
def test_glue_takes_its_labels_from_the_features(config: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kind, names, fields, words = GLUE[config]
    features = datasets.Features(
        {**{name: datasets.Value("string") for name in fields}, "label": datasets.ClassLabel(names=list(names))}
    )
    rows = {**{name: [f"{name} {i}" for i in range(2)] for name in fields}, "label": [0, 1]}
    more = {**rows, **{name: [f"other {name} {i}" for i in range(2)] for name in fields}}
    place = publish(tmp_path, config, {"train": more, "validation": rows}, features)
    reader = GlueSentence if issubclass(kind, GlueSentence) else kind
    monkeypatch.setattr(f"{reader.__module__}.GLUE", place)
    test, train = both(kind.model_validate({"kind": kind.model_fields["kind"].default, "hub": True}))
    assert [row.answer for row in test] == list(words)
    assert fields[0] + " 0" in test[0].turns[0].text
    assert len(train) == 2
