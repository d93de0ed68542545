"""Hand over what was learned: the adapter, or the network with the adapter merged, after checking that it computes
what the run computed. What differs is not written."""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from netgain.adapters.method import Adapter
from netgain.errors import UserError
from netgain.models.lm import LM
from netgain.models.load import read_gguf

TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 5e-2, torch.float16: 1e-2}
"""The largest allowed |exported - tuned| logit, as a share of the largest |tuned| logit, by the dtype of the weights.
A merge rounds base + delta to that dtype once."""

GGUF = {"f32": 1e-4, "f16": 1e-2, "q8_0": 5e-2}
"""The same for the weights of a GGUF file, read back in float32; never less than for the run's own dtype."""
CONVERTER = "convert_hf_to_gguf.py"


@dataclass(frozen=True)
class Parity:
    """How far the exported model's logits are from the run's, over every position of the probe prompts."""

    difference: float
    tolerance: float
    same_choice: float  # share of positions where both rank the same token first
    positions: int

    @property
    def holds(self) -> bool:
        """Whether the difference is a number within the tolerance."""
        return self.difference <= self.tolerance

    def to_json(self) -> dict[str, Any]:
        """As it is recorded beside what was written."""
        return {**asdict(self), "holds": self.holds}


def export(adapter: Adapter, folder: Path, probes: Sequence[Sequence[int]], *, merged: bool) -> Parity:
    """Write the adapter (its own format) or the merged model with its tokenizer to `folder`, which must not exist.

    What is compared is what was read back from the written files: a merged model as a plain network, an adapter by
    loading it in place, which must leave every logit as it was.
    """
    if folder.exists():
        raise UserError(f"{folder}: exists already; name a folder that does not.")
    lm = adapter.lm
    tuned = _logits(lm, probes)
    draft = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        if merged:
            adapter.merged().save_pretrained(str(draft))
            lm.tok.save_pretrained(str(draft))
            back = _net_logits(_read(lm, draft), probes)
        else:
            adapter.save(draft)
            adapter.load(draft)
            back = _logits(lm, probes)
        parity = compare(tuned, back, lm.dtype)
        if not parity.holds:
            raise UserError(
                f"{folder}: not written. The {'merged model' if merged else 'adapter'} computes other logits than the "
                f"run (largest difference {parity.difference:.2g} of the largest logit, allowed {parity.tolerance:.2g} "
                f"in {str(lm.dtype).removeprefix('torch.')})."
            )
        draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return parity


def export_gguf(
    adapter: Adapter, file: Path, probes: Sequence[Sequence[int]], kind: str, converter: Path | None
) -> dict[str, Parity]:
    """Write the merged network as a GGUF file of the weights `kind`; how far each step is from the run.

    llama.cpp's converter does it where there is one, else netgain does for the families that it knows. What is
    compared was read back from the file, and its tokenizer has to give the ids of the probes back from their text.
    """
    if file.exists():
        raise UserError(f"{file}: exists already; name a file that does not.")
    if find_spec("gguf") is None:
        raise UserError(f"{file}: writing GGUF needs the gguf package: pip install gguf.")
    lm = adapter.lm
    tuned = _logits(lm, probes)
    with tempfile.TemporaryDirectory(prefix=f".{file.name}", dir=file.parent) as home:
        merged, draft = Path(home) / "merged", Path(home) / "draft.gguf"
        adapter.merged().save_pretrained(str(merged))
        lm.tok.save_pretrained(str(merged))
        net = _read(lm, merged)
        found = {"merged": compare(tuned, _net_logits(net, probes), lm.dtype)}
        _write_gguf(lm, net, merged, draft, kind, converter)
        back, tok = read_gguf(draft, torch.float32)
        other = compare(tuned, _net_logits(back.to(lm.device).eval(), probes), torch.float32)
        found["gguf"] = replace(other, tolerance=max(GGUF[kind], TOLERANCE[lm.dtype]))
        for name, parity in found.items():
            if not parity.holds:
                raise UserError(
                    f"{file}: not written. The {name} computes other logits than the run (largest difference "
                    f"{parity.difference:.2g} of the largest logit, allowed {parity.tolerance:.2g} in {kind})."
                )
        for text in [lm.tok.decode(list(probe)) for probe in probes]:
            if tok.encode(text, add_special_tokens=False) != lm.tok.encode(text, add_special_tokens=False):
                raise UserError(
                    f'{file}: not written. Its tokenizer reads "{str(text)[:40]}" as other ids than the run.'
                )
        draft.rename(file)
    return found


def _write_gguf(lm: LM, net: nn.Module, merged: Path, draft: Path, kind: str, converter: Path | None) -> None:
    if converter is None:
        from netgain.models.gguf_file import write

        assert isinstance(net, PreTrainedModel)
        write(net, lm.tok, draft, kind, lm.name)
        return
    command = [sys.executable, str(converter), str(merged), "--outfile", str(draft), "--outtype", kind]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode or not draft.exists():
        last = (done.stderr.strip() or "it wrote nothing").splitlines()[-1]
        raise UserError(f"{converter}: failed with exit code {done.returncode} ({last}).")


def compare(tuned: Sequence[Tensor], back: Sequence[Tensor], dtype: torch.dtype) -> Parity:
    """max |back - tuned| / max |tuned| over the probes, and how often both choose the same token."""
    a, b = torch.cat(list(tuned)), torch.cat(list(back))
    difference = float((a - b).abs().max() / a.abs().max())
    same = float((a.argmax(-1) == b.argmax(-1)).double().mean())
    return Parity(difference, TOLERANCE[dtype], same, len(a))


def _read(lm: LM, folder: Path) -> nn.Module:
    net = type(lm.net).from_pretrained(str(folder), dtype=lm.dtype, local_files_only=True)
    assert isinstance(net, PreTrainedModel)
    return net.to(device=lm.device).eval()  # type: ignore[arg-type]


@torch.no_grad()
def _logits(lm: LM, probes: Sequence[Sequence[int]]) -> list[Tensor]:
    return [lm.head.logits(lm.hidden(_ids(lm, probe)))[0].double() for probe in probes]


@torch.no_grad()
def _net_logits(net: nn.Module, probes: Sequence[Sequence[int]]) -> list[Tensor]:
    device = next(net.parameters()).device
    ids = [torch.tensor([list(probe)], device=device) for probe in probes]
    return [net(input_ids=probe, use_cache=False).logits[0].double() for probe in ids]


def _ids(lm: LM, probe: Sequence[int]) -> Tensor:
    return torch.tensor([list(probe)], device=lm.device)
