"""From what a study file calls a model to an LM: embedded names, folders, GGUF files, hub ids, random tiny configs."""

import hashlib
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.utils import logging as hub_logging
from safetensors import SafetensorError
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    modeling_gguf_pytorch_utils,
)
from transformers.utils import logging as transformers_logging

from netgain.errors import UserError
from netgain.models import causal, embedded, masked, tiny
from netgain.models.lm import LM, Frame
from netgain.spec.denoise import Denoise
from netgain.spec.run import ModelSpec

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
RANDOM = "config:"

logger = logging.getLogger(__name__)


def load(spec: ModelSpec, device: str | torch.device = "cpu") -> LM:
    """The frozen model that a spec names, on a device, verified to be a body with a linear head."""
    _quiet()
    if spec.id.startswith(RANDOM):
        net, tok = tiny.build(spec.id.removeprefix(RANDOM), spec.config)
        _move(net, DTYPES[spec.dtype])
    else:
        if spec.config:
            raise UserError(f'model.config: only a random model ("config:qwen3") takes a config, not {spec.id}.')
        net, tok = _pretrained(spec)
    _set_template(tok, spec, net.config.architectures)
    if spec.quantise is None:
        _move(net, torch.device(device))
    return wrap(net, tok, spec.id, spec.denoise)


def _quiet() -> None:
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    hub_logging.set_verbosity_error()


def tokenizer(spec: ModelSpec) -> PreTrainedTokenizerBase:
    """The tokenizer of the model that a spec names, with its chat template; no weight is read."""
    _quiet()
    if spec.id.startswith(RANDOM):
        tok: Any = tiny.byte_tokenizer()
        architectures = tiny.architectures(spec.id.removeprefix(RANDOM))
    else:
        place = _locate(spec.id)
        keywords: dict[str, Any] = {"revision": spec.revision, "trust_remote_code": spec.trust_remote_code}
        try:
            architectures = AutoConfig.from_pretrained(place, **keywords).architectures
            tok = AutoTokenizer.from_pretrained(place, **keywords)
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise UserError(f"{spec.id}: {_why(spec.id, place, error)}") from None
    _set_template(tok, spec, architectures)
    return tok


def _set_template(tok: PreTrainedTokenizerBase, spec: ModelSpec, architectures: list[str] | None) -> None:
    if spec.chat_template is not None:
        tok.chat_template = _template(spec.chat_template)
    if spec.denoise is not None and spec.denoise.mask is not None:
        masked.name_mask(tok, spec.denoise.mask, spec.id)
    if masked.is_masked(architectures):
        masked.prepare(tok, spec.id)


def _move(net: nn.Module, where: torch.device | torch.dtype) -> None:
    net.to(where)


def wrap(net: PreTrainedModel, tok: PreTrainedTokenizerBase, name: str, denoise: Denoise | None = None) -> LM:
    """An LM over a network and its tokenizer: frozen, in evaluation mode, verified."""
    embeddings = net.get_input_embeddings()
    if isinstance(embeddings, nn.Embedding) and tok.vocab_size > embeddings.num_embeddings:
        raise UserError(
            f"{name}: its tokenizer has {tok.vocab_size:,} tokens and the model embeds {embeddings.num_embeddings:,}; "
            "they do not belong together."
        )
    net.requires_grad_(False)
    net.eval()
    eos = _eos_ids(net, tok)
    text = net.config.get_text_config()
    lm = LM(
        net,
        tok,
        name,
        device=net.device,
        frame=_frame(net, name, denoise),
        eos_ids=eos,
        pad_id=tok.pad_token_id if isinstance(tok.pad_token_id, int) else (*eos, 0)[0],
        max_positions=getattr(text, "max_position_embeddings", None),
        denoise=denoise,
    )
    causal.verify(lm)
    return lm


def _frame(net: PreTrainedModel, name: str, denoise: Denoise | None) -> Frame:
    """A model's class decides whether it fills in, unless its spec names the token that hides."""
    if masked.is_masked(net.config.architectures):
        return masked.frame(net, name)
    found = causal.frame(net, name)
    told = denoise is not None and denoise.mask is not None
    return replace(found, causal=False, both_ways=True) if told else found


def _eos_ids(net: PreTrainedModel, tok: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """Every token that ends a text: the tokenizer's and those of the generation config, sorted."""
    writing = getattr(net, "generation_config", None)  # a masked language model has none
    configured = None if writing is None else writing.eos_token_id
    ids = [*(configured if isinstance(configured, list) else [configured]), tok.eos_token_id]
    return tuple(sorted({i for i in ids if isinstance(i, int)}))


def _template(text: str) -> str:
    """A chat template: Jinja text, or the path of a file that holds it."""
    if "{" in text:
        return text
    try:
        return Path(text).read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f'model.chat_template: "{text}" is neither Jinja nor a readable file: {error}.') from None


def _pretrained(spec: ModelSpec) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    place = _locate(spec.id)
    keywords: dict[str, Any] = {
        "revision": spec.revision,
        "trust_remote_code": spec.trust_remote_code,
        "dtype": DTYPES[spec.dtype],
        "use_safetensors": True,
        "output_loading_info": True,
    }
    if spec.quantise == "4bit":
        keywords["quantization_config"] = _four_bit(DTYPES[spec.dtype])
    try:
        own = {"revision": spec.revision, "trust_remote_code": spec.trust_remote_code}
        hidden = masked.is_masked(AutoConfig.from_pretrained(place, **own).architectures)
        loaded: Any = (AutoModelForMaskedLM if hidden else AutoModelForCausalLM).from_pretrained(place, **keywords)
        tok = AutoTokenizer.from_pretrained(place, revision=spec.revision, trust_remote_code=spec.trust_remote_code)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise UserError(f"{spec.id}: {_why(spec.id, place, error)}") from None
    net, info = loaded
    if info["missing_keys"]:
        names = sorted(info["missing_keys"])
        raise UserError(f'{spec.id}: {len(names)} of its weights are missing from the files, such as "{names[0]}".')
    return net, tok


def _why(name: str, place: str, error: Exception) -> str:
    """One sentence from the first line of a library's error."""
    first = str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__
    if Path(place).is_dir():
        return f"this model folder cannot be read ({first}); check or replace {place}."
    return f"no embedded model, no folder, no GGUF file, and the hub gave none ({first}); check model.id."


def _locate(name: str) -> str:
    """What `from_pretrained` takes: a folder, or a hub id."""
    if name in embedded.NAMES:
        return str(embedded.path(name))
    path = Path(name).expanduser()
    if path.suffix == ".gguf":
        return str(from_gguf(path))
    if path.is_dir():
        if not (path / "config.json").exists():
            raise UserError(f"{name}: this folder holds no config.json, so it is no model.")
        return str(path)
    if path.exists() or path.is_absolute() or name.startswith("."):
        raise UserError(f"{name}: no such model folder.")
    return name


def cache_folder() -> Path:
    """Where converted models are kept: $NETGAIN_CACHE, else netgain in the user's cache folder."""
    if chosen := os.environ.get("NETGAIN_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "netgain"


def from_gguf(file: Path) -> Path:
    """The folder of a GGUF file's dequantised weights, converted once per content; float16, half of float32's size."""
    if not file.is_file():
        raise UserError(f"{file}: no such GGUF file.")
    if find_spec("gguf") is None:
        raise UserError(f"{file}: reading GGUF needs the gguf package: pip install gguf.")
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    target = cache_folder() / "gguf" / f"{file.stem}-{digest[:16]}"

    def convert(folder: Path) -> None:
        _quiet()
        logger.warning("converting %s, once", file.name)
        _convert(file, folder)

    return made_once(target, convert)


def made_once(target: Path, make: Callable[[Path], object]) -> Path:
    """The folder `target`, made on first use; whoever is faster keeps his, and a killed one leaves nothing there."""
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=target.name, dir=target.parent))
    try:
        make(partial)
        _place(partial, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target


def _place(partial: Path, target: Path) -> None:
    """Give a finished folder its name; when another process was faster, its folder stays."""
    try:
        partial.rename(target)
    except OSError:
        if not target.exists():
            raise


def read_gguf(file: Path, dtype: torch.dtype) -> tuple[Any, PreTrainedTokenizerBase]:
    """The network of a GGUF file, dequantised, and its tokenizer."""
    try:
        with _no_bars():
            net = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=dtype)
        return net, AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise UserError(f"{file}: this GGUF file cannot be read ({str(error).strip().splitlines()[0]}).") from None


def _convert(file: Path, folder: Path) -> None:
    net, tok = read_gguf(file, torch.float16)
    net.hf_quantizer = None
    if hasattr(net.config, "quantization_config"):
        del net.config.quantization_config
    net.save_pretrained(folder)
    tok.save_pretrained(folder)


@contextmanager
def _no_bars() -> Iterator[None]:
    """The GGUF reader draws its progress bar whatever the library's verbosity says."""
    names = modeling_gguf_pytorch_utils.__dict__
    bar, names["tqdm"] = names["tqdm"], lambda tensors, **_: tensors
    try:
        yield
    finally:
        names["tqdm"] = bar


def _four_bit(dtype: torch.dtype) -> object:
    if find_spec("bitsandbytes") is None:
        raise UserError("model.quantise: 4bit needs bitsandbytes: pip install bitsandbytes, or leave quantise out.")
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )
