"""Loading: the head apart from the body gives the network's own logits; what cannot be used is one sentence."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

from netgain.errors import UserError
from netgain.models.lm import LM
from netgain.models.load import load, wrap
from netgain.models.tiny import byte_tokenizer
from netgain.spec.run import ModelSpec

IDS = torch.arange(20).view(2, 10) + 30


def save(lm: LM, folder: Path) -> Path:
    lm.net.save_pretrained(folder)
    lm.tok.save_pretrained(folder)
    return folder


def test_head_of_body_equals_the_network(lm: LM) -> None:
    mask = torch.ones_like(IDS)
    mask[1, 7:] = 0
    hidden = lm.hidden(IDS, mask)
    assert hidden.shape[:2] == IDS.shape
    theirs = lm.net(input_ids=IDS, attention_mask=mask, use_cache=False).logits
    assert torch.allclose(lm.head.logits(hidden)[mask.bool()], theirs[mask.bool()], atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [("granite", "logits_scaling", 8.0), ("cohere", "logit_scale", 0.25), ("gemma2", "final_logit_softcapping", 2.0)],
)
def test_scaled_and_capped_heads_are_recognised(kind: str, field: str, value: float) -> None:
    tok = byte_tokenizer()
    config = AutoConfig.for_model(
        kind, vocab_size=len(tok), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, head_dim=16, pad_token_id=0, bos_token_id=1, eos_token_id=2, initializer_range=0.3,
        **{field: value},
    )  # fmt: skip
    lm = wrap(AutoModelForCausalLM.from_config(config), tok, kind)
    head = lm.head
    assert (head.scale, head.softcap).count(None) == 1
    plain = nn.functional.linear(lm.hidden(IDS), head.weight)
    assert not torch.allclose(plain, head.logits(lm.hidden(IDS)), atol=1e-2)


def test_a_tokenizer_of_another_model_is_refused() -> None:
    lm = load(ModelSpec(id="config:llama"))
    lm.net.resize_token_embeddings(200)
    with pytest.raises(UserError, match="has 260 tokens and the model embeds 200"):
        wrap(lm.net, lm.tok, "mixed up")


def test_a_head_that_reads_something_else_is_refused() -> None:
    lm = load(ModelSpec(id="config:llama"))
    lm.net.config.final_logit_softcapping = 0.01  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(UserError, match="not a linear read-out"):
        wrap(lm.net, lm.tok, "odd")


def test_a_base_is_frozen_and_evaluated(lm: LM) -> None:
    assert not any(parameter.requires_grad for parameter in lm.net.parameters())
    assert not any(module.training for module in lm.net.modules())
    assert not lm.head.trainable


def test_random_models_repeat_and_leave_the_global_stream_alone() -> None:
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    first, second = (load(ModelSpec(id="config:qwen3")).net.state_dict() for _ in range(2))
    other = load(ModelSpec(id="config:qwen3", config={"seed": 1})).net.state_dict()
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize("family_name", ["llama", "gpt2", "gemma3"])
def test_checkpointing_changes_no_gradient_and_wakes_no_dropout(family_name: str) -> None:
    config = {"resid_pdrop": 0.5, "attn_pdrop": 0.5} if family_name == "gpt2" else {}
    lm = load(ModelSpec(id=f"config:{family_name}", config=config))
    weight = lm.net.get_input_embeddings().weight
    assert isinstance(weight, nn.Parameter)
    weight.requires_grad_(True)

    def gradient(on: bool) -> torch.Tensor:
        weight.grad = None
        with lm.checkpointing(on):
            lm.hidden(IDS).square().sum().backward()
        assert weight.grad is not None
        return weight.grad

    plain, recomputed = gradient(False), gradient(True)
    assert torch.allclose(plain, recomputed, rtol=1e-5, atol=1e-6)
    assert not any(module.training for module in lm.net.modules())


def test_checkpointing_recomputes_every_layer() -> None:
    lm = load(ModelSpec(id="config:llama"))
    lm.net.requires_grad_(True)
    calls: list[int] = []
    for layer in lm.body.layers:  # pyright: ignore[reportGeneralTypeIssues]
        layer.mlp.register_forward_pre_hook(lambda *_: calls.append(1))
    with lm.checkpointing():
        lm.hidden(IDS).sum().backward()
    assert len(calls) == 2 * 2


def test_a_saved_folder_loads_to_the_same_logits(tmp_path: Path, family: Callable[..., LM]) -> None:
    lm = family("qwen2")
    again = load(ModelSpec(id=str(save(lm, tmp_path / "model"))))
    assert torch.equal(again.hidden(IDS), lm.hidden(IDS))
    assert (again.eos_ids, again.pad_id, again.vocab) == (lm.eos_ids, lm.pad_id, lm.vocab)
    half = load(ModelSpec(id=str(tmp_path / "model"), dtype="bfloat16"))
    assert half.dtype == torch.bfloat16


def _no_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def _half_weights(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])


def _garbage(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"\xff" * 64)


def _no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def _bad_json(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def _unknown_family(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "none", "architectures": ["None"]}))


def _another_layer(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["num_hidden_layers"] = 3
    config.pop("layer_types", None)
    (folder / "config.json").write_text(json.dumps(config))


def _another_width(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "intermediate_size": 99}))


def _no_tokenizer(folder: Path) -> None:
    for file in folder.glob("*token*"):
        file.unlink()


@pytest.mark.parametrize(
    "damage",
    [_no_config, _half_weights, _garbage, _no_weights, _bad_json, _unknown_family, _another_layer, _another_width,
     _no_tokenizer],
    ids=lambda damage: damage.__name__,
)  # fmt: skip
def test_a_damaged_folder_is_one_sentence(
    tmp_path: Path, family: Callable[..., LM], damage: Callable[[Path], None], capfd: pytest.CaptureFixture[str]
) -> None:
    folder = save(family("llama"), tmp_path / "model")
    damage(folder)
    with pytest.raises(UserError) as error:
        load(ModelSpec(id=str(folder)))
    assert str(folder) in str(error.value)
    assert "\n" not in str(error.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ({"id": "config:qwen4"}, 'no such family. Did you mean "qwen3"?'),
        ({"id": "config:qwen3", "config": {"hiden_size": 8}}, 'no field "hiden_size". Did you mean "hidden_size"?'),
        ({"id": "./nowhere"}, "no such model folder"),
        ({"id": "nowhere/none.gguf"}, "no such GGUF file"),
        ({"id": "nobody/nothing"}, "the hub gave none"),
        ({"id": "nobody/nothing", "config": {"a": 1}}, "only a random model"),
        ({"id": "config:llama", "chat_template": "none.jinja"}, "neither Jinja nor a readable file"),
    ],
)
def test_what_cannot_be_found_is_one_sentence(spec: dict[str, object], sentence: str) -> None:
    with pytest.raises(UserError) as error:
        load(ModelSpec.model_validate(spec))
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


def test_a_broken_gguf_file_is_one_sentence_and_leaves_no_half_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NETGAIN_CACHE", str(tmp_path / "cache"))
    (tmp_path / "model.gguf").write_bytes(b"GGUF" + b"\x00" * 60)
    with pytest.raises(UserError, match=r"model.gguf: this GGUF file cannot be read"):
        load(ModelSpec(id=str(tmp_path / "model.gguf")))
    assert not [p for p in (tmp_path / "cache").rglob("*") if p.is_file() or p.name.startswith("model")]


def test_a_chat_template_of_the_study_replaces_the_tokenizers(tmp_path: Path) -> None:
    (tmp_path / "chat.jinja").write_text("{{ messages[0]['content'] }}")
    for given in (str(tmp_path / "chat.jinja"), "{{ messages[0]['content'] }}"):
        lm = load(ModelSpec(id="config:llama", chat_template=given))
        assert lm.tok.chat_template == "{{ messages[0]['content'] }}"


def test_bytes_come_back_unchanged() -> None:
    tok = byte_tokenizer()
    text = "Ünïcode → 日本 \n\t done"
    assert tok.decode(tok.encode(text, add_special_tokens=False)) == text
    assert len(tok.encode("abc")) == 4
