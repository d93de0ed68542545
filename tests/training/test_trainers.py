"""netgain's objectives inside transformers.Trainer, and inside trl.SFTTrainer where it is installed."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from transformers import Trainer, TrainingArguments

from netgain.errors import UserError
from netgain.models.load import load
from netgain.spec.run import ModelSpec
from netgain.training.trainers import use

torch.set_num_threads(1)
pytestmark = pytest.mark.filterwarnings("ignore")  # what the libraries say to one another
CE = {"ce": "ce"}
ANCHORED = {**CE, "anchor": {"term": {"kind": "kl", "reference": "base"}, "weight": 0.5}}


def net(adapter: bool = True) -> Any:
    torch.manual_seed(0)
    made = load(ModelSpec(id="config:llama", config={"initializer_range": 0.2})).net.requires_grad_(True)
    return (
        get_peft_model(made, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")) if adapter else made
    )


def rows(n: int = 8) -> list[dict[str, list[int]]]:
    found = []
    for i in range(n):
        ids = [5 + (3 * i + j) % 90 for j in range(6)]
        found.append({"input_ids": ids, "attention_mask": [1] * 6, "labels": [-100] * (1 + i % 3) + ids[1 + i % 3 :]})
    return found


def trainer(folder: Path, model: Any, **more: Any) -> Trainer:
    asked = {"per_device_train_batch_size": 4, "max_steps": 4, "learning_rate": 1e-2, **more}
    args = TrainingArguments(
        str(folder), report_to=[], use_cpu=True, save_strategy="no", logging_steps=1, disable_tqdm=True,
        lr_scheduler_type="constant", max_grad_norm=1.0, seed=0, **asked,
    )  # fmt: skip
    return Trainer(model, args, train_dataset=Dataset.from_list(rows()))


def losses(made: Trainer) -> list[float]:
    made.train()
    return [row["loss"] for row in made.state.log_history if "loss" in row]


@pytest.mark.parametrize("accumulated", [1, 2])
def test_cross_entropy_alone_is_the_trainers_own_loss(tmp_path: Path, accumulated: int) -> None:
    more = {"gradient_accumulation_steps": accumulated, "per_device_train_batch_size": 4 // accumulated}
    theirs = losses(trainer(tmp_path, net(), **more))
    ours = trainer(tmp_path, net(), **more)
    use(ours, CE)
    assert losses(ours) == pytest.approx(theirs, rel=1e-3)


def test_an_anchor_holds_the_model_to_its_base(tmp_path: Path) -> None:
    found = {}
    for weight in (0.0001, 5.0):
        made = trainer(tmp_path, net(), max_steps=8)
        bridge = use(made, {**CE, "anchor": {"term": {"kind": "kl", "reference": "base"}, "weight": weight}})
        made.train()
        found[weight] = bridge.last["anchor"]
    assert 0 <= found[5.0] < 0.5 * found[0.0001]


def test_the_first_step_is_the_base(tmp_path: Path) -> None:
    made = trainer(tmp_path, net(), max_steps=1)
    bridge = use(made, ANCHORED)
    made.train()
    assert bridge.last["anchor"] == pytest.approx(0, abs=1e-6)
    assert bridge.last["ce"] > 1


def test_a_teacher_is_a_model_of_ones_own(tmp_path: Path) -> None:
    teacher = copy.deepcopy(net(adapter=False))
    with torch.no_grad():
        for tensor in teacher.parameters():
            tensor.add_(0.05)
    made = trainer(tmp_path, net(), max_steps=1)
    bridge = use(made, {"distil": {"term": {"kind": "kl", "reference": "teacher"}}}, {"teacher": teacher})
    made.train()
    assert bridge.last["distil"] > 1e-3


def test_penalties_and_evaluation_work_too(tmp_path: Path) -> None:
    made = trainer(tmp_path, net(), max_steps=2)
    bridge = use(made, {**CE, "rank": {"term": "low_rank", "weight": 0.01}})
    made.train()
    assert bridge.last["rank"] > 0
    found = made.evaluate(Dataset.from_list(rows(4)))  # type: ignore[arg-type]
    assert found["eval_loss"] > 0


def test_what_another_loop_cannot_do_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match='compares with "teacher"'):
        use(trainer(tmp_path, net()), {"d": {"term": {"kind": "kl", "reference": "teacher"}}})
    with pytest.raises(UserError, match="only a model with PEFT adapters has a base"):
        use(trainer(tmp_path, net(adapter=False)), ANCHORED)
    learned = {**CE, "kl": {"term": {"kind": "kl", "reference": "base"}, "weight": {"maximum": 1.0, "initial": 0.1}}}
    with pytest.raises(UserError, match="need netgain's own loop"):
        use(trainer(tmp_path, net()), learned)


def test_trl_learns_with_it(tmp_path: Path) -> None:
    trl = pytest.importorskip("trl")
    lm = load(ModelSpec(id="tiny-llama"))
    args = trl.SFTConfig(
        str(tmp_path), report_to=[], use_cpu=True, save_strategy="no", max_steps=2, per_device_train_batch_size=2,
        learning_rate=1e-2, disable_tqdm=True, logging_steps=1, max_length=64, bf16=False,
    )  # fmt: skip
    data = Dataset.from_list([{"prompt": f"Count {i}:", "completion": f" {i} {i + 1} {i + 2}"} for i in range(4)])
    lora = LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM")
    made = trl.SFTTrainer(
        lm.net.requires_grad_(True), args=args, train_dataset=data, processing_class=lm.tok, peft_config=lora
    )
    bridge = use(made, ANCHORED)
    made.train()
    assert bridge.last["ce"] > 0
    assert bridge.last["anchor"] > 0
