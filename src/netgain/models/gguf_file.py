"""Write a network of the Llama or Qwen family as a GGUF file.

What llama.cpp's own converter knows and this does not (other families, scaled positions, tokenizers that are no
byte-level BPE that llama.cpp has a name for) is refused: a file with a guessed tokenizer would load, and answer badly.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from netgain.errors import UserError

FAMILIES = {"LlamaForCausalLM": "llama", "Qwen2ForCausalLM": "qwen2", "Qwen3ForCausalLM": "qwen3"}
TYPES = {
    "f32": gguf.GGMLQuantizationType.F32,
    "f16": gguf.GGMLQuantizationType.F16,
    "q8_0": gguf.GGMLQuantizationType.Q8_0,
}
FILE_TYPES = {
    "f32": gguf.LlamaFileType.ALL_F32,
    "f16": gguf.LlamaFileType.MOSTLY_F16,
    "q8_0": gguf.LlamaFileType.MOSTLY_Q8_0,
}
CONVERTER = "give llama.cpp's convert_hf_to_gguf.py with --converter"
REGEXES = {r"\p{N}{1,3}": "llama-bpe", r"|\p{N}|": "qwen2"}
"""What splits numbers in the pattern of a byte-level BPE -> llama.cpp's name of that pattern."""


def write(net: PreTrainedModel, tok: PreTrainedTokenizerBase, file: Path, kind: str, name: str) -> None:
    """Weights as `kind` (f32, f16, q8_0), but vectors, and rows that blocks of q8_0 do not fit, more exactly."""
    family, config = _family(net, name), net.config
    tokens = _Tokens(tok, config.vocab_size, name)
    writer = gguf.GGUFWriter(file, family)
    writer.add_name(re.sub(r"[^\w.-]+", "-", name))
    writer.add_file_type(FILE_TYPES[kind])
    writer.add_vocab_size(config.vocab_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_rope_dimension_count(_head_size(config))
    writer.add_key_length(_head_size(config))
    writer.add_value_length(_head_size(config))
    tokens.add(writer)
    for place, values in _tensors(net, family):
        writer.add_tensor(place, _stored(values, kind), raw_dtype=_type(values, kind))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _family(net: PreTrainedModel, name: str) -> str:
    """llama.cpp's name of the architecture, where everything in the config has a place in the file."""
    config, architecture = net.config, type(net).__name__
    if architecture not in FAMILIES:
        raise UserError(f"{name}: netgain writes GGUF of Llama and Qwen models, not of {architecture}; {CONVERTER}.")
    unusual = {
        "rope_type": config.rope_parameters.get("rope_type", "default") != "default",
        "attention_bias": bool(getattr(config, "attention_bias", False)),
        "mlp_bias": bool(getattr(config, "mlp_bias", False)),
        "use_sliding_window": bool(getattr(config, "use_sliding_window", False)),
    }
    for field, on in unusual.items():
        if on:
            raise UserError(f"{name}: netgain writes no GGUF of a model whose config sets {field}; {CONVERTER}.")
    return FAMILIES[architecture]


def _head_size(config: Any) -> int:
    return getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads


def _tensors(net: PreTrainedModel, family: str) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """(its name in the file, its values) of every tensor; the queries and keys of Llama turn in llama.cpp's order."""
    config = net.config
    arch = next(key for key, value in gguf.MODEL_ARCH_NAMES.items() if value == family)
    places = gguf.get_tensor_name_map(arch, config.num_hidden_layers)
    for name, tensor in net.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        place = places.get_name(name, try_suffixes=(".weight", ".bias"))
        if place is None:
            raise UserError(f"GGUF has no place for the tensor {name} of a {family} model; {CONVERTER}.")
        values = tensor.detach().float().cpu().numpy()
        if family == "llama" and re.search(r"\.(q|k)_proj\.", name):
            heads = config.num_attention_heads if ".q_proj." in name else config.num_key_value_heads
            halves = values.reshape(heads, 2, values.shape[0] // heads // 2, *values.shape[1:])
            values = halves.swapaxes(1, 2).reshape(values.shape)
        yield place, np.ascontiguousarray(values)


def _type(values: NDArray[np.float32], kind: str) -> gguf.GGMLQuantizationType:
    if values.ndim < 2:
        return TYPES["f32"]
    return TYPES["f16"] if kind == "q8_0" and values.shape[-1] % 32 else TYPES[kind]


def _stored(values: NDArray[np.float32], kind: str) -> NDArray[Any]:
    return gguf.quants.quantize(values, _type(values, kind))


class _Tokens:
    """A byte-level BPE in the words of llama.cpp."""

    def __init__(self, tok: PreTrainedTokenizerBase, size: int, name: str) -> None:
        self._tok: Any = tok
        backend = getattr(tok, "backend_tokenizer", None)
        self._tree: dict[str, Any] = {} if backend is None else json.loads(backend.to_str())
        if self._tree.get("model", {}).get("type") != "BPE" or self._tree.get("normalizer"):
            raise UserError(f"{name}: netgain writes GGUF with byte-level BPE tokenizers only; {CONVERTER}.")
        self._pattern = _pattern(self._tree.get("pre_tokenizer"))
        if self._pattern is None:
            raise UserError(f"{name}: llama.cpp has no name that netgain knows for how its text is split; {CONVERTER}.")
        self._size = size

    def add(self, writer: gguf.GGUFWriter) -> None:
        """Every token with its type, the merges, the special tokens, the chat template."""
        tok = self._tok
        by_id = {i: token for token, i in tok.get_vocab().items()}
        special = {i for i, added in tok.added_tokens_decoder.items() if added.special}
        added = set(tok.added_tokens_decoder) - special
        kinds = gguf.TokenType
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(str(self._pattern))
        writer.add_token_list([by_id.get(i, f"[PAD{i}]") for i in range(self._size)])
        writer.add_token_types(
            [
                kinds.UNUSED if i not in by_id
                else kinds.CONTROL if i in special
                else kinds.USER_DEFINED if i in added
                else kinds.NORMAL
                for i in range(self._size)
            ]
        )  # fmt: skip
        merges = self._tree["model"]["merges"]
        writer.add_token_merges([each if isinstance(each, str) else " ".join(each) for each in merges])
        first = tok.encode("a")[0]
        writer.add_add_bos_token(tok.bos_token_id is not None and first == tok.bos_token_id)
        for add, i in (
            (writer.add_bos_token_id, tok.bos_token_id),
            (writer.add_eos_token_id, tok.eos_token_id),
            (writer.add_pad_token_id, tok.pad_token_id),
        ):
            if i is not None:
                add(i)
        if tok.chat_template:
            writer.add_chat_template(tok.chat_template)


def _pattern(split: dict[str, Any] | None) -> str | None:
    """llama.cpp's name of how a byte-level BPE splits a text, None where there is none that is known."""
    steps = [] if split is None else split.get("pretokenizers", [split])
    if not steps or steps[-1]["type"] != "ByteLevel" or steps[-1].get("add_prefix_space"):
        return None
    if steps[-1].get("use_regex", True):
        if len(steps) == 1:
            return "gpt-2"
        digits = steps[0]["type"] == "Digits" and steps[0].get("individual_digits")
        return "smollm" if len(steps) == 2 and digits else None
    if len(steps) != 2 or steps[0]["type"] != "Split" or "Regex" not in steps[0]["pattern"]:
        return None
    return next((name for part, name in REGEXES.items() if part in steps[0]["pattern"]["Regex"]), None)
