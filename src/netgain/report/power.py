"""`netgain power`: what an evaluation of this size can and cannot detect, before it is run, as a table and a curve."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.text import Text

from netgain.errors import UserError
from netgain.report.console import plain_table
from netgain.report.jsonable import tree
from netgain.stats.distributions import t_quantile, t_tail
from netgain.stats.power import (
    SEED_SD,
    Exaggeration,
    Mde,
    Spread,
    exaggeration,
    mde_binary,
    mde_seeds,
    size_binary,
    stated_spread,
)

EFFECTS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.10)
SIZES = (100, 250, 500, 1000, 2000, 5000, 10000)
BLOCKS = "▁▂▃▄▅▆▇█"
CURVE_POINTS = 41


@dataclass(frozen=True, slots=True)
class Row:
    """One true difference: how often it would be found, and what that takes."""

    effect: float
    checkpoint: float
    """Power of the claim about this checkpoint: items only."""
    recipe: float | None
    """Power of the claim about the recipe: seeds and items; None with one seed."""
    items_needed: int | None
    """Items for the checkpoint's claim; None where so large a difference cannot come from so few changed items."""
    exaggeration: Exaggeration


@dataclass(frozen=True, slots=True)
class PowerTable:
    """Everything that n items, a discordance and S seeds can promise."""

    n: int
    discordance: float
    seeds: int
    seed_sd: float
    level: float
    power: float
    rows: tuple[Row, ...]
    mde: Mde
    recipe_mde: Mde | None
    floor: float | None
    """The recipe's smallest detectable difference at any number of items."""
    margin: float
    """The smallest loss that retention could rule out when nothing was lost."""
    by_size: tuple[tuple[int, float, float | None], ...]
    """(items, smallest detectable difference of a checkpoint, of the recipe)."""
    curve: tuple[tuple[float, float], ...]
    """(true difference, power) of the widest claim, from 0 to twice its smallest detectable difference."""

    def sentences(self) -> tuple[str, ...]:
        """What can be promised, and what cannot."""
        out = [self.mde.sentence()]
        if self.recipe_mde is not None and self.floor is not None:
            out.append(f"About the recipe (new seeds too): {self.recipe_mde.sentence()}")
            out.append(
                f"However many items: {self.seeds} seeds that differ by {100 * self.seed_sd:.2g} points (sd) cannot "
                f"show a recipe's difference under {100 * self.floor:.1f} points."
            )
        else:
            out.append("One seed: any answer is about this checkpoint only, never about the recipe.")
        out.append(
            f"Retention can be shown for margins of {100 * self.margin:.1f} points or more, if nothing was truly lost."
        )
        return tuple(out)

    def to_json(self) -> dict[str, Any]:
        return tree(self) | {"sentences": list(self.sentences())}

    def render(self, console: Console) -> None:
        """Tables and a curve, at 80 columns."""
        for sentence in self.sentences():
            console.print(Text(sentence))
        console.print()
        console.print(self._effects())
        console.print()
        console.print(self._sizes())
        console.print()
        self._draw(console)

    def _effects(self) -> object:
        names = ["true difference", "found by 1 seed", f"by {self.seeds} seeds", "items needed", "exaggerated"]
        table = plain_table(*names, right=tuple(names))
        for row in self.rows:
            factor = row.exaggeration.factor
            if row.items_needed is None:
                table.add_row(f"{100 * row.effect:g} points", "cannot occur", "-", "-", "-")
                continue
            table.add_row(
                f"{100 * row.effect:g} points",
                f"{100 * row.checkpoint:.0f} %",
                "-" if row.recipe is None else f"{100 * row.recipe:.0f} %",
                str(row.items_needed),
                f"x {factor:.1f}" if factor < 100 else "x 100+",
            )
        return table

    def _sizes(self) -> object:
        names = ["items", "smallest found by 1 seed", f"recipe, by {self.seeds} seeds"]
        table = plain_table(*names, right=tuple(names))
        for n, one, recipe in self.by_size:
            mark = "bold" if n == self.n else ""
            shown = "-" if recipe is None else f"{100 * recipe:.1f} points"
            table.add_row(str(n), f"{100 * one:.1f} points", shown, style=mark)
        return table

    def _draw(self, console: Console) -> None:
        bars = "".join(BLOCKS[min(len(BLOCKS) - 1, int(power * len(BLOCKS)))] for _, power in self.curve)
        scope = "recipe" if self.recipe_mde is not None else "checkpoint"
        end = 100 * self.curve[-1][0]
        console.print(Text(f"chance of finding it ({scope}) by true difference, 0 to {end:.1f} points"))
        console.print(Text(f"  {bars}"))
        place = next(i for i, (_, power) in enumerate(self.curve) if power >= self.power - 1e-9)
        mark = f"^ {100 * self.power:g} % at {100 * self.curve[place][0]:.1f}"
        console.print(Text("  " + " " * place + mark, style="dim"))


def power_table(
    n: int,
    discordance: float = 0.10,
    seeds: int = 1,
    *,
    seed_sd: float = SEED_SD,
    effects: Sequence[float] = EFFECTS,
    level: float = 0.95,
    power: float = 0.8,
) -> PowerTable:
    """Paired binary scores on n items, `discordance` the share on which the arms differ, S seeds of sd `seed_sd`.

    checkpoint SE = sqrt(psi/n); recipe SE = sqrt(s^2/S + i^2/n + e^2/(S n)) with Satterthwaite's df.
    """
    check(n, discordance, seeds, seed_sd, level, power)
    plan = Plan(n, discordance, seeds, stated_spread(discordance, seed_sd), level, power)
    mde = mde_binary(n, discordance, level=level, power=power)
    recipe_mde = plan.recipe_mde(n)
    widest = mde.mde if recipe_mde is None else recipe_mde.mde
    grid = [2 * widest * i / (CURVE_POINTS - 1) for i in range(CURVE_POINTS)]
    return PowerTable(
        n=n,
        discordance=discordance,
        seeds=seeds,
        seed_sd=seed_sd,
        level=level,
        power=power,
        rows=tuple(plan.row(effect) for effect in effects),
        mde=mde,
        recipe_mde=recipe_mde,
        floor=floor_of(plan.spread, seeds, level, power) if seeds > 1 else None,
        margin=(t_quantile(level, plan.df) + t_quantile(power, plan.df)) * plan.se,
        by_size=tuple(plan.sizes(sorted({*SIZES, n}))),
        curve=tuple((effect, chance(effect, plan.se, plan.df, level)) for effect in grid),
    )


@dataclass(frozen=True, slots=True)
class Plan:
    """An evaluation that was not run yet."""

    n: int
    discordance: float
    seeds: int
    spread: Spread
    level: float
    power: float

    @property
    def one_se(self) -> float:
        """Standard error of one checkpoint's difference."""
        return math.sqrt(self.discordance / self.n)

    @property
    def se(self) -> float:
        """Standard error of the widest claim that the seeds allow."""
        return math.sqrt(self.spread.variance(self.seeds, self.n)) if self.seeds > 1 else self.one_se

    @property
    def df(self) -> float:
        return self.spread.df(self.seeds, self.n) if self.seeds > 1 else math.inf

    def recipe_mde(self, n: int) -> Mde | None:
        if self.seeds == 1:
            return None
        return mde_seeds(self.spread, seeds=self.seeds, n=n, level=self.level, power=self.power)

    def row(self, effect: float) -> Row:
        possible = effect <= self.discordance
        return Row(
            effect,
            chance(effect, self.one_se, math.inf, self.level),
            chance(effect, self.se, self.df, self.level) if self.seeds > 1 else None,
            size_binary(effect, self.discordance, level=self.level, power=self.power).n if possible else None,
            exaggeration(effect, self.se, level=self.level),
        )

    def sizes(self, counts: Sequence[int]) -> Iterator[tuple[int, float, float | None]]:
        """(n, MDE of one seed, MDE of the recipe) for ascending n.

        As n grows the degrees of freedom shrink to S - 1; whoever has more items may use fewer, so the recipe's MDE is
        the least so far.
        """
        least = math.inf
        for n in counts:
            recipe = self.recipe_mde(n)
            least = least if recipe is None else min(least, recipe.mde)
            one = mde_binary(n, self.discordance, level=self.level, power=self.power)
            yield n, one.mde, None if recipe is None else least


def floor_of(spread: Spread, seeds: int, level: float, power: float) -> float:
    """min over n of the recipe's MDE: as n grows the degrees of freedom shrink to S - 1: no limit but a minimum."""
    sizes = (int(10 ** (2 + i / 8)) for i in range(57))
    return min(mde_seeds(spread, seeds=seeds, n=size, level=level, power=power).mde for size in sizes)


def chance(effect: float, se: float, df: float, level: float) -> float:
    """P(|T| > t_{df}) of an estimate at effect/se: both tails, shifted t."""
    edge = t_quantile(0.5 + level / 2, df)
    return t_tail(edge - effect / se, df) + t_tail(edge + effect / se, df)


def check(n: int, discordance: float, seeds: int, seed_sd: float, level: float, power: float) -> None:
    """Settings that mean something."""
    if n < 2:
        raise UserError(f"--n {n}: an evaluation has at least two items.")
    if seeds < 1:
        raise UserError(f"--seeds {seeds}: there is at least one.")
    if not 0 < discordance <= 1:
        raise UserError(f"--discordance {discordance:g}: the share of changed items lies between 0 and 1.")
    if not (seed_sd > 0 and math.isfinite(seed_sd)):
        raise UserError(f"--seed-sd {seed_sd:g}: the standard deviation between seeds is above 0, like 0.015.")
    if not (0 < level < 1 and 0.5 <= power < 1):
        raise UserError("--level lies between 0 and 1 and --power between 0.5 and 1, like 0.95 and 0.8.")
