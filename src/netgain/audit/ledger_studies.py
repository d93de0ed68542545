"""Studies: what may be said of the best arm of a grid, of a teacher, of a served model, of a mapped score."""

import re
from collections.abc import Iterator

import numpy as np

from netgain.audit._noise import expected_best, two_sided
from netgain.audit._studies import Axis, Scored, axes, scored, studies
from netgain.audit.finding import Finding, Severity
from netgain.audit.rule import LedgerRule
from netgain.audit.rules_judge import ScoreMapFolds
from netgain.audit.rules_objective import TeacherWorse
from netgain.audit.rules_selection import BestOfMany, EdgeOfGrid

MANY = 3
ALPHA = 0.05
FEW = 20


class BestOfStudy(LedgerRule):
    """The winner of a study's grid, whose gain does not outlive the number of arms tried."""

    code = BestOfMany.code
    title = BestOfMany.title
    severity = Severity.WARNING
    fix = BestOfMany.fix

    def check(self) -> Iterator[Finding]:
        """Best of at least three trained arms: p < 0.05 alone, not after correcting for the arms."""
        for key, study in studies(self.evidence).items():
            named = {c["versus"] for c in study.get("contrasts") or () if isinstance(c.get("versus"), str)}
            for each in scored(self.db, key):
                references = [arm for arm in each.arms if arm in named or (not named and arm not in each.trained)]
                tried = [arm for arm in each.trained if arm not in references]
                if references and len(tried) >= MANY:
                    yield from self._judge(each, references[0], tried)

    def _judge(self, each: Scored, base: str, tried: list[str]) -> Iterator[Finding]:
        best = max(sorted(tried), key=lambda arm: float(each.arms[arm].mean()))
        gap, error = each.apart(best, base)
        if gap <= 0 or error == 0:
            return
        alone = two_sided(gap / error)
        if alone < ALPHA <= alone * len(tried):
            yield self.finding(
                f"{each.study}: on {each.task}/{each.metric} {best} is the best of {len(tried)} arms, {gap:+.3g} "
                f"(better) than {base}; p = {alone:.2g} alone and {min(1.0, alone * len(tried)):.2g} after correcting "
                f"for {len(tried)} tries; the luckiest of {len(tried)} useless arms gains "
                f"{expected_best(len(tried)) * error:.2g} on average.",
                table=each.task, cell=best, arms=[best], tasks=[each.task],
            )  # fmt: skip


class EdgeOfStudy(LedgerRule):
    """A winner at the first or last value of a numeric axis."""

    code = EdgeOfGrid.code
    title = EdgeOfGrid.title
    severity = Severity.NOTE
    fix = EdgeOfGrid.fix

    def check(self) -> Iterator[Finding]:
        """Axes of at least three numbers whose best value is an end, two standard errors above the worst."""
        for key, study in studies(self.evidence).items():
            for each in scored(self.db, key):
                for axis in axes(study, list(each.arms)):
                    yield from self._edge(each, axis)

    def _edge(self, each: Scored, axis: Axis) -> Iterator[Finding]:
        at: dict[float, list[str]] = {}
        for arm, value in axis.values.items():
            at.setdefault(value, []).append(arm)
        curves = {v: np.mean([each.arms[arm] for arm in arms], axis=0) for v, arms in sorted(at.items())}
        if len(curves) < MANY:
            return
        best, worst = (pick(curves, key=lambda v: float(curves[v].mean())) for pick in (max, min))
        gap = curves[best] - curves[worst]
        if best in (min(curves), max(curves)) and gap.mean() > 2 * gap.std(ddof=1) / np.sqrt(gap.size):
            off = "0, the method switched off" if best == 0 else f"the end of {min(curves):g} to {max(curves):g}"
            yield self.finding(
                f"{each.study}: on {each.task}/{each.metric} the best {axis.name} is {best:g}, {off} "
                f"({len(curves)} values tried).",
                table=each.task, cell=f"{axis.name} = {best:g}", arms=at[best], tasks=[each.task],
            )  # fmt: skip


class TeacherBelowStudent(LedgerRule):
    """A teacher that scores below the student it teaches."""

    code = TeacherWorse.code
    title = TeacherWorse.title
    severity = Severity.WARNING
    fix = TeacherWorse.fix
    TEACHER = re.compile(r"(?<![a-z])teacher(?![a-z])", re.I)
    PROMPTED = re.compile(r"(?<![a-z])(few[-_ ]?shot|icl)(?![a-z])", re.I)

    def check(self) -> Iterator[Finding]:
        """Arms called teacher, and few-shot arms where a run learns from a few-shot reference, against trained arms."""
        rows = self.db.execute(
            "SELECT study, list(DISTINCT arm), bool_or(contains(spec, '\"few_shot\"')) FROM runs "
            "WHERE study IS NOT NULL GROUP BY study ORDER BY study"
        ).fetchall()
        for study, arms, prompted in rows:
            teachers = {a for a in arms if self.TEACHER.search(a) or (prompted and self.PROMPTED.search(a))}
            if not teachers or len(teachers) == len(arms):
                continue
            for each in scored(self.db, study):
                yield from self._below(each, teachers)

    def _below(self, each: Scored, teachers: set[str]) -> Iterator[Finding]:
        for teacher in sorted(teachers & set(each.arms)):
            students = sorted(arm for arm in each.trained - teachers)
            found = [(arm, *each.apart(arm, teacher)) for arm in students]
            for student, gap, error in found:
                if gap > 2 * error and gap > 0:
                    yield self.finding(
                        f"{each.study}: on {each.task}/{each.metric} the teacher {teacher} is {gap:.3g} worse than "
                        f"the student {student} ({gap / error if error else np.inf:.1f} standard errors over "
                        f"{each.arms[student].size} items).",
                        table=each.task, cell=teacher, arms=[student, teacher], tasks=[each.task],
                    )  # fmt: skip


class ServedModelDiffers(LedgerRule):
    """A merged, quantised or served model that does not answer as the adapter does."""

    code = "NG411"
    title = "The served model is not the one that was measured"
    severity = Severity.ERROR
    fix = (
        "Evaluate what will be served, through the path that serves it; `netgain export --merged` refuses a merged "
        "model that computes something else. Check the template, the merge's precision and the quantisation."
    )
    SERVED = (
        r"(merged|served|serving|deployed|exported|quantised|quantized|quant|gguf|awq|gptq|vllm|int8|int4|nf4|"
        r"[48]-?bit|q[2-8](_[0-9k]\w*)?)"
    )
    LIKE = re.compile(rf"(?P<adapter>.+?)[-_ :.@]{SERVED}", re.I)
    ALONE = re.compile(SERVED, re.I)

    def check(self) -> Iterator[Finding]:
        """Arms and checkpoints called merged, served, int4 and so on, item by item against the arm without the word."""
        rows = self.db.execute("SELECT DISTINCT arm, checkpoint FROM items ORDER BY ALL").fetchall()
        arms = {arm for arm, _ in rows}
        for arm, checkpoint in rows:
            match = self.LIKE.fullmatch(arm)
            if match and match["adapter"] in arms and checkpoint != "base":
                yield from self._compare((match["adapter"], checkpoint), (arm, checkpoint))
            if self.ALONE.fullmatch(checkpoint):
                yield from self._compare((arm, "final"), (arm, checkpoint))

    def _compare(self, adapter: tuple[str, str], served: tuple[str, str]) -> Iterator[Finding]:
        rows = self.db.execute(
            """
            WITH one AS (SELECT task, metric, item, sample, avg(value) v, min(prediction) p FROM items
                         WHERE arm = ? AND checkpoint = ? AND value IS NOT NULL GROUP BY ALL),
                 two AS (SELECT task, metric, item, sample, avg(value) v, min(prediction) p FROM items
                         WHERE arm = ? AND checkpoint = ? AND value IS NOT NULL GROUP BY ALL)
            SELECT task, metric, count(*) n, avg(two.v - one.v) gap, stddev_samp(two.v - one.v) / sqrt(n) se,
                   avg((two.v <> one.v OR two.p <> one.p)::INT) changed, avg(one.v), avg(two.v)
            FROM one JOIN two USING (task, metric, item, sample) GROUP BY task, metric
            HAVING n >= ? AND ((gap <> 0 AND abs(gap) > 2 * se) OR changed > 0.02 AND count(one.p) = n) ORDER BY ALL
            """,
            [*adapter, *served, FEW],
        ).fetchall()
        names = [arm if point == "final" else f"{arm} ({point})" for arm, point in (adapter, served)]
        for task, metric, n, gap, error, changed, before, after in rows:
            apart = gap != 0 and abs(gap) > 2 * error
            yield self.finding(
                f"{task}: {metric} is {before:.4g} for {names[0]} and {after:.4g} for {names[1]}; {changed:.1%} of "
                f"{n} items come out differently.",
                table=task, cell=names[1], arms=[served[0]], tasks=[task],
                severity=None if apart else Severity.WARNING,
            )  # fmt: skip


class ScoreMapOfItems(LedgerRule):
    """A mapped score that does not rise with the raw one it is made of."""

    code = ScoreMapFolds.code
    title = ScoreMapFolds.title
    severity = Severity.ERROR
    fix = ScoreMapFolds.fix
    RAW = re.compile(r"(?<![a-z])(raw|logit|reward)(?![a-z])[-_ ]?", re.I)
    MAPPED = re.compile(r"(?<![a-z])(mapped|scaled|score|sigmoid|1[-_]?to[-_]?10)(?![a-z])", re.I)

    def check(self) -> Iterator[Finding]:
        """Two metrics of one item, one called raw, logit or reward: items in the order of the first go up and down."""
        rows = self.db.execute("SELECT task, list(DISTINCT metric) FROM items GROUP BY task ORDER BY task").fetchall()
        for task, metrics in rows:
            for raw in sorted(m for m in metrics if self.RAW.search(m)):
                stem = self.RAW.sub("", raw).strip("-_ ")
                for mapped in sorted(set(metrics) - {raw}):
                    if not self.RAW.search(mapped) and (mapped == stem or self.MAPPED.search(mapped)):
                        yield from self._follow(task, raw, mapped)

    def _follow(self, task: str, raw: str, mapped: str) -> Iterator[Finding]:
        pairs = self.db.execute(
            """
            SELECT DISTINCT a.value x, b.value y
            FROM items a JOIN items b USING (run, task, item, checkpoint, sample)
            WHERE task = ? AND a.metric = ? AND b.metric = ? AND a.value IS NOT NULL AND b.value IS NOT NULL
            ORDER BY x, y
            """,
            [task, raw, mapped],
        ).fetchnumpy()
        x, y = (np.asarray(column, dtype=float) for column in pairs.values())
        if x.size < FEW or np.ptp(y) == 0:
            return
        top = np.maximum.accumulate(y)
        below = np.flatnonzero((top - y > 1e-6 * np.ptp(y)) & (x > x[0]))
        falling = bool(np.all(np.diff(y) <= 1e-6 * np.ptp(y)))
        if below.size and not falling:
            worst = int(below[np.argmax((top - y)[below])])
            peak = int(np.argmax(y[: worst + 1]))
            yield self.finding(
                f"{task}: {mapped} is {y[peak]:.4g} where {raw} is {x[peak]:.4g}, and {y[worst]:.4g} at the higher "
                f"{x[worst]:.4g}; {below.size} of {x.size} values lie below an earlier one.",
                table=task, cell=mapped, tasks=[task],
            )  # fmt: skip
