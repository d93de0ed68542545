"""Studies as ledgers noted them when they ran: what a page, a view or a comparison is about when no file is at hand."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from netgain.errors import UserError
from netgain.spec.run import SpecError
from netgain.spec.study import Study


def study_of(note: Mapping[str, Any]) -> Study:
    """The study of one of `Ledger.studies()`, at the scale that it ran at."""
    said: dict[str, Any] = note.get("study") or {}
    try:
        return Study.model_validate({**said, "scale": note.get("scale")})
    except (ValidationError, SpecError):
        raise UserError(
            "These runs were not made by netgain run, or by another version of it, so there is no study to judge: "
            "netgain report LEDGER and netgain compare read imported results."
        ) from None
