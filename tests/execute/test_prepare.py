"""What is prepared: one dev set for all seeds, drawn from all sources together; and shown without any weight."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from netgain.data.source import Example, Turn
from netgain.errors import UserError
from netgain.execute import prepare as preparing
from netgain.execute.prepare import order_of, reads_of, rows_of, seen, show, teacher_rows
from netgain.models import load as loading
from netgain.spec.identity import essence
from netgain.spec.run import Run
from netgain.spec.study import Study

SOURCES = {
    "a": {"kind": "embedded", "suite": "sentiment", "n": 40, "seed": 1},
    "b": {"kind": "embedded", "suite": "entities", "n": 60, "seed": 1},
}


def test_what_is_held_out_does_not_depend_on_the_seed(make_run: Callable[..., Run]) -> None:
    found = [rows_of(make_run(seed=seed, data={"sources": SOURCES, "dev": 0.2}), None) for seed in (0, 1, 2)]
    assert {tuple(row.id for row in rows.dev) for rows in found} == {tuple(row.id for row in found[0].dev)}
    assert {tuple(row.id for row in rows.train) for rows in found} == {tuple(row.id for row in found[0].train)}


def test_dev_rows_are_counted_over_all_sources_together(make_run: Callable[..., Run]) -> None:
    rows = rows_of(make_run(data={"sources": SOURCES, "dev": 10}), None)
    assert len(rows.dev) == 10
    assert {row.id.rsplit("-", 2)[0] for row in rows.dev} == {"sentiment", "entities"}
    assert len(rows.train) == sum(map(len, rows.pools.values()))
    assert [row in rows.pools[source] for row, source in zip(rows.train, rows.sources, strict=True)] == [True] * len(
        rows.train
    )


def test_no_training_row_repeats_the_text_of_a_held_out_row_under_another_id(
    make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [Example(f"r{i}", f"g{i}", (Turn("user", f"a row that says {i // 2}"),), "x") for i in range(40)]
    monkeypatch.setattr(preparing, "read_source", lambda source, folder: made)
    rows = rows_of(make_run(data={"sources": {"a": SOURCES["a"]}, "dev": 6}), None)
    said = [{row.turns[0].text for row in part} for part in (rows.train, rows.dev)]
    assert said[0].isdisjoint(said[1])
    assert len(rows.dev) == 6
    assert len(rows.train) + len(rows.dev) + rows.excluded == 40
    assert rows.excluded > 0


def test_dev_rows_that_are_all_too_long_are_refused(make_run: Callable[..., Run], scene: Any) -> None:
    here = scene(make_run())
    data = {"sources": SOURCES, "dev": 1, "truncate": "drop"}
    everyone = rows_of(make_run(data=data), None)
    (longest,) = (len(row.ids) for row in here.template.encode_all(everyone.dev, 512, "error").rows)
    with pytest.raises(UserError, match=f"each of the 1 rows held out is longer than data.max_len, {longest - 1} "):
        preparing.prepare(make_run(data=data | {"max_len": longest - 1}), here.template, None)


def test_a_group_that_two_sources_share_is_on_one_side(
    make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = {n: [Example(f"{n}{i}", f"g{i}", (Turn("user", f"{n} {i}"),), "x") for i in range(30)] for n in "ab"}
    monkeypatch.setattr(preparing, "read_source", lambda source, folder: made["a" if source.n == 40 else "b"])
    rows = rows_of(make_run(data={"sources": SOURCES, "dev": 0.3}), None)
    assert {row.group for row in rows.dev}.isdisjoint(row.group for row in rows.train)
    assert {row.id[0] for row in rows.dev} == {"a", "b"}


def test_a_mixture_draws_by_the_seed_and_demonstrations_come_from_the_whole_source(
    make_run: Callable[..., Run], scene: Any
) -> None:
    data = {"sources": SOURCES, "dev": 10, "mixture": {"a": 1, "b": 1}, "rows": 20}
    first, second = (rows_of(make_run(seed=seed, data=data), None) for seed in (0, 1))
    assert [row.id for row in first.train] != [row.id for row in second.train]
    assert first.sources == ["a"] * 10 + ["b"] * 10
    here = scene(make_run(data=data))
    teacher = here.run.references["teacher"]
    encoded = teacher_rows("teacher", teacher, here.prepared, here.template, [0, 19])
    texts = [here.lm.tok.decode(row.ids) for row in encoded]
    assert texts[0].count("Sentiment:") == 4
    assert texts[1].count("Sentiment:") == 0
    shown = teacher.demonstrations([here.prepared.examples[0]], here.prepared.pools["a"])[0]
    assert {row.id for row in shown} <= {row.id for row in here.prepared.pools["a"]}


def test_rows_that_a_run_sees_are_those_of_its_order(make_run: Callable[..., Run]) -> None:
    run = make_run(optim={"learning_rate": 1, "steps": 3, "batch": 5})
    assert seen([run], 100) == sorted({i for k in range(3) for i in order_of(run, 100).step(k).tolist()})
    assert seen([run], 15) == list(range(15))
    other = make_run(optim={"learning_rate": 1, "steps": 3, "batch": 5}, seed=1)
    assert set(seen([run, other], 100)) == {*seen([run], 100), *seen([other], 100)}


def test_what_is_kept_is_the_least_that_all_terms_can_live_with(make_run: Callable[..., Run]) -> None:
    mean, hidden = {"kind": "kl", "reference": "teacher"}, {"kind": "js", "reference": "teacher"}
    one = make_run(objective={"ce": "ce", "a": {"term": mean}, "off": {"term": hidden, "weight": 0}})
    assert reads_of([one]) == {"teacher": "mean"}
    both = make_run(objective={"ce": "ce", "a": {"term": mean}, "b": {"term": hidden, "weight": 0.1}})
    assert reads_of([both]) == {"teacher": "hidden"}
    assert reads_of([one, both]) == {"teacher": "hidden"}


def test_rows_are_shown_with_their_teacher_and_without_weights(
    make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(loading, "wrap", None)
    study = Study.model_validate({"name": "s", "question": "?", "base": essence(make_run())})
    show(study, None, 2, as_json=True)
    tree = json.loads(capsys.readouterr().out)
    assert len(tree["examples"]) == 2
    taught, plain = tree["references"]["teacher"], tree["examples"][0]
    assert taught["supervised"] == plain["supervised"]
    assert taught["text"].count("Sentiment:") == 4
    assert taught["text"].endswith(plain["text"].removeprefix("<bos>"))
    show(study, None, 1, as_json=False)
    assert 'reference "teacher" reads' in capsys.readouterr().out


def test_two_processes_may_convert_the_same_file(tmp_path: Path) -> None:
    ours, target = tmp_path / "ours", tmp_path / "target"
    for folder in (ours, target):
        folder.mkdir()
        (folder / "weights").write_text(folder.name)
    loading._place(ours, target)
    assert (target / "weights").read_text() == "target"
    with pytest.raises(OSError, match="nowhere"):
        loading._place(tmp_path / "nowhere", tmp_path / "other")
