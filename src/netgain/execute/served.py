"""`netgain export --served`: whether a server that has loaded an export writes what the run writes.

    agreement   as in models/engine.py, over greedy answers to the probe prompts, in the run's tokens

A server brings its own kernels, chat template, special tokens and defaults, and any of them may change what a model
says. So it is asked as its users ask it, with messages, and the text that comes back is what is compared.
"""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

from netgain.data.source import Turn
from netgain.errors import UserError
from netgain.execute.export import opened, parity_file, record
from netgain.judges._chat import Question, Reply
from netgain.judges.endpoint import Endpoint
from netgain.ledger.store import RunFolder
from netgain.models.engine import NEEDED, agreement
from netgain.models.generate import generate

BUDGET = 24
"""Tokens of an answer: a wrong template, adapter or position shows in the first of them."""


def compare_served(
    folder: RunFolder, out: Path, url: str, *, model: str | None, key_env: str | None, checkpoint: str
) -> str:
    """One line about how well the server agrees with the run; refused when it does not."""
    if not out.exists():
        raise UserError(f"{out}: no such export; write it first, and let the server load it.")
    adapter, template, asked = opened(folder, checkpoint)
    lm = adapter.lm
    if template.mode != "chat":
        raise UserError(f"{lm.name}: its tokenizer has no chat template, so a chat server is asked other prompts.")
    prompts = [template.prompt(turns) for turns in asked]
    own = generate(lm, prompts, max_new_tokens=BUDGET, stop_ids=template.stop_ids)
    replies = _replies(url, model or str(out), key_env, asked)

    def ids(text: str) -> list[int]:
        return lm.tok.encode(text, add_special_tokens=False)[:BUDGET]

    alike = agreement([ids(each.text) for each in own], [ids(text) for text in replies])
    step = {"agreement": alike, "needed": NEEDED, "prompts": len(asked), "url": url, "holds": alike >= NEEDED}
    known = parity_file(out)
    before = json.loads(known.read_text(encoding="utf-8")) if known.exists() else {"export": out.name, "steps": {}}
    record(out, folder, checkpoint, before["export"], {**before["steps"], "served": step})
    if not step["holds"]:
        raise UserError(
            f"{url} does not answer as the run does: of what the run writes behind {len(asked)} probe prompts it "
            f"writes {alike:.0%} (needed: {NEEDED:.0%}). Compare its chat template, adapter and sampling defaults."
        )
    return f"{url}: of what {folder.sig} writes behind {len(asked)} probe prompts it writes {alike:.1%}."


def _replies(url: str, model: str, key_env: str | None, asked: Sequence[tuple[Turn, ...]]) -> list[str]:
    """The server's greedy answers."""
    fields = {"url": url, "model": model, "key_env": key_env, "max_tokens": BUDGET, "attempts": 3, "workers": 1}
    server = Endpoint.model_validate({"kind": "endpoint", **fields})
    server.ready(None)
    questions = [Question(tuple((turn.role, turn.text) for turn in turns)) for turns in asked]
    with tempfile.TemporaryDirectory() as cache:
        return [_text(url, reply) for reply in server.client(Path(cache)).ask_all(questions)]


def _text(url: str, reply: Reply) -> str:
    if reply.text is None:
        raise UserError(f"{url}: no answer ({reply.reason}); see to the server and run again.")
    return reply.text
