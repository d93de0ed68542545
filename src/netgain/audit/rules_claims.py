"""NG204 to NG206: words and numbers that claim more than was measured."""

import re
from collections.abc import Iterator

from netgain.audit._reading import UNCERTAINTY, short
from netgain.audit.finding import Finding, Severity
from netgain.audit.rule import DocumentRule

CLAIM = re.compile(
    r"(suggests?|shows?|indicates?|is|was|represents?) a (real|true|genuine) (effect|gain|difference|improvement|drop)|"
    r"\b(improve[sd]?|better|worse|gains?|outperforms?|beats?|increase[sd]?|decrease[sd]?)\b[^.]{0,40}"
    r"\bsignificantly\b|\bsignificantly (improve|better|worse|outperform|higher|lower|increase|reduce)|"
    r"\bstatistically significant\b|\bdefinitive(ly)?\b|\bproves?\b|\bundoubtedly\b|\bclearly (better|superior|wins)",
    re.I,
)
ODDS = re.compile(r"\b(\d+(\.\d+)?) ?% (chance|probab\w+|likel\w+|odds|of the way|sure|certain\w*)\b", re.I)
PROMISE = re.compile(r"^expected (improvement|gain|increase|boost|effect)\b.*\d", re.I)


class ClaimWithoutTest(DocumentRule):
    """Words that claim a test was done, where none was."""

    code = "NG204"
    title = "A claim has no test behind it"
    severity = Severity.WARNING
    fix = "Give the interval or the p-value with its method, or write what was measured and no more."
    TEST = re.compile(r"\bp\s*[<=>]\s*0?\.\d|p-value|McNemar|bootstrap|\bt-test|permutation|(95|90) ?%|interval", re.I)

    def check(self) -> Iterator[Finding]:
        """Sentences with words such as `a real effect`, `significantly`, `definitive`."""
        if self.document.mentions(self.TEST.pattern):
            return
        for sentence in self.document.prose:
            if match := CLAIM.search(sentence.text):
                around = sentence.text[max(0, match.start() - 70) : match.end() + 40].strip()
                yield self.finding(
                    f'"…{around}…": no interval, test or repeat in the document supports "{match.group(0)}".',
                    line=sentence.line, cell=match.group(0),
                )  # fmt: skip


class NumberWithoutBasis(DocumentRule):
    """Probabilities and expected gains that nothing was computed from."""

    code = "NG205"
    title = "A probability or an expected gain has no basis"
    severity = Severity.WARNING
    fix = "Say what the number was computed from, or leave it out; a pilot with its interval gives one."

    def check(self) -> Iterator[Finding]:
        """`70 % chance`, `80 % of the way`, `Expected improvement: 10-15 %`."""
        for sentence in self.document.prose:
            match = ODDS.search(sentence.text) or PROMISE.search(sentence.text)
            if match and not UNCERTAINTY.search(sentence.text):
                yield self.finding(
                    f'"{short(sentence.text)}": no pilot and no interval stands behind "{short(match.group(0), 60)}".',
                    line=sentence.line, cell=match.group(0),
                )  # fmt: skip


class SampledOnce(DocumentRule):
    """An evaluation by sampling, with one sample per item."""

    code = "NG206"
    title = "The evaluation samples once per item"
    severity = Severity.WARNING
    fix = "Decode greedily, or draw several samples per item, average them, and print base-against-base churn."
    SAMPLING = re.compile(
        r"(temperature|\bT)\s*[=:]\s*(0?\.\d*[1-9]|[1-9])|\bsampling\b[^.]{0,30}\btemperature\b", re.I
    )
    SCORED = re.compile(r"eval|scor|judge|reward|bench|metric|generat", re.I)
    PROPOSED = re.compile(r"\b(reduce|try|test|use|switch|consider|should|next|could)\b", re.I)
    MANY = re.compile(
        r"\b(\d+|two|three|four|five|several|k) (samples|generations|answers|repeats|draws) (per|for each|of each)\b|"
        r"pass@\d|repeats?\s*[=:]\s*[2-9]",
        re.I,
    )

    def check(self) -> Iterator[Finding]:
        """Sentences that set a temperature for an evaluation, in documents that mention no repeats."""
        if self.document.mentions(self.MANY.pattern):
            return
        for sentence in self.document.prose:
            text = sentence.text
            if self.SAMPLING.search(text) and self.SCORED.search(text) and not self.PROPOSED.search(text):
                yield self.finding(
                    f'"{short(text)}": one sampled answer per item, so the same model scores differently each time and '
                    "no repeat says by how much.",
                    line=sentence.line, cell=text,
                )  # fmt: skip
