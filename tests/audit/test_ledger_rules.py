"""Every rule on item rows fires on a ledger spoilt in its way, and on no clean one."""

import inspect
import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import ledgers
import pytest
from ledgers import LABELS, adapter, data, items, losses, make, only

from netgain.audit import Report, findings_for, run
from netgain.audit.evidence import Evidence
from netgain.audit.finding import Severity
from netgain.audit.rule import LedgerRule, rules
from netgain.ledger.items import Item
from netgain.ledger.query import connect
from netgain.ledger.store import Ledger

if TYPE_CHECKING:
    import duckdb

Maker = Callable[[Path], Path]


def some(arm: str, every: int, **change: Any) -> Callable[[str, int, Item], Item]:
    """Change one item in `every` of one arm."""
    return lambda name, _, item: replace(item, **change) if name == arm and int(item.item[1:]) % every == 0 else item


def same_as_base(arm: str, seed: int, item: Item) -> Item:
    base = items("base", 0, "base")[int(item.item[1:])]
    return replace(base, checkpoint=item.checkpoint) if arm == "kl" else item


def with_likelihood(apart: float) -> Callable[[str, int, Item], Item]:
    """The base's answers in both arms, measured by an NLL that lies `apart` of its value away."""

    def change(arm: str, seed: int, item: Item) -> Item:
        model = seed if arm == "kl" else 10 * seed if arm == "plain" else 0
        said = same_as_base(arm, seed, item)
        return replace(said, metric="nll", value=(1.0 + int(item.item[1:]) / 7) * (1 + apart * model))

    return change


def graded(arm: str, seed: int, item: Item, by_length: bool) -> Item:
    i = int(item.item[1:])
    value = float(item.tokens or 0) + i % 3 if by_length else float((i * 7919 + seed) % 97)
    return replace(item, metric="judge", value=value, label=None)


def at_the_bound(arm: str, seed: int, item: Item) -> Item:
    found = graded(arm, seed, item, by_length=False)
    return (
        replace(found, value=1.0 if int(item.item[1:]) % 2 else found.value + 1.0) if found.value is not None else found
    )


def collapsed(arm: str, seed: int, item: Item, at: str = "final") -> Item:
    gone = arm == "kl" and seed == 2 and item.checkpoint == at and int(item.item[1:]) % 4
    return replace(item, value=0.0) if gone else item


def dead(arm: str, seed: int, item: Item) -> Item:
    return replace(item, value=0.0) if arm == "kl" and seed == 2 and int(item.item[1:]) % 10 else item


def shared() -> dict[str, Any]:
    tree = data()
    tree["overlap"][0] |= {"ids": 3, "texts": 5, "example": "q7"}
    return tree


def other_mixture() -> dict[str, Any]:
    return {**data(), "mixture": {"planned": {"a": 400, "b": 100}, "drawn": {"a": 500, "b": 0}}}


def flat_gradient() -> list[dict[str, Any]]:
    return [{**row, "terms": {"div": {"raw": 0.3, "weight": 0.3, "grad_norm": 0.0}}} for row in losses()]


def silent_term() -> list[dict[str, Any]]:
    return [{**row, "terms": {**row["terms"], "late": {"raw": 0.3, "weight": 0.0}}} for row in losses()]


def rising() -> list[dict[str, Any]]:
    return [{**row, "loss": 0.5 + (row["step"] / 10) ** 2} for row in losses()]


BOTH_ZERO = {"a.down": (0.0, 0.0), "a.down_bias": (0.0, 0.0), "a.up": (0.0, 0.0), "a.up_bias": (0.5, 0.25)}
SEEN = {"rows": 400, "prompts": 390, "exchanged": 8, "moved": 0.2}


def probed(clipped: float) -> list[dict[str, Any]]:
    """Two terms whose weighted gradients, 3 and 4 long and at right angles, sum to 5; clipping saw another norm."""
    terms = {"ce": {"raw": 1.0, "weight": 1.0, "grad_norm": 3.0, "grad_share": 0.4, "grad_cosine": 0.6}}
    terms["kl"] = {"raw": 0.1, "weight": 0.5, "grad_norm": 8.0, "grad_share": 0.6, "grad_cosine": 0.8}
    return [{**row, "terms": terms, "grad_norm": clipped} for row in losses()]


GRID = ("weight=0", "weight=0.1", "weight=0.2", "weight=0.3", "weight=0.4", "weight=0.5")


def grid(wins: dict[str, tuple[int, int]]) -> Maker:
    """A study of six weights; each arm wins and loses so many of the items that its base gets wrong and right."""

    def change(arm: str, seed: int, item: Item) -> Item:
        i = int(item.item[1:])
        won, lost = wins.get(arm, (0, 0))
        return replace(item, value=float(i % 2 == 0) if i >= 2 * max(won, lost) else float(
            (i % 2 == 0 and i >= 2 * lost) or (i % 2 == 1 and i < 2 * won)))  # fmt: skip

    study = {"vary": {"objective.kl.weight": [0, 0.1, 0.2, 0.3, 0.4, 0.5]}, "contrasts": [{"versus": "base"}]}
    return lambda at: make(at, change, arms=GRID, study=study)


def far(wins: tuple[int, int]) -> dict[str, tuple[int, int]]:
    return dict.fromkeys(GRID, (5, 5)) | {GRID[2]: wins}


def rising_with_weight(step: int) -> dict[str, tuple[int, int]]:
    return {arm: (step * i, 3) for i, arm in enumerate(GRID)}


def mapped(fold: bool) -> Callable[[str, int, Item], tuple[Item, ...]]:
    """A raw score and what is printed of it, increasing or folded at 60."""

    def both(arm: str, seed: int, item: Item) -> tuple[Item, ...]:
        raw = float(int(item.item[1:]) * 7919 % 97)
        score = 1 + 9 * (raw if raw < 60 or not fold else 120 - raw) / 97
        return replace(item, metric="judge_raw", value=raw), replace(item, metric="judge", value=score)

    return both


def weak(arm: str) -> Callable[[str, int, Item], Item]:
    return lambda name, _, item: replace(item, value=0.0) if name == arm and int(item.item[1:]) % 2 else item


def the_same_everywhere(name: str, _: int, item: Item) -> Item:
    return replace(item, value=float(int(item.item[1:]) % 2), prediction="yes")


def tagged(words: str) -> Callable[[str, int, Item], Item]:
    """Sentences whose gold tags begin with these."""
    return lambda arm, seed, item: replace(item, label=f"{words} {item.item}/X")


def saw(first: float, template: float, tokens: str = "content") -> dict[str, Any]:
    """What the record says a term saw of the first batch."""
    return {"tokens": tokens, "rows": 8, "first": first, "template": template}


SILENT: dict[str, Maker] = {
    "BestOfStudy": grid(far((60, 5))),
    "EdgeOfStudy": grid(far((60, 5))),
    "TeacherBelowStudent": lambda at: make(at, weak("kl"), arms=("teacher", "kl")),
    "ServedModelDiffers": lambda at: make(at, the_same_everywhere, arms=("kl", "kl-merged")),
    "ScoreMapOfItems": lambda at: make(at, mapped(fold=False)),
    "TagsOfKnownWords": lambda at: make(at, tagged("the/DET dog/NOUN and/CCONJ she/PRON x/ADV")),
    "TermMissesTheAnswer": lambda at: make(at, record={"saw": {"kd": saw(1.0, 0.0), "ce": saw(1.0, 1.0, "all")}}),
    "FinalCollapse": lambda at: make(at, lambda a, s, i: collapsed(a, s, i, at="best")),
    "DeadTensors": lambda at: make(at, tensors={**BOTH_ZERO, "a.up": (0.5, 0.25), "a.down": (0.1, 0.0)}),
    "ClipsSomethingElse": lambda at: make(at, metrics=probed(clipped=5.0)),
    "InputNotInContext": lambda at: make(at, record={"reach": SEEN}),
}
"""The same ledgers with the defect taken out."""

FIRES: dict[str, Maker] = {
    "BestOfStudy": grid(far((15, 5))),
    "EdgeOfStudy": grid(rising_with_weight(8)),
    "TeacherBelowStudent": lambda at: make(at, weak("teacher"), arms=("teacher", "kl")),
    "ServedModelDiffers": lambda at: make(at, weak("kl-merged"), arms=("kl", "kl-merged")),
    "ScoreMapOfItems": lambda at: make(at, mapped(fold=True)),
    "ConstantPrediction": lambda at: make(at, only("kl", prediction="no")),
    "IdenticalOutputs": lambda at: make(at, same_as_base),
    "ParseFailures": lambda at: make(at, some("kl", 3, parsed=False, value=0.0)),
    "Truncated": lambda at: make(at, some("kl", 2, truncated=True, value=0.0)),
    "MissingValues": lambda at: make(at, some("kl", 9, value=None, reason="oom")),
    "EmptyOutputsScored": lambda at: make(at, some("kl", 4, output="", value=0.0)),
    "TagsOfKnownWords": lambda at: make(at, tagged("the/ADJ dog/DET and/PRON she/AUX x/CCONJ")),
    "TermMissesTheAnswer": lambda at: make(at, record={"saw": {"kd": saw(0.0, 1.0)}}),
    "LabelsNeverPredicted": lambda at: make(at, only("kl", prediction="LABEL_2", value=0.0)),
    "MajorityScore": lambda at: make(at, lambda a, s, i: replace(i, value=float(i.label == "no")) if a == "kl" else i),
    "ConstantAcrossArms": lambda at: make(at, lambda a, s, i: replace(i, value=float(i.label == "no"))),
    "CeilingOfArms": lambda at: make(at, lambda a, s, i: replace(i, value=float(i.item != f"q{s}"))),
    "FinalCollapse": lambda at: make(at, collapsed),
    "SingleSeed": lambda at: make(at, seeds=(1,)),
    "FewItems": lambda at: make(at, lambda a, s, i: i if int(i.item[1:]) < 40 else None),
    "DifferentItems": lambda at: make(at, lambda a, s, i: None if a == "kl" and i.item == "q5" else i),
    "LengthConfound": lambda at: make(at, lambda a, s, i: graded(a, s, i, by_length=True)),
    "Saturated": lambda at: make(at, at_the_bound),
    "TrainEvaluationOverlap": lambda at: make(at, summary=shared()),
    "Mask": lambda at: make(at, summary={**data(), "supervised": 9000}),
    "MixtureNotAsPlanned": lambda at: make(at, summary=other_mixture()),
    "TermWithoutGradient": lambda at: make(at, metrics=flat_gradient()),
    "TermNeverActive": lambda at: make(at, metrics=silent_term()),
    "Diverged": lambda at: make(at, metrics=rising()),
    "ZeroUpdate": lambda at: make(at, zero=True),
    "DeadTensors": lambda at: make(at, tensors=BOTH_ZERO),
    "ClipsSomethingElse": lambda at: make(at, metrics=probed(clipped=0.3)),
    "InputNotInContext": lambda at: make(at, record={"reach": {**SEEN, "moved": 0.0}}),
    "DeadSeed": lambda at: make(at, dead),
}


def named() -> dict[str, type[LedgerRule]]:
    return {r.__name__: r for r in rules(document=False) if issubclass(r, LedgerRule) and not inspect.isabstract(r)}


def of(report: Report, code: str) -> list[str]:
    return [f.evidence for f in report.findings if f.code == code]


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Report:
    return run([make(tmp_path_factory.mktemp("clean") / "ledger")])


def test_every_rule_on_rows_is_tried() -> None:
    assert set(named()) == set(FIRES)


@pytest.mark.parametrize("name", sorted(FIRES))
def test_a_spoilt_ledger_is_found_out(name: str, tmp_path: Path) -> None:
    rule = named()[name]
    found = [f for f in run([FIRES[name](tmp_path / "ledger")], select=[rule.code]).findings if f.title == rule.title]
    assert found
    assert all(any(c.isdigit() for c in f.evidence) for f in found)


@pytest.mark.parametrize("name", sorted(SILENT))
def test_a_ledger_of_the_same_shape_without_the_defect_is_not(name: str, tmp_path: Path) -> None:
    assert of(run([SILENT[name](tmp_path / "ledger")], select=[named()[name].code]), named()[name].code) == []


def test_equal_labels_are_one_model_only_if_their_likelihoods_agree_too(tmp_path: Path) -> None:
    rounded = run([make(tmp_path / "rounded", with_likelihood(1e-6))])
    assert of(rounded, "NG011")
    assert of(run([make(tmp_path / "apart", with_likelihood(0.01))]), "NG011") == []


def test_seeds_that_say_the_same_are_told_apart_in_one_query_however_many_they_are(tmp_path: Path) -> None:
    """A join for each pair of them was half of the time that an audit of a million rows took."""

    def queries(seeds: tuple[int, ...]) -> int:
        with connect(make(tmp_path / f"{len(seeds)}", lambda a, s, i: replace(i, output=i.item), seeds=seeds)) as db:
            asked = Asked(db)
            rule = named()["IdenticalOutputs"]
            list(rule(Evidence("", db=cast("duckdb.DuckDBPyConnection", asked))).check())
        return asked.times

    assert queries((1, 2)) == queries((1, 2, 3, 4, 5))


class Asked:
    """A database that counts what it is asked."""

    def __init__(self, db: "duckdb.DuckDBPyConnection") -> None:
        self.db, self.times = db, 0

    def execute(self, *words: Any) -> "duckdb.DuckDBPyConnection":
        self.times += 1
        return self.db.execute(*words)


def test_two_arms_that_are_right_everywhere_are_not_one_model(tmp_path: Path) -> None:
    def perfect(arm: str, seed: int, item: Item) -> Item:
        return replace(item, value=1.0, prediction=item.label, output=item.label)

    assert of(run([make(tmp_path / "perfect", perfect)]), "NG011") == []


def test_a_few_shot_arm_is_a_teacher_only_where_a_run_learns_from_one(tmp_path: Path) -> None:
    path = make(tmp_path / "ledger", weak("few-shot"), arms=("few-shot", "kl"))
    assert of(run([path]), "NG604") == []


def test_means_that_meet_while_items_turn_are_no_finding(tmp_path: Path) -> None:
    def flipped(arm: str, seed: int, item: Item) -> Item:
        i, pair = int(item.item[1:]), ("base", "plain", "kl").index(arm)  # one pair of items that this arm swaps
        return replace(item, value=float((i % 2 == 0) != (i // 2 == pair)))

    assert of(run([make(tmp_path / "turning", flipped)]), "NG001") == []
    assert len(of(run([make(tmp_path / "fixed", lambda arm, seed, item: flipped("base", seed, item))]), "NG001")) == 1


def written_out(cut: str) -> Callable[[str, int, Item], Item]:
    """Golds as long as answers; a third of those of one arm are cut when they read `cut`."""

    def change(arm: str, seed: int, item: Item) -> Item:
        whole = replace(item, label=f"{item.label} and so on", output=f"{item.prediction} and so on")
        return replace(whole, output=cut, truncated=True) if arm == "kl" and int(item.item[1:]) % 3 == 0 else whole

    return change


def test_an_answer_that_is_nothing_but_its_end_is_wrong_and_no_stored_failure(tmp_path: Path) -> None:
    """A denoiser may write the end first; an answer of which nobody knows what was written may be a failure."""
    nothing = {"output": "", "value": 0.0, "parsed": False, "prediction": None}
    ended = run([make(tmp_path / "ended", some("kl", 4, **nothing, tokens=1))]).findings
    cut = run([make(tmp_path / "cut", some("kl", 4, **nothing, tokens=1, truncated=True))]).findings
    unknown = run([make(tmp_path / "unknown", some("kl", 4, **nothing, tokens=None))]).findings
    assert ["NG501" in {each.code for each in found} for found in (ended, cut, unknown)] == [False, True, True]
    assert "NG505" in {each.code for each in ended}


def test_a_constant_answer_is_no_error_where_nothing_was_taught_or_length_decided(tmp_path: Path) -> None:
    """`arms` of a study may learn one of its tasks alone; a score per character may favour the longest label."""

    def constant(arm: str, seed: int, item: Item) -> Item:
        return replace(item, value=float(item.label == "no"), prediction="no", output=None)

    def per_character(arm: str, seed: int, item: Item) -> Item:
        return replace(constant(arm, seed, item), metric="accuracy_norm")

    def without(source: str) -> dict[str, Any]:
        return {**data(), "mixture": {"planned": {source: 0, "b": 500}, "drawn": {source: 0, "b": 500}}}

    ledgers = {
        "taught": make(tmp_path / "taught", constant, summary=without("q")),
        "untaught": make(tmp_path / "untaught", constant, summary=without("qa")),
        "norm": make(tmp_path / "norm", per_character),
    }
    found = {
        name: {(f.code, f.severity) for f in run([path], select=["NG010", "NG013"]).findings if "base" not in f.arms}
        for name, path in ledgers.items()
    }
    assert found == {
        "taught": {("NG010", Severity.WARNING), ("NG013", Severity.ERROR)},
        "untaught": {("NG010", Severity.NOTE), ("NG013", Severity.NOTE)},
        "norm": {("NG010", Severity.WARNING), ("NG013", Severity.WARNING)},
    }


def test_an_answer_cut_short_of_its_gold_is_an_error_and_one_that_outgrew_it_a_warning(tmp_path: Path) -> None:
    short = run([make(tmp_path / "short", written_out("yes an"))]).findings
    runs_on = run([make(tmp_path / "on", written_out("yes and so on " * 5))]).findings
    reasoned = run([make(tmp_path / "word", some("kl", 3, output="let us think " * 9, truncated=True))]).findings
    found = [[(f.severity, f.evidence) for f in every if f.code == "NG506"] for every in (short, runs_on, reasoned)]
    assert [[severity for severity, _ in every] for every in found] == [
        [Severity.ERROR], [Severity.WARNING], [Severity.ERROR],
    ]  # fmt: skip
    assert "33.3% of 240 answers of kl (best) are cut by the budget" in found[0][0][1]
    assert "33.3% of 240 answers of kl (best) run on past the length of their gold" in found[1][0][1]


def test_a_study_s_findings_name_the_arms_and_tasks_they_touch(tmp_path: Path) -> None:
    path = make(tmp_path / "ledger", some("kl", 3, parsed=False, value=0.0), metrics=flat_gradient())
    found = {f.code: f for f in findings_for(path, "demo")}
    assert found["NG505"].concerns("kl", "qa")
    assert not found["NG505"].concerns("plain", "qa")
    assert not found["NG505"].concerns("kl", "another task")
    assert found["NG602"].concerns("plain", "any task")
    assert not found["NG602"].concerns("base", "qa")
    assert findings_for(path, "another study") == []


def test_a_silenced_finding_is_not_open(tmp_path: Path) -> None:
    path = make(tmp_path / "ledger", zero=True)
    assert "NG605" in {f.code for f in findings_for(path, "demo")}
    (tmp_path / "ledger.netgain.yaml").write_text("ignore: {NG605: zero on purpose}\n", encoding="utf-8")
    assert "NG605" not in {f.code for f in findings_for(path, "demo")}


def test_an_adapter_that_was_asked_to_be_zero_is_no_finding(tmp_path: Path) -> None:
    path = make(tmp_path / "ledger", zero=True)
    for file in list(path.glob("runs/*/spec.json")):
        sealed = Ledger(path).run(file.parent.name)
        file.write_bytes(with_method(file.read_bytes()))
        sealed.finish(
            {name: value for name, value in sealed.record().items() if name not in ("format", "sig", "files")}
        )
    assert of(run([path]), "NG605") == []


def with_method(spec: bytes) -> bytes:
    tree = json.loads(spec)
    return json.dumps(tree | {"run": tree["run"] | {"method": {"kind": "translated", "how": "zero"}}}).encode()


def test_probes_that_found_a_gradient_sometimes_are_no_finding(tmp_path: Path) -> None:
    def rows(first: float) -> list[dict[str, Any]]:
        probes = {"raw": 0.3, "weight": 0.3, "grad_share": 0.1, "grad_cosine": None}
        return [
            {**row, "terms": {"kl": {**probes, "grad_norm": first} if row["step"] == 1 else {"raw": 1, "weight": 1}}}
            for row in losses()
        ]

    assert of(run([make(tmp_path / "acts", metrics=rows(0.2))]), "NG602") == []
    found = of(run([make(tmp_path / "none", metrics=rows(0.0))]), "NG602")
    assert found[0] == 'kl, seed 1: the term "kl" (mean value 0.3) had a gradient of exactly 0 in all 1 probed steps.'


def test_a_clean_ledger_has_no_finding(clean: Report) -> None:
    assert [(f.code, f.evidence) for f in clean.findings] == []
    assert {rule.code for rule in named().values()} <= clean.checked


def test_a_failed_run_of_a_study_is_named(tmp_path: Path) -> None:
    assert of(run([make(tmp_path / "ledger", failed=True)]), "NG507") == [
        "demo: kl, seed 3 (kl3) failed, so its arm has a seed less than the others."
    ]


def test_a_run_that_took_fewer_steps_than_planned_is_named(tmp_path: Path) -> None:
    found = of(run([make(tmp_path / "ledger", steps=10)]), "NG901")
    assert len(found) == 6
    assert "10 of 40 planned steps" in found[0]


def test_labels_of_the_builder_differ() -> None:
    assert {item.label for item in items("kl", 1, "final")} == set(LABELS)


def test_one_prompt_for_all_rows_is_an_input_that_is_not_there(tmp_path: Path) -> None:
    blank = {"rows": 400, "prompts": 1, "exchanged": 0, "moved": None}
    found = of(run([make(tmp_path / "blank", record={"reach": blank})]), "NG705")
    assert found[0] == "kl, seed 1: all 400 training rows have one and the same prompt."
    control = {"tasks": {"qa": {"kind": "choice", "blind": True}}}
    assert of(run([make(tmp_path / "control", record={"reach": blank}, spec=control)]), "NG705") == []


def test_best_and_final_that_say_the_same_are_one_finding(tmp_path: Path) -> None:
    def always_no(arm: str, seed: int, item: Item) -> Item:
        said = {"prediction": "no", "output": "no", "value": float(item.label == "no")}
        return replace(item, **said) if arm == "kl" else item

    found = [f for f in run([make(tmp_path / "same", always_no)]).findings if f.code == "NG010"]
    assert len(found) == 3
    assert all("at best and final" in f.evidence for f in found)


def test_equal_outputs_of_different_adapters_are_two_models_that_nothing_tells_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def alike(arm: str, seed: int, item: Item) -> Item:
        return (
            replace(items("kl", 1, "final")[int(item.item[1:])], checkpoint=item.checkpoint) if arm != "base" else item
        )

    (same,) = run([make(tmp_path / "same", alike)], select=["NG011"]).findings
    assert same.severity is Severity.ERROR
    assert same.evidence.endswith("so these arms are one model.")
    numbers = itertools.count()
    monkeypatch.setattr(ledgers, "adapter", lambda zero: adapter(zero) + bytes([next(numbers)]))
    (other,) = run([make(tmp_path / "other", alike)], select=["NG011"]).findings
    assert other.severity is Severity.WARNING
    assert other.evidence.endswith("cannot be told apart here, although their adapters differ.")
