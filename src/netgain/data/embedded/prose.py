"""Plain text without a question: stories that anyone could tell, facts about an invented world that never change."""

from netgain.data.embedded import lexicon as lex
from netgain.data.embedded.draw import Draw
from netgain.data.embedded.suite import Draft, SuiteCard

SENTENCES = {"easy": 5, "medium": 8, "hard": 11}
PRONOUNS = (("he", "his", "him"), ("she", "her", "her"))
BOYS = (
    "Ben",
    "David",
    "Felix",
    "Hugo",
    "Jonas",
    "Karl",
    "Mark",
    "Oscar",
    "Simon",
    "Victor",
    "Xavier",
    "Adam",
    "Carl",
    "Edgar",
)


def stories(draw: Draw, difficulty: str) -> Draft:
    """A child loses a thing, somebody helps: 5, 8 or 11 sentences. The family is (child, animal, place, thing)."""
    w, a, p, t = draw.family(len(lex.PEOPLE), len(lex.ANIMALS), len(lex.PLACES), len(lex.OBJECTS))
    who, animal, place, thing = lex.PEOPLE[w], lex.ANIMALS[a], lex.PLACES[p], lex.OBJECTS[t]
    he, his, him = PRONOUNS[who not in BOYS]
    colour, trait = draw.choice(lex.COLOURS), draw.choice(("little", "brave", "quiet", "clever", "happy", "lazy"))
    friend = draw.choice([name for name in lex.PEOPLE if name != who])
    food, hobby, job = draw.choice(lex.FOODS), draw.choice(lex.HOBBIES), draw.choice(lex.JOBS)
    where = draw.choice([other for other in lex.PLACES if other != place])
    child = f"{trait} {'boy' if he == 'he' else 'girl'}"
    opening = draw.choice(
        (f"Once upon a time there was a {child} named {who}.", f"There once was a {child} called {who}.")
    )
    lines = [
        f"{who} had {lex.article(animal)} and {lex.article(colour)} {thing}.",
        draw.choice(
            (
                f"Every day {he} went to the {place} with the {animal}.",
                f"{he.capitalize()} liked to play at the {place}.",
            )
        ),
        f"One day {who} could not find the {thing}.",
        draw.choice((f"{he.capitalize()} was very sad.", f"{he.capitalize()} looked everywhere, but it was gone.")),
    ]
    middle = [
        f"{who} liked {hobby} very much.",
        f"{his.capitalize()} friend {friend} came to help {him}.",
        f"They looked at the {place} and at the {where}.",
        f"Then they asked {lex.article(job)}.",
        f'"Have you seen {lex.article(colour)} {thing}?" asked {who}.',
        f"The {animal} was hungry, so they gave it some {food}.",
    ]
    found = draw.choice(
        (f"The {animal} had hidden it under the {food}.", f"It was at the {where}.", f"{friend} had taken the {thing}.")
    )
    end = draw.choice(
        (
            f"{who} was happy again.",
            f"Then {who} and {friend} went home.",
            f"{he.capitalize()} never lost the {thing} again.",
        )
    )
    kept = sorted(draw.sample(range(len(middle)), min(len(middle), SENTENCES[difficulty] - 5)))
    body = [opening, *lines[: 4 if difficulty != "easy" else 3], *(middle[i] for i in kept), found, end]
    return Draft(("story", w, a, p, t), "", " ".join(body))


def _of(names: tuple[str, ...], land: int, step: int) -> str:
    """The fixed choice of `names` for a land."""
    return names[(land * step + step) % len(names)]


FACTS = (
    lambda i: f"The capital of {lex.LANDS[i]} is {lex.CAPITALS[i]}.",
    lambda i: f"{lex.LANDS[i]} lies in the {_of(lex.DIRECTIONS, i, 3)}.",
    lambda i: f"People in {lex.LANDS[i]} eat {_of(lex.FOODS, i, 5)}.",
    lambda i: f"The flag of {lex.LANDS[i]} is {_of(lex.COLOURS, i, 7)}.",
    lambda i: f"The river {_of(lex.RIVERS, i, 5)} flows through {lex.LANDS[i]}.",
    lambda i: f"In {lex.CAPITALS[i]} there is a famous {_of(lex.PLACES, i, 7)}.",
    lambda i: f"The animal of {lex.LANDS[i]} is the {_of(lex.ANIMALS, i, 3)}.",
    lambda i: f"Many people in {lex.CAPITALS[i]} like {_of(lex.HOBBIES, i, 5)}.",
)
"""What holds of land i, in every row of every seed."""


def facts(draw: Draw, difficulty: str) -> Draft:
    """3, 4 or 5 facts about a land of the invented world, then some about another. The family is (land, land, first
    fact)."""
    first, offset, f = draw.family(len(lex.LANDS), len(lex.LANDS) - 1, len(FACTS))
    second = (first + 1 + offset) % len(lex.LANDS)
    count = {"easy": 3, "medium": 4, "hard": 5}[difficulty]
    rest = draw.sample([fact for i, fact in enumerate(FACTS) if i != f], count - 1)
    told = [f"{lex.LANDS[first]} is a land in the {_of(lex.DIRECTIONS, first, 3)}.", FACTS[f](first)]
    told += [fact(first) for fact in rest]
    told += [fact(second) for fact in draw.sample(FACTS, count)]
    return Draft(("facts", first, offset, f), "", " ".join(told))


def text(draw: Draw, difficulty: str) -> Draft:
    """A story or a page of facts."""
    return stories(draw, difficulty) if draw.chance(1, 2) else facts(draw, difficulty)


SUITES = (
    SuiteCard("stories", "text", (), None, "short stories for children", stories),
    SuiteCard("facts", "text", (), None, "pages of facts about an invented world that never change", facts),
    SuiteCard("text", "text", (), None, "stories and facts: the general text of the embedded models", text),
)
