"""Training logs and runs tables: numbers become scores with steps, settings stay settings."""

import json
from pathlib import Path

import pytest

from netgain.errors import UserError
from netgain.interop import trackers
from netgain.interop.find import read

STATE = {
    "best_metric": 0.4,
    "max_steps": 20,
    "log_history": [
        {"epoch": 0.5, "step": 10, "loss": 2.0, "learning_rate": 1e-4, "grad_norm": 1.5},
        {"epoch": 0.5, "step": 10, "eval_loss": 1.9, "eval_acc": 0.5},
        {"epoch": 1.0, "step": 20, "loss": float("nan")},
    ],
}


def state(folder: Path, tree: object) -> Path:
    path = folder / "trainer_state.json"
    path.write_text(json.dumps(tree))
    return path


def test_a_trainer_log_is_a_curve_and_nan_is_missing(tmp_path: Path) -> None:
    found = read(state(tmp_path, STATE))
    scores = {(row["step"], row["metric"]): (row["value"], row["reason"]) for row in found.scores.to_pylist()}
    assert scores[10, "loss"] == (2.0, None)
    assert scores[10, "eval_acc"] == (0.5, None)
    assert scores[20, "loss"] == (None, "undefined")
    assert found.params[tmp_path.name]["max_steps"] == "20"


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        ({"log_history": 3}, 'field "log_history" is a number'),
        ({"log_history": [3]}, r"log_history\[0\]: expected an object"),
        ({"log_history": [{"loss": 1}]}, r'log_history\[0\]: field "step" must be a whole number'),
        ({"log_history": [{"step": 1, "loss": 10**400}]}, 'number in field "loss" is too large'),
    ],
)
def test_a_wrong_trainer_log_names_the_entry(tmp_path: Path, tree: object, words: str) -> None:
    with pytest.raises(UserError, match=words):
        read(state(tmp_path, tree))


def test_a_wandb_export_is_scores_and_settings_of_each_run(tmp_path: Path) -> None:
    path = tmp_path / "wandb.csv"
    path.write_text('"Name","State","Runtime","seed","method","acc"\n"a","finished","12","1","lora","0.5"\n'
                    '"b","crashed","3","2","lora","NaN"\n')  # fmt: skip
    found = read(path)
    assert found.source.tool == "Weights & Biases"
    rows = [(r["arm"], r["seed"], r["metric"], r["value"], r["reason"]) for r in found.scores.to_pylist()]
    assert rows == [("a", 1, "acc", 0.5, None), ("b", 2, "acc", None, "undefined")]
    assert found.params["b"]["State"] == "crashed"


def test_an_mlflow_export_keeps_metrics_and_parameters_apart(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.csv"
    path.write_text("run_id,experiment_id,tags.mlflow.runName,metrics.acc,params.lr,params.seed\n"
                    "f00,1,lora,0.5,0.001,7\nf01,1,full,,0.001,8\n")  # fmt: skip
    found = read(path)
    rows = [(r["arm"], r["seed"], r["metric"], r["value"], r["reason"]) for r in found.scores.to_pylist()]
    assert rows == [("lora", 7, "acc", 0.5, None), ("full", 8, "acc", None, "missing")]
    assert found.params["lora"]["params.lr"] == "0.001"


def test_a_ragged_export_names_its_line(tmp_path: Path) -> None:
    path = tmp_path / "wandb.csv"
    path.write_text("Name,State,ID\na,finished,x\nb,finished\n")
    with pytest.raises(UserError, match="line 3: has 2 fields where the header has 3"):
        read(path)


def test_no_column_of_an_export_can_be_made_an_item(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no items"):
        trackers.read(state(tmp_path, STATE), {"item": "step"})
