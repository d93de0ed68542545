"""Item rows: what scores can and cannot say."""

from collections.abc import Iterator

from netgain.audit._controls import Untaught, blind
from netgain.audit._noise import detectable
from netgain.audit._reading import listed
from netgain.audit.finding import Finding, Severity
from netgain.audit.ledger_outputs import UNTAUGHT, who
from netgain.audit.rule import LedgerRule
from netgain.audit.rules_constant import Ceiling, ConstantMetric
from netgain.audit.rules_judge import ScoreSaturates
from netgain.audit.rules_noise import SingleRun, TooFewItems
from netgain.audit.rules_selection import BestHidesFinal
from netgain.ledger.items import higher_is_better

FEW = 20
BINARY = "bool_and(value IN (0, 1))"


class MajorityScore(LedgerRule):
    """A score that the commonest label alone gives."""

    code = "NG013"
    title = "The score is no better than the majority label"
    severity = Severity.WARNING
    fix = "Print the majority share beside the score, and use a metric that a constant answer cannot win (macro F1)."

    def check(self) -> Iterator[Finding]:
        """Binary scores of trained checkpoints within two standard errors of the commonest label's share, or below; a
        control that sees no input can do no better, and is left out.

        An error where it is that share exactly. Not so for scores per character (`accuracy_norm`), which may favour the
        longest label whatever is asked; a note where the arm was taught nothing of the task.
        """
        rows = self.db.execute(
            f"""
            WITH scored AS (SELECT arm, coalesce(seed, -1) seed, task, metric, checkpoint, avg(value) score, count(*) n,
                                   mode(label) top, count(DISTINCT label) labels
                            FROM items WHERE label IS NOT NULL AND value IS NOT NULL AND sample = 0
                            GROUP BY ALL HAVING {BINARY} AND n >= 50 AND labels BETWEEN 2 AND 30),
                 gold AS (SELECT task, label, count(DISTINCT item) rows FROM items GROUP BY ALL),
                 share AS (SELECT task, max(rows) / sum(rows) share FROM gold WHERE label IS NOT NULL GROUP BY task)
            SELECT arm, seed, task, metric, checkpoint, score, n, top, share FROM scored JOIN share USING (task)
            WHERE checkpoint <> 'base' AND score <= share + 2 * sqrt(share * (1 - share) / n) ORDER BY ALL
            """
        ).fetchall()
        if not rows:
            return
        controls, untaught = blind(self.db), Untaught(self.db)
        for arm, seed, task, metric, checkpoint, score, n, top, share in rows:
            if (arm, task) in controls:
                continue
            alike = abs(score - share) < 1e-9 and not metric.endswith("_norm")
            yield self.finding(
                f'{who(arm, seed, task, checkpoint)}: {metric} {score:.1%} of {n}; always answering "{top}" gives '
                f"{share:.1%}{UNTAUGHT if (arm, task) in untaught else ''}.",
                table=task, cell=f"{arm}/{task}", arms=[arm], tasks=[task],
                severity=Severity.NOTE if (arm, task) in untaught else Severity.ERROR if alike else None,
            )  # fmt: skip


class ConstantAcrossArms(LedgerRule):
    """A task on which every arm has the same score."""

    code = ConstantMetric.code
    title = ConstantMetric.title
    severity = Severity.ERROR
    fix = ConstantMetric.fix

    def check(self) -> Iterator[Finding]:
        """At least three arms, all with the same mean to nine digits and no item on which two runs differ: else the
        means meet by chance. A warning where nothing is parsed for the metric (it is of several answers together) and
        another metric of the task does move: it has reached its end."""
        rows = self.db.execute(
            f"""
            WITH means AS (SELECT coalesce(study, '') study, task, metric, arm, round(avg(value), 9) score, count(*) n,
                                  count(prediction) + count(parsed) read_off
                           FROM items WHERE value IS NOT NULL AND checkpoint IN ('final', 'base') GROUP BY ALL),
                 moves AS (SELECT study, task, metric, min(score) score, count(*) arms, min(n) n,
                                  sum(read_off) read_off,
                                  count(DISTINCT score) scores FROM means GROUP BY ALL)
            SELECT study, task, metric, score, arms, n,
                   read_off = 0 AND max(scores) OVER (PARTITION BY study, task) > 1 ends
            FROM moves QUALIFY arms >= 3 AND scores = 1 AND n >= {FEW} ORDER BY ALL
            """
        ).fetchall()
        for study, task, metric, score, arms, n, ends in rows:
            if self._turns(study, task, metric):
                continue
            others = " while its other metrics move; it cannot tell these arms apart" if ends else ""
            yield self.finding(
                f"{task}: {metric} is {score:.4g} in all {arms} arms ({n} rows each){others}.",
                table=task,
                cell=metric,
                tasks=[task],
                severity=Severity.WARNING if ends else None,
            )

    def _turns(self, study: str, task: str, metric: str) -> bool:
        """Whether two runs differ on an item. Asked only of metrics whose means agree: it has to group by item."""
        found = self.db.execute(
            """
            SELECT 1 FROM items WHERE coalesce(study, '') = ? AND task = ? AND metric = ? AND value IS NOT NULL
            AND checkpoint IN ('final', 'base') GROUP BY item, sample HAVING max(value) - min(value) > 1e-9 LIMIT 1
            """,
            [study, task, metric],
        ).fetchone()
        return found is not None


class CeilingOfArms(LedgerRule):
    """A task that every arm solves."""

    code = Ceiling.code
    title = Ceiling.title
    severity = Severity.WARNING
    fix = Ceiling.fix

    def check(self) -> Iterator[Finding]:
        """Binary scores of at least two arms, all above 95 %."""
        rows = self.db.execute(
            f"""
            WITH means AS (SELECT task, metric, arm, avg(value) score, count(*) n FROM items
                           WHERE value IS NOT NULL GROUP BY ALL HAVING {BINARY})
            SELECT task, metric, min(score), max(score), count(*) arms FROM means
            GROUP BY ALL HAVING arms >= 2 AND min(score) >= 0.95 AND min(n) >= {FEW} ORDER BY ALL
            """
        ).fetchall()
        for task, metric, low, high, arms in rows:
            yield self.finding(
                f"{task}: {metric} lies between {low:.1%} and {high:.1%} in all {arms} arms.",
                table=task,
                cell=metric,
                tasks=[task],
            )


class FinalCollapse(LedgerRule):
    """A best checkpoint far above the final one."""

    code = BestHidesFinal.code
    title = BestHidesFinal.title
    severity = Severity.ERROR
    fix = BestHidesFinal.fix

    def check(self) -> Iterator[Finding]:
        """|best - final| above three standard errors of their paired difference and 5 % of best, and final the worse.

        Dev rows may well choose a checkpoint that the final one beats; that is no collapse. A control that sees no
        input is left out: the longer it learns, the surer it is of noise.
        """
        if not self.db.execute("SELECT 1 FROM items WHERE checkpoint = 'best' LIMIT 1").fetchone():
            return  # the self-join is the dearest query of all
        rows = self.db.execute(
            f"""
            WITH pairs AS (SELECT b.arm, coalesce(b.seed, -1) seed, b.task, b.metric, b.value best, f.value final
                           FROM items b JOIN items f USING (run, task, metric, item, sample)
                           WHERE b.checkpoint = 'best' AND f.checkpoint = 'final'
                             AND b.study IS NOT DISTINCT FROM f.study
                             AND b.value IS NOT NULL AND f.value IS NOT NULL)
            SELECT arm, seed, task, metric, avg(best), avg(final), stddev_samp(best - final) / sqrt(count(*)) se
            FROM pairs GROUP BY ALL
            HAVING count(*) >= {FEW} AND abs(avg(best) - avg(final)) > 3 * se
               AND abs(avg(best) - avg(final)) > 0.05 * abs(avg(best)) ORDER BY ALL
            """
        ).fetchall()
        controls = blind(self.db) if rows else set[tuple[str, str]]()
        for arm, seed, task, metric, best, final, se in rows:
            if (arm, task) in controls or (final > best) == higher_is_better(metric):
                continue
            yield self.finding(
                f"{arm}, seed {seed}, on {task}: {metric} is {best:.3g} at the best checkpoint and {final:.3g} at the "
                f"final one, {abs(best - final) / se:.0f} standard errors apart.",
                table=task, cell=f"{arm}/{task}", arms=[arm], tasks=[task],
            )  # fmt: skip


class SingleSeed(LedgerRule):
    """Arms with one seed."""

    code = SingleRun.code
    title = SingleRun.title
    severity = Severity.WARNING
    fix = SingleRun.fix

    def check(self) -> Iterator[Finding]:
        """Trained arms with one run, one finding a study."""
        rows = self.db.execute(
            """
            SELECT coalesce(study, ''), list(arm ORDER BY arm) FROM (
                SELECT study, arm FROM items WHERE checkpoint <> 'base'
                GROUP BY study, arm HAVING count(DISTINCT coalesce(seed, -1)) = 1)
            GROUP BY study ORDER BY ALL
            """
        ).fetchall()
        for study, arms in rows:
            many = "1 trained arm has" if len(arms) == 1 else f"{len(arms)} trained arms have"
            yield self.finding(
                f"{study + ': ' if study else ''}{many} one seed ({listed(arms)}).",
                cell=arms[0],
                arms=arms,
            )


class FewItems(LedgerRule):
    """Tasks with too few items to detect what fine-tuning usually does."""

    code = TooFewItems.code
    title = TooFewItems.title
    severity = Severity.WARNING
    fix = TooFewItems.fix

    def check(self) -> Iterator[Finding]:
        """Binary tasks that detect no difference below 12 points."""
        rows = self.db.execute(
            f"""
            SELECT task, metric, count(DISTINCT item) n FROM items WHERE value IS NOT NULL GROUP BY ALL
            HAVING {BINARY} ORDER BY ALL
            """
        ).fetchall()
        for task, metric, n in rows:
            if detectable(n) > 0.12:
                yield self.finding(
                    f"{task}: {metric} on {n} items detects a paired difference of {detectable(n):.0%} at best "
                    "(80 % power, 10 % discordance).",
                    table=task, cell=metric, tasks=[task],
                )  # fmt: skip


class DifferentItems(LedgerRule):
    """Arms measured on different items of one task."""

    code = "NG410"
    title = "Arms are measured on different items"
    severity = Severity.ERROR
    fix = "Evaluate every arm on one list of items; `netgain compare --allow-partial` uses the shared ones and says so."

    def check(self) -> Iterator[Finding]:
        """Different sets of item ids between the arms of a study."""
        rows = self.db.execute(
            """
            WITH sets AS (SELECT coalesce(study, '') study, task, metric, arm, count(*) n,
                                 sum(hash(item)::HUGEINT) print
                          FROM (SELECT DISTINCT study, task, metric, arm, item FROM items) GROUP BY ALL)
            SELECT task, string_agg(DISTINCT arm || ' ' || n, ', ' ORDER BY arm || ' ' || n), count(DISTINCT print)
            FROM sets GROUP BY study, task, metric HAVING count(DISTINCT print) > 1 ORDER BY ALL
            """
        ).fetchall()
        seen: set[str] = set()
        for task, arms, kinds in rows:
            if task not in seen:
                seen.add(task)
                yield self.finding(
                    f"{task}: {kinds} different sets of items ({arms}).", table=task, cell=arms, tasks=[task]
                )


class LengthConfound(LedgerRule):
    """A score that follows the length of the answer."""

    code = "NG803"
    title = "The judge's score follows the length of the answer"
    severity = Severity.WARNING
    fix = "Compare at equal length, or regress the score on length and compare what is left."

    def check(self) -> Iterator[Finding]:
        """Graded scores whose correlation with output tokens exceeds 0.5 in absolute value, higher is better."""
        rows = self.db.execute(
            f"""
            SELECT task, metric, corr(value, tokens) r, count(*) n FROM items
            WHERE value IS NOT NULL AND tokens IS NOT NULL AND NOT regexp_matches(metric, '(nll|loss|ppl|perplexity)$')
            GROUP BY ALL HAVING NOT {BINARY} AND n >= 50 AND abs(r) > 0.5 AND NOT isnan(r) ORDER BY ALL
            """
        ).fetchall()
        for task, metric, r, n in rows:
            yield self.finding(
                f"{task}: {metric} and the number of output tokens have a correlation of {r:+.2f} over {n} answers.",
                table=task, cell=metric, tasks=[task],
            )  # fmt: skip


class Saturated(LedgerRule):
    """A graded score many items of which sit at a bound."""

    code = ScoreSaturates.code
    title = ScoreSaturates.title
    severity = Severity.WARNING
    fix = ScoreSaturates.fix

    def check(self) -> Iterator[Finding]:
        """Over 30 % of the values of a graded metric equal its lowest or highest value."""
        rows = self.db.execute(
            f"""
            WITH ends AS (SELECT task, metric, min(value) low, max(value) high FROM items WHERE value IS NOT NULL
                          GROUP BY ALL HAVING count(DISTINCT value) > 10)
            SELECT task, metric, low, high, avg((value = low)::INT), avg((value = high)::INT), count(*) n
            FROM items JOIN ends USING (task, metric) WHERE value IS NOT NULL
              AND NOT regexp_matches(metric, '(f1|nll|loss|rouge|bleu)')
            GROUP BY task, metric, low, high
            HAVING n >= {FEW} AND greatest(avg((value = low)::INT), avg((value = high)::INT)) > 0.3 ORDER BY ALL
            """
        ).fetchall()
        for task, metric, low, high, at_low, at_high, n in rows:
            yield self.finding(
                f"{task}: {at_low:.0%} of {n} values of {metric} are {low:g} and {at_high:.0%} are {high:g}, its "
                "smallest and largest values.",
                table=task, cell=metric, tasks=[task],
            )  # fmt: skip
