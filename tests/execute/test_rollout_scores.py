"""What sampled answers are worth: the diversity metrics of any subset, and quality by a task, a judge or nobody."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from netgain.data.source import read
from netgain.errors import UserError
from netgain.execute.pack import pack_key
from netgain.execute.plan import make
from netgain.execute.rollouts import bench_of, judging, set_score
from netgain.judges._base import Case
from netgain.judges._reward import RewardModel
from netgain.ledger.store import Ledger
from netgain.measure import diversity
from netgain.measure.embedder import embedder
from netgain.objectives.sampling import Rollout
from netgain.objectives.terms.diversity import Diversity
from netgain.spec.load import load
from netgain.spec.run import EmbeddedSource, Run, Weighted
from netgain.training.judge import load_encoder, save

torch.set_num_threads(1)
STUDY = Path(__file__).parents[2] / "studies" / "diversity.yaml"
TEXTS = ["a red fox runs", "a red fox sleeps", "the old eel swims far away", "", "a red fox runs"]
HASHED = embedder("hashed")


def run_of(quality: object = None, **fields: object) -> Run:
    raw = load(STUDY, "tiny").base.model_dump()
    own = {"samples": 6, "max_new_tokens": 4, "embedder": "hashed"}
    term = {"kind": "diversity", **own, "quality": quality, **fields}
    return Run.model_validate({**raw, "objective": {"ce": "ce", "diversity": {"term": term, "weight": 0.3}}})


def test_a_subset_is_scored_as_the_metrics_score_it() -> None:
    some, tokens = [0, 1, 2], [diversity.tokens(TEXTS[i]) for i in (0, 1, 2)]
    rows = HASHED([TEXTS[i] for i in some])
    wanted = {
        "semantic_distance": diversity.semantic(rows),
        "distinct1": diversity.distinct(tokens, 1),
        "distinct2": diversity.distinct(tokens, 2),
        "self_bleu": 1 - float(diversity.self_bleu(tokens)),  # type: ignore[arg-type]
        "vendi": (float(diversity.vendi_score(rows)) - 1) / 2,  # type: ignore[arg-type]
        "answer_clusters": 1.0,
    }
    for name, value in wanted.items():
        assert set_score(name, TEXTS, HASHED)(some) == pytest.approx(value), name  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["semantic_distance", "self_bleu", "distinct2", "vendi"])
def test_writing_nothing_earns_nothing(name: str) -> None:
    score = set_score(name, [*TEXTS[:3], "", ""], HASHED)  # type: ignore[arg-type]
    assert score([3, 4]) == 0
    assert score([0]) in (0.0, 1.0)
    if name in ("semantic_distance", "vendi"):
        assert score([0, 1, 2, 3]) < score([0, 1, 2])


def test_quality_is_what_a_task_or_a_judge_says(tmp_path: Path) -> None:
    rows = read(EmbeddedSource(kind="embedded", suite="arithmetic", n=4, seed=5), None)
    bench = bench_of(tmp_path, "cpu")
    by_task = run_of({"task": "sums-t0_7"})
    judge = judging(by_task, rows, bench)
    assert judge is not None
    term = by_task.objective["diversity"].term
    assert isinstance(term, Rollout)
    texts = [rows[2].answer, "no idea", rows[2].answer + "1", "", "x", rows[2].answer]
    assert judge(term, 2, texts).quality == pytest.approx(np.array([1, 0, 0, 0, 0, 1]))
    by_judge = run_of({"judge": "overlap"})
    judge, term = judging(by_judge, rows, bench), by_judge.objective["diversity"].term
    assert judge is not None
    assert isinstance(term, Rollout)
    found = judge(term, 2, texts).quality
    assert found is not None
    assert found[[0, 1]] == pytest.approx([0.5, 1 / (1 + math.e)])
    with pytest.raises(UserError, match=r"objective\.diversity\.quality\.task"):
        judging(run_of({"task": "sum"}), rows, bench)


def test_a_reward_model_is_a_quality(tmp_path: Path) -> None:
    """q = sigmoid(r(answer) - r(the row's own)), from the very logits of the model."""
    net, tok = load_encoder("tiny-mlm", 0)
    with torch.no_grad():
        net.get_parameter("classifier.weight").mul_(20)
    save(net, tok, tmp_path / "judge")
    rows = read(EmbeddedSource(kind="embedded", suite="replies", n=2, seed=5), None)
    run = run_of({"judge": {"kind": "reward", "model": str(tmp_path / "judge")}})
    judge, term = judging(run, rows, bench_of(tmp_path, "cpu")), run.objective["diversity"].term
    assert judge is not None
    assert isinstance(term, Rollout)
    texts = [rows[1].answer, "no", "what a lovely thing to say to me", ""]
    found = judge(term, 1, texts).quality
    model = RewardModel(net, tok, "tiny")
    rated = [model.rate([Case("c", rows[1].turns, text)], None, 1)[0].value for text in texts]
    assert found == pytest.approx([1 / (1 + math.exp(rated[0] - each)) for each in rated], abs=1e-4)  # type: ignore[operator]
    assert found is not None
    assert found[0] == pytest.approx(0.5)
    assert np.ptp(found) > 1e-3


@pytest.mark.parametrize("name", ["semantic_distance", "vendi"])
def test_minilm_is_the_embedder_and_sees_meaning(name: str) -> None:
    """Two ways to say one thing are nearer than two things said alike, and the odd one earns the most."""
    texts = ["The film was wonderful.", "I loved this movie.", "It was a great picture.", "My car needs new brakes."]
    term = Diversity.model_validate({"score": name, "samples": 4})
    run = run_of().model_copy(update={"objective": {"diversity": Weighted(term=term, weight=0.3)}})
    judge = judging(run, [], bench_of(None, "cpu"))
    assert term.embedder == "minilm"
    assert judge is not None
    answers = judge(term, 0, texts)
    assert answers.diversity([0, 1]) < 0.7 * answers.diversity([0, 3])
    credit = term.credited(answers).advantages
    assert credit.argmax() == 3
    assert credit[3] > 0


def test_an_embedder_of_ones_own_is_named_by_its_place() -> None:
    run = run_of(embedder="no_such_module:rows")
    with pytest.raises(UserError, match=r"package\.module:function"):
        judging(run, [], bench_of(None, "cpu"))
    assert judging(run_of(embedder="numpy:ones_like"), [], bench_of(None, "cpu")) is not None


def test_an_arm_that_samples_is_no_member_of_a_pack() -> None:
    assert pack_key(run_of()) is None
    assert pack_key(load(STUDY, "tiny").base) is not None


def test_a_plan_says_what_sampling_costs_and_misses_the_control(tmp_path: Path) -> None:
    study = load(STUDY, "tiny")
    plan = make(study, Ledger(tmp_path))
    cost = {run.arm: (run.answers, run.answer_tokens) for run in plan.runs}
    assert cost["lambda=1"] == (2 * 2 * 6, 2 * 2 * 6 * 20)
    assert cost["sft"] == (0, 0)
    assert not any("frontier" in warning for warning in plan.warnings)
    alone = make(study.model_copy(update={"frontiers": {}}), Ledger(tmp_path))
    assert any("no frontier measures the baseline at several temperatures" in warning for warning in alone.warnings)
