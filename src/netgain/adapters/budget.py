"""How large a method may be, so that methods are compared at equal numbers of trained parameters.

size = the s >= 1 whose count, fixed + s * each, is nearest to the budget
"""

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from netgain.errors import UserError

if TYPE_CHECKING:
    from netgain.models.lm import LM

Budget = Annotated[str, Field(pattern=r"^\d+(\.\d+)?%$")]
"""A share of the base's parameters, such as 0.5%."""


def allowed(budget: Budget, lm: "LM") -> int:
    """How many numbers may learn."""
    return round(float(budget.removesuffix("%")) / 100 * lm.size)


def solve(budget: Budget, lm: "LM", each: int, fixed: int = 0) -> int:
    """The size whose count is nearest to the budget; refused where not even the smallest is near it."""
    limit = allowed(budget, lm)
    size = max(1, round((limit - fixed) / each))
    if fixed + each > 1.5 * limit:
        raise UserError(
            f"method.budget: {budget} of {lm.name} is {limit:,} parameters, and the smallest of this method has "
            f"{fixed + each:,}; raise the budget or choose fewer layers with `targets`."
        )
    return size
