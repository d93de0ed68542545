"""What stands on netgain's side of lm-eval, without lm-eval: what a study may say, and how answers are written."""

import sys

import pytest
import torch

from netgain.errors import UserError
from netgain.measure import harness
from netgain.models.load import load
from netgain.spec.plugin import TaskPlugin
from netgain.spec.run import ModelSpec
from netgain.tasks import _harness
from netgain.tasks.lm_eval import LmEval

torch.set_num_threads(1)


def test_a_missing_extra_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    monkeypatch.setitem(sys.modules, "lm_eval.tasks", None)
    _harness._manager.cache_clear()
    asked = TaskPlugin.parse({"kind": "lm_eval", "name": "arc_easy"})
    assert isinstance(asked, LmEval)
    with pytest.raises(UserError, match=r'pip install "netgain\[lm_eval\]"'):
        asked.card(None)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "give either name"),
        ({"name": "arc_easy", "path": "own.yaml"}, "give either name"),
        ({"name": "arc_easy", "source": {"kind": "embedded", "suite": "sentiment", "n": 3}}, "reads the rows"),
    ],
)
def test_a_task_comes_from_one_place(fields: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        TaskPlugin.parse({"kind": "lm_eval", **fields})


def test_sampled_answers_differ_between_repeats_and_not_between_batches() -> None:
    class Asked:
        task_name, doc_id = "t", 0
        args = ("Say something:", {"until": [], "max_gen_toks": 12, "do_sample": True, "temperature": 1.0})

    lm = load(ModelSpec(id="config:llama", config={"seed": 3, "initializer_range": 0.3}))
    one = Asked()
    found = [harness.Resident(lm, batch).generate_until([one, one, one]) for batch in (1, 8)]
    assert found[0] == found[1]
    assert len(set(found[0])) > 1


@pytest.mark.parametrize("setting", [{"num_beams": 4}, {"penalty_alpha": 0.6}])
def test_a_way_of_writing_that_is_not_ours_is_refused(setting: dict[str, float]) -> None:
    with pytest.raises(UserError, match="does not know"):
        harness.Writing.of({"until": "\n", **setting})


@pytest.mark.parametrize(
    ("asked", "temperature"),
    [
        ({}, 0.0),
        ({"do_sample": False, "temperature": 0.7}, 0.0),
        ({"do_sample": True}, 1.0),
        ({"temperature": 0.7}, 0.7),
        ({"num_beams": 1, "do_sample": True, "temperature": 0.2}, 0.2),
    ],
)
def test_settings_mean_what_lm_eval_means(asked: dict[str, float], temperature: float) -> None:
    made = harness.Writing.of({"until": "\n", **asked})
    assert (made.until, made.temperature, made.budget) == (("\n",), temperature, harness.BUDGET)


def test_an_answer_is_cut_before_whichever_word_comes_first() -> None:
    made = harness.Writing.of({"until": ["Q:", "\n\n", ""]})
    assert made.cut("yes\n\nQ: and") == "yes"
    assert made.cut("yes Q: \n\n") == "yes "


def test_options_of_one_context_are_read_together_as_far_as_there_is_room() -> None:
    pairs = [(("", ""), [1], [2] * 300), (("", ""), [1], [2] * 200), (("", ""), [1], [3] * 20), (("", ""), [2], [3])]
    assert harness._together(pairs) == [[0, 1], [2], [3]]
