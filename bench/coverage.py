"""Do the shipped intervals cover? Simulated: paired binary, clusters, documents, seeds x items, margins, best of 8.

Shipped methods are called as reports call them, one data set at a time; what people print instead runs beside them on
the same data. Exit code 1 when a shipped default leaves its band: below 94 %, above 98 % away from floor, ceiling and
small n (where it may be conservative), a best-of-eight false gain above 3 %, or a false "retained" or "forgotten" above
5.5 % (nominal 5).
"""

import argparse
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from netgain.stats.crossed import pigeonhole, recipe
from netgain.stats.distributions import t_quantile
from netgain.stats.multiplicity import holm
from netgain.stats.paired import difference
from netgain.stats.resample import ratio
from netgain.stats.result import Floats
from netgain.stats.selection import held_out, line_up, simultaneous
from netgain.stats.verdict import contrast

Z = NormalDist().inv_cdf
LEVEL = 0.95
FLOOR, CEILING = 94.0, 98.0
FALSE_CLAIMS = {"best of 8": 3.0, "retention": 5.5}
"""Families whose rows are rates of false claims, and the most that a shipped default may make."""


@dataclass(frozen=True)
class Row:
    """One method in one setting: coverage and mean width, or a rate of false gains, all in percent."""

    family: str
    setting: str
    method: str
    shipped: bool
    conservative: bool
    """May cover more than 98 %: small n, floor or ceiling."""
    value: float
    width: float
    repeats: int

    @property
    def error(self) -> float:
        """Monte-Carlo standard error of `value`."""
        return math.sqrt(max(self.value, 0.5) * max(100 - self.value, 0.5) / self.repeats)

    def passes(self, slack: float = 0.0) -> bool:
        if not self.shipped:
            return True
        if self.family in FALSE_CLAIMS:
            return self.value <= FALSE_CLAIMS[self.family] + slack * self.error
        low_enough = self.conservative or self.value <= CEILING + slack * self.error
        return low_enough and self.value >= FLOOR - slack * self.error


@dataclass
class Tally:
    """Counts how often intervals hold the truth, and their widths."""

    truth: float
    hits: int = 0
    width: float = 0.0
    repeats: int = 0

    def add(self, low: float, high: float) -> None:
        self.hits += low - 1e-12 <= self.truth <= high + 1e-12
        self.width += high - low
        self.repeats += 1

    def add_all(self, centre: Floats, half: Floats) -> None:
        for c, h in zip(centre, half, strict=True):
            self.add(float(c - h), float(c + h))

    def row(self, family: str, setting: str, method: str, shipped: bool = False, conservative: bool = False) -> Row:
        value, width = 100 * self.hits / self.repeats, 100 * self.width / self.repeats
        return Row(family, setting, method, shipped, conservative, value, width, self.repeats)


def binary_pair(rng: np.random.Generator, n: int, base: float, delta: float, rho: float = 0.7) -> tuple[Floats, Floats]:
    """(tuned, base) of 0 and 1 with accuracies base + delta and base; difficulty shared with correlation rho."""
    shared, own = math.sqrt(rho) * rng.normal(size=n), math.sqrt(1 - rho)
    low = (shared + own * rng.normal(size=n) < Z(base)).astype(np.float64)
    return (shared + own * rng.normal(size=n) < Z(base + delta)).astype(np.float64), low


def paired_binary(rng: np.random.Generator, quick: bool) -> Iterator[Row]:
    repeats = 500 if quick else 4000
    for n in (24, 300) if quick else (24, 80, 164, 300, 1000):
        for base, delta in ((0.5, 0.0), (0.9, -0.03), (0.06, 0.02), (0.99, -0.02)):
            names = ("unpaired z", "paired t", "difference() [shipped]")
            tallies = {name: Tally(delta) for name in names}
            for _ in range(repeats):
                tuned, low = binary_pair(rng, n, base, delta)
                gap = tuned - low
                spread = math.sqrt((tuned.mean() * (1 - tuned.mean()) + low.mean() * (1 - low.mean())) / n)
                t_half = t_quantile(0.975, n - 1) * gap.std(ddof=1) / math.sqrt(n)
                tallies[names[0]].add(gap.mean() - 1.96 * spread, gap.mean() + 1.96 * spread)
                tallies[names[1]].add(gap.mean() - t_half, gap.mean() + t_half)
                answer = difference(tuned, low)
                tallies[names[2]].add(answer.low, answer.high)
            setting = f"n={n} base={base:.2f} delta={delta:+.2f}"
            extreme = n < 100 or base > 0.85 or base < 0.15
            for name, tally in tallies.items():
                yield tally.row("paired binary", setting, name, "shipped" in name, extreme)


def clustered_binary(rng: np.random.Generator, quick: bool) -> Iterator[Row]:
    """Five questions a passage; the passage shifts both arms and moves one against the other."""
    repeats = 500 if quick else 3000
    for count in (30,) if quick else (12, 30, 100):
        for base, delta in ((0.5, 0.0), (0.9, -0.05)):
            ignored, shipped = Tally(delta), Tally(delta)
            groups = np.repeat(np.arange(count), 5)
            for _ in range(repeats):
                passage, own = rng.normal(size=(2, count)), rng.normal(size=(3, count * 5))
                common = math.sqrt(0.3) * passage[0][groups] + math.sqrt(0.3) * own[0]
                low = common + math.sqrt(0.4) * own[1] < Z(base)
                high = common + math.sqrt(0.2) * passage[1][groups] + math.sqrt(0.2) * own[2] < Z(base + delta)
                tuned, against = high.astype(np.float64), low.astype(np.float64)
                for tally, clusters in ((ignored, None), (shipped, groups)):
                    answer = difference(tuned, against, clusters=clusters)
                    tally.add(answer.low, answer.high)
            setting = f"{count} passages x 5, base={base:.2f} delta={delta:+.2f}"
            yield ignored.row("clusters", setting, "clusters ignored")
            yield shipped.row("clusters", setting, "difference(clusters) [shipped]", True, count < 100 or base > 0.85)


def weighted_documents(rng: np.random.Generator, quick: bool) -> Iterator[Row]:
    """NLL differences of documents cut at a window of 1,024 tokens; their lengths tell something about the difference.

    The truth is E[T e(T)] / E[T] with T = min(exp(N(5, 1)), 1024) and e(T) = 0.05 (ln T - 5) - 0.02, by quadrature.
    """
    repeats = 500 if quick else 6000
    nodes = np.array([Z((k + 0.5) / 20_000) for k in range(20_000)])
    lengths = np.minimum(np.exp(5 + nodes), 1024)
    truth = float((lengths * (0.05 * (np.log(lengths) - 5) - 0.02)).sum() / lengths.sum())
    for n in (30,) if quick else (12, 30, 100, 300):
        plain, shipped = Tally(truth), Tally(truth)
        for _ in range(repeats):
            tokens = np.minimum(np.exp(rng.normal(5, 1, n)), 1024)
            gap = 0.05 * (np.log(tokens) - 5) - 0.02 + rng.normal(size=n) * (0.1 + 2 / np.sqrt(tokens))
            mean = float((gap * tokens).sum() / tokens.sum())
            half = 1.96 * math.sqrt(float(((tokens * (gap - mean)) ** 2).sum())) / tokens.sum()
            plain.add(mean - half, mean + half)
            answer = difference(gap, np.zeros(n), weights=tokens)
            shipped.add(answer.low, answer.high)
        yield plain.row("token-weighted NLL", f"n={n} documents", "linearised ratio, z")
        yield shipped.row("token-weighted NLL", f"n={n} documents", "difference(weights) [shipped]", True)


def seeds_items(rng: np.random.Generator, quick: bool) -> Iterator[Row]:
    """D_si = seed + item + rest, true mean 0; the truth is about new seeds and new items."""
    repeats, n = (400, 200) if quick else (3000, 300)
    for seeds, seed_sd in ((3, 0.015), (5, 0.015)) if quick else ((2, 0.015), (3, 0.015), (5, 0.015), (10, 0.015),
                                                                  (3, 0.03), (5, 0.0)):  # fmt: skip
        names = ("mean +- t sd over seeds", "items only", "pigeonhole bootstrap", "nested bootstrap")
        tallies = {name: Tally(0.0) for name in names}
        shipped = Tally(0.0)
        for k in range(repeats):
            noise = rng.normal(size=(seeds, n)) * 0.35
            d = seed_sd * rng.normal(size=(seeds, 1)) + 0.25 * rng.normal(size=(1, n)) + noise
            by_seed, by_item, centre = d.mean(axis=1), d.mean(axis=0), float(d.mean())
            half = t_quantile(0.975, seeds - 1) * by_seed.std(ddof=1) / math.sqrt(seeds)
            tallies[names[0]].add(centre - half, centre + half)
            half = t_quantile(0.975, n - 1) * by_item.std(ddof=1) / math.sqrt(n)
            tallies[names[1]].add(centre - half, centre + half)
            answer = recipe(d, np.zeros((1, n)))
            assert answer is not None
            shipped.add(answer.low, answer.high)
            if not quick and k < 400:
                tallies[names[2]].add(*pigeonhole_ends(rng, d))
                tallies[names[3]].add(*nested_ends(rng, d))
        setting = f"S={seeds} n={n} seed sd {100 * seed_sd:.1f} pp"
        for name, tally in tallies.items():
            if tally.repeats:
                yield tally.row("seeds x items", setting, name)
        yield shipped.row("seeds x items", setting, "recipe() [shipped]", True)


def seeds_variants(rng: np.random.Generator, quick: bool) -> Iterator[Row]:
    """Arms whose seeds have nothing to do with one another, and items in clusters."""
    repeats = 300 if quick else 2000
    for seeds, others in ((3, 3),) if quick else ((3, 3), (5, 5), (5, 3)):
        tally = Tally(0.0)
        for _ in range(repeats):
            shared = 0.4 * rng.normal(size=300)
            noise = [0.3 * rng.normal(size=(s, 300)) + 0.02 * rng.normal(size=(s, 1)) for s in (seeds, others)]
            tuned = shared + 0.25 * rng.normal(size=300) + noise[0]
            answer = recipe(tuned, shared + noise[1], paired_seeds=False)
            assert answer is not None
            tally.add(answer.low, answer.high)
        yield tally.row(
            "seeds x items, variants", f"unpaired seeds {seeds} and {others}, n=300", "recipe() [shipped]", True
        )
    for seeds, count in ((3, 20),) if quick else ((3, 20), (3, 60), (5, 60)):
        tally, groups = Tally(0.0), np.repeat(np.arange(count), 5)
        for _ in range(repeats):
            by_group = 0.2 * rng.normal(size=(1, count)) + 0.1 * rng.normal(size=(seeds, count))
            items = 0.25 * rng.normal(size=(1, groups.size)) + 0.3 * rng.normal(size=(seeds, groups.size))
            d = by_group[:, groups] + items + 0.02 * rng.normal(size=(seeds, 1))
            answer = recipe(d, np.zeros((1, groups.size)), clusters=groups)
            assert answer is not None
            tally.add(answer.low, answer.high)
        yield tally.row("seeds x items, variants", f"S={seeds}, {count} clusters x 5", "recipe() [shipped]", True)


def pigeonhole_ends(rng: np.random.Generator, d: Floats) -> tuple[float, float]:
    ones = np.ones_like(d)
    rows = np.stack([d + 10, ones], axis=-1)
    answer = pigeonhole(rows, np.stack([10 * ones, ones], axis=-1), ratio, rng=rng, draws=500)
    return answer.low, answer.high


def nested_ends(rng: np.random.Generator, d: Floats, draws: int = 300) -> tuple[float, float]:
    """Draw seeds, then items anew within each drawn seed, as if seeds did not share their items."""
    seeds, n = d.shape
    drawn = np.zeros(draws)
    for _ in range(seeds):
        rows = d[rng.integers(seeds, size=draws)]
        drawn += np.take_along_axis(rows, rng.integers(n, size=(draws, n)), axis=1).mean(axis=1) / seeds
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)


def seeds_items_binary(rng: np.random.Generator, quick: bool) -> Iterator[Row]:
    """S tuned seeds against one fixed base, right or wrong answers, floor and ceiling included."""
    repeats = 300 if quick else 2000
    sizes: Sequence[tuple[int, int]] = (
        ((3, 80),) if quick else ((3, 24), (3, 80), (3, 300), (5, 80), (5, 300), (10, 300))
    )
    for seeds, n in sizes:
        for base, delta in ((0.5, 0.0), (0.9, -0.03), (0.06, 0.02)):
            tally, seed_sd = Tally(delta), 0.05
            for _ in range(repeats):
                item = math.sqrt(0.7) * rng.normal(size=n)
                low = item + math.sqrt(0.3) * rng.normal(size=n) < Z(base)
                shift = math.sqrt(0.15) * rng.normal(size=n) + seed_sd * rng.normal(size=(seeds, 1))
                high = item + shift + math.sqrt(0.15) * rng.normal(size=(seeds, n))
                tuned = (high < Z(base + delta) * math.sqrt(1 + seed_sd**2)).astype(np.float64)
                answer = recipe(tuned, low.astype(np.float64)[None, :])
                assert answer is not None
                tally.add(answer.low, answer.high)
            setting = f"S={seeds} n={n} base={base:.2f} delta={delta:+.2f}"
            extreme = n < 100 or base != 0.5
            yield tally.row("seeds x items, binary", setting, "recipe() [shipped]", True, extreme)


def kept_or_lost(rng: np.random.Generator, quick: bool) -> Iterator[Row]:
    """The truth lies exactly at the margin, -2 points: how often is something called retained, or forgotten?"""
    repeats, delta = 500 if quick else 3000, -0.02
    for n in (300,) if quick else (100, 300, 1319):
        for seeds in (1, 3):
            counts = dict.fromkeys(('"p > 0.05, so retained"', "retained [shipped]", "forgotten [shipped]"), 0)
            for _ in range(repeats):
                item = math.sqrt(0.7) * rng.normal(size=n)
                low = (item + math.sqrt(0.3) * rng.normal(size=n) < Z(0.7)).astype(np.float64)
                shift = 0.03 * rng.normal(size=(seeds, 1)) * (seeds > 1)
                noise = math.sqrt(0.15) * (rng.normal(size=n) + rng.normal(size=(seeds, n)))
                level = Z(0.7 + delta) * math.sqrt(1 + 0.03**2 * (seeds > 1))
                verdict = contrast((item + noise + shift < level).astype(np.float64), low, margin=-delta)
                counts['"p > 0.05, so retained"'] += verdict.p > 0.05
                counts["retained [shipped]"] += verdict.word in ("gained", "retained", "worse, within margin")
                counts["forgotten [shipped]"] += verdict.word == "forgotten"
            for name, count in counts.items():
                of = f"S={seeds} n={n}, truth at the margin"
                yield Row("retention", of, name, "shipped" in name, False, 100 * count / repeats, math.nan, repeats)


Draw = Callable[[np.random.Generator], tuple[dict[str, Floats], Floats]]


def eight_continuous(rng: np.random.Generator) -> tuple[dict[str, Floats], Floats]:
    return {f"arm {k}": 0.32 * rng.normal(size=500) for k in range(8)}, 0.32 * rng.normal(size=500)


def eight_binary(rng: np.random.Generator) -> tuple[dict[str, Floats], Floats]:
    item = math.sqrt(0.7) * rng.normal(size=500)
    noise = math.sqrt(0.3) * rng.normal(size=(9, 500))
    right = (item + noise < Z(0.75)).astype(np.float64)
    return {f"arm {k}": right[k] for k in range(8)}, right[8]


def eight_seeds(rng: np.random.Generator) -> tuple[dict[str, Floats], Floats]:
    base = 0.2 * rng.normal(size=(3, 300)) + 0.015 * rng.normal(size=(3, 1))
    arms = 0.32 * rng.normal(size=(8, 3, 300)) + 0.015 * rng.normal(size=(8, 3, 1)) + 0.2 * rng.normal(size=(8, 1, 300))
    return {f"arm {k}": arms[k] for k in range(8)}, base


def best_of_eight(rng: np.random.Generator, quick: bool) -> Iterator[Row]:
    """No arm differs from the base: how often is the best one called a gain, and what does it seem to gain?"""
    repeats, halves = (200, 0) if quick else (2500, 400)
    fields: dict[str, Draw] = {"n=500": eight_continuous, "n=500 binary": eight_binary, "S=3 n=300": eight_seeds}
    for setting, draw in fields.items():
        counts = dict.fromkeys(("naive test of the winner", "Holm", "select_best(), max-T [shipped]", "held_out()"), 0)
        gain = 0.0
        for k in range(repeats):
            field = line_up(*draw(rng))
            won = field.answers[field.winner]
            gain += field.means[field.winner] / repeats
            counts["naive test of the winner"] += won.p() < 0.05 and won.centre > 0
            kept = holm({name: a.p() for name, a in zip(field.names, field.answers, strict=True)}).rejected
            counts["Holm"] += any(field.answers[field.names.index(name)].centre > 0 for name in kept)
            together = simultaneous(field, draws=1000, rng=rng)
            counts["select_best(), max-T [shipped]"] += together.arms[together.best].low > 0
            if k < halves:
                counts["held_out()"] += held_out(field, draws=200, splits=20, rng=rng).low > 0
        for name, count in counts.items():
            of = halves if name == "held_out()" else repeats
            if of:
                shown = f"{setting}, winner seems {100 * gain:+.1f} pp"
                yield Row("best of 8", shown, name, "shipped" in name, False, 100 * count / of, math.nan, of)


FAMILIES = (
    paired_binary,
    clustered_binary,
    weighted_documents,
    seeds_items,
    seeds_variants,
    seeds_items_binary,
    kept_or_lost,
    best_of_eight,
)


def simulate(quick: bool, seed: int = 20_240_611) -> list[Row]:
    """Every row; each family from its own stream, so that one can change without moving the others."""
    rows: list[Row] = []
    for family in FAMILIES:
        rows.extend(family(np.random.default_rng([seed, *family.__name__.encode()]), quick))
    return rows


def show(rows: Sequence[Row]) -> None:
    family = ""
    for row in rows:
        if row.family != family:
            family = row.family
            head = "false claims %" if family in FALSE_CLAIMS else "coverage %"
            print(f"\n{family}\n  {'setting':<42}{'method':<34}{head:>14}{'width pp':>10}")
        width = "" if math.isnan(row.width) else f"{row.width:.1f}"
        mark = "" if row.passes(slack=2.0) else "  <- outside its band"
        print(f"  {row.setting:<42}{row.method:<34}{row.value:>8.1f} ±{row.error:>4.1f}{width:>10}{mark}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer settings and repeats, seconds instead of minutes")
    quick = parser.parse_args().quick
    start = time.perf_counter()
    rows = simulate(quick)
    show(rows)
    shipped = [row for row in rows if row.shipped and row.family not in FALSE_CLAIMS]
    least, most = min(row.value for row in shipped), max(row.value for row in shipped)
    taken = time.perf_counter() - start
    print(f"\nshipped intervals cover {least:.1f} to {most:.1f} % in {len(shipped)} settings; {taken:.0f} s")
    return 0 if all(row.passes(slack=3.0 if quick else 2.0) for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
