"""What is shown is what is fed: decoded rows, exactly the supervised tokens marked, every loss of a row counted."""

import io
import json

import numpy as np
from rich.console import Console

from netgain.data.chat import Template
from netgain.data.mix import mix
from netgain.data.overlap import overlap
from netgain.data.show import LEARNED, facts, render_examples, report, segments
from netgain.data.source import Example, Turn
from netgain.models.tiny import byte_tokenizer

ROWS = [Example(f"r{i}", f"g{i}", (Turn("user", "x" * 10 * i + "?"),), "yes\nno") for i in range(1, 6)]


def test_shown_text_is_the_fed_text_and_only_the_supervised_part_is_coloured() -> None:
    tok = byte_tokenizer()
    encoding = Template(tok).encode_all(ROWS, 64)
    for row, text in zip(encoding.rows, render_examples(tok, encoding.rows, 5), strict=True):
        assert "".join(part for part, _ in segments(tok, row)) == tok.decode(row.ids)
        assert [part for part, learned in segments(tok, row) if learned] == [" yes\nno<eos>"]
        coloured = [text.plain[span.start : span.end] for span in text.spans if span.style == LEARNED]
        assert coloured == [" yes⏎\nno<eos>"]


def test_facts_count_every_row_that_lost_something() -> None:
    tok = byte_tokenizer()
    template = Template(tok)
    pools = {"a": ROWS[:2], "b": ROWS[2:]}
    chosen, mixture = mix(pools, None, None, np.random.default_rng(0))
    shared = overlap(train=ROWS, test=ROWS[:1])
    cut = facts(tok, template.encode_all(chosen, 39, "left"), mixture, shared)
    assert (cut["rows"], cut["cut"], cut["dropped"], cut["truncation_rate"]) == (5, 3, [], 3 / 5)
    dropped = facts(tok, template.encode_all(chosen, 39, "drop"), mixture, shared)
    assert (dropped["rows"], dropped["cut"], dropped["truncation_rate"]) == (2, 0, 3 / 5)
    assert dropped["dropped"] == ["r3", "r4", "r5"]
    assert dropped["supervised"] == 2 * len(" yes\nno") + 2
    assert json.loads(json.dumps(cut)) == cut
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(report(tok, template.encode_all(chosen, 39, "left"), cut, 2))
    printed = console.export_text()
    assert "Truncation: 60.0%" in printed
    assert "cut from the left" not in printed, "only the first two rows are shown, and they are whole"
    assert "40.0%" in printed, "the share of source a"
