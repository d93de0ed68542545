"""A scale that prefers another one where that one's data is: the same command on a bare clone and beside real data."""

from pathlib import Path

import pytest

from netgain.errors import UserError
from netgain.spec.load import load
from netgain.tasks.pos import Pos

STUDY = Path(__file__).parents[2] / "studies" / "distillation_lambda.yaml"
FILE = """
name: s
question: q
base:
  model: tiny-llama
  method: {kind: lora}
  data: {sources: {rows: {kind: embedded, suite: sentiment}}}
  optim: {learning_rate: 1e-3, steps: 5}
  tasks: {sentiment: sentiment}
scales:
  small: {prefer: SCALE, base.optim: {steps: 6}}
  real: {needs: corpus/train.tsv, base.optim: {steps: 7}}
"""


def write(folder: Path, scale: str = "real") -> Path:
    file = folder / "s.yaml"
    file.write_text(FILE.replace("SCALE", scale), encoding="utf-8")
    return file


def test_without_the_file_a_scale_is_itself(tmp_path: Path) -> None:
    study = load(write(tmp_path), "small")
    assert (study.key, study.base.optim.steps) == ("s-small", 6)


@pytest.mark.parametrize("where", ["data", "beside"])
def test_with_the_file_it_is_the_other_scale_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    place = tmp_path / ("data" if where == "data" else ".") / "corpus"
    place.mkdir(parents=True)
    (place / "train.tsv").touch()
    monkeypatch.setenv("NETGAIN_DATA", str(tmp_path / "data"))
    study = load(write(tmp_path), "small")
    assert (study.key, study.base.optim.steps) == ("s-real", 7)


def test_the_other_scale_may_be_asked_for_by_name(tmp_path: Path) -> None:
    assert load(write(tmp_path), "real").key == "s-real"


def test_a_scale_that_names_no_file_cannot_be_preferred(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r's\.yaml:11: scales\.small\.prefer: "reel" is no scale.*mean "real"'):
        load(write(tmp_path, "reel"))


def test_study_one_reads_real_sentences_at_small_where_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load(STUDY, "small").key == "distillation_lambda-small"
    file = tmp_path / "xtreme" / "udpos" / "train-en.tsv"
    file.parent.mkdir(parents=True)
    file.touch()
    monkeypatch.setenv("NETGAIN_DATA", str(tmp_path))
    study = load(STUDY, "small")
    assert study.key == "distillation_lambda-small-real"
    task = study.base.tasks["pos"]
    assert isinstance(task, Pos)
    assert (task.source, task.corpus, task.words) == (None, "udpos", 10)
    assert study.base.data.sources["rows"].task == task  # type: ignore[union-attr]
