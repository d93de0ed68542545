"""The endpoint judge against `transformers serve`: a real server, a real model that was taught to grade."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from chat_server import transformers_server
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils.import_utils import is_serve_available

from netgain.data.source import Turn
from netgain.judges._base import Bench, Case
from netgain.judges.endpoint import Endpoint
from netgain.models.embedded import path as embedded

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not is_serve_available(), reason="pip install 'transformers[serving]' brings the server"),
]
torch.set_num_threads(1)
CASES = [
    Case(name, (Turn("user", f"What is {name}?"),), f"It is {name}, of course.", (), "stem")
    for name in ("a ball", "the sun", "rain", "a tree")
]
GRADE = "Rating: [[7]]"


def taught(folder: Path) -> Path:
    """tiny-llama, trained until it answers every grading prompt of these cases with one grade."""
    shutil.copytree(embedded("tiny-llama"), folder)
    tok = AutoTokenizer.from_pretrained(folder)
    net = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    net.config.max_position_embeddings = max(net.config.max_position_embeddings, 1024)
    asking = judge("http://localhost", "m")._words(None)
    rows: list[tuple[list[int], int]] = []
    for case in CASES:
        messages = [{"role": role, "content": text} for role, text in asking.single(case)]
        prompt = tok.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        before = tok.encode(prompt, add_special_tokens=False)
        rows.append((before + tok.encode(GRADE, add_special_tokens=False) + [tok.eos_token_id], len(before)))
    optimiser = torch.optim.AdamW(net.parameters(), lr=3e-3)
    for step in range(120):
        ids, start = rows[step % len(rows)]
        labels = torch.tensor([[-100] * start + ids[start:]])
        loss = net(input_ids=torch.tensor([ids]), labels=labels).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if float(loss.detach()) < 0.01 and step > 8:
            break
    net.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """(url, model) of a server on this machine."""
    folder = taught(tmp_path_factory.mktemp("served") / "grader")
    with transformers_server(folder, folder / "serve.log") as url:
        yield url, str(folder)


def judge(url: str, model: str, **fields: object) -> Endpoint:
    patient = {"attempts": 2, "backoff": 0.1, "timeout": 60.0, "workers": 2, "max_tokens": 24}
    return Endpoint.model_validate({"kind": "endpoint", "url": url, "model": model, **patient, **fields})


def test_a_served_model_grades_and_is_not_asked_twice(served: tuple[str, str], tmp_path: Path) -> None:
    bench = Bench(None, tmp_path / "cache")
    found = judge(*served).rate(CASES, bench)
    assert [[(each.value, each.reason) for each in ratings] for ratings in found] == [[(7.0, None)]] * len(CASES)
    kept = {path.name: path.read_bytes() for path in (bench.cache / "endpoint").rglob("*") if path.is_file()}
    assert judge(*served).rate(CASES, bench) == found
    assert {path.name: path.read_bytes() for path in (bench.cache / "endpoint").rglob("*") if path.is_file()} == kept


def test_an_answer_without_a_grade_is_missing_and_its_tokens_are_counted(
    served: tuple[str, str], tmp_path: Path
) -> None:
    bench = Bench(None, tmp_path / "cache")
    (found,) = judge(*served, max_tokens=2).rate(CASES[:1], bench)
    assert (found[0].value, found[0].reason) == (None, "judge_cut")
    (note,) = (bench.cache / "spent").iterdir()
    assert '"requests": 1' in note.read_text()


def test_both_orders_are_asked_and_words_that_are_no_verdict_are_none(served: tuple[str, str], tmp_path: Path) -> None:
    (found,) = judge(*served).prefer([(CASES[0], CASES[1])], Bench(None, tmp_path / "cache"))
    assert found.value is None or found.a_first in ("A", "B", "tie")
