"""Item rows: predictions that do not move, answers that are not parsed, cut, empty or missing."""

import json
from collections import Counter
from collections.abc import Iterator
from itertools import combinations
from typing import ClassVar

from netgain.audit._controls import Untaught, blind
from netgain.audit._noise import Z95
from netgain.audit._reading import listed, short
from netgain.audit.finding import Finding, Severity
from netgain.audit.rule import LedgerRule
from netgain.audit.rules_failure import FailureAsZero

Member = tuple[str, int, str]
"""An arm, its seed (-1: none) and a checkpoint."""

FEW = 20
GROUP = "coalesce(study, ''), arm, coalesce(seed, -1), task, checkpoint"
UNTAUGHT = " (the arm was given no row of this task)"


def who(arm: str, seed: int, task: str, checkpoint: str) -> str:
    """`kl, seed 3, on qa at final`."""
    return f"{arm}{f', seed {seed},' if seed >= 0 else ''} on {task} at {checkpoint}"


class ConstantPrediction(LedgerRule):
    """One prediction for nearly every item."""

    code = "NG010"
    title = "Nearly every prediction is the same"
    severity = Severity.ERROR
    fix = "Read ten raw outputs: a default of the parser, a budget too short, or a collapsed model answers here."

    def check(self) -> Iterator[Finding]:
        """The commonest prediction covers 95 % of items whose labels differ.

        A control that sees no input is left out: it can do no better. Where no text was written (the likeliest of given
        labels was taken) no parser can be at fault: a warning, and a note on an untuned model. A note as well on an arm
        that was taught nothing of the task.
        """
        rows = self.db.execute(
            f"""
            WITH given AS (SELECT coalesce(study, '') study, arm, coalesce(seed, -1) seed, task, checkpoint, metric,
                                  prediction, label, value, output IS NOT NULL written
                           FROM items WHERE prediction IS NOT NULL AND sample = 0),
                 counted AS (SELECT study, arm, seed, task, checkpoint, metric, count(*) n, mode(prediction) top,
                                    avg(value) score, bool_or(written) written
                             FROM given GROUP BY ALL HAVING n >= {FEW} AND count(DISTINCT label) > 1),
                 share AS (SELECT arm, seed, task, checkpoint, metric, min(n) n, min(top) top, min(score) score,
                                  bool_or(counted.written) written, avg((prediction = top)::INT) same,
                                  avg((label = top)::INT) good
                           FROM given JOIN counted USING (study, arm, seed, task, checkpoint, metric) GROUP BY ALL)
            SELECT arm, seed, task, checkpoint, min(n), min(top), max(same), max(good), arg_min(score, metric),
                   min(metric), bool_or(written)
            FROM share WHERE same >= 0.95 GROUP BY 1, 2, 3, 4 ORDER BY ALL
            """
        ).fetchall()
        if not rows:
            return
        controls, untaught = blind(self.db), Untaught(self.db)
        rows = [row for row in rows if (row[0], row[2]) not in controls]
        alike: dict[tuple, list[str]] = {}
        for arm, seed, task, checkpoint, *numbers in rows:
            alike.setdefault((arm, seed, task, *numbers), []).append(checkpoint)
        for (arm, seed, task, n, top, same, good, score, metric, written), checkpoints in alike.items():
            checkpoint = " and ".join(checkpoints)
            apart = (arm, task) in untaught
            chosen = Severity.NOTE if checkpoint == "base" else Severity.WARNING
            yield self.finding(
                f'{who(arm, seed, task, checkpoint)}: {same:.1%} of {n} predictions are "{short(top, 40)}", which is '
                f"right for {good:.1%} of the items; {metric} is {score:.3g}{UNTAUGHT if apart else ''}.",
                table=task, cell=f"{arm}/{task}", arms=[arm], tasks=[task],
                severity=Severity.NOTE if apart else None if written else chosen,
                fix=None if written else "Compare with the majority share, and use a metric that one answer cannot win "
                "(macro F1); a tuned model that always answers alike has collapsed.",
            )  # fmt: skip


class IdenticalOutputs(LedgerRule):
    """Two arms, or a tuned model and its base, with the same outputs on every item."""

    code = "NG011"
    title = "Two arms give identical outputs"
    severity = Severity.ERROR
    fix = "Check that each adapter is loaded, that its update is not zero, and that seeds reach the initialisation."

    def check(self) -> Iterator[Finding]:
        """Equal fingerprints of (item, sample, output) between arms or seeds that nothing else tells apart.

        Two models may give the same labels: they are told apart by any metric of theirs (an NLL, say) that differs by
        more than rounding could, or by every output being right. Arms whose adapters differ are two models that these
        items cannot tell apart: a warning.
        """
        rows = self.db.execute(
            f"""
            WITH said AS (SELECT coalesce(study, '') study, arm, coalesce(seed, -1) seed, task, checkpoint, metric,
                                 item, sample, coalesce(output, prediction) text, value FROM items),
                 prints AS (
                SELECT study, arm, seed, task, checkpoint, metric,
                       sum(hash(item, sample, text)::HUGEINT) FILTER (text IS NOT NULL) print,
                       count(text) n, min(hash(text)) <> max(hash(text)) moves,
                       min(value) FILTER (text IS NOT NULL) = 1 perfect
                FROM said GROUP BY study, arm, seed, task, checkpoint, metric
                QUALIFY metric = min(metric) OVER (PARTITION BY task))
            SELECT study, task, list((arm, seed, checkpoint) ORDER BY arm, seed, checkpoint), min(n) FROM prints
            WHERE n >= {FEW} AND moves AND NOT coalesce(perfect, false) AND checkpoint <> 'best'
            GROUP BY study, task, print HAVING count(*) > 1 ORDER BY ALL
            """
        ).fetchall()
        for study, task, alike, n in rows:
            same = self._indistinct(study, alike)
            runs = {(arm, seed) for arm, seed, _ in same}
            stages = {checkpoint for _, _, checkpoint in same}
            if len(runs) < 2 or stages == {"base"}:
                continue
            arms = {arm for arm, _, _ in same}
            base = len(stages) > 1 and "base" in stages
            what = "a tuned model and its base" if base else "seeds" if len(arms) == 1 else "arms"
            names = [who(arm, seed, task, checkpoint).removesuffix(",") for arm, seed, checkpoint in same]
            learned = [] if base else self._adapters(study, runs)
            apart = bool(learned) and len(set(learned)) == len(runs)
            yield self.finding(
                f"{listed(names, 4)}: all {n} outputs are equal, so these {what} "
                + ("are one model." if not apart else "cannot be told apart here, although their adapters differ."),
                table=task, cell=" = ".join(sorted(arms)[:2]), arms=sorted(arms), tasks=[task],
                severity=Severity.WARNING if apart else None,
                fix="Train longer, or ask more or harder items: what was learned differs, and no answer shows it."
                if apart else None,
            )  # fmt: skip

    def _adapters(self, study: str, runs: set[tuple[str, int]]) -> list[str]:
        """The hashes of what each of these runs learned, one a run; none when any run keeps no adapter."""
        rows = self.db.execute(
            "SELECT arm, coalesce(seed, -1), record FROM runs WHERE coalesce(study, '') = ? AND record IS NOT NULL",
            [study],
        ).fetchall()
        found: list[str] = []
        for arm, seed, record in rows:
            if (arm, seed) in runs:
                files = json.loads(record).get("files", {})
                found.append(" ".join(sum_ for name, sum_ in sorted(files.items()) if name.startswith("adapter/")))
        return found if len(found) == len(runs) and all(found) else []

    def _indistinct(self, study: str, alike: list[Member]) -> list[Member]:
        """Those of `alike` that some other member equals in every metric too.

        Two are told apart by mean |a - b| above 0.2 % of mean |a| in any metric: beyond what half precision rounds. One
        query for all pairs, by the items' fingerprints: a join by their names for each pair was half of an audit.
        """
        members = ", ".join("(?, ?, ?, ?)" for _ in alike)
        apart = self.db.execute(
            f"""
            WITH members (k, arm, seed, checkpoint) AS (VALUES {members}),
                 said AS MATERIALIZED (
                SELECT k, task, metric, hash(item, sample) place, value FROM items i JOIN members m
                ON i.arm = m.arm AND coalesce(i.seed, -1) = m.seed AND i.checkpoint = m.checkpoint
                WHERE value IS NOT NULL AND coalesce(study, '') = ?)
            SELECT DISTINCT one, other FROM (
                SELECT a.k one, b.k other FROM said a JOIN said b USING (task, metric, place) WHERE a.k < b.k
                GROUP BY a.k, b.k, task, metric HAVING avg(abs(a.value - b.value)) > 0.002 * avg(abs(a.value)))
            """,
            [*(word for k, member in enumerate(alike) for word in (k, *member)), study],
        ).fetchall()
        same = set(combinations(range(len(alike)), 2)) - set(apart)
        return [alike[k] for k in sorted({k for pair in same for k in pair})]


class ParseFailures(LedgerRule):
    """Answers that could not be parsed, often or in one arm more than in another."""

    code = "NG505"
    title = "Parse failures explain the score"
    severity = Severity.ERROR
    fix = "Fix the prompt, the stop tokens or the parser; report the score of parsed answers and the failure rate."
    column = "NOT parsed"
    word = "are unparseable"
    condition = "parsed IS NOT NULL"

    def check(self) -> Iterator[Finding]:
        """Rates above 20 %, or arms that differ by more than 10 points and two standard errors."""
        yield from self._often(self.column, self.word)

    def _often(
        self, column: str, word: str, severity: Severity | None = None, fix: str | None = None
    ) -> Iterator[Finding]:
        """Arms of which too many answers are such that `column` holds."""
        rows = self.db.execute(
            f"""
            WITH form AS (SELECT task, metric, median(length(output)) <= 2 * median(length(label)) AND
                                 median(length(label)) <= 2 * median(length(output)) alike
                          FROM items WHERE NOT truncated AND output IS NOT NULL AND label IS NOT NULL GROUP BY ALL)
            SELECT coalesce(study, '') study, task, arm, checkpoint, avg(({column})::INT) rate,
                   count(DISTINCT item) n, avg(value) score, avg(value) FILTER (WHERE NOT ({column})) good
            FROM items LEFT JOIN form USING (task, metric) WHERE {self.condition} AND value IS NOT NULL
              AND metric = (SELECT min(metric) FROM items i WHERE i.task = items.task)
            GROUP BY ALL HAVING n >= {FEW} ORDER BY ALL
            """
        ).fetchall()
        groups: dict[tuple[str, str], list[tuple[str, float, int, float, float | None]]] = {}
        for study, task, arm, checkpoint, rate, n, score, good in rows:
            groups.setdefault((study, task), []).append((f"{arm} ({checkpoint})", rate, n, score, good))
        for (_, task), arms in groups.items():
            worst, least = max(arms, key=lambda a: a[1]), min(arms, key=lambda a: a[1])
            noise = Z95 * ((worst[1] * (1 - worst[1]) + least[1] * (1 - least[1])) / worst[2]) ** 0.5
            apart = worst[1] - least[1] > max(0.10, noise)
            if worst[1] >= 0.2 or apart:
                bad = {worst[0], *(name for name, rate, *_ in arms if rate >= 0.2)}
                among = f", {worst[4]:.3g} among the rest" if worst[4] is not None else ""
                other = f"; {least[0]} has {least[1]:.1%} and scores {least[3]:.3g}" if apart else ""
                yield self.finding(
                    f"{task}: {worst[1]:.1%} of {worst[2]} answers of {worst[0]} {word} and it scores "
                    f"{worst[3]:.3g}{among}{other}.",
                    table=task, cell=worst[0], fix=fix,
                    severity=severity or (None if apart or worst[1] >= 0.5 else Severity.WARNING),
                    arms=[name.rpartition(" (")[0] for name, *_ in arms if name in bad], tasks=[task],
                )  # fmt: skip


RAN_ON = "truncated AND coalesce(alike AND length(output) > length(label), false)"
"""Cut, but longer by then than its own gold answer, where whole answers are about as long as theirs."""


class Truncated(ParseFailures):
    """Answers cut by the generation budget, often or in one arm more than in another.

    A cut answer that had outgrown its own gold did not lack room: its model does not stop. That costs the model its
    score, as it should, and is a warning; elsewhere (a short gold under a long reasoning) a cut is taken for a cut.
    """

    code = "NG506"
    title = "The generation budget cuts answers"
    fix = "Set max_new_tokens above the longest gold answer plus the template's own tokens, and evaluate again."
    word = "are cut by the budget"
    condition = "truncated IS NOT NULL"

    def check(self) -> Iterator[Finding]:
        """Rates above 20 %, or arms that differ by more than 10 points and two standard errors."""
        yield from self._often(f"truncated AND NOT ({RAN_ON})", self.word)
        yield from self._often(
            RAN_ON, "run on past the length of their gold until the budget ends", Severity.WARNING,
            "Teach the model where to stop (supervise the end token), or report how often it does not.",
        )  # fmt: skip


class MissingValues(LedgerRule):
    """Items without a value, above all when arms miss different ones."""

    code = "NG508"
    title = "Items have no value"
    severity = Severity.WARNING
    fix = "Evaluate the missing items again; until then compare only on items that every arm has, and say how many."

    def check(self) -> Iterator[Finding]:
        """Rows with a reason instead of a value, by arm and task."""
        rows = self.db.execute(
            """
            SELECT task, arm, checkpoint, count(*) FILTER (WHERE value IS NULL) missing, count(*) n,
                   mode(reason) why
            FROM items GROUP BY ALL HAVING missing > 0 ORDER BY ALL
            """
        ).fetchall()
        tasks: dict[str, list[tuple[str, str, int, int, str]]] = {}
        for task, arm, checkpoint, missing, n, why in rows:
            tasks.setdefault(task, []).append((arm, checkpoint, missing, n, why))
        for task, found in tasks.items():
            shown = [f"{arm} ({checkpoint}) {missing} of {n}, {why}" for arm, checkpoint, missing, n, why in found]
            worst = max(missing / n for _, _, missing, n, _ in found)
            yield self.finding(
                f"{task}: {listed(shown)}.", table=task, cell=shown[0], arms=[arm for arm, *_ in found], tasks=[task],
                severity=Severity.ERROR if worst > 0.05 else None,
            )  # fmt: skip


ENDED_AT_ONCE = "tokens <= 1 AND NOT truncated"


class EmptyOutputsScored(LedgerRule):
    """Empty outputs that were scored 0 as if they were answers."""

    code = FailureAsZero.code
    title = FailureAsZero.title
    severity = Severity.ERROR
    fix = FailureAsZero.fix

    def check(self) -> Iterator[Finding]:
        """More than 5 % of an arm's outputs are empty and scored 0.

        An output of which the model is known to have written its end, and that alone, is its answer: wrong, and
        counted among the unparsed.
        """
        rows = self.db.execute(
            f"""
            SELECT arm, coalesce(seed, -1), task, checkpoint, metric, count(*) n,
                   sum((value = 0 AND trim(output) = '' AND NOT coalesce({ENDED_AT_ONCE}, false))::INT) empty
            FROM items WHERE output IS NOT NULL AND value IS NOT NULL
            GROUP BY ALL HAVING n >= {FEW} AND empty > 0.05 * n ORDER BY ALL
            """
        ).fetchall()
        for arm, seed, task, checkpoint, metric, n, empty in rows:
            yield self.finding(
                f"{who(arm, seed, task, checkpoint)}: {empty} of {n} outputs are empty and have {metric} 0.",
                table=task, cell=f"{arm}/{task}", arms=[arm], tasks=[task],
            )  # fmt: skip


class LabelsNeverPredicted(LedgerRule):
    """Predictions outside the labels of the data."""

    code = "NG704"
    title = "The label map differs from the data's labels"
    severity = Severity.ERROR
    fix = "Take label names from the data set's own features; print the confusion table of raw predictions."

    def check(self) -> Iterator[Finding]:
        """Tasks of few labels where over half of the parsed predictions are no label, and no such one is right."""
        rows = self.db.execute(
            f"""
            WITH gold AS (SELECT task, list(DISTINCT label) labels FROM items WHERE label IS NOT NULL GROUP BY task
                          HAVING count(DISTINCT label) BETWEEN 2 AND least(30, count(DISTINCT item) / 4))
            SELECT arm, coalesce(seed, -1), task, checkpoint, count(*) n,
                   count(*) FILTER (WHERE NOT list_contains(labels, prediction)) outside,
                   mode(prediction) FILTER (WHERE NOT list_contains(labels, prediction)) top, min(labels) labels
            FROM items JOIN gold USING (task) WHERE prediction IS NOT NULL AND coalesce(parsed, true)
            GROUP BY arm, seed, task, checkpoint
            HAVING n >= {FEW} AND outside > 0.5 * n
               AND NOT bool_or(value = 1 AND NOT list_contains(labels, prediction)) ORDER BY ALL
            """
        ).fetchall()
        for arm, seed, task, checkpoint, n, outside, top, labels in rows:
            yield self.finding(
                f"{who(arm, seed, task, checkpoint)}: {outside} of {n} predictions are no label of the data "
                f'("{short(top, 30)}" the commonest); the labels are {listed(sorted(labels))}.',
                table=task, cell=short(top, 40), arms=[arm], tasks=[task],
            )  # fmt: skip


class TagsOfKnownWords(LedgerRule):
    """Gold tags that contradict words whose tag everybody knows."""

    code = LabelsNeverPredicted.code
    title = LabelsNeverPredicted.title
    severity = Severity.ERROR
    fix = LabelsNeverPredicted.fix
    KNOWN: ClassVar[dict[str, tuple[str, ...]]] = {
        "DET": ("the", "a", "an", "every"),
        "CCONJ": ("and", "or"),
        "PRON": ("he", "she", "they", "it", "i", "you"),
        "AUX": ("will", "must", "should", "could"),
        "PUNCT": (".", ",", "?", "!"),
    }
    """Words of English text with the tag that Universal Dependencies gives them nearly always."""

    def check(self) -> Iterator[Finding]:
        """word/TAG answers in the tags of Universal Dependencies: under half of the known words have their own tag.

        A label list that is shifted in prompts, training and test alike leaves no other trace, since all agree.
        """
        rows = self.db.execute(
            "SELECT task, list(DISTINCT label), list(DISTINCT arm ORDER BY arm) FROM items "
            "WHERE contains(label, '/') GROUP BY task ORDER BY task"
        ).fetchall()
        expected = {word: tag for tag, words in self.KNOWN.items() for word in words}
        for task, answers, arms in rows:
            pairs = [piece.rpartition("/") for answer in answers for piece in answer.split()]
            tags = {tag for _, _, tag in pairs}
            known = [(word, tag) for word, _, tag in pairs if expected.get(word.casefold()) in tags]
            right = sum(expected[word.casefold()] == tag for word, tag in known)
            if len(known) >= FEW and right < 0.5 * len(known):
                wrong = Counter((w.casefold(), t) for w, t in known if expected[w.casefold()] != t)
                (word, tag), times = wrong.most_common(1)[0]
                yield self.finding(
                    f'{task}: {len(known) - right} of {len(known)} places of words such as "{word}" have another tag '
                    f"than theirs ({tag} {times} times, where Universal Dependencies says {expected[word]}).",
                    table=task, cell=f"{word}/{tag}", arms=arms, tasks=[task],
                )  # fmt: skip
