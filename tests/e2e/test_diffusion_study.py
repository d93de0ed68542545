"""Study five: the file holds all arms to the same conditions, and a reduced run of it says what its report promises."""

from collections.abc import Callable
from pathlib import Path

import pytest

from netgain.audit.engine import run as audit
from netgain.audit.finding import Severity
from netgain.execute.local import execute
from netgain.ledger.store import Ledger
from netgain.report.denoised_words import blocks
from netgain.report.html.page import Rendered, render
from netgain.report.markdown import markdown
from netgain.report.study import build
from netgain.spec.load import load
from netgain.spec.run import Runtime
from netgain.spec.study import Arm, Study, expand

FILE = Path(__file__).parents[2] / "studies" / "peft_diffusion.yaml"
METHODS = {"lora", "trajectory", "trajectory-hidden", "bottleneck", "prefix", "ia3", "bitfit", "full"}
BUDGETED = {"lora", "trajectory", "trajectory-hidden", "bottleneck", "prefix"}


@pytest.fixture(scope="module")
def study() -> Study:
    return load(FILE)


def joint(at: Study) -> list[Arm]:
    """The arms that learn all tasks at once."""
    return [arm for arm in expand(at) if arm.run.method.learns and arm.run.data.temperature is not None]


@pytest.mark.parametrize("scale", ["tiny", "small", "full"])
def test_all_joint_arms_share_conditioning_clipping_and_warm_up(study: Study, scale: str) -> None:
    """In the original one method saw the input and four did not, and clipping left the model out."""
    arms = [arm for arm in joint(study.at(scale)) if arm.name not in ("routed", "no-input")]
    assert {"lora", "trajectory", "bottleneck", "full"} <= {arm.name for arm in arms}
    first = arms[0].run
    assert first.optim.clip is not None
    assert first.optim.warmup > 0
    for arm in arms:
        same = arm.run.optim.model_copy(update={"learning_rate": first.optim.learning_rate})
        assert same == first.optim
        assert (arm.run.model, arm.run.data, arm.run.tasks) == (first.model, first.data, first.tasks)
        assert arm.run.objective == first.objective
    budgets = {arm.run.method.budget for arm in arms if arm.name in BUDGETED}  # type: ignore[attr-defined]
    assert len(budgets) == 1
    assert None not in budgets


def test_the_full_scale_is_the_seeds(study: Study) -> None:
    at = study.at("full")
    assert len(at.seeds) >= 6
    for arm in joint(at):
        if arm.name != "routed":
            assert (arm.run.optim.steps, arm.run.optim.batch, arm.run.optim.learning_rate) == (15000, 64, 1e-4)
    assert {arm.name for arm in joint(at)} >= METHODS - {"bitfit"}
    assert {task.kind for task in expand(at)[0].run.tasks.values()} == {"sst2", "paraphrase", "qnli"}


def test_every_method_of_the_full_scale_fits_the_family_of_its_model(study: Study) -> None:
    """ModernBERT is none of the families whose layers PEFT knows by name, and has no biases."""
    import torch

    from netgain.adapters.method import Method
    from netgain.models.load import load as load_model
    from netgain.spec.run import Denoise, ModelSpec

    methods = {arm.name: arm.run.method for arm in joint(study.at("full")) if arm.name in METHODS}
    assert methods.keys() == METHODS - {"bitfit"}
    for name, method in methods.items():
        assert isinstance(method, Method)
        large = method.model_copy(update={"budget": "20%"} if name in BUDGETED else {})
        lm = load_model(ModelSpec(id="config:modernbert", denoise=Denoise(length=2)))
        assert large.attach(lm, torch.Generator().manual_seed(0)).count > 0


@pytest.mark.parametrize("scale", ["tiny", "small", "full"])
def test_the_control_is_blind_everywhere_and_nobody_else_is(study: Study, scale: str) -> None:
    for arm in expand(study.at(scale)):
        tasks = [*arm.run.tasks.values(), *(source.task for source in arm.run.data.sources.values())]  # type: ignore[union-attr]
        assert {task.blind for task in tasks} == {arm.name == "no-input"}  # type: ignore[attr-defined]


def test_answers_are_fixed_in_length_and_of_one_token(study: Study) -> None:
    from netgain.execute.prepare import rows_of, template_of
    from netgain.models.load import tokenizer

    run = expand(study.at("tiny"))[0].run
    template = template_of(run.model, tokenizer(run.model))
    for row in rows_of(run, None).train[:100]:
        assert {len(template.answer(row.turns, label)) for label in row.labels} == {2}


@pytest.fixture(scope="module")
def reduced(study: Study, tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, Ledger]:
    """Four arms of the tiny scale, one seed, a few steps."""
    at = study.at("tiny")
    kept = {"lora", "bitfit", "only-negation", "no-input", "untuned"}
    raw = at.model_dump(exclude={"scales"})
    raw["vary"] = {"arm": {name: value for name, value in raw["vary"]["arm"].items() if name in kept}}
    raw["contrasts"], raw["seeds"] = (), (0,)
    raw["base"]["optim"]["steps"], raw["base"]["optim"]["warmup"], raw["base"]["dev"]["every"] = 4, 1, 2
    for name, task in raw["base"]["tasks"].items():
        task["source"]["n"], task["limit"] = 24, 8 if name.endswith("tokens") else None
    small = Study.model_validate({**raw, "name": "reduced"})
    ledger = Ledger(tmp_path_factory.mktemp("ledger"))
    assert execute(small, ledger, Runtime(threads=1, device="cpu"), jobs=1) == 0
    return small, ledger


def test_a_reduced_run_reports_controls_interference_costs_and_a_strip(
    reduced: tuple[Study, Ledger], uncounted: Callable[[Rendered], dict[str, str]]
) -> None:
    study, ledger = reduced
    report = build(study, ledger)
    found = report.denoised
    assert found is not None
    assert [group.name for group in found.groups] == ["sentiment", "negation"]
    roles = {each.arm: each.role for each in found.methods}
    assert roles == {
        "lora": "method", "bitfit": "method", "only-negation": "single task", "no-input": "control",
        "untuned": "untuned",
    }  # fmt: skip
    assert found.control == "no-input"
    by_arm = {each.arm: each for each in found.methods}
    lora = by_arm["lora"]
    tasks = ("sentiment", "negation")
    own = [s for s in report.scores if s.arm == "lora" and s.task in tasks and s.checkpoint == "final"]
    assert lora.macro.estimate == pytest.approx(sum(each.estimate.estimate for each in own) / 2)
    assert set(lora.scores["negation"]) == {"accuracy", "f1", "mcc"}
    assert lora.share == pytest.approx(0.06, abs=0.01)
    assert by_arm["untuned"].written is None
    assert {each.task for each in found.interference} == {"sentiment", "negation"}
    assert found.strips[0].rounds[0] == ("[MASK]",) * 2
    assert "[MASK]" not in found.strips[0].rounds[-1]
    told = dict(found.settings)
    assert all(len(told[name]) == 1 for name in ("clip", "warmup", "steps", "model and how it is asked"))
    text = markdown(report)
    for title, *_ in blocks(found):
        assert title in text
    html = render(report, ledger)
    assert {"denoised-learned", "denoised-latency"} <= html.figures.keys()
    assert uncounted(html) == {}


def test_the_audit_expects_the_control_to_answer_alike(reduced: tuple[Study, Ledger]) -> None:
    _, ledger = reduced
    found = audit([ledger.root]).findings
    constant = [each for each in found if each.code in ("NG010", "NG013")]
    assert not [each for each in constant if "no-input" in each.arms]
    assert not [each for each in found if each.code == "NG701" and each.severity is Severity.ERROR]
