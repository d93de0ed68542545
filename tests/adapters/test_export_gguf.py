"""A GGUF file that is written computes what the run computed, read back by another reader, or is not written."""

import sys
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, pre_tokenizers, trainers
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast

from netgain.adapters import export as module
from netgain.adapters.export import export_gguf
from netgain.adapters.lora import Lora
from netgain.adapters.method import Adapter
from netgain.errors import UserError
from netgain.models import gguf_file
from netgain.models.load import load, read_gguf, wrap
from netgain.spec.identity import torch_stream
from netgain.spec.run import ModelSpec

torch.set_num_threads(1)
TEXT = "The cat sat on the mat, and it was 12 or 13 o'clock; nobody's clock said 2 p.m. "


def bpe() -> PreTrainedTokenizerFast:
    core = Tokenizer(BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<bos>", "<eos>"], initial_alphabet=alphabet, show_progress=False
    )
    core.train_from_iterator([TEXT * 5], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<bos>", eos_token="<eos>")


def tuned(family: str, size: float = 0.1, **config: object) -> tuple[Adapter, list[list[int]]]:
    tok = bpe()
    bare = load(ModelSpec(id=f"config:{family}", config={"vocab_size": len(tok) + 4, "seed": 1, **config}))
    adapter = Lora(r=4).attach(wrap(bare.net, tok, f"a {family}"), torch_stream(0, "init"))
    g = torch.Generator().manual_seed(1)
    adapter.set_state({n: t + size * torch.randn(t.shape, generator=g) for n, t in adapter.state().items()})
    return adapter, [tok.encode(TEXT), tok.encode("13 clocks, café"), tok.encode("a")]


@pytest.mark.parametrize(
    ("family", "config"),
    [("llama", {}), ("qwen2", {"tie_word_embeddings": False}), ("qwen3", {"head_dim": 128})],
    ids=["llama", "qwen2", "qwen3"],
)
@pytest.mark.parametrize(("kind", "most"), [("f32", 1e-5), ("f16", 1e-2)])
def test_a_file_is_read_back_as_the_tuned_model(
    family: str, config: dict[str, object], kind: str, most: float, tmp_path: Path
) -> None:
    adapter, probes = tuned(family, **config)
    steps = export_gguf(adapter, tmp_path / "out.gguf", probes, kind, None)
    assert steps["merged"].difference < 1e-5
    assert steps["gguf"].difference <= most
    assert steps["gguf"].positions == sum(map(len, probes))
    assert [path.name for path in tmp_path.iterdir()] == ["out.gguf"]
    net, tok = read_gguf(tmp_path / "out.gguf", torch.float32)
    assert tok.encode(TEXT) == adapter.lm.tok.encode(TEXT)
    ids = torch.tensor([probes[0]])
    with torch.no_grad(), adapter.off():
        base = adapter.lm.head.logits(adapter.lm.hidden(ids))
        far = (net(input_ids=ids).logits - base).abs().max() / base.abs().max()
    assert far > 0.1, "the adapter changes the model, so a file of the base would not pass"


@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_eight_bits_are_within_what_they_may_cost_or_not_written(family: str, tmp_path: Path) -> None:
    adapter, probes = tuned(family, size=0.0)
    steps = export_gguf(adapter, tmp_path / "out.gguf", probes, "q8_0", None)
    assert 1e-4 < steps["gguf"].difference <= 5e-2
    wild, probes = tuned(family, size=0.1)
    with pytest.raises(UserError, match=r"allowed 0\.05 in q8_0"):
        export_gguf(wild, tmp_path / "wild.gguf", probes, "q8_0", None)
    assert [path.name for path in tmp_path.iterdir()] == ["out.gguf"]


@pytest.mark.parametrize("broken", ["q_proj", "norm"])
def test_a_file_that_computes_something_else_is_not_written(
    broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter, probes = tuned("llama")
    whole = gguf_file._tensors

    def other(net, family):
        name = {"q_proj": "blk.0.attn_q.weight", "norm": "blk.1.ffn_norm.weight"}[broken]
        for place, values in whole(net, family):
            yield (
                place,
                values[::-1].copy() if broken == "q_proj" and place == name else values * (1.5 if place == name else 1),
            )

    monkeypatch.setattr(gguf_file, "_tensors", other)
    with pytest.raises(UserError, match=r"not written\. The gguf computes other logits"):
        export_gguf(adapter, tmp_path / "out.gguf", probes, "f32", None)
    assert list(tmp_path.iterdir()) == []


def test_a_file_whose_tokenizer_reads_otherwise_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    adapter, probes = tuned("llama")
    real = module.read_gguf
    monkeypatch.setattr(module, "read_gguf", lambda file, dtype: (real(file, dtype)[0], bare_tokenizer()))
    with pytest.raises(UserError, match=r"reads .* as other ids"):
        export_gguf(adapter, tmp_path / "out.gguf", probes, "f32", None)
    assert list(tmp_path.iterdir()) == []


def bare_tokenizer() -> object:
    return load(ModelSpec(id="config:llama")).tok


@pytest.mark.parametrize(
    ("family", "config", "said"),
    [
        ("gemma3", {}, "not of Gemma3ForCausalLM"),
        ("llama", {"attention_bias": True}, "sets attention_bias"),
    ],
)
def test_what_netgain_cannot_write_is_one_sentence(
    family: str, config: dict[str, object], said: str, tmp_path: Path
) -> None:
    adapter, probes = tuned(family, **config)
    with pytest.raises(UserError, match=said):
        export_gguf(adapter, tmp_path / "out.gguf", probes, "f16", None)


def test_a_tokenizer_without_a_name_in_llama_cpp_is_refused(tmp_path: Path) -> None:
    lm = load(ModelSpec(id="config:llama"))
    adapter = Lora(r=4).attach(lm, torch_stream(0, "init"))
    with pytest.raises(UserError, match="how its text is split"):
        export_gguf(adapter, tmp_path / "out.gguf", [[4, 5, 6]], "f16", None)


CONVERTER = """
import sys
from pathlib import Path
from transformers import AutoModelForCausalLM, AutoTokenizer
from netgain.models.gguf_file import write
folder, _, out, _, kind = sys.argv[1:]
if kind == "q8_0":
    sys.exit("no such type")
net = AutoModelForCausalLM.from_pretrained(folder, dtype="float32")
write(net, AutoTokenizer.from_pretrained(folder), Path(out), kind, "converted")
"""


def test_a_converter_is_called_as_llama_cpps_is(tmp_path: Path) -> None:
    adapter, probes = tuned("llama")
    script = tmp_path / "convert_hf_to_gguf.py"
    script.write_text(CONVERTER)
    assert export_gguf(adapter, tmp_path / "out.gguf", probes, "f32", script)["gguf"].difference < 1e-5
    with pytest.raises(UserError, match=r"failed with exit code 1 \(no such type\)"):
        export_gguf(adapter, tmp_path / "other.gguf", probes, "q8_0", script)
    assert sys.executable
    with pytest.raises(UserError, match="exists already"):
        export_gguf(adapter, tmp_path / "out.gguf", probes, "f32", None)
