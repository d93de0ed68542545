"""Answers to write out: sums, small functions with their tests, replies to a message."""

from collections.abc import Callable

from netgain.data.embedded import lexicon as lex
from netgain.data.embedded.draw import Draw
from netgain.data.embedded.suite import Draft, SuiteCard, forms


def arithmetic(draw: Draw, difficulty: str) -> Draft:
    """easy: two digits and one. medium: two and two. hard: a product and a third number. Half of the first two are
    stories.

    The family is the expression. The operands' ranges do not overlap, so no expression is another one exchanged.
    """
    if difficulty == "hard":
        sign, a, b, c = draw.family(2, 75, 8, 40)
        left, factor, right = a + 25, b + 2, c + 10
        value = left * factor + (-right if sign else right)
        return Draft(("hard", sign, a, b, c), _question(f"{left} * {factor} {'+-'[sign]} {right}"), str(value))
    low, high = ((9, 1), (40, 8)) if difficulty == "easy" else ((50, 10), (50, 40))
    sign, a, b = draw.family(2, high[0], high[1])
    left, right = a + low[0], b + low[1]
    question = f"{left} {'+-'[sign]} {right}" if draw.chance(1, 2) else _story(draw, sign, left, right)
    return Draft((difficulty, sign, a, b), _question(question), str(left - right if sign else left + right))


def _question(text: str) -> str:
    return f"Question: {text}\nAnswer:"


def _story(draw: Draw, sign: int, left: int, right: int) -> str:
    who, things = draw.choice(lex.PEOPLE), draw.choice(("apples", "books", "coins", "eggs", "cups", "pencils"))
    deed = draw.choice(
        (("finds", "buys", "gets"), ("loses", "sells", "eats" if things in ("apples", "eggs") else "hides"))[sign]
    )
    return f"{who} has {left} {things} and {deed} {right}{'' if sign else ' more'}. How many {things} does {who} have?"


Function = tuple[str, str, str, Callable[..., object]]
"""(what it returns, its arguments, its expression, the same thing to compute the tests with)"""


def _functions(k: int, m: int) -> dict[str, tuple[Function, ...]]:
    return {
        "easy": (
            (f"x plus {k}", "x", f"x + {k}", lambda x: x + k),
            (f"x times {k}", "x", f"x * {k}", lambda x: x * k),
            (f"x minus {k}", "x", f"x - {k}", lambda x: x - k),
            (f"{k} minus x", "x", f"{k} - x", lambda x: k - x),
            (f"the remainder of x divided by {k}", "x", f"x % {k}", lambda x: x % k),
            (f"x raised to the power of 2, plus {k}", "x", f"x ** 2 + {k}", lambda x: x**2 + k),
        ),
        "medium": (
            (f"x times {k}, plus {m}", "x", f"x * {k} + {m}", lambda x: x * k + m),
            (f"x plus {m}, all times {k}", "x", f"(x + {m}) * {k}", lambda x: (x + m) * k),
            (f"the larger of x and {k}, plus {m}", "x", f"max(x, {k}) + {m}", lambda x: max(x, k) + m),
            (
                f"whether x is greater than {k} and less than {k + m}",
                "x",
                f"{k} < x < {k + m}",
                lambda x: k < x < k + m,
            ),
        ),
        "hard": (
            (
                f"the sum of the items greater than {k}, plus {m}",
                "items",
                f"sum(i for i in items if i > {k}) + {m}",
                lambda items: sum(i for i in items if i > k) + m,
            ),
            (
                f"how many items are divisible by {m} and less than {k}",
                "items",
                f"sum(1 for i in items if i % {m} == 0 and i < {k})",
                lambda items: sum(1 for i in items if i % m == 0 and i < k),
            ),
            (
                f"the list of the items times {m}, without those less than {k}",
                "items",
                f"[i * {m} for i in items if i >= {k}]",
                lambda items: [i * m for i in items if i >= k],
            ),
            (
                f"the largest item times {m}, or {k} if there are no items",
                "items",
                f"max(items) * {m} if items else {k}",
                lambda items: max(items) * m if items else k,
            ),
        ),
    }


INPUTS = {"x": (0, 3, 10, 25), "items": ([], [1, 4, 9], [12, 7, 20, 3], [6, 6, 15])}


def code(draw: Draw, difficulty: str) -> Draft:
    """easy: one operation on a number. medium: two. hard: a comprehension over a list.

    The family is (difficulty, what is computed, name, two constants). `meta["tests"]` holds one assertion a line.
    """
    count = 6 if difficulty == "easy" else 4
    i, n, m, k = draw.family(count, len(lex.FUNCTION_NAMES), 1 if difficulty == "easy" else 8, 16)
    name = lex.FUNCTION_NAMES[n]
    says, argument, expression, compute = _functions(k + 2, m + 2)[difficulty][i]
    tests = "\n".join(f"assert {name}({value!r}) == {compute(value)!r}" for value in INPUTS[argument])
    prompt = f"Task: Write a Python function {name}({argument}) that returns {says}.\nCode:"
    source = f"def {name}({argument}):\n    return {expression}"
    return Draft((difficulty, i, n, m, k), prompt, source, notes={"tests": tests, "entry": name})


EVENTS = (
    ("My {thing} broke {at}.", False),
    ("I lost my {thing} {at}.", False),
    ("Somebody stole my {thing} {at}.", False),
    ("I forgot my {thing} {at}.", False),
    ("I bought {a_thing} {at}.", True),
    ("My friend gave me {a_thing} {at}.", True),
    ("I finally found my {thing} {at}.", True),
    ("I won {a_thing} {at}.", True),
)
REACTIONS = {
    True: ("That is great!", "How wonderful!", "Lucky you!", "I am happy for you.", "Nice!", "Congratulations!"),
    False: (
        "I am sorry to hear that.",
        "Oh no!",
        "How annoying!",
        "That is a pity.",
        "What bad luck!",
        "That must be hard.",
    ),
}
FOLLOWS = {
    True: (
        "What colour is the {thing}?",
        "Enjoy your {thing}!",
        "Can I see the {thing}?",
        "You will love that {thing}.",
        "Where will you keep the {thing}?",
        "Is it a big {thing}?",
    ),
    False: (
        "Can I help you with the {thing}?",
        "Was the {thing} old?",
        "You can have my {thing}.",
        "I hope you get a new {thing} soon.",
        "Did you tell {who} about the {thing}?",
        "Maybe {who} has another {thing}.",
    ),
}
REFERENCES = 5


def replies(draw: Draw, difficulty: str) -> Draft:
    """easy: one event. medium: with the name of a friend. hard: a good and a bad event; the reply is to the last one.

    The family is (event, moment, place, thing). `meta["references"]` holds every reference on a line of its own, the
    answer first.
    """
    e, m, p, t = draw.family(len(EVENTS), len(lex.MOMENTS), len(lex.PLACES), len(lex.OBJECTS))
    (text, good), thing, who = EVENTS[e], lex.OBJECTS[t], draw.choice(lex.PEOPLE)
    message = _event(text, thing, f"at the {lex.PLACES[p]} {lex.MOMENTS[m]}")
    if difficulty == "medium":
        message = f"{who} was there too. {message}"
    elif difficulty == "hard":
        before = draw.choice([event for event, mood in EVENTS if mood != good])
        aside = _event(before, draw.choice([o for o in lex.OBJECTS if o != thing]), f"at the {draw.choice(lex.PLACES)}")
        message = f"{aside} But now listen, {who}: {message}"
    pairs = draw.sample([(a, b) for a in REACTIONS[good] for b in FOLLOWS[good]], REFERENCES)
    references = [f"{reaction} {follow.format(thing=thing, who=who)}" for reaction, follow in pairs]
    return Draft(
        (e, m, p, t), f"Message: {message}\nReply:", references[0], notes={"references": "\n".join(references)}
    )


def _event(text: str, thing: str, at: str) -> str:
    return text.format(thing=thing, a_thing=lex.article(thing), at=at)


SUITES = (
    SuiteCard(
        "arithmetic",
        "generate",
        (),
        0.0,
        "a sum, a difference or a product, plain or as a short story",
        arithmetic,
        forms(equals="= {}", brackets="[{}]", stop="{}.", answer="The answer is {}."),
    ),
    SuiteCard("code", "generate", (), 0.0, "a Python function of one line, with tests to run it against", code),
    SuiteCard("replies", "generate", (), 0.0, "an open reply to a message, with five references", replies),
)
