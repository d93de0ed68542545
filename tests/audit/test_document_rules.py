"""Every rule on documents fires on its own fixture and is silent when the defect is taken out of it."""

import re
from pathlib import Path

import pytest

from netgain.audit import run
from netgain.audit.rule import rules

RULES = {rule.code: rule for rule in rules(ledger=False)}
FIXTURES = Path(__file__).parent / "fixtures" / "rules"
PAGES = Path(__file__).parents[2] / "docs" / "rules"


def test_every_rule_has_both_fixtures() -> None:
    for ending in ("fires", "silent"):
        assert {path.name.split(".")[0] for path in FIXTURES.glob(f"*.{ending}.md")} == set(RULES)


@pytest.mark.parametrize("code", sorted(RULES))
def test_a_rule_fires_on_its_fixture(code: str) -> None:
    found = run([FIXTURES / f"{code}.fires.md"], select=[code]).findings
    assert found
    assert all(f.where.line > 0 for f in found)


@pytest.mark.parametrize("code", sorted(RULES))
def test_a_rule_is_silent_without_the_defect(code: str) -> None:
    assert run([FIXTURES / f"{code}.silent.md"], select=[code]).findings == []


def test_a_code_means_one_thing() -> None:
    seen: dict[str, str] = {}
    for rule in rules():
        assert re.fullmatch(r"NG\d{3}", rule.code)
        assert seen.setdefault(rule.code, rule.title) == rule.title


@pytest.mark.parametrize("code", sorted({rule.code for rule in rules()}))
def test_every_rule_has_its_page(code: str) -> None:
    page = (PAGES / f"{code}.md").read_text(encoding="utf-8")
    for part in ("## What", "## Why", "## Example", "## Fix", "## Silence"):
        assert part in page
    titles = {rule.title for rule in rules() if rule.code == code}
    assert page.startswith(f"# {code}: {titles.pop()}\n")


def test_no_page_without_a_rule() -> None:
    assert {path.stem for path in PAGES.glob("NG*.md")} == {rule.code for rule in rules()}
