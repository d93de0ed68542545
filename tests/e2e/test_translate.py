"""`netgain translate`: adapters of one model for another, with what may be believed about them."""

import json
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from typer.testing import CliRunner

from netgain.cli import app
from netgain.data.embedded import rows
from netgain.errors import UserError
from netgain.models.load import load
from netgain.spec.run import ModelSpec

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
ANCHORS = 6


def adapter(folder: Path, model: str, task: torch.Tensor) -> None:
    """An adapter that is a linear function of the task's three hidden numbers."""
    net = load(ModelSpec(id=model)).net
    fused = "gpt2" in model
    config = LoraConfig(
        r=3, lora_alpha=3, target_modules=["c_attn"] if fused else ["q_proj", "v_proj"], fan_in_fan_out=fused
    )
    wrapped = get_peft_model(net, config)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, tensor in wrapped.named_parameters():
            if "lora_A" in name:
                tensor.copy_(0.2 * torch.randn(tensor.shape, generator=generator))
            if "lora_B" in name:
                tensor.copy_(0.2 * torch.randn(tensor.shape, generator=generator) * task)
    wrapped.save_pretrained(str(folder))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("translate")
    tasks = torch.randn(ANCHORS + 1, 3, generator=torch.Generator().manual_seed(1))
    for i, task in enumerate(tasks[:-1]):
        adapter(root / "anchors" / f"task{i}" / "source", "tiny-llama", task)
        adapter(root / "anchors" / f"task{i}" / "target", "tiny-gpt2", task)
    adapter(root / "star", "tiny-llama", tasks[-1])
    adapter(root / "truth", "tiny-gpt2", tasks[-1])
    return root


def run(*arguments: str | Path) -> str:
    done = CliRunner().invoke(app, ["translate", *map(str, arguments)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout


def distance(one: Path, two: Path, model: str = "tiny-gpt2") -> float:
    """Largest difference of the two adapters' log-probabilities, as plain PEFT loads them."""
    found = []
    for path in (one, two):
        net = PeftModel.from_pretrained(load(ModelSpec(id=model)).net, str(path))
        with torch.no_grad():
            found.append(net(input_ids=torch.arange(5, 30)[None]).logits.log_softmax(-1))
    return float((found[0] - found[1]).abs().max())


def test_a_linear_relation_between_families_that_name_their_layers_differently_is_carried_over(
    folder: Path, tmp_path: Path
) -> None:
    base = ["--from", folder / "star", "--to", "tiny-gpt2", "--anchors", folder / "anchors"]
    said = json.loads(run(*base, "--method", "global_ridge", "--out", tmp_path / "ridge", "--json"))
    run(*base, "--method", "mean", "--out", tmp_path / "mean")
    assert said["anchors"] == ANCHORS
    assert said["high"] < 1
    assert "better than the trivial baseline" in said["sentence"]
    assert distance(tmp_path / "ridge", folder / "truth") < 0.2 * distance(tmp_path / "mean", folder / "truth")


def test_a_method_that_is_no_better_than_the_mean_says_so(folder: Path, tmp_path: Path) -> None:
    said = run("--from", folder / "star", "--to", "tiny-gpt2", "--anchors", folder / "anchors", "--method", "random",
               "--out", tmp_path / "random")  # fmt: skip
    assert "better than the trivial" not in said.replace("no better", "")


def test_stitching_a_model_onto_itself_moves_it_as_the_source_did(folder: Path, tmp_path: Path) -> None:
    said = json.loads(
        run("--from", folder / "star", "--to", "tiny-llama", "--method", "stitch", "--out", tmp_path / "s", "--json")
    )
    assert said["inputs"] > 0.99
    assert said["outputs"] > 0.99
    assert said["target_effect"] == pytest.approx(said["source_effect"], rel=0.1)


def test_a_translated_adapter_says_how_close_it_is_in_function_and_at_which_scale(folder: Path, tmp_path: Path) -> None:
    said = json.loads(
        run("--from", folder / "star", "--to", "tiny-gpt2", "--anchors", folder / "anchors", "--method", "global_ridge",
            "--out", tmp_path / "f", "--json")
    )["functional"]  # fmt: skip
    assert said["translated"] < 0.2 * said["mean"]
    assert said["scale"] == 1.0


def test_layers_are_matched_by_what_they_compute(folder: Path, tmp_path: Path) -> None:
    run(
        "--from", folder / "star", "--to", "tiny-gpt2", "--method", "stitch", "--layers", "cka", "--out", tmp_path / "c"
    )
    assert (tmp_path / "c" / "adapter_model.safetensors").exists()


def test_a_stitched_adapter_is_taught_what_the_source_writes(folder: Path, tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("\n\n".join(row.turns[0].text for row in rows("sentiment", 24, 1)))
    said = json.loads(
        run("--from", folder / "star", "--to", "tiny-llama", "--method", "distil", "--texts", prompts,
            "--out", tmp_path / "d", "--json")
    )  # fmt: skip
    assert said["distilled"]["rows"] >= 1
    assert said["distilled"]["last_loss"] < said["distilled"]["first_loss"]
    assert distance(tmp_path / "d", tmp_path / "d", "tiny-llama") == 0.0


def test_what_cannot_be_mapped_is_refused_in_one_sentence(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no layer that does the work of self_attn"):
        run("--from", folder / "star", "--to", "tiny-mlm", "--method", "stitch", "--out", tmp_path / "x")
    with pytest.raises(UserError, match="--texts"):
        run("--from", folder / "star", "--to", "tiny-gpt2", "--method", "distil", "--out", tmp_path / "x")
    with pytest.raises(UserError, match='Did you mean "stitch"'):
        run("--from", folder / "star", "--to", "tiny-gpt2", "--method", "stich", "--out", tmp_path / "x")
    with pytest.raises(UserError, match="--anchors"):
        run("--from", folder / "star", "--to", "tiny-gpt2", "--method", "global_ridge", "--out", tmp_path / "x")
    assert not (tmp_path / "x").exists()
