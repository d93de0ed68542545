"""When a run should end before its last step: because something it must keep is being lost."""

from pydantic import Field, PositiveInt

from netgain.spec.plugin import Frozen


class Retain(Frozen):
    """Stop when the tuned model has certainly lost more than `margin` of a task's metric against its own base.

    Every `every` steps the task is measured and compared with the base, item by item (the mean of items that belong
    together counts once). `alpha` bounds the chance that a run that never lost more than the margin is ever stopped,
    however often it is looked at. Differences are taken in units of `scale`, the largest gain that an item can show (1
    for accuracies; a loss may be larger, and is then counted as that).

    What the rule selects is kept beside the final checkpoint, as checkpoint "retained": the last look at which the loss
    was not certain.
    """

    task: str
    metric: str
    margin: float = Field(gt=0)
    every: PositiveInt
    alpha: float = Field(default=0.05, gt=0, lt=0.5)
    scale: float = Field(default=1.0, gt=0)

    def looks(self, steps: int) -> int:
        """How often a run of so many steps is looked at: every `every` steps and never after the last one."""
        return (steps - 1) // self.every
