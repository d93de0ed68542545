"""A prefix is what PEFT makes of the same numbers, works under caches and masks, and leaves nothing behind."""

import warnings

import pytest
import torch
from peft import PeftModel, PrefixTuningConfig, get_peft_model

from netgain.adapters.method import Adapter
from netgain.adapters.prefix import Prefix
from netgain.errors import UserError
from netgain.models.generate import generate
from netgain.models.lm import LM
from netgain.models.load import load
from netgain.models.score import label_logprobs
from netgain.spec.identity import torch_stream
from netgain.spec.run import ModelSpec

torch.set_num_threads(1)
LENGTH = 3
FAMILIES = ("llama", "qwen3", "gpt2", "bert")


def model(family: str) -> LM:
    return load(ModelSpec(id=f"config:{family}", config={"initializer_range": 0.3}))


def theirs(lm: LM, adapter: Adapter) -> PeftModel:
    """PEFT's prefix tuning with the same keys and values."""
    task = "CAUSAL_LM" if lm.causal else "FEATURE_EXTRACTION"
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
        made = get_peft_model(lm.net, PrefixTuningConfig(task_type=task, num_virtual_tokens=LENGTH))  # type: ignore[arg-type]
    own = adapter.state()
    names = sorted({name.rsplit(".", 1)[0] for name in own})
    rows = [own[f"{name}.{half}"] for name in names for half in ("keys", "values")]  # each (heads, length, width)
    table = torch.stack([row.transpose(0, 1).flatten(1) for row in rows], 1).flatten(1)
    made.prompt_encoder["default"].embedding.weight.data = table.clone()  # type: ignore[index,union-attr]
    return made.eval()  # type: ignore[return-value]


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_a_joined_prefix_is_pefts(family: str) -> None:
    lm, other = model(family), model(family)
    adapter = Prefix(form="joined", length=LENGTH).attach(lm, torch_stream(0, "init"))
    ids = torch.arange(5, 21).view(2, 8)
    mask = torch.ones(2, 8, dtype=torch.long)
    mask[1, 6:] = 0
    expected = theirs(other, adapter)(input_ids=ids, attention_mask=mask).logits
    behind = torch.arange(LENGTH, LENGTH + 8).expand(2, -1)  # PEFT's tokens stand behind its prefix
    found = lm.head.logits(lm.hidden(ids, mask, behind))
    assert torch.allclose(found[mask.bool()], expected[mask.bool()], atol=1e-4)


@pytest.mark.parametrize("form", ["gated", "joined"])
@pytest.mark.parametrize("family", ["llama", "gpt2"])
@torch.no_grad()
def test_it_works_under_caches_left_padding_and_shared_prompts(form: str, family: str) -> None:
    lm = model(family)
    adapter = Prefix.model_validate({"form": form, "length": LENGTH}).attach(lm, torch_stream(0, "init"))
    adapter.set_state({name: tensor + 0.5 for name, tensor in adapter.state().items()})
    prompts = [[5, 6, 7], [8, 9, 10, 11, 12]]
    written = generate(lm, prompts, max_new_tokens=4, stop_ids=[])
    for prompt, each in zip(prompts, written, strict=True):
        ids = list(prompt)
        for _ in range(4):
            ids.append(int(lm.head.logits(lm.hidden(torch.tensor([ids])))[0, -1].argmax()))
        assert each.ids == ids[len(prompt) :]
    (scores,) = label_logprobs(lm, [prompts[0]], [[[20, 21], [22]]], batch=2)
    whole = lm.head.logits(lm.hidden(torch.tensor([[*prompts[0], 20, 21]])))[0].double().log_softmax(-1)
    assert scores[0] == pytest.approx(float(whole[2, 20] + whole[3, 21]), rel=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_a_gated_prefix_begins_at_the_base_and_leaves_it(family: str) -> None:
    lm = model(family)
    ids = torch.arange(5, 13)[None]
    base = lm.hidden(ids)
    before = lm.net.config._attn_implementation
    adapter = Prefix(length=LENGTH).attach(lm, torch_stream(0, "init"))
    assert torch.equal(lm.hidden(ids), base)
    adapter.set_state({name: tensor + 0.5 for name, tensor in adapter.state().items()})
    assert not torch.allclose(lm.hidden(ids), base, atol=1e-3)
    adapter.remove()
    assert torch.equal(lm.hidden(ids), base)
    assert lm.net.config._attn_implementation == before
    assert not any("netgain" in name for module in lm.net.modules() for name in vars(module))


def test_a_network_that_attends_on_its_own_is_refused() -> None:
    lm = model("llama")
    lm.net.config._attn_implementation = "eager"
    with pytest.raises(UserError, match="no prefix can be put into"):
        Prefix().attach(lm, torch_stream(0, "init"))
