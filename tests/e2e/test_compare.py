"""Two sides are compared on the same items or not at all; the numbers are those of the statistics room."""

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from netgain.errors import UserError
from netgain.interop.importing import import_results
from netgain.ledger.items import Item
from netgain.ledger.query import connect
from netgain.ledger.store import Ledger
from netgain.report.compare import Comparison, compare
from netgain.stats.verdict import contrast

FIXTURES = Path(__file__).parents[1] / "interop" / "fixtures"
LM_EVAL = (str(FIXTURES / "lm_eval_stories260K"), str(FIXTURES / "lm_eval_tiny-gpt2-stories"))
HEADER = "item,seed,correct,label,output,passage"


def scores(seeds: int, n: int, rate: float, seed: int) -> np.ndarray:
    return (np.random.default_rng(seed).uniform(size=(seeds, n)) < rate).astype(float)


def write(
    path: Path, values: np.ndarray, *, shuffle: int | None = None, skip: tuple[tuple[int, int], ...] = (),
    change: Callable[[dict[str, Any]], None] = lambda row: None, seeds: tuple[int, ...] | None = None,
) -> str:  # fmt: skip
    rows = []
    for s, run in enumerate(values):
        for i, value in enumerate(run):
            row = {"item": f"q{i}", "seed": s if seeds is None else seeds[s], "correct": f"{value:g}", "label": f"L{i}",
                   "output": f"says {value:g}", "passage": f"p{i % 7}"}  # fmt: skip
            change(row)
            if (s, i) not in skip:
                rows.append(",".join(str(row[name]) for name in HEADER.split(",")))
    if shuffle is not None:
        np.random.default_rng(shuffle).shuffle(rows)
    path.write_text("\n".join([HEADER, *rows]) + "\n")
    return str(path)


def shown(made: Comparison, width: int = 80) -> str:
    out = io.StringIO()
    made.render(Console(file=out, width=width, highlight=False))
    return out.getvalue()


def test_the_verdict_is_the_statistics_room_s_whatever_the_order_of_rows(tmp_path: Path) -> None:
    base, tuned = scores(3, 80, 0.5, 1), scores(3, 80, 0.7, 2)
    names = write(tmp_path / "a.csv", base, shuffle=5), write(tmp_path / "b.csv", tuned, shuffle=6)
    got = compare(*names).results[0].verdict
    expected = contrast(tuned, base, clusters=[f"p{i % 7}" for i in range(80)], rng=np.random.default_rng(0))
    assert (got.estimate, got.word, got.n) == (pytest.approx(expected.estimate), expected.word, 80)
    assert (got.answer.low, got.answer.high) == (
        pytest.approx(expected.answer.low),
        pytest.approx(expected.answer.high),
    )
    assert got.recipe is not None


def test_seeds_are_paired_by_their_number_and_not_by_their_place(tmp_path: Path) -> None:
    base, tuned = scores(3, 60, 0.5, 1), scores(3, 60, 0.6, 2)
    names = write(tmp_path / "a.csv", base), write(tmp_path / "b.csv", tuned[[2, 0, 1]], seeds=(2, 0, 1))
    straight = write(tmp_path / "c.csv", tuned)
    other = write(tmp_path / "d.csv", tuned, seeds=(5, 6, 7))
    paired = compare(*names).results[0].verdict
    assert paired.answer.se == pytest.approx(compare(names[0], straight).results[0].verdict.answer.se)
    assert paired.answer.se != compare(names[0], other).results[0].verdict.answer.se


def test_lm_eval_folders_compare_in_one_call() -> None:
    made = compare(*LM_EVAL)
    assert [each.title for each in made.results][:2] == ["netgain_animals/acc", "netgain_animals/acc_norm"]
    assert made.family.family == len(made.results) == 6
    acc = made.results[0]
    assert (acc.base, acc.tuned) == (pytest.approx(20 / 60), pytest.approx(15 / 60))
    assert acc.flips[0].way == "right -> wrong"
    assert {acc.flips[0].base} == {acc.flips[0].label}
    assert not made.results[2].verdict.higher_is_better


def test_inspect_logs_of_both_formats_compare_with_items_as_units() -> None:
    made = compare(
        str(FIXTURES / "inspect_base.json"), str(FIXTURES / "inspect_tuned.eval"), metric="match", margin=0.02
    )
    verdict = made.results[0].verdict
    assert (verdict.n, verdict.answer.clusters) == (24, 12)
    assert verdict.estimate == pytest.approx(0.875 - 2 / 3)
    assert made.overall is not None
    assert made.overall.retained


def changed(name: str, item: str, to: str) -> Callable[[dict[str, Any]], None]:
    def change(row: dict[str, Any]) -> None:
        if row["item"] == item:
            row[name] = to

    return change


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"skip": ((0, 3), (1, 3))}, r"1 only in .*a.csv, not in .*b.csv \(such as q3\)"),
        ({"skip": ((1, 4),)}, r"1 in some runs of .*b.csv only \(such as q4\)"),
        ({"change": changed("label", "q5", "other")}, r"1 of the same id with another label \(such as q5\)"),
    ],
)
def test_items_that_differ_are_refused_with_examples_and_dropped_only_when_asked(
    tmp_path: Path, how: dict[str, Any], words: str
) -> None:
    values = scores(2, 40, 0.5, 1)
    names = write(tmp_path / "a.csv", values), write(tmp_path / "b.csv", values, **how)
    with pytest.raises(UserError, match=words):
        compare(*names)
    made = compare(*names, allow_partial=True)
    assert made.results[0].verdict.items == 39
    assert re.search(words, made.dropped[0])
    assert "Dropped:" in shown(made)


def test_another_prompt_for_the_same_document_is_refused_unless_accepted(tmp_path: Path) -> None:
    line = '{"id": %d, "prompt": "%s", "doc_hash": "d%d", "score": 1}\n'
    (tmp_path / "a.jsonl").write_text("".join(line % (i, "zero-shot", i) for i in range(9)))
    (tmp_path / "b.jsonl").write_text("".join(line % (i, "five-shot", i) for i in range(9)))
    names = str(tmp_path / "a.jsonl"), str(tmp_path / "b.jsonl")
    with pytest.raises(UserError, match="9 of the same id under another prompt"):
        compare(*names)
    assert compare(*names, any_prompt=True).results[0].verdict.n == 9
    (tmp_path / "b.jsonl").write_text("".join(line % (i, "zero-shot", i + 1) for i in range(9)))
    with pytest.raises(UserError, match="9 of the same id with another document"):
        compare(*names, any_prompt=True)


def test_a_task_that_one_side_lacks_is_refused() -> None:
    folder = Path(LM_EVAL[0])
    with pytest.raises(UserError, match=r"netgain_stories/word_nll is in .* only"):
        compare(LM_EVAL[1], str(next(folder.glob("samples_netgain_animals*"))))
    single = compare(LM_EVAL[1], str(next(folder.glob("samples_netgain_animals*"))), tasks=["netgain_animals"])
    assert len(single.results) == 2


def test_different_token_counts_of_the_same_items_are_not_comparable(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,nll,weight\na,1,10\nb,2,10\n")
    (tmp_path / "b.csv").write_text("id,nll,weight\na,1,12\nb,2,9\n")
    with pytest.raises(UserError, match="another tokenizer"):
        compare(str(tmp_path / "a.csv"), str(tmp_path / "b.csv"))


def test_missing_scores_are_counted_with_their_reason_and_never_zero(tmp_path: Path) -> None:
    values = np.ones((1, 30))
    names = (
        write(tmp_path / "a.csv", values, change=changed("correct", "q1", "oom")),
        write(tmp_path / "b.csv", values),
    )
    result = compare(*names).results[0]
    assert (result.base, result.verdict.n, result.verdict.missing_base) == (1.0, 29, 1)
    assert result.base_rates.missing == {"oom": 1}
    assert "1 without a value (oom)" in shown(compare(*names))


def test_arms_of_one_file_and_of_a_ledger_are_named_after_a_colon(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text("id,arm,correct\na,x,1\nb,x,0\na,y,1\nb,y,1\n")
    assert compare(f"{path}:x", f"{path}:y").results[0].verdict.estimate == 0.5
    with pytest.raises(UserError, match=r"holds 2 arms; name one as .*r.csv:ARM. It has x, y"):
        compare(str(path), f"{path}:y")
    with pytest.raises(UserError, match=r"no arm z\..* It has x, y"):
        compare(f"{path}:z", f"{path}:y")
    with pytest.raises(UserError, match=r"nowhere.csv: no such file or folder"):
        compare("nowhere.csv", f"{path}:y")


def test_imported_evidence_compares_like_the_file_it_came_from(tmp_path: Path) -> None:
    base, tuned = scores(2, 50, 0.5, 1), scores(2, 50, 0.6, 2)
    names = write(tmp_path / "a.csv", base), write(tmp_path / "b.csv", tuned)
    ledger = tmp_path / "ledger"
    for name, file in zip(("before", "after"), names, strict=True):
        done = import_results(file, name, ledger)
        assert (done.items, len(done.sigs), done.arms) == (100, 2, (name,))
    direct = compare(*names).results[0].verdict
    for references in ((f"{ledger}:before", f"{ledger}:after"), ("before", "after@final")):
        stored = compare(*references, ledger=ledger).results[0].verdict
        assert (stored.estimate, stored.answer.low, stored.p) == (direct.estimate, direct.answer.low, direct.p)
    with pytest.raises(UserError, match=r'no arm or run befour\. Did you mean "before"\?'):
        compare("befour", "after", ledger=ledger)


def test_an_import_is_sealed_says_its_source_and_can_be_queried(tmp_path: Path) -> None:
    done = import_results(LM_EVAL[0], "stories", tmp_path)
    run = Ledger(tmp_path).run(done.sigs[0])
    run.verify()
    spec = run.json("spec.json")
    assert (spec["kind"], spec["tool"], spec["roles"]) == ("imported", "lm-evaluation-harness", {"item": "doc_id"})
    assert len(spec["sha256"]) == 64
    counted = connect(tmp_path).execute("SELECT arm, study, count(*) FROM items GROUP BY ALL").fetchall()
    assert counted == [("stories", "stories", 160)]


def test_the_same_import_twice_changes_nothing_and_another_file_needs_another_name_or_a_seed(tmp_path: Path) -> None:
    one, two = write(tmp_path / "a.csv", scores(1, 9, 0.5, 1)), write(tmp_path / "b.csv", scores(1, 9, 0.5, 2))
    first = import_results(one, "arm", tmp_path / "ledger", seed=0)
    again = import_results(one, "arm", tmp_path / "ledger", seed=0)
    assert (first.sigs, first.already, again.already) == (again.sigs, 0, 1)
    with pytest.raises(UserError, match="already holds another import; use another name, or --seed"):
        import_results(two, "arm", tmp_path / "ledger")
    with pytest.raises(UserError, match="already has seed 0 of arm"):
        import_results(two, "arm", tmp_path / "ledger", seed=0)
    import_results(two, "arm", tmp_path / "ledger", seed=1)
    assert connect(tmp_path / "ledger").execute("SELECT count(DISTINCT run) FROM items").fetchall() == [(2,)]


def test_the_checkpoints_of_a_ledger_s_arm_compare_and_an_untuned_arm_stands_at_any(tmp_path: Path) -> None:
    before, after = scores(2, 40, 0.4, 1), scores(2, 40, 0.8, 2)
    ledger, entries = Ledger(tmp_path / "ledger"), []
    for seed in range(2):
        for arm in ("lora", "untuned"):
            run = ledger.run(f"{arm}{seed:04d}")
            run.start({"arm": arm}, {})
            measured = {"base": before, "final": after} if arm == "lora" else {"base": before}
            rows = [
                Item("qa", "acc", f"q{i}", checkpoint, float(values[seed, i]))
                for checkpoint, values in measured.items()
                for i in range(40)
            ]
            run.write_part("all", rows)
            run.seal_items(["all"])
            run.finish({})
            entries.append({"arm": arm, "seed": seed, "sig": run.sig})
    ledger.write_study("s", {"runs": entries})
    own = compare("lora@base", "lora", ledger=ledger.root).results[0]
    other = compare("s/untuned", f"{ledger.root}:lora@final", ledger=ledger.root).results[0]
    expected = contrast(after, before, rng=np.random.default_rng(0))
    assert own.verdict.answer.low == other.verdict.answer.low == pytest.approx(expected.answer.low)
    assert compare("lora0000@base", "lora0001@base", ledger=ledger.root).results[0].verdict.scope == "this checkpoint"
    with pytest.raises(UserError, match="nothing was measured at checkpoint best; it has base, final"):
        compare("lora@best", "lora", ledger=ledger.root)


def test_a_trainer_log_imports_as_metrics_and_has_no_items_to_compare(tmp_path: Path) -> None:
    path = tmp_path / "trainer_state.json"
    history = [{"step": 5, "loss": 2.0, "learning_rate": 0.1}, {"step": 5, "eval_loss": 1.5}]
    path.write_text(json.dumps({"log_history": history}))
    import_results(path, "sft", tmp_path / "ledger")
    rows = connect(tmp_path / "ledger").execute("SELECT step, loss, lr, event FROM metrics ORDER BY loss").fetchall()
    assert rows == [(5, 1.5, None, "dev"), (5, 2.0, 0.1, None)]
    with pytest.raises(UserError, match="holds aggregate scores only"):
        compare(str(path), str(path))


def test_a_name_that_leaves_the_ledger_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot name an import"):
        import_results(LM_EVAL[0], "../x", tmp_path)


def test_the_page_fits_80_columns_and_foreign_text_is_only_text(tmp_path: Path) -> None:
    values = scores(1, 30, 0.5, 1)
    evil = "[red]x[/red] \x1b[2J " + "y" * 400

    def change(row: dict[str, Any]) -> None:
        row["output"] = evil

    names = write(tmp_path / "a.csv", values, change=change), write(tmp_path / "b.csv", 1 - values, change=change)
    text = shown(compare(*names, margin=0.02))
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "[red]x[/red]" in text
    assert "\x1b[2J" not in text
    assert "Every output is the same on both sides" in " ".join(text.split())


def test_json_is_strict_and_complete(tmp_path: Path) -> None:
    names = write(tmp_path / "a.csv", np.ones((1, 2))), write(tmp_path / "b.csv", np.ones((1, 2)))
    for made in (compare(*LM_EVAL, margin=0.02), compare(*names)):
        found = json.loads(json.dumps(made.to_json(), allow_nan=False))
        assert found["results"][0]["sentence"] == made.results[0].verdict.sentence()
        assert found["base"]["sha256"] == made.base.samples.source.sha256
        assert found["multiplicity"]["family"] == len(made.results)
