"""Whatever a file holds, reading and auditing it ends in findings or in one sentence, in bounded time and memory."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netgain.audit import run
from netgain.errors import UserError
from netgain.interop._md_blocks import MAX_LINES
from netgain.interop.documents import MAX_BYTES, parse_csv, parse_markdown, read

CELL = st.one_of(
    st.sampled_from(
        ["", "λ", "0,25", "56.6%", "0.566", "−0.000", "1e400", "±", "**3.1**", "← best", "n/a", "1,234.5", "10 %"]
    ),
    st.floats(allow_nan=True, allow_infinity=True).map(str),
    st.text(max_size=12),
)
ROW = st.lists(CELL, max_size=7)
NAMES = st.lists(
    st.sampled_from(
        [
            "Task",
            "λ",
            "Seed",
            "Method",
            "Score",
            "Best acc (%)",
            "Final acc (%)",
            "Baseline",
            "Final",
            "Delta",
            "base",
            "oracle",
            "mean",
            "gap_recovered",
            "Std",
            "n",
            "Planned",
            "Actual",
            "Parameter",
            "",
        ]
    ),
    min_size=1,
    max_size=7,
)
JUNK = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def pipe(cells: list[str]) -> str:
    return "| " + " | ".join(c.replace("\n", " ").replace("\r", " ") for c in cells) + " |"


@JUNK
@given(names=NAMES, rows=st.lists(ROW, max_size=8), before=st.text(max_size=60), after=st.text(max_size=200))
def test_ragged_tables_are_findings(
    tmp_path: Path, names: list[str], rows: list[list[str]], before: str, after: str
) -> None:
    lines = [before, "", pipe(names), "|" + "---|" * len(names), *map(pipe, rows), "", after]
    path = tmp_path / "any.md"
    path.write_text("\n".join(lines), encoding="utf-8", errors="surrogatepass")
    run([path]).to_sarif()


@JUNK
@given(names=NAMES, rows=st.lists(ROW, max_size=6))
def test_csv_tables_are_findings(tmp_path: Path, names: list[str], rows: list[list[str]]) -> None:
    path = tmp_path / "any.csv"
    path.write_text("\n".join(";".join(r) for r in [names, *rows]), encoding="utf-8", errors="replace")
    run([path]).to_json()


@JUNK
@given(content=st.binary(max_size=400))
def test_bytes_are_findings(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "any.md"
    path.write_bytes(content)
    run([path])


@JUNK
@given(text=st.text(alphabet=st.sampled_from(list("|-:#=>→%().,0123456789 \nabλ*`\"'")), max_size=300))
def test_markup_soup_is_a_document(text: str) -> None:
    parse_markdown(text)
    parse_csv(text)


@pytest.mark.parametrize("name", ["empty.md", "empty.csv", "empty.txt"])
def test_an_empty_file_is_one_warning(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"")
    assert [f.evidence for f in run([path]).findings] == ["The file is empty."]


def test_a_binary_file_is_one_error(tmp_path: Path) -> None:
    path = tmp_path / "weights.md"
    path.write_bytes(b"\x00\x01\x02" * 1000)
    assert [(f.code, str(f.severity)) for f in run([path]).findings] == [("NG390", "error")]


def test_junk_is_not_read_as_parquet(tmp_path: Path) -> None:
    path = tmp_path / "any.parquet"
    path.write_bytes(b"PAR1 nothing PAR1")
    assert [f.code for f in run([path]).findings] == ["NG390"]


UNITS = [
    b"| 0.5 | 1 |\n",
    b"x" * 1000,
    b"no number\n",
    b"Q1-9 (gains 3%) -> 0.5; a=1, b: 2 \n",
    b"((((",
    b"[](",
    b"a |--|",
    b"1,2 = ",
]


@pytest.mark.parametrize("unit", UNITS)
def test_junk_is_bounded(tmp_path: Path, unit: bytes) -> None:
    path = tmp_path / "junk.md"
    path.write_bytes(unit * (60_000 // len(unit)))
    run([path])


def test_two_hundred_megabytes_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "junk.md"
    with path.open("wb") as out:
        out.write(b"no numbers here\n" * (MAX_BYTES // 16))
        out.truncate(200_000_000)  # sparse
    found = run([path]).findings
    assert f"Only the first {MAX_BYTES // 1_000_000} MB were read." in [f.evidence for f in found]
    assert {f.code for f in found} == {"NG390"}
    assert len(read(path).sentences) <= MAX_LINES


def test_decimal_commas_and_mixed_scales_are_read(tmp_path: Path) -> None:
    path = tmp_path / "comma.csv"
    path.write_text("model;accuracy\nx;0,25\ny;0,5\nz;0,75\n", encoding="utf-8")
    assert [s.value.number for s in read(path).scores] == [0.25, 0.5, 0.75]
    mixed = parse_markdown("| model | accuracy |\n|---|---|\n| x | 1,234.5 |\n| y | 0.25 |\n")
    assert [s.value.number for s in mixed.scores] == [1234.5, 0.25]


def test_two_tables_of_one_name_are_named() -> None:
    table = "| model | accuracy |\n|---|---|\n| x | 0.25 |\n\n"
    assert "two tables" in parse_markdown("# Same\n" + table + "text\n\n" + table).problems[0].text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("columns: {a: nonsense}", "nonsense"),
        ("colums: {}", "Did you mean"),
        ("n: many", "whole number"),
        ("ignore: {NG201: }", "say why NG201"),
        ("[", "not valid YAML"),
        ("- a", "expected the keys"),
    ],
)
def test_a_wrong_sidecar_is_one_sentence(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "r.md"
    path.write_text("# R\n", encoding="utf-8")
    (tmp_path / "r.md.netgain.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=says):
        run([path])
