"""References: declared or refused at their line, demonstrations fixed and foreign, other models only when they fit."""

from collections import Counter
from pathlib import Path

import pytest

from netgain.data.demonstrations import with_others_answers
from netgain.data.source import Example, Turn
from netgain.errors import UserError
from netgain.models.load import load
from netgain.objectives.references.few_shot import FewShot
from netgain.objectives.references.model import require_same_tokens
from netgain.spec.identity import sig, stream
from netgain.spec.load import load as load_study
from netgain.spec.plugin import ReferencePlugin
from netgain.spec.run import ModelSpec, Run

STUDY = """name: s
question: q
base:
  model: tiny-llama
  method: lora
  data: {sources: {a: {kind: embedded, suite: sentiment, n: 20}}, dev: 4}
  optim: {learning_rate: 1e-3, steps: 2}
  tasks: {s: {kind: sentiment, source: {kind: embedded, suite: sentiment, n: 8, seed: 2}}}
  objective:
    kd:
      term:
        kind: kl
        reference: teacher
  references:
    teacher:
      kind: few_shot
      shots: 3
"""


def rows(n: int, labels: int = 3) -> list[Example]:
    return [Example(f"r{i}", f"g{i // 2}", (Turn("user", f"q{i}"),), f"label {i % labels}") for i in range(n)]


def study(tmp_path: Path, *changes: tuple[str, str]) -> Run:
    text = STUDY
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    file = tmp_path / "s.yaml"
    file.write_text(text)
    return load_study(file).base


def test_every_kind_is_one_class_of_its_file() -> None:
    assert ReferencePlugin.kinds() == ("base", "few_shot", "model", "run")
    assert {ReferencePlugin.resolve(kind).model_fields["kind"].default for kind in ReferencePlugin.kinds()} == {
        *ReferencePlugin.kinds()
    }


def test_a_term_names_a_declared_reference_or_the_base(tmp_path: Path) -> None:
    assert study(tmp_path).references["teacher"] == FewShot(shots=3)
    assert study(tmp_path, ("reference: teacher", "reference: base")).objective["kd"].term.needs == {"base"}


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (
            "reference: teacher",
            "reference: techer",
            r':13: .*kd.term.reference: "techer" is no reference\. Did you mean ',
        ),
        ("shots: 3", "shot: 3", r':17: .*unknown field "shot"\. Did you mean "shots"\?'),
        ("shots: 3", "shots: -1", r":17: .*greater than or equal to 0"),
        ("kind: few_shot", "kind: fewshot", r':1[56]: .*unknown kind "fewshot".*Did you mean "few_shot"\?'),
        ("teacher:", "base:", r'"base" is always the model without its adapter|"teacher" is no reference'),
    ],
)
def test_a_wrong_reference_is_one_sentence_at_its_line(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        study(tmp_path, (old, new))


def test_the_base_cannot_be_someone_else(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r'references.base: "base" is always the model without its adapter'):
        study(tmp_path, ("reference: teacher", "reference: base"), ("teacher:", "base:"))


def test_a_reference_is_part_of_who_a_run_is_and_none_is_not(tmp_path: Path) -> None:
    run = study(tmp_path)
    other = run.model_copy(update={"references": {"teacher": FewShot(shots=3, answers="shuffled")}})
    assert sig(run) != sig(other)
    plain = run.model_copy(update={"references": {}})
    assert "references" not in plain.model_dump(exclude_defaults=True)


def test_demonstrations_are_fixed_and_of_other_groups() -> None:
    pool, teacher = rows(40), FewShot(shots=4)
    shown = teacher.demonstrations(pool, pool)
    assert shown == teacher.demonstrations(pool, pool)
    for row, found in zip(pool, shown, strict=True):
        assert len({example.group for example in found} | {row.group}) == 5
    assert shown != FewShot(shots=4, seed=1).demonstrations(pool, pool)
    assert FewShot(shots=0).demonstrations(pool, pool) == [()] * 40


def test_shuffled_answers_change_the_answers_and_nothing_else() -> None:
    pool = rows(40, labels=40)
    gold = FewShot(shots=2).demonstrations(pool, pool)
    wrong = FewShot(shots=2, answers="shuffled").demonstrations(pool, pool)
    for right, other in zip(gold, wrong, strict=True):
        assert [each.turns for each in right] == [each.turns for each in other]
        assert all(a.answer != b.answer for a, b in zip(right, other, strict=True)), "a single one is wrong too"


def test_shuffled_labels_keep_their_frequency_and_are_right_by_chance_only() -> None:
    pool = rows(3000)
    shuffled = with_others_answers(pool, stream(0, "answers"))
    assert Counter(row.answer for row in shuffled) == Counter(row.answer for row in pool)
    right = sum(a.answer == b.answer for a, b in zip(pool, shuffled, strict=True)) / len(pool)
    assert right == pytest.approx(1 / 3, abs=0.04)


def test_a_model_of_another_vocabulary_is_refused() -> None:
    own = load(ModelSpec(id="config:llama"))
    require_same_tokens(own, load(ModelSpec(id="config:qwen3")))
    with pytest.raises(UserError, match=r"tiny-llama cannot teach config:llama: their tokenizers differ") as error:
        require_same_tokens(own, load(ModelSpec(id="tiny-llama")))
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="they predict 300 and 260 tokens"):
        require_same_tokens(own, load(ModelSpec(id="config:llama", config={"vocab_size": 300})))
