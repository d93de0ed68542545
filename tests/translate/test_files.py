"""Adapter folders: what is written loads in plain PEFT and computes what it should; what cannot be read says so."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import PreTrainedModel

from netgain.errors import UserError
from netgain.models.load import load
from netgain.spec.run import ModelSpec
from netgain.translate.anchors import Anchor, Anchors
from netgain.translate.files import Adapter, Place, alike, counterparts, match_depth, write
from netgain.translate.gauge import truncate

# PEFT asks transformers by a name that transformers has replaced.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")


def make(folder: Path, model: str, seed: int, r: int = 4, rslora: bool = False) -> Path:
    """An adapter with random tensors, saved by PEFT itself."""
    net = load(ModelSpec(id=model)).net
    torch.manual_seed(seed)
    targets = ["c_attn"] if "gpt2" in model else ["q_proj", "v_proj"]
    config = LoraConfig(
        r=r,
        lora_alpha=8,
        target_modules=targets,
        use_rslora=rslora,
        fan_in_fan_out="gpt2" in model,
        init_lora_weights=False,
    )
    wrapped = get_peft_model(net, config)
    wrapped.save_pretrained(str(folder))
    return folder


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("adapters")
    return [make(root / str(i), "tiny-llama", i) for i in range(4)]


def logits(net: PreTrainedModel | PeftModel) -> torch.Tensor:
    with torch.no_grad():
        return net(input_ids=torch.arange(5, 25)[None]).logits


@pytest.mark.parametrize("rslora", [False, True])
def test_what_is_read_and_written_again_computes_the_same_in_plain_peft(tmp_path: Path, rslora: bool) -> None:
    torch.set_num_threads(1)
    first = Adapter(make(tmp_path / "first", "tiny-llama", 1, rslora=rslora))
    write(tmp_path / "again", first.config, ((place, truncate(first.update(place), 4)) for place in first.places))
    net = load(ModelSpec(id="tiny-llama")).net
    one = logits(PeftModel.from_pretrained(net, str(first.folder)))
    two = logits(PeftModel.from_pretrained(load(ModelSpec(id="tiny-llama")).net, str(tmp_path / "again")))
    base = logits(load(ModelSpec(id="tiny-llama")).net)
    assert (one - base).abs().max() > 1e-2
    torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-4)


def test_one_weighty_anchor_comes_out_as_itself(adapters: list[Path], tmp_path: Path) -> None:
    anchors = Anchors([Anchor(path.name, Adapter(path), Adapter(path)) for path in adapters])
    weights = np.zeros((len(anchors.places), 4))
    weights[:, 2] = 1.0
    anchors.write(tmp_path / "out", weights)
    net = load(ModelSpec(id="tiny-llama")).net
    found = logits(PeftModel.from_pretrained(net, str(tmp_path / "out")))
    expected = logits(PeftModel.from_pretrained(load(ModelSpec(id="tiny-llama")).net, str(adapters[2])))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_the_grams_of_an_anchor_against_itself_agree(adapters: list[Path]) -> None:
    anchors = Anchors([Anchor(path.name, Adapter(path), Adapter(path)) for path in adapters])
    for grams in anchors.grams(Adapter(adapters[1])):
        np.testing.assert_allclose(grams.x, grams.y)
        np.testing.assert_allclose(grams.cross, grams.x[1], rtol=1e-5)
        assert grams.own == pytest.approx(grams.x[1, 1], rel=1e-5)


def test_layers_are_matched_by_role_and_relative_depth() -> None:
    source = [Place.of(f"model.layers.{i}.self_attn.q_proj") for i in range(36)]
    target = [Place.of(f"model.layers.{i}.self_attn.q_proj") for i in range(28)]
    found = match_depth(source, target)
    assert found[target[0]] == (source[0],)
    assert found[target[-1]] == (source[-1],)
    assert all(places[0].layer == round(at.layer * 35 / 27) for at, places in found.items())
    assert match_depth(source, target, dict.fromkeys(range(28), 3))[target[20]] == (source[3],)


def test_layers_that_do_the_work_of_several_are_matched_with_all_of_them() -> None:
    parts = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
    assert alike("attn.c_attn", {*parts, "mlp.up_proj"}) == parts
    assert alike("self_attn.v_proj", {"attn.c_attn", "mlp.c_fc"}) == ("attn.c_attn",)
    assert alike("self_attn.qkv_proj", {"attn.c_attn"}) == ("attn.c_attn",)
    assert alike("self_attn.q_proj", set(parts)) == ("self_attn.q_proj",)
    assert alike("self_attn.q_proj", {"self_attn.k_proj"}) == ()
    assert alike("mixer.in_proj", {"attn.c_attn"}) == ()


def test_an_adapter_on_layers_that_the_target_lacks_is_refused(adapters: list[Path]) -> None:
    source = Adapter(adapters[0])
    assert {place.role for place in counterparts(source, ["transformer.h.0.attn.c_attn", "lm_head"])} == {"attn.c_attn"}
    with pytest.raises(UserError, match="no layer that does the work of self_attn"):
        counterparts(source, ["backbone.layers.0.mixer.in_proj"])


def test_adapters_of_another_recipe_are_refused(adapters: list[Path], tmp_path: Path) -> None:
    odd = make(tmp_path / "odd", "tiny-gpt2", 0)
    pairs = [Anchor(path.name, Adapter(path), Adapter(path)) for path in adapters[:2]]
    with pytest.raises(UserError, match="not adapters of one recipe"):
        Anchors([*pairs, Anchor("odd", Adapter(odd), Adapter(adapters[3]))])


@pytest.mark.parametrize("change", [{"peft_type": "IA3"}, {"use_dora": True}, {"rank_pattern": {"q_proj": 2}}])
def test_methods_that_are_no_plain_lora_are_refused(
    adapters: list[Path], tmp_path: Path, change: dict[str, object]
) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (folder / name).write_bytes((adapters[0] / name).read_bytes())
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(UserError, match="translated"):
        Adapter(folder)


def test_a_folder_without_an_adapter_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no readable adapter"):
        Adapter(tmp_path)
