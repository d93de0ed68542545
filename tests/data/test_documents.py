"""A row without a prompt is a document: every token behind the first is learned, in the form that is measured."""

import json
from pathlib import Path

import pytest

from netgain.data.chat import Template
from netgain.data.source import read
from netgain.errors import UserError
from netgain.measure.evaluate import text_ids
from netgain.models.load import load
from netgain.spec.run import JsonlSource, ModelSpec

TEXT = "The dog ran to the park and played with a big red ball until the sun was gone."


def test_a_document_is_encoded_as_it_is_measured_and_loses_its_end(tmp_path: Path) -> None:
    (tmp_path / "web.jsonl").write_text("".join(json.dumps({"text": f"{TEXT} {i}"}) + "\n" for i in range(3)))
    source = JsonlSource(kind="jsonl", path=str(tmp_path / "web.jsonl"), prompt="", answer="text")
    rows = read(source, None)
    assert all(row.turns == () for row in rows)
    assert len({row.group for row in rows}) == 3, "different texts may stand on different sides of a split"
    lm = load(ModelSpec(id="tiny-llama"))
    template = Template(lm.tok)
    whole = template.encode(rows[0], 512)
    assert whole.ids == text_ids(lm, rows[0].answer)
    assert whole.supervised == [False] + [True] * (len(whole.ids) - 1)
    assert whole.content == whole.supervised
    (cut,) = template.encode_all(rows[:1], 8, "drop").rows
    assert cut.ids == whole.ids[:8]
    assert cut.truncated == len(whole.ids) - 8
    with pytest.raises(UserError, match="cuts the end of a document"):
        template.encode(rows[0], 8)


def test_rows_are_kept_by_the_value_of_a_field(tmp_path: Path) -> None:
    rows = [{"q": f"q{i}", "a": f"a{i}", "part": part} for i, part in enumerate(["x", "y", "x"])]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    place = str(tmp_path / "rows.jsonl")
    source = JsonlSource(kind="jsonl", path=place, prompt="q", answer="a", where={"part": "x"}, limit=2)
    assert [row.answer for row in read(source, None)] == ["a0", "a2"]
