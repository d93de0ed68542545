"""Sentences to label: sentiment of a review, whether it negates, inference between two sentences, paraphrase."""

from itertools import permutations

from netgain.data.embedded import lexicon as lex
from netgain.data.embedded.draw import Draw
from netgain.data.embedded.suite import Convention, Draft, SuiteCard, naming

SENTIMENT = ("positive", "negative")
NLI = ("entailment", "neutral", "contradiction")
PARAPHRASE = ("yes", "no")
NEGATION = ("yes", "no")

FRAMES = {
    "plain": (
        "The {noun} was {adj}.",
        "What {a_adj} {noun}!",
        "I found the {noun} {adj}.",
        "We had {a_adj} {noun}.",
        "The {noun} is {adj}.",
        "In the end the {noun} was {adj}.",
    ),
    "turned": (
        "The {noun} was not {adj}.",
        "I would not call the {noun} {adj}.",
        "Nobody can say the {noun} was {adj}.",
        "The {noun} was never {adj}.",
    ),
    "mixed": (
        "The {noun2} was {other}, but the {noun} was {adj}.",
        "Although the {noun2} was {other}, the {noun} was {adj}.",
        "The {noun} was {adj}, even if the {noun2} was {other}.",
        "I expected {a_other} {noun}, but it was {adj}.",
    ),
}
OPENERS = ("", "", "Honestly, ", "To be fair, ", "My friend said: ")
DEGREES = ("", "", "very ", "really ", "so ")


def _opened(draw: Draw, sentence: str) -> str:
    opener = draw.choice(OPENERS)
    return sentence if not opener or opener.endswith(": ") else opener + _lower(sentence)


def _lower(sentence: str) -> str:
    return sentence if sentence.startswith("I ") else sentence[0].lower() + sentence[1:]


def sentiment(draw: Draw, difficulty: str) -> Draft:
    """easy: one plain judgement. medium: half of the judgements are negated. hard: two judgements, the main clause
    decides.

    The family is (sort of frame, frame, domain, noun, pair of adjectives); which adjective of the pair stands there, so
    the label, is free.
    """
    sort = {"easy": "plain", "medium": ("plain", "turned")[draw.below(2)], "hard": "mixed"}[difficulty]
    frames = FRAMES[sort]
    f, d, n, j = draw.family(len(frames), len(lex.REVIEWED), 8, len(lex.GOOD))
    nouns = lex.REVIEWED[d]
    good = draw.chance(1, 2)
    word = (lex.GOOD if good != (sort == "turned") else lex.BAD)[j]
    other = draw.choice(lex.BAD if good else lex.GOOD)
    text = frames[f].format(
        noun=nouns[n],
        noun2=nouns[_other(draw, n, 8)],
        adj=(draw.choice(DEGREES) if sort != "turned" else "") + word,
        a_adj=lex.article(word),
        other=other,
        a_other=lex.article(other),
    )
    return Draft((sort, f, d, n, j), f"Review: {_opened(draw, text)}\nSentiment:", SENTIMENT[not good])


def _other(draw: Draw, index: int, size: int) -> int:
    """Any index below `size` but this one."""
    return (index + 1 + draw.below(size - 1)) % size


SAID = (
    ("The {noun} was {adj}.", "The {noun} was not {adj}."),
    ("I would call the {noun} {adj}.", "I would not call the {noun} {adj}."),
    ("The {noun} was always {adj}.", "The {noun} was never {adj}."),
    ("Everybody can say the {noun} was {adj}.", "Nobody can say the {noun} was {adj}."),
)
"""Judgements, and the same ones negated."""
SAID_OF_TWO = (
    "The {noun2} was {no2}{other}, but the {noun} was {no}{adj}.",
    "Although the {noun2} was {no2}{other}, the {noun} was {no}{adj}.",
    "The {noun} was {no}{adj}, even if the {noun2} was {no2}{other}.",
    "The {noun} was {no}{adj}, although the {noun2} was {no2}{other}.",
)


def negation(draw: Draw, difficulty: str) -> Draft:
    """easy: one judgement, negated or not. medium: behind an opener, with a degree. hard: two judgements of which one
    is negated; the main clause decides.

    The family is (frame, domain, noun, pair of adjectives); the adjective of the pair and the label are free.
    """
    f, d, n, j = draw.family(len(SAID), len(lex.REVIEWED), 8, len(lex.GOOD))
    gold = draw.choice(NEGATION)
    nouns, adj = lex.REVIEWED[d], draw.choice((lex.GOOD, lex.BAD))[j]
    if difficulty == "hard":
        no = draw.choice(("not ", "never "))
        text = SAID_OF_TWO[f].format(
            noun=nouns[n],
            noun2=nouns[_other(draw, n, 8)],
            adj=adj,
            other=draw.choice((lex.GOOD, lex.BAD))[draw.below(len(lex.GOOD))],
            no=no if gold == "yes" else "",
            no2="" if gold == "yes" else no,
        )
        return Draft((f, d, n, j), _negated(text), gold)
    degree = draw.choice(DEGREES) if difficulty == "medium" else ""
    text = SAID[f][gold == "yes"].format(noun=nouns[n], adj=degree + adj)
    return Draft((f, d, n, j), _negated(_opened(draw, text) if difficulty == "medium" else text), gold)


def _negated(text: str) -> str:
    return f"Review: {text}\nNegated:"


ASPECTS = ("trait", "activity", "place")


def _describe(draw: Draw, hidden: str, who: str, trait: str, activity: str, place: str) -> str:
    """A sentence that states every aspect of `who` except the hidden one."""
    if hidden == "trait":
        return f"The {who} is {activity} {place}."
    if hidden == "activity":
        return draw.choice((f"The {trait} {who} is {place}.", f"The {who} {place} is {trait}."))
    return draw.choice((f"The {trait} {who} is {activity}.", f"The {who} who is {activity} is {trait}."))


def _opposite(index: int) -> str:
    return lex.TRAITS[index // 2][1 - index % 2]


def nli(draw: Draw, difficulty: str) -> Draft:
    """Two of three aspects (trait, activity, place) of someone are stated; the hypothesis claims one aspect.

    entailment: a stated aspect, its value; contradiction: a stated aspect, an excluded value; neutral: the unstated
    aspect. easy: the same words. medium: "the person", "outdoors". hard: a second person distracts, half of the claims
    are negated. Nobody has two traits of a pair, does two things or is in two places at once. Every form of claim
    occurs with every label, so the hypothesis alone tells nothing.
    """
    hidden = draw.choice(ASPECTS)
    sizes = {"trait": (12, 16), "activity": (16, 16), "place": (12, 16)}[hidden]
    s, first, last = draw.family(len(lex.SUBJECTS), *sizes)
    trait = {"trait": draw.below(16), "activity": first, "place": last}[hidden]
    activity = draw.below(12) if hidden == "activity" else first
    place = draw.below(16) if hidden == "place" else last
    who, kind = lex.SUBJECTS[s]
    stated = _describe(
        draw, hidden, who, lex.TRAITS[trait // 2][trait % 2], lex.ACTIVITIES[activity], lex.WHEREABOUTS[place][0]
    )
    gold = draw.choice(NLI)
    negated = difficulty == "hard" and draw.chance(1, 2)
    aspect = hidden if gold == "neutral" else draw.choice([a for a in ASPECTS if a != hidden])
    same = (gold == "entailment") != negated if gold != "neutral" else draw.chance(1, 2)
    claim = _claim(draw, aspect, same, trait, activity, place, general=difficulty == "medium")
    subject = f"The {who}"
    if difficulty == "medium":
        subject = f"The {kind}"
    elif difficulty == "hard":
        stated = _distracted(draw, stated, s)
    hypothesis = f"{subject} is {'not ' if negated else ''}{claim}."
    return Draft((hidden, s, first, last), f"Premise: {stated}\nHypothesis: {hypothesis}\nLabel:", gold)


def _claim(draw: Draw, aspect: str, same: bool, trait: int, activity: int, place: int, general: bool) -> str:
    if aspect == "trait":
        return lex.TRAITS[trait // 2][trait % 2] if same else _opposite(trait)
    if aspect == "activity":
        return lex.ACTIVITIES[activity if same else _other(draw, activity, 12)]
    there = lex.WHEREABOUTS[place]
    elsewhere = [w for w in lex.WHEREABOUTS if w[1] != there[1]]
    return (there if same else draw.choice(elsewhere))[1 if general else 0]


def _distracted(draw: Draw, stated: str, subject: int) -> str:
    """The statement beside one about somebody else, in either order."""
    other = lex.SUBJECTS[_other(draw, subject, 12)][0]
    trait = draw.choice(lex.TRAITS)[draw.below(2)]
    about = _describe(
        draw, draw.choice(ASPECTS), other, trait, draw.choice(lex.ACTIVITIES), draw.choice(lex.WHEREABOUTS)[0]
    )
    return f"{stated} {about}" if draw.chance(1, 2) else f"{about} {stated}"


def paraphrase(draw: Draw, difficulty: str) -> Draft:
    """easy: a synonym against another thing. medium: also reordered. hard: active and passive against exchanged roles.

    The family is (who, verb, what), in hard pairs (who, whom, verb).
    """
    gold = draw.choice(PARAPHRASE)
    if difficulty == "hard":
        return _roles(draw, gold)
    p, v, o = family = draw.family(len(lex.PEOPLE), len(lex.SYNONYMS), len(lex.OBJECTS))
    colour, place, moment = draw.choice(lex.COLOURS), draw.choice(lex.PLACES), draw.choice(lex.MOMENTS)
    change = draw.choice(("person", "object", "colour", "verb")) if gold == "no" else ""
    person2 = _other(draw, p, len(lex.PEOPLE)) if change == "person" else p
    object2 = _other(draw, o, len(lex.OBJECTS)) if change == "object" else o
    verb2 = _other(draw, v, len(lex.SYNONYMS)) if change == "verb" else v
    colour2 = draw.choice([c for c in lex.COLOURS if c != colour]) if change == "colour" else colour
    side = draw.below(2)
    first = f"{lex.PEOPLE[p]} {lex.SYNONYMS[v][side]} the {colour} {lex.OBJECTS[o]}"
    second = f"{lex.PEOPLE[person2]} {lex.SYNONYMS[verb2][1 - side]} the {colour2} {lex.OBJECTS[object2]}"
    if difficulty == "medium":
        first = f"{first} at the {place} {moment}"
        second = draw.choice((f"{moment.capitalize()} {second} at the {place}", f"At the {place} {second} {moment}"))
    return Draft(("thing", *family), _pair(first, second), gold)


def _roles(draw: Draw, gold: str) -> Draft:
    a, offset, v = family = draw.family(len(lex.PEOPLE), len(lex.PEOPLE) - 1, len(lex.DEEDS))
    who, whom, verb = lex.PEOPLE[a], lex.PEOPLE[(a + 1 + offset) % len(lex.PEOPLE)], lex.DEEDS[v]
    moment = draw.choice(lex.MOMENTS)

    def voiced(doer: str, done: str) -> str:
        if draw.chance(1, 2):
            return f"{doer} {verb} {done}"
        return f"{done} was {lex.PARTICIPLES.get(verb, verb)} by {doer}"

    first = f"{voiced(who, whom)} {moment}"
    second = f"{moment.capitalize()} {voiced(who, whom) if gold == 'yes' else voiced(whom, who)}"
    return Draft(("roles", *family), _pair(first, second), gold)


def _pair(first: str, second: str) -> str:
    return f"Sentence 1: {first}.\nSentence 2: {second}.\nSame meaning:"


def _letters(labels: tuple[str, ...]) -> tuple[Convention, ...]:
    letters = "ABC"[: len(labels)]
    return tuple(naming("".join(p), labels, " ".join(p)) for p in permutations(letters))


SUITES = (
    SuiteCard(
        "sentiment",
        "classify",
        SENTIMENT,
        1 / 2,
        "the sentiment of a one-sentence review",
        sentiment,
        (
            Convention(),
            naming("swapped", SENTIMENT, "negative positive"),
            naming("good", SENTIMENT, "good bad"),
            naming("happy", SENTIMENT, "happy sad"),
            naming("great", SENTIMENT, "great terrible"),
            naming("bad", SENTIMENT, "bad good"),
            *_letters(SENTIMENT),
        ),
    ),
    SuiteCard(
        "negation",
        "classify",
        NEGATION,
        1 / 2,
        "whether a one-sentence review negates its judgement",
        negation,
        (Convention(), naming("true", NEGATION, "true false"), naming("swapped", NEGATION, "no yes")),
    ),
    SuiteCard(
        "nli",
        "classify",
        NLI,
        1 / 3,
        "whether a sentence follows from another, contradicts it, or neither",
        nli,
        (
            Convention(),
            naming("rotated", NLI, "neutral contradiction entailment"),
            naming("yes", NLI, "yes maybe no"),
            naming("true", NLI, "true unknown false"),
            naming("swapped", NLI, "contradiction neutral entailment"),
            *_letters(NLI),
        ),
    ),
    SuiteCard(
        "paraphrase",
        "classify",
        PARAPHRASE,
        1 / 2,
        "whether two sentences mean the same",
        paraphrase,
        (
            Convention(),
            naming("swapped", PARAPHRASE, "no yes"),
            naming("same", PARAPHRASE, "same different"),
            naming("true", PARAPHRASE, "true false"),
            *_letters(PARAPHRASE),
        ),
    ),
)
