"""Teachers of a masked-diffusion student read along: the same tokens hidden, behind what they are shown first."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from netgain.data.chat import Template
from netgain.data.view import View
from netgain.execute.local import execute
from netgain.execute.prepare import Prepared, prepare, template_of
from netgain.execute.teachers import References, references_for
from netgain.ledger.store import Ledger
from netgain.models.load import load
from netgain.spec.identity import essence, torch_stream
from netgain.spec.run import Run, Runtime
from netgain.spec.study import Study, planned
from netgain.training.arms import Solo

torch.set_num_threads(1)
MODEL = {"id": "config:bert", "config": {"initializer_range": 0.2, "max_position_embeddings": 512}}
STUDENT = {**MODEL, "denoise": {"length": 16}}
KL = {"kind": "kl", "reference": "teacher"}


def prepared(run: Run) -> tuple[Any, Template, Prepared]:
    lm = load(run.model)
    template = template_of(run.model, lm.tok)
    return lm, template, prepare(run, template, None)


def view(lm: Any, rows: Prepared, chosen: list[int]) -> View:
    return lm.family.view([rows.train.rows[i] for i in chosen], lm.pad_id, torch.Generator().manual_seed(1), chosen)


def references(run: Run, lm: Any, template: Template, rows: Prepared, root: Path) -> References:
    adapter = run.method.attach(lm, torch_stream(0, "init"))  # type: ignore[attr-defined]
    return references_for(
        run, Solo(adapter), rows, lm, template, None, root / "teachers", lambda done, total, words: None
    )


def test_a_shown_teacher_has_the_students_masks_behind_its_own_prompt(
    make_run: Callable[..., Run], tmp_path: Path
) -> None:
    run = make_run({"teacher": {"kind": "few_shot", "shots": 2}}, KL, rows=8, model=STUDENT)
    lm, template, rows = prepared(run)
    made = view(lm, rows, [3, 0, 5])
    found = references(run, lm, template, rows, tmp_path)
    reading = found["teacher"](made)
    assert found.summary["teacher"] == {"kind": "few_shot", "cached": False, "why": "masks differ by step"}
    fresh = load(run.model)
    start = 0
    for row, origin in enumerate((3, 0, 5)):
        shown = run.references["teacher"].demonstrations([rows.examples[origin]], rows.pools["tags"])[0]  # type: ignore[attr-defined]
        assert len(shown) == 2
        prompt = template.encode(rows.examples[origin], 4096, demonstrations=shown)
        end = int(made.attention_mask[row].sum())
        ids = [*prompt.ids[: -len(prompt.answer)], *made.input_ids[row, end - 16 : end].tolist()]
        hidden = torch.tensor([i for i in range(16) if made.scored[row, end - 16 + i]]) + len(ids) - 16
        expected = fresh.hidden(torch.tensor([ids]))[0, hidden].detach()
        assert torch.allclose(reading.hidden[start : start + len(hidden)], expected, atol=1e-4)  # type: ignore[index]
        start += len(hidden)
    assert start == len(made.targets)


def test_a_finished_run_teaches_a_masked_student(make_run: Callable[..., Run], tmp_path: Path) -> None:
    elder = make_run(
        {}, rows=8, model=STUDENT, objective={"ce": "ce"}, optim={"learning_rate": 0.05, "steps": 3, "batch": 4}
    )
    study = Study.model_validate({"name": "elder", "question": "?", "base": essence(elder)})
    ledger = Ledger(tmp_path)
    assert execute(study, ledger, Runtime(threads=1)) == 0
    [each] = planned(study)
    run = make_run({"teacher": {"kind": "run", "run": each.sig}}, KL, rows=8, model=STUDENT)
    lm, template, rows = prepared(run)
    made = view(lm, rows, [1, 2])
    reading = references(run, lm, template, rows, tmp_path)["teacher"](made)
    teacher = load(run.model)
    adapter = elder.method.attach(teacher, torch_stream(0, "init"))  # type: ignore[attr-defined]
    adapter.load(ledger.run(each.sig).path / "adapter")
    expected = teacher.hidden(made)[made.scored].detach()
    assert torch.allclose(reading.hidden, expected, atol=1e-5)  # type: ignore[arg-type]
    with adapter.off():
        assert not torch.allclose(reading.hidden, teacher.hidden(made)[made.scored], atol=1e-3)  # type: ignore[arg-type]


@pytest.mark.parametrize("reference", [{"kind": "few_shot", "shots": 1}, {"kind": "model", "model": MODEL}])
def test_distillation_runs_from_end_to_end(make_run: Callable[..., Run], tmp_path: Path, reference: Any) -> None:
    run = make_run(
        {"teacher": reference}, KL, rows=8, model=STUDENT, optim={"learning_rate": 1e-3, "steps": 2, "batch": 4}
    )
    study = Study.model_validate({"name": "young", "question": "?", "base": essence(run)})
    ledger = Ledger(tmp_path)
    assert execute(study, ledger, Runtime(threads=1)) == 0
    [each] = planned(study)
    steps = [row for row in ledger.run(each.sig).metrics() if "event" not in row]
    assert all(row["terms"]["kd"]["raw"] >= 0 for row in steps)
    assert ledger.run(each.sig).record()["references"]["teacher"]["cached"] is False
