"""Questions whose answer is a word of the context."""

from netgain.data.embedded import lexicon as lex
from netgain.data.embedded.draw import Draw
from netgain.data.embedded.suite import Draft, SuiteCard, forms

RELATIONS = (
    ("lives in {word}", "Where does {who} live?", "the place where {who} lives", lex.CITIES),
    ("works as {a_word}", "What is the job of {who}?", "the job of {who}", lex.JOBS),
    ("has {a_word}", "Which animal does {who} have?", "the animal of {who}", lex.ANIMALS),
    ("eats {word}", "What does {who} eat?", "the food of {who}", lex.FOODS),
)
"""(statement, question, noun phrase, values)"""

PEOPLE_NAMED = {"easy": 2, "medium": 3, "hard": 4}


def qa(draw: Draw, difficulty: str) -> Draft:
    """easy: two people, one relation. medium: three people, two relations. hard: four people, and the question takes
    two steps.

    The family is (relation, who is asked about, somebody else in the context, answer).
    """
    count = PEOPLE_NAMED[difficulty]
    r, p, offset, v = draw.family(len(RELATIONS), len(lex.PEOPLE), len(lex.PEOPLE) - 1, 16)
    who = lex.PEOPLE[p]
    other = lex.PEOPLE[(p + 1 + offset) % len(lex.PEOPLE)]
    people = [who, other, *draw.sample([name for name in lex.PEOPLE if name not in (who, other)], count - 2)]
    statement, question, phrase, values = RELATIONS[r]
    answer = values[v]
    asked = [answer, *draw.sample([value for value in values if value != answer], count - 1)]
    statements = [_state(statement, name, value) for name, value in zip(people, asked, strict=True)]
    if difficulty != "easy":
        aside, _, _, side_values = RELATIONS[(r + 1 + draw.below(3)) % len(RELATIONS)]
        side = draw.sample(side_values, count)
        statements += [_state(aside, name, value) for name, value in zip(people, side, strict=True)]
        if difficulty == "hard":
            question = f"What is {phrase.format(who=_state(aside, 'the one who', side[0]).rstrip('.'))}?"
    context = " ".join(draw.sample(statements, len(statements)))
    return Draft((r, p, offset, v), f"Context: {context}\nQuestion: {question.format(who=who)}\nAnswer:", answer)


def _state(statement: str, who: str, value: str) -> str:
    return f"{who} {statement.format(word=value, a_word=lex.article(value))}."


SUITES = (
    SuiteCard(
        "qa",
        "extract",
        (),
        (1 / 2 + 1 / 3 + 1 / 4) / 3,
        "a question that one word of the context answers",
        qa,
        forms(stop="{}.", sentence="It is {}.", brackets="[{}]", answer="The answer is {}."),
    ),
)
