"""Runs: what was trained, on what, and whether anything was learned."""

import json
import math
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from netgain.audit._reading import listed
from netgain.audit.finding import Finding, Severity
from netgain.audit.rule import LedgerRule
from netgain.audit.rules_failure import DeadRun
from netgain.audit.rules_leakage import SharedProblems
from netgain.audit.rules_objective import NeverActive
from netgain.audit.rules_plan import PlannedIsNotActual
from netgain.ledger.store import Ledger

UNMOVED = 1e-6
"""Differences of probabilities that rounding alone makes."""


class _RunRule(LedgerRule):
    def names(self) -> dict[str, tuple[str, tuple[str, ...]]]:
        """Run -> (how a person calls it, the arms that it stands for)."""
        rows = self.db.execute(
            "SELECT run, list(DISTINCT arm ORDER BY arm), min(seed) FROM runs GROUP BY run ORDER BY ALL"
        ).fetchall()
        return {
            run: (f"{arms[0]}, seed {seed}" if seed is not None else arms[0], tuple(arms)) for run, arms, seed in rows
        }

    def runs(self, column: str) -> Iterator[tuple[str, tuple[str, ...], dict[str, Any]]]:
        """(arm and seed, arms, the JSON of one column) of every run that has it, once a run."""
        rows = self.db.execute(
            f"SELECT DISTINCT ON (run) run, {column} FROM runs WHERE {column} IS NOT NULL ORDER BY run, arm"
        ).fetchall()
        names = self.names() if rows else {}
        for run, text in rows:
            tree = json.loads(text)
            if isinstance(tree, dict):
                yield *names[run], tree


class TrainEvaluationOverlap(_RunRule):
    """Training rows that are also evaluation rows."""

    code = SharedProblems.code
    title = SharedProblems.title
    severity = Severity.ERROR
    fix = SharedProblems.fix

    def check(self) -> Iterator[Finding]:
        """The overlap table of data.json: ids, groups, texts and 13-grams shared with `train`."""
        found: dict[str, tuple[str, set[str]]] = {}
        for name, arms, data in self.runs("data"):
            for pair in data.get("overlap", []):
                shared = {k: pair.get(k, 0) for k in ("ids", "groups", "texts", "ngrams") if pair.get(k, 0)}
                if "train" in (pair.get("left"), pair.get("right")) and shared:
                    other = pair["right"] if pair["left"] == "train" else pair["left"]
                    counts = listed([f"{n} by {kind.removesuffix('s')}" for kind, n in shared.items()])
                    text = (
                        f"{name}: {counts} of {pair.get('right_rows', '?')} rows of {other} are in the training data "
                        f"(such as {pair.get('example')})."
                    )
                    found.setdefault(other, (text, set()))[1].update(arms)
        for other, (text, touched) in found.items():
            yield self.finding(text, table=other, cell=other, arms=sorted(touched), tasks=[other])


class Mask(_RunRule):
    """A supervision mask that hides everything or nothing."""

    code = "NG703"
    title = "The supervision mask is all zero or all one"
    severity = Severity.ERROR
    fix = (
        "Look at decoded rows with their mask (`netgain show-data STUDY`); the template must mark the assistant's turn."
    )

    def check(self) -> Iterator[Finding]:
        """Supervised tokens of data.json against all tokens."""
        for name, arms, data in self.runs("data"):
            tokens, supervised = data.get("tokens"), data.get("supervised")
            if tokens and supervised in (0, tokens):
                which = "no" if supervised == 0 else "every"
                yield self.finding(f"{name}: {which} token of {tokens:,} is supervised.", cell=name, arms=arms)


class MixtureNotAsPlanned(_RunRule):
    """A realised mixture, or a number of steps, that is not the planned one."""

    code = PlannedIsNotActual.code
    title = PlannedIsNotActual.title
    severity = Severity.ERROR
    fix = PlannedIsNotActual.fix

    def check(self) -> Iterator[Finding]:
        """Planned and drawn counts of data.json; steps of the record against the spec."""
        for name, arms, data in self.runs("data"):
            mixture = data.get("mixture") or {}
            planned, drawn = mixture.get("planned") or {}, mixture.get("drawn") or {}
            apart = {k: (v, drawn.get(k, 0)) for k, v in planned.items() if _far(v, drawn.get(k, 0))}
            if apart:
                shown = [f"{k} {a} planned, {b} drawn" for k, (a, b) in apart.items()]
                yield self.finding(f"{name}: {listed(shown)}.", cell=name, arms=arms)
        specs = {name: spec for name, _, spec in self.runs("spec")}
        for name, arms, record in self.runs("record"):
            spec = specs.get(name, {})
            steps = None if spec.get("kind") == "imported" else spec.get("run", spec).get("optim", {}).get("steps")
            if steps and record.get("steps") and record["steps"] < steps and not record.get("stopped_early"):
                text = f"{name}: {record['steps']} of {steps} planned steps were taken."
                yield self.finding(text, cell=name, arms=arms)


def _far(planned: Any, drawn: Any) -> bool:
    numbers = isinstance(planned, int | float) and isinstance(drawn, int | float)
    return numbers and abs(planned - drawn) > max(1.0, 0.01 * abs(planned)) and planned > 1


class TermWithoutGradient(_RunRule):
    """A loss term whose gradient is zero at every step."""

    code = "NG602"
    title = "A loss term has no gradient"
    severity = Severity.ERROR
    fix = "Differentiate it: a value taken with .item() or under no_grad changes the printed loss and nothing else."

    def check(self) -> Iterator[Finding]:
        """Probes that logged a gradient norm of 0 wherever neither the weight nor the term was 0.

        A divergence from where a run began is at its least, 0, before the first step, and has no slope there.
        """
        rows = self.db.execute(
            """
            SELECT run, term, count(*) n, avg(raw) FROM probes
            WHERE weight <> 0 AND abs(raw) > 1e-9 AND more->>'grad_norm' IS NOT NULL
            GROUP BY ALL HAVING max(abs(CAST(more->>'grad_norm' AS DOUBLE))) = 0 ORDER BY ALL
            """
        ).fetchall()
        names = self.names() if rows else {}
        for run, term, n, raw in rows:
            name, arms = names.get(run, (run, ()))
            yield self.finding(
                f'{name}: the term "{term}" (mean value {raw:.3g}) had a gradient of exactly 0 in all {n} probed '
                "steps.",
                cell=term, arms=arms,
            )  # fmt: skip


class TermMissesTheAnswer(_RunRule):
    """A term over an answer's tokens that misses where the answer begins, or reads what ends it."""

    code = "NG608"
    title = "A term sees other tokens than the answer's"
    severity = Severity.ERROR
    fix = (
        "Compare teacher and student where the answer's tokens are predicted: one position before each token, from the "
        "last token of the prompt on, and not behind the last one."
    )

    def check(self) -> Iterator[Finding]:
        """What the record says each term saw of the first batch: the first token of each answer, and the template's."""
        found: dict[str, tuple[str, set[str]]] = {}
        for name, arms, record in self.runs("record"):
            for term, saw in (record.get("saw") or {}).items():
                misses = saw["first"] < 1
                reads = saw["tokens"] == "content" and saw["template"] > 0
                if misses or reads:
                    parts = [f"the first token of {saw['first']:.0%} of {saw['rows']} answers"]
                    parts += [f"what the template adds to {saw['template']:.0%} of them"] if reads else []
                    text = f'{name}: the term "{term}" saw {" and ".join(parts)}.'
                    found.setdefault(term, (text, set()))[1].update(arms)
        for term, (text, touched) in found.items():
            yield self.finding(text, cell=term, arms=sorted(touched))


class TermNeverActive(_RunRule):
    """A term whose weight is zero at every step."""

    code = NeverActive.code
    title = NeverActive.title
    severity = Severity.ERROR
    fix = NeverActive.fix

    def check(self) -> Iterator[Finding]:
        """Terms logged with weight 0 from the first to the last step."""
        rows = self.db.execute(
            "SELECT run, term, max(step) FROM probes GROUP BY ALL HAVING max(abs(weight)) = 0 ORDER BY ALL"
        ).fetchall()
        names = self.names() if rows else {}
        for run, term, last in rows:
            name, arms = names.get(run, (run, ()))
            yield self.finding(
                f'{name}: the term "{term}" had weight 0 in every step up to {last}.', cell=term, arms=arms
            )


class Diverged(_RunRule):
    """A run whose loss ended far above where it had been, or that failed."""

    code = "NG507"
    title = "A run diverged or failed"
    severity = Severity.ERROR
    fix = (
        "Lower the learning rate, add warm-up, check clipping; show the run as missing in every mean, with the reason."
    )

    def check(self) -> Iterator[Finding]:
        """Losses that are not finite or end at twice their lowest smoothed value; failed runs of a study.

        Of a run below 30 steps a tenth is one or two batches, whose loss says nothing about divergence.
        """
        rows = self.db.execute(
            """
            WITH curve AS (SELECT run, step, loss FROM metrics WHERE loss IS NOT NULL AND coalesce(event, '') = ''),
                 parts AS (SELECT run, ntile(10) OVER (PARTITION BY run ORDER BY step) part, loss FROM curve),
                 means AS (SELECT run, part, avg(loss) loss FROM parts GROUP BY ALL),
                 steps AS (SELECT run, count(*) steps FROM curve GROUP BY run),
                 ends AS (SELECT run, min(loss) low, arg_max(loss, part) last, bool_or(NOT isfinite(loss)) bad
                          FROM means GROUP BY run)
            SELECT run, low, last, bad FROM ends JOIN steps USING (run)
            WHERE bad OR (steps >= 30 AND low > 0.05 AND last > 2 * low)
            ORDER BY ALL
            """
        ).fetchall()
        names = self.names() if rows else {}
        for run, low, last, bad in rows:
            name, arms = names.get(run, (run, ()))
            what = "is not finite" if bad or not math.isfinite(last) else f"ends at {last:.3g} after a low of {low:.3g}"
            yield self.finding(f"{name}: the training loss {what}.", cell=run, arms=arms)
        failed = self.db.execute(
            "SELECT study, arm, seed, run FROM runs WHERE state = 'failed' AND study IS NOT NULL ORDER BY ALL"
        ).fetchall()
        for study, arm, seed, run in failed:
            yield self.finding(
                f"{study}: {arm}, seed {seed} ({run}) failed, so its arm has a seed less than the others.", cell=run,
                severity=Severity.WARNING, arms=[arm],
            )  # fmt: skip


class ZeroUpdate(LedgerRule):
    """An adapter whose update is exactly zero."""

    code = "NG605"
    title = "The adapter changes nothing"
    severity = Severity.ERROR
    fix = "Check that its parameters are in the optimiser and that the loss reaches them; evaluate again afterwards."

    def check(self) -> Iterator[Finding]:
        """Saved LoRA adapters all of whose B matrices are zero, but for those that were asked to be: a control."""
        rows = self.db.execute(
            """
            SELECT DISTINCT ON (run) arm, seed, folder FROM runs
            WHERE state = 'done' AND coalesce(json_extract_string(spec, '$.run.method.how'), '') <> 'zero'
            ORDER BY run, arm
            """
        ).fetchall()
        for arm, seed, folder in rows:
            for file in sealed_adapter(folder):
                matrices, zero = zero_matrices(file)
                if matrices and zero == matrices:
                    yield self.finding(
                        f"{arm}, seed {seed}: all {matrices} lora_B matrices are exactly 0.", cell=str(file), arms=[arm]
                    )


def sealed_adapter(folder: str) -> list[Path]:
    """The tensors of a finished run's adapter, after checking that they are those that were sealed."""
    path = Path(folder)
    run = Ledger(path.parents[1]).run(path.name)
    return [run.verified(f"adapter/{file.name}") for file in sorted(path.glob("adapter/*.safetensors"))]


def zero_matrices(file: Path) -> tuple[int, int]:
    """(number of lora_B tensors, how many of them are all zero bytes) of a safetensors file."""
    with file.open("rb") as data:
        size = struct.unpack("<Q", data.read(8))[0]
        header = json.loads(data.read(size))
        names = [name for name in header if "lora_B" in name]
        zero = 0
        for name in names:
            start, end = header[name]["data_offsets"]
            data.seek(8 + size + start)
            zero += not any(data.read(end - start))
    return len(names), zero


class DeadTensors(LedgerRule):
    """Tensors of an adapter that training left at exactly zero."""

    code = "NG607"
    title = "Part of the adapter never learned"
    severity = Severity.ERROR
    fix = (
        "Let only one side of a product begin at zero: with both at zero neither has a gradient; and look for parts "
        "that no row ever reaches."
    )

    def check(self) -> Iterator[Finding]:
        """More than a third of the saved tensors of an adapter are zero in every number."""
        rows = self.db.execute(
            "SELECT DISTINCT ON (run) arm, seed, folder, record->>'steps' FROM runs WHERE state = 'done' "
            "ORDER BY run, arm"
        ).fetchall()
        for arm, seed, folder, steps in rows:
            for file in sealed_adapter(folder) if int(steps or 0) else ():
                tensors, dead = zero_tensors(file)
                if len(dead) > tensors / 3 and not all("lora_B" in name for name in dead):
                    yield self.finding(
                        f"{arm}, seed {seed}: {len(dead)} of {tensors} trained tensors are exactly 0 after {steps} "
                        f"steps ({listed(dead, 3)}).",
                        cell=str(file), arms=[arm],
                    )  # fmt: skip


def zero_tensors(file: Path) -> tuple[int, list[str]]:
    """(number of tensors, the names of those all of whose bytes are zero) of a safetensors file."""
    with file.open("rb") as data:
        size = struct.unpack("<Q", data.read(8))[0]
        header = json.loads(data.read(size))
        header.pop("__metadata__", None)
        dead = []
        for name, about in header.items():
            start, end = about["data_offsets"]
            data.seek(8 + size + start)
            content = data.read(end - start)
            if content.count(0) == len(content):
                dead.append(name)
    return len(header), sorted(dead)


class ClipsSomethingElse(_RunRule):
    """A gradient norm that is not that of the gradient."""

    code = "NG606"
    title = "Clipping does not see the gradient of what learns"
    severity = Severity.ERROR
    fix = "Give clipping the list of tensors that the optimiser has; log the norm of that list before it is clipped."

    def check(self) -> Iterator[Finding]:
        """The norm that was logged for clipping, against that of the sum of the terms' own probed gradients."""
        rows = self.db.execute(
            """
            WITH parts AS (SELECT run, step, sum(abs(weight) * CAST(more->>'grad_norm' AS DOUBLE)
                                                 * CAST(more->>'grad_cosine' AS DOUBLE)) whole, count(*) terms
                           FROM probes WHERE more->>'grad_cosine' IS NOT NULL GROUP BY ALL),
                 paired AS (SELECT run, step, whole, m.grad_norm seen
                          FROM parts JOIN metrics m USING (run, step)
                          WHERE m.grad_norm IS NOT NULL AND coalesce(m.event, '') = '')
            SELECT run, count(*) n, count(*) FILTER (WHERE abs(whole - seen) > 0.1 * greatest(whole, seen)) wrong,
                   arg_max(whole, abs(whole - seen)), arg_max(seen, abs(whole - seen))
            FROM paired GROUP BY run HAVING wrong > n / 2 ORDER BY ALL
            """
        ).fetchall()
        names = self.names() if rows else {}
        for run, n, wrong, whole, seen in rows:
            name, arms = names.get(run, (run, ()))
            yield self.finding(
                f"{name}: in {wrong} of {n} probed steps the norm that clipping saw is not that of the gradient "
                f"({seen:.3g} where the terms' gradients sum to {whole:.3g}).",
                cell=run, arms=arms,
            )  # fmt: skip


class InputNotInContext(_RunRule):
    """A model that cannot see what it is asked."""

    code = "NG705"
    title = "The input is not in the context"
    severity = Severity.ERROR
    fix = (
        "Look at decoded rows (`netgain show-data STUDY`): the question must be in the tokens and inside the attention "
        "mask; a control without input says so with `blind: true`."
    )

    def check(self) -> Iterator[Finding]:
        """Training rows that all have one prompt, or predictions that another row's prompt does not move."""
        specs = {name: json.dumps(spec) for name, _, spec in self.runs("spec")}
        for name, arms, record in self.runs("record"):
            found = record.get("reach") or {}
            if not found or '"blind": true' in specs.get(name, ""):
                continue
            if found["prompts"] == 1 < found["rows"]:
                text = f"{name}: all {found['rows']} training rows have one and the same prompt."
            elif found["moved"] is not None and found["moved"] < UNMOVED:
                text = (
                    f"{name}: behind the prompts of other rows the answers of {found['exchanged']} rows are predicted "
                    f"as before (probabilities move by {found['moved']:.1g})."
                )
            else:
                continue
            yield self.finding(text, cell=name, arms=arms)


class DeadSeed(LedgerRule):
    """A seed far outside the other seeds of its arm."""

    code = DeadRun.code
    title = DeadRun.title
    severity = Severity.ERROR
    fix = DeadRun.fix

    def check(self) -> Iterator[Finding]:
        """Mean of a seed below half of the median of at least two others that agree with each other."""
        rows = self.db.execute(
            """
            WITH means AS (SELECT coalesce(study, '') study, arm, seed, task, metric, avg(value) score FROM items
                           WHERE value IS NOT NULL AND checkpoint = 'final' AND seed IS NOT NULL GROUP BY ALL),
                 others AS (SELECT a.study, a.arm, a.seed, a.task, a.metric, a.score, median(b.score) middle,
                                   max(b.score) - min(b.score) width, count(*) n
                            FROM means a JOIN means b USING (study, arm, task, metric) WHERE a.seed <> b.seed
                            GROUP BY ALL)
            SELECT arm, seed, task, metric, score, middle, width FROM others
            WHERE n >= 2 AND score < 0.5 * middle AND middle - score > 5 * width AND middle > 0.05 ORDER BY ALL
            """
        ).fetchall()
        for arm, seed, task, metric, score, middle, width in rows:
            yield self.finding(
                f"{arm}, seed {seed}, on {task}: {metric} is {score:.3g}, the other seeds have {middle:.3g} (width "
                f"{width:.2g}).",
                table=task, cell=f"{arm}/{seed}", arms=[arm], tasks=[task],
            )  # fmt: skip
