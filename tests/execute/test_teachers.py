"""Teachers: computed once for all who share them, exact, aligned token by token, and never read when damaged."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from netgain.data.view import Autoregressive, View
from netgain.errors import UserError
from netgain.execute import teachers
from netgain.execute.prepare import references_of, teacher_rows
from netgain.execute.teacher_store import Store
from netgain.ledger.claims import Vigil
from netgain.models.lm import LM
from netgain.spec.run import Run, Runtime

MSE = {"kind": "logit_mse", "reference": "teacher"}
SHUFFLED = {"kind": "few_shot", "shots": 3, "answers": "shuffled"}
ZERO = {"kind": "few_shot", "shots": 0}


def live(scene: Any, rows: list[int], lm: LM | None = None) -> torch.Tensor:
    """The teacher's logits at the answers of some rows, asked directly in one batch."""
    reference = references_of(scene.run)["teacher"]
    encoded = teacher_rows("teacher", reference, scene.prepared, scene.template, rows)
    view = Autoregressive().view(encoded, scene.lm.pad_id, torch.Generator())
    lm = lm or scene.lm
    with torch.no_grad(), scene.adapter.off():
        return lm.head.logits(lm.hidden(view)[view.scored])


def disturb(scene: Any) -> None:
    """Give the adapter weights with an effect: the student is no longer its base."""
    with torch.no_grad():
        for tensor in scene.adapter.parameters().values():
            tensor.normal_(0, 0.1, generator=torch.Generator().manual_seed(1))


def logits(reading: Any) -> torch.Tensor:
    return reading.head.logits(reading.hidden)


def test_kept_states_are_bit_for_bit_those_of_the_teacher(scene: Any, make_run: Callable[..., Run]) -> None:
    here = scene(make_run(term=MSE, rows=8))
    disturb(here)
    reader = here.references()["teacher"]
    order = sorted(
        range(8),
        key=lambda i: (
            -len(teacher_rows("t", references_of(here.run)["teacher"], here.prepared, here.template, [i])[0].ids)
        ),
    )
    assert logits(reader(here.view(order))).equal(live(here, order))


def test_rows_are_found_in_any_batch_order_and_repetition(scene: Any, make_run: Callable[..., Run]) -> None:
    here = scene(make_run(term=MSE))
    reader = here.references()["teacher"]
    for rows in ([3], [5, 5, 0, 23], list(range(24))[::-1]):
        assert torch.allclose(logits(reader(here.view(rows))), live(here, rows), atol=2e-5)
    view = here.view([9, 2, 7])
    part = reader(view.rows([2, 0]))
    assert logits(part).equal(logits(reader(here.view([7, 9]))))


def test_h_plus_1_numbers_say_what_the_full_softmax_says(scene: Any) -> None:
    here = scene()
    disturb(here)
    view = here.view([4, 0, 17])
    reading = here.references()["teacher"](view)
    logp = live(here, [4, 0, 17]).double().log_softmax(-1)
    assert reading.hidden is None
    assert torch.allclose(reading.mean.double(), logp.exp() @ here.lm.head.weight.double(), atol=1e-5)
    assert torch.allclose(reading.entropy_term.double(), (logp.exp() * logp).sum(-1), atol=1e-5)
    assert reading.mean.shape == (len(view.targets), here.lm.head.weight.shape[1])


def test_bfloat16_on_disk_costs_three_digits_and_half_the_space(scene: Any, tmp_path: Path) -> None:
    here = scene()
    view = here.view(list(range(24)))
    exact, small = here.references(), here.references(Runtime(teacher_dtype="bfloat16"))
    whole, short = exact["teacher"](view).mean, small["teacher"](view).mean
    assert ((whole - short).abs() <= 2**-8 * whole.abs() + 1e-6).all()
    assert short.dtype == torch.float32
    assert small.summary["teacher"]["bytes"] < 0.6 * exact.summary["teacher"]["bytes"]


def test_a_second_run_and_other_seeds_and_weights_compute_nothing(
    scene: Any, make_run: Callable[..., Run], passes: list[int]
) -> None:
    here = scene()
    here.references()
    assert sum(passes) == 2 * 24, "every row once by the teacher, once by the untrained student"
    passes.clear()
    scene().references()
    objective = {"ce": "ce", "kd": {"term": {"kind": "kl", "reference": "teacher"}, "weight": 0.01}}
    scene(make_run(seed=7, objective=objective, optim={"learning_rate": 1, "steps": 99, "batch": 4})).references()
    assert passes == []


def test_what_differs_is_computed_anew(scene: Any, make_run: Callable[..., Run], passes: list[int]) -> None:
    scene().references()
    passes.clear()
    for other in (make_run(references={"teacher": SHUFFLED}), make_run(term=MSE), make_run({"teacher": ZERO})):
        scene(other).references()
        assert sum(passes) == 24
        passes.clear()
    more = scene(make_run(rows=30))
    more.references()
    assert 0 < sum(passes) < 60


def test_a_killed_computation_loses_only_its_own_piece(
    scene: Any, monkeypatch: pytest.MonkeyPatch, passes: list[int]
) -> None:
    monkeypatch.setattr(teachers, "UNIT_ROWS", 5)
    here, real, left = scene(), Store.add, [2]

    def killed(self: Store, *args: Any) -> None:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        real(self, *args)

    monkeypatch.setattr(Store, "add", killed)
    with pytest.raises(KeyboardInterrupt):
        here.references()
    monkeypatch.setattr(Store, "add", real)
    passes.clear()
    reader = here.references()["teacher"]
    assert sum(passes) == 14 + 24
    assert torch.allclose(
        reader(here.view([0])).entropy_term,
        live(here, [0]).softmax(-1).xlogy(live(here, [0]).softmax(-1)).sum(-1),
        atol=1e-4,
    )


def test_a_piece_that_another_process_holds_is_waited_for(
    scene: Any, monkeypatch: pytest.MonkeyPatch, passes: list[int]
) -> None:
    here, held = scene(), []
    real = Store.claim

    def claim(self: Store, name: str, vigil: Vigil) -> Any:
        outer = real(self, name, vigil)
        if held:
            return outer
        held.append(outer)
        assert outer.__enter__()
        return real(self, name, vigil)

    monkeypatch.setattr(Store, "claim", claim)
    monkeypatch.setattr(teachers.time, "sleep", lambda _: held[0].__exit__(None, None, None))
    here.references()
    assert sum(passes) == 48


def test_damage_is_one_sentence_that_says_what_to_do(scene: Any, passes: list[int]) -> None:
    here = scene()
    here.references()
    [file] = (f for f in here.cache.rglob("rows-*.safetensors") if f.stat().st_size > 10_000)
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.write_bytes(content)
    with pytest.raises(UserError, match=rf"{file}: damaged .* delete it, and its rows are computed again"):
        here.references()
    file.unlink()
    passes.clear()
    here.references()
    assert sum(passes) == 24
    index = file.with_suffix(".json")
    index.write_text(index.read_text().replace('"rows": [["', '"rows": [["0'))
    with pytest.raises(UserError, match=rf"{index}: damaged"):
        scene().references()


def test_an_answer_that_is_tokenised_otherwise_names_its_row(scene: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    here = scene()
    real = here.template._parts

    def joined(turns: Any, text: str) -> tuple[list[int], list[int]]:
        prompt, answer = real(turns, text)
        return (prompt[:-1], prompt[-1:] + answer) if len(turns) > 4 else (prompt, answer)

    monkeypatch.setattr(here.template, "_parts", joined)
    with pytest.raises(
        UserError, match=r'references.teacher: row "sentiment-1-\d+": its answer is .* without'
    ) as error:
        here.references()
    assert "\n" not in str(error.value)


def test_a_view_of_other_answers_is_refused(scene: Any) -> None:
    here = scene()
    reader = here.references()["teacher"]
    view = here.view([0, 1])
    with pytest.raises(ValueError, match="other answers"):
        reader(View(**{**vars(view), "targets": view.targets + 1}))
    with pytest.raises(ValueError, match="training rows of its run only"):
        reader(View(**{**vars(view), "origin": view.origin - 5}))


def test_too_many_demonstrations_name_the_longest_row(scene: Any, make_run: Callable[..., Run]) -> None:
    here = scene(make_run({"teacher": {"kind": "few_shot", "shots": 20}}))
    here.lm.max_positions, before = 200, here.lm.max_positions
    try:
        with pytest.raises(UserError, match=r'references.teacher: row ".*" takes \d+ tokens .* has 200 positions'):
            here.references()
    finally:
        here.lm.max_positions = before


def test_memory_that_runs_out_halves_the_batch(scene: Any, monkeypatch: pytest.MonkeyPatch, passes: list[int]) -> None:
    real = LM.hidden

    def small(self: LM, inputs: Any, *args: Any, **keywords: Any) -> torch.Tensor:
        if len(inputs.input_ids) > 4:
            raise RuntimeError("CUDA out of memory")
        return real(self, inputs, *args, **keywords)

    monkeypatch.setattr(LM, "hidden", small)
    here = scene()
    assert len(here.references()["teacher"](here.view([1, 2])).mean) == len(here.view([1, 2]).targets)
    assert max(passes) <= 4


def test_demonstrations_decide_what_a_teacher_says(scene: Any, make_run: Callable[..., Run]) -> None:
    said = {}
    for name, reference in {"gold": {"kind": "few_shot", "shots": 3}, "shuffled": SHUFFLED, "zero": ZERO}.items():
        here = scene(make_run({"teacher": reference}, MSE))
        found = here.references()
        said[name] = logits(found["teacher"](here.view(list(range(24)))))
        assert found.summary["teacher"]["shots"] == reference["shots"]
    gaps = [(said[a] - said[b]).abs().max() for a, b in (("gold", "shuffled"), ("gold", "zero"))]
    assert min(gaps) > 0.1
    base = scene(make_run({}, {"kind": "logit_mse", "reference": "base"}))
    assert logits(base.references()["base"](base.view(list(range(24))))).allclose(said["zero"], atol=2e-5)


def test_the_record_compares_the_teacher_with_the_untrained_student(scene: Any) -> None:
    here = scene()
    found = here.references().summary["teacher"]
    rows = list(range(24))
    expected = torch.nn.functional.cross_entropy(live(here, rows), here.view(rows).targets)
    assert found["ce"] == pytest.approx(float(expected), abs=1e-5)
    own = here.view(rows).content
    part = torch.nn.functional.cross_entropy(live(here, rows)[own], here.view(rows).targets[own])
    assert found["ce_content"] == pytest.approx(float(part), abs=1e-5)
    with torch.no_grad():
        student = here.lm.head.logits(here.lm.hidden(here.view(rows))[here.view(rows).scored])
    assert found["student_ce"] == pytest.approx(
        float(torch.nn.functional.cross_entropy(student, here.view(rows).targets)), abs=1e-5
    )
    assert (found["rows"], found["compared"], found["shots"], found["keeps"]) == (24, 24, 3, "mean")
    assert found["bytes"] > 24 * 4 * here.lm.head.weight.shape[1]
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert here.said[-1][:2] == (24, 24)


def test_the_base_is_remembered_from_one_epoch_on(scene: Any, make_run: Callable[..., Run], passes: list[int]) -> None:
    term = {"kind": "kl", "reference": "base"}
    short = make_run({}, term, optim={"learning_rate": 1e-3, "steps": 2, "batch": 8})
    asked = scene(short).references()
    assert not asked.summary["base"]["cached"]
    assert "less than one epoch" in asked.summary["base"]["why"]
    assert passes == []
    here = scene(make_run({}, term))
    disturb(here)
    reader = here.references()["base"]
    assert sum(passes) == 24
    passes.clear()
    reading = reader(here.view([3, 1]))
    assert passes == []
    dev = Autoregressive().view(here.prepared.dev[:2], here.lm.pad_id, torch.Generator())
    assert reader(dev).hidden is not None
    again = scene(short).references()
    assert again.summary["base"]["cached"], "what is there is used"
    with torch.no_grad(), here.adapter.off():
        p = here.lm.head.logits(here.lm.hidden(here.view([3, 1]))[here.view([3, 1]).scored]).softmax(-1)
    assert torch.allclose(reading.mean, p @ here.lm.head.weight, atol=1e-5)


def test_a_run_computes_only_the_rows_that_it_will_see(
    scene: Any, make_run: Callable[..., Run], passes: list[int]
) -> None:
    here = scene(make_run(optim={"learning_rate": 1e-3, "steps": 2, "batch": 4}))
    found = here.references()
    assert sum(passes) == 2 * 8
    assert found.summary["teacher"]["rows"] == 8
