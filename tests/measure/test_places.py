"""Tags by their likelihood: each at its place behind the right tags before it, as one forward pass alone scores it."""

import pytest
import torch

from netgain.data.chat import Template
from netgain.data.source import Example, Turn
from netgain.errors import UserError
from netgain.measure.evaluate import evaluate
from netgain.measure.places import branches
from netgain.models.lm import LM
from netgain.models.load import load
from netgain.models.score import placed_logprobs
from netgain.spec.plugin import TaskPlugin
from netgain.spec.run import ModelSpec
from netgain.tasks._base import Placed, Places, Task

torch.set_num_threads(1)
EMBEDDED = {
    "pos": {"kind": "embedded", "suite": "pos", "n": 4},
    "ner": {"kind": "embedded", "suite": "entities", "n": 4},
}


def tagging(kind: str, **more: object) -> Task:
    plugin = TaskPlugin.parse({"kind": kind, "source": EMBEDDED[kind], "answering": "likelihood", **more})
    assert isinstance(plugin, Task)
    return plugin


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def random(request: pytest.FixtureRequest) -> LM:
    return load(ModelSpec(id=f"config:{request.param}", config={"seed": 3, "initializer_range": 0.3}))


@torch.no_grad()
def alone(lm: LM, ids: list[int], start: int) -> float:
    logits = lm.net(input_ids=torch.tensor([ids]), use_cache=False).logits[0].double().log_softmax(-1)
    return sum(float(logits[t - 1, ids[t]]) for t in range(start, len(ids)))


@pytest.mark.parametrize("tree", [True, False])
def test_labels_inside_a_text_score_what_they_score_behind_its_beginning(
    random: LM, tree: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from netgain.models import score

    g = torch.Generator().manual_seed(0)
    texts = [torch.randint(4, random.vocab, (n,), generator=g).tolist() for n in (9, 17, 4)]
    labels = [[[5, 6, 7], [8], [9, 10], [5, 6]], [[11], [12, 13]], [[6, 5, 4]]]
    places = [[3, 3, 9, 1], [17, 2], [2]]
    if not tree:
        monkeypatch.setitem(score._takes_tree, random.net, False)
    found = placed_logprobs(random, texts, labels, places, batch=2)
    for text, each, at, scores in zip(texts, labels, places, found, strict=True):
        expected = [alone(random, text[:n] + label, n) for label, n in zip(each, at, strict=True)]
        assert scores == pytest.approx(expected, abs=2e-5)


@pytest.mark.parametrize("kind", ["pos", "ner"])
def test_tag_accuracy_equals_brute_force_over_whole_answers(random: LM, kind: str) -> None:
    """Every tag is put into the written answer at its place, and the text up to there is scored by itself."""
    template = Template(random.tok, chat=False)
    task = tagging(kind)
    rows = task.examples(None)
    items = list(evaluate(random, {"t": task}, template=template, checkpoint="base", folder=None, batch=3))
    assert [item.metric for item in items] == ["tag_accuracy"] * len(rows)
    for row, item in zip(rows, items, strict=True):
        pieces, right = row.answer.split(), 0
        for i, piece in enumerate(pieces):
            word, _, gold = piece.rpartition("/")
            prompt = template.prompt(row.turns)
            head = " ".join([*pieces[:i], f"{word}/"])
            scores = {}
            for tag in row.labels:
                ids = prompt + template.answer(row.turns, head + tag, end=False)
                scores[tag] = alone(random, ids, len(prompt + template.answer(row.turns, head, end=False)))
            right += max(scores, key=lambda tag: scores[tag]) == gold
        assert item.value == pytest.approx(right / len(pieces))
        assert item.weight == len(pieces)
        assert item.label == row.answer


def test_a_tag_that_begins_another_counts_what_follows_it() -> None:
    """The bytes of "A" begin those of "AB": both are scored up to the next place, and to the end at the last one."""
    lm = load(ModelSpec(id="config:llama"))
    template = Template(lm.tok, chat=False)
    request = Places((Turn("user", "x y"),), (), ("x/", " y/"), ("A", "AB"), ("A", "AB"))
    found = branches(template, request)
    said = [template.tok.decode(ids) for ids in found.options]
    assert said[:2] == ["A y/", "AB y/"] or said[:2] == [" y/", "B y/"]
    assert found.options[3][-1] == template.ending[-1]
    assert str(template.tok.decode(found.text)).endswith("x/A y/AB")
    simple = branches(template, Places((Turn("user", "x y"),), (), ("x/", " y/"), ("A", "B"), ("A", "B")))
    assert [template.tok.decode(ids) for ids in simple.options] == ["A", "B", "A", "B"]


def test_a_tie_and_a_broken_model_are_no_right_answers() -> None:
    task = tagging("pos")
    row = Example("i", "g", (Turn("user", "q"),), "a/X b/Y", labels=("X", "Y"))
    (tie,) = task.score(row, Placed(((-1.0, -1.0), (-2.0, -1.0))))
    assert (tie.value, tie.weight, tie.prediction) == (0.5, 2, "a b/Y")
    (broken,) = task.score(row, Placed(((float("nan"), -1.0), (-2.0, -1.0))))
    assert (broken.value, broken.reason) == (None, "undefined")


def test_a_model_that_knows_the_tags_is_right_although_it_does_not_write_them() -> None:
    """Without demonstrations tiny-llama does not keep to the form; behind the right tags so far it knows the next."""
    lm = load(ModelSpec(id="tiny-llama"))
    template = Template(lm.tok, chat=True, name="tiny-llama")
    means = []
    for answering in ("generate", "likelihood"):
        source = {"kind": "embedded", "suite": "pos", "n": 20}
        task = tagging("pos", source=source, answering=answering)
        items = list(evaluate(lm, {"t": task}, template=template, checkpoint="base", folder=None, batch=10))
        means.append(sum(i.value * i.weight for i in items if i.value is not None) / sum(i.weight for i in items))
    assert means[0] < 0.5 < 0.8 < means[1]


def test_a_masked_model_is_told_that_tags_are_asked_of_causal_ones() -> None:
    lm = load(ModelSpec(id="tiny-mlm"))
    template = Template(lm.tok, chat=False, name="tiny-mlm")
    with pytest.raises(UserError, match="causal"):
        list(evaluate(lm, {"t": tagging("pos")}, template=template, checkpoint="base", folder=None, batch=2))
