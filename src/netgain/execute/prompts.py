"""What a task asks about each of its items, in words that people read: the report shows it beside the answers."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from netgain.data.source import Example
from netgain.ledger import prompts
from netgain.ledger.store import Ledger
from netgain.spec.plugin import TaskPlugin
from netgain.tasks._base import Converse, Nll, Request, tasks_of
from netgain.tasks._dialogue import item_id


def kept(tasks: Mapping[str, TaskPlugin], folder: Path | None, ledger: Ledger) -> dict[str, str]:
    """task -> digest of its prompts in the ledger."""
    found: dict[str, str] = {}
    for name, task in tasks_of(tasks).items():
        examples = task.examples(folder)
        asked = zip(examples, task.requests(examples, folder), strict=True)
        texts = {item: text for example, request in asked for item, text in _items(example, request)}
        found[name] = prompts.write(ledger, texts)
    return found


def _items(example: Example, request: Request) -> Iterator[tuple[str, str]]:
    """(item, what was asked) for every item that the example makes."""
    if isinstance(request, Converse):
        for turn, question in enumerate(request.questions, start=1):
            yield item_id(example, turn), _plain(question)
    elif isinstance(request, Nll):
        yield example.id, _plain(request.text)
    else:
        shots = len(request.demonstrations)
        before = [f"[{shots} demonstration{'s' if shots > 1 else ''}]"] if shots else []
        only = len(request.turns) == 1
        turns = [turn.text if only else f"{turn.role}: {turn.text}" for turn in request.turns]
        yield example.id, _plain("\n".join([*before, *turns]))


def _plain(text: str) -> str:
    """Text that a file can hold: half a surrogate pair becomes a question mark."""
    return text.encode("utf-8", "replace").decode()
