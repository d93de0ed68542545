"""A server that has loaded an export is asked as its users ask it, and refused when it says something else."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from chat_server import Answer, says, serving, transformers_server
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils.import_utils import is_serve_available

from netgain.errors import UserError
from netgain.execute.export import export_run
from netgain.execute.local import execute
from netgain.execute.served import compare_served
from netgain.ledger.store import Ledger, RunFolder
from netgain.models.embedded import path as embedded
from netgain.spec.run import Runtime
from netgain.spec.study import Study, planned

torch.set_num_threads(1)
STUDY = Study.model_validate(
    {
        "name": "served",
        "question": "Does a server say what the run says?",
        "base": {
            "model": "tiny-llama",
            "method": {"kind": "lora", "r": 4, "alpha": 16},
            "data": {"sources": {"s": {"kind": "embedded", "suite": "sentiment", "n": 16, "seed": 1}}, "dev": 4},
            "optim": {"learning_rate": 3e-2, "steps": 6, "batch": 8},
            "tasks": {"s": {"kind": "sentiment", "source": {"kind": "embedded", "suite": "sentiment", "n": 6}}},
        },
        "vary": {"arm": {"sft": {}}},
    }
)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, Path]:
    """A run that has left its base, and its merged model."""
    home = tmp_path_factory.mktemp("exported")
    assert execute(STUDY, Ledger(home / "ledger"), Runtime(device="cpu", threads=1)) == 0
    run = Ledger(home / "ledger").run(planned(STUDY)[0].sig)
    export_run(run, home / "merged", merged=True, checkpoint="final")
    return run, home / "merged"


def asked(exported: tuple[RunFolder, Path], url: str) -> str:
    return compare_served(*exported, url, model=None, key_env=None, checkpoint="final")


def noted(exported: tuple[RunFolder, Path]) -> dict[str, Any]:
    return json.loads(exported[1].with_name("merged.parity.json").read_text())["steps"]


class Loaded:
    """A model folder behind a chat server, which may have defaults of its own."""

    def __init__(self, folder: Path, **defaults: Any) -> None:
        self.net, self.tok = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
        self.defaults = {"do_sample": False, **defaults}

    def __call__(self, body: dict[str, Any], number: int) -> Answer:
        ids = self.tok.apply_chat_template(
            body["messages"], add_generation_prompt=True, return_tensors="pt", return_dict=True
        )["input_ids"]
        with torch.no_grad():
            found = self.net.generate(ids, **self.defaults, max_new_tokens=body["max_tokens"])
        return says(self.tok.decode(found[0, ids.shape[1] :], skip_special_tokens=True))


@pytest.fixture
def server() -> Iterator[Any]:
    with serving() as script:
        yield script


def test_a_server_of_the_export_is_trusted_and_the_number_is_kept(
    exported: tuple[RunFolder, Path], server: Any
) -> None:
    server.reply = Loaded(exported[1])
    assert "it writes 100.0%" in asked(exported, server.url)
    steps = noted(exported)
    assert steps.keys() == {"merged model", "served"}
    assert (steps["served"]["agreement"], steps["served"]["holds"], steps["served"]["prompts"]) == (1.0, True, 4)
    assert [(each["temperature"], each["model"]) for each in server.seen] == [(0.0, str(exported[1]))] * 4


@pytest.mark.parametrize("wrong", ["the base in place of the run", "a temperature of its own"])
def test_a_server_that_says_something_else_is_refused_and_that_is_kept(
    wrong: str, exported: tuple[RunFolder, Path], server: Any
) -> None:
    base = wrong.startswith("the base")
    server.reply = Loaded(embedded("tiny-llama")) if base else Loaded(exported[1], do_sample=True, temperature=9.0)
    with pytest.raises(UserError, match="does not answer as the run does"):
        asked(exported, server.url)
    assert not noted(exported)["served"]["holds"]


def test_a_server_without_an_answer_and_an_export_that_is_not_there_are_sentences(
    exported: tuple[RunFolder, Path], server: Any
) -> None:
    server.reply = lambda body, n: (400, b"no")
    with pytest.raises(UserError, match="no answer"):
        asked(exported, server.url)
    with pytest.raises(UserError, match="no such export"):
        asked((exported[0], exported[1] / "nowhere"), server.url)


@pytest.mark.slow
@pytest.mark.skipif(not is_serve_available(), reason="pip install 'transformers[serving]' brings the server")
def test_transformers_own_server_says_what_the_run_says(exported: tuple[RunFolder, Path], tmp_path: Path) -> None:
    with transformers_server(exported[1], tmp_path / "serve.log") as url:
        assert "it writes 100.0%" in asked(exported, url)
    with transformers_server(embedded("tiny-llama"), tmp_path / "base.log") as url, pytest.raises(UserError):
        compare_served(*exported, url, model=str(embedded("tiny-llama")), key_env=None, checkpoint="final")
