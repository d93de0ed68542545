"""Sentences to tag word by word: parts of speech and named entities, answered as word/TAG."""

from netgain.data.embedded import lexicon as lex
from netgain.data.embedded.draw import Draw
from netgain.data.embedded.suite import Convention, Draft, SuiteCard, naming

POS = ("DET", "ADJ", "NOUN", "VERB", "ADV", "ADP", "PRON", "AUX", "CCONJ")
ENTITIES = ("O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC")

SLOTS = {
    "D": ("DET", lex.DETERMINERS),
    "A": ("ADJ", lex.ADJECTIVES),
    "N": ("NOUN", lex.NOUNS),
    "T": ("VERB", lex.TRANSITIVE),
    "I": ("VERB", lex.INTRANSITIVE),
    "R": ("ADV", lex.ADVERBS),
    "P": ("ADP", lex.PREPOSITIONS),
    "H": ("PRON", lex.PRONOUNS),
    "X": ("AUX", lex.AUXILIARIES),
    "C": ("CCONJ", lex.CONJUNCTIONS),
    "n": ("NOUN", lex.NOUN_OR_VERB),
    "v": ("VERB", lex.NOUN_OR_VERB),
}
PATTERNS = {
    "easy": ("D N I", "D A N I", "H T D N", "D N I R"),
    "medium": ("D A N T D N", "D N T D A N P D N", "H R T D A N", "D N I P D A N R"),
    "hard": ("D n P D N X v", "D A n T D N C H X R v", "H X v C D N T D n", "D n C D A N X v P D n"),
}
"""What a sentence is made of; lower-case letters are words that are a noun here and a verb there."""


def pos(draw: Draw, difficulty: str) -> Draft:
    """easy: 3-4 words of one reading each. medium: 6-9 words. hard: 7-11 words, two or more of them noun or verb by
    context.

    The family is (difficulty, pattern, verb or ambiguous word, second noun or first determiner, noun).
    """
    pattern = draw.below(len(PATTERNS[difficulty]))
    letters = PATTERNS[difficulty][pattern].split()
    key = next(letter for letter in letters if letter in "TIn")
    extra = "N" if letters.count("N") > 1 else "D"
    k, e, n = draw.family(len(SLOTS[key][1]), len(SLOTS[extra][1]), len(lex.NOUNS))
    fixed = {key: [SLOTS[key][1][k]], "N": [lex.NOUNS[n]]}
    fixed.setdefault(extra, []).append(SLOTS[extra][1][e])
    words, tags = [], []
    for letter in letters:
        tag, choices = SLOTS[letter]
        word = fixed[letter].pop(0) if fixed.get(letter) else draw.choice(choices)
        words.append(word)
        tags.append(tag)
    for i, word in enumerate(words[:-1]):
        if word == "a" and words[i + 1][0] in "aeiou":
            words[i] = "an"
    return _draft("Tags", (difficulty, pattern, k, e, n), words, tags)


def _draft(cue: str, family: tuple[int | str, ...], words: list[str], tags: list[str]) -> Draft:
    return Draft(family, f"Sentence: {' '.join(words)}\n{cue}:", tuple(tags), tuple(words))


ENTITY_PATTERNS = {
    "easy": ("{PER} lives in {LOC}", "{PER} works for {ORG}", "{PER} met {PER2} in {LOC}", "{ORG} called {PER}"),
    "medium": (
        "{PER} moved to {LOC} with {PER2}",
        "{PER} of {ORG} called {PER2}",
        "in {LOC} people like {PER}",
        "{PER2} left {LOC} and joined {PER}",
    ),
    "hard": (
        "{PER} of {ORG} flew to {LOC} with {PER2}",
        "{ORG} sued {PER} in {LOC}",
        "{PER2} told {PER} that {ORG} left {LOC}",
        "{ORG} hired {PER} and {PER2}",
    ),
}
VAGUE_PEOPLE = lex.PERSON_OR_PLACE + lex.PEOPLE[:8]
VAGUE_PLACES = lex.PERSON_OR_PLACE + lex.CITIES[:8]


def entities(draw: Draw, difficulty: str) -> Draft:
    """easy: names of one sort. medium: half of the names are people here and places there. hard: companies named after
    both.

    The family is (difficulty, pattern, first name, surname, place or company), and every sentence shows them all.
    """
    patterns = ENTITY_PATTERNS[difficulty]
    people, places = (lex.PEOPLE, lex.CITIES[:16]) if difficulty == "easy" else (VAGUE_PEOPLE, VAGUE_PLACES)
    i, p, s, last = draw.family(len(patterns), len(people), len(lex.SURNAMES), len(places))
    names = {
        "PER": (people[p], lex.SURNAMES[s]),
        "PER2": (people[(p + 1 + draw.below(len(people) - 1)) % len(people)],),
        "LOC": (places[last],),
        "ORG": _company(draw, last, difficulty),
    }
    words: list[str] = []
    tags: list[str] = []
    for piece in patterns[i].split():
        slot = piece.strip("{}")
        name = names.get(slot, (piece,))
        words += name
        sort = slot.rstrip("2")
        tags += [f"B-{sort}", *[f"I-{sort}"] * (len(name) - 1)] if slot in names else ["O"]
    return _draft("Entities", (difficulty, i, p, s, last), words, tags)


def _company(draw: Draw, name: int, difficulty: str) -> tuple[str, ...]:
    kind = draw.choice(lex.COMPANY_KINDS)
    if difficulty != "hard":
        return lex.COMPANIES[name], kind
    return draw.choice(((kind, "of", VAGUE_PLACES[name]), (lex.SURNAMES[name], kind), (VAGUE_PLACES[name], kind)))


SUITES = (
    SuiteCard(
        "pos",
        "tag",
        POS,
        1 / len(POS),
        "the part of speech of every word, as word/TAG",
        pos,
        (
            Convention(),
            naming("words", POS, "determiner adjective noun verb adverb preposition pronoun auxiliary conjunction"),
            naming("short", POS, "d a n v r p h x c"),
            naming("penn", POS, "DT JJ NN VB RB IN PRP MD CC"),
            naming("underscore", POS, " ".join(POS), joint="_"),
            naming("shift", POS, " ".join((*POS[1:], POS[0]))),
        ),
    ),
    SuiteCard(
        "entities",
        "tag",
        ENTITIES,
        1 / len(ENTITIES),
        "the named entity that every word belongs to, as word/TAG (BIO)",
        entities,
        (
            Convention(),
            naming("sorts", ENTITIES, "O PER PER ORG ORG LOC LOC"),
            naming("words", ENTITIES, "none person person company company place place"),
            naming("underscore", ENTITIES, " ".join(ENTITIES), joint="_"),
            naming("shift", ENTITIES, "O B-ORG I-ORG B-LOC I-LOC B-PER I-PER"),
        ),
    ),
)
