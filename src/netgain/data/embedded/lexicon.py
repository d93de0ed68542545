"""The closed vocabulary that the embedded suites are written in: small enough for a model of a million parameters."""


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _pairs(text: str) -> tuple[tuple[str, str], ...]:
    return tuple((a, b) for a, b in (pair.split(":") for pair in text.split()))


PEOPLE = _words(
    "Anna Ben Clara David Emma Felix Greta Hugo Iris Jonas Karl Lena Mark Nora Oscar Paula Quinn Rosa Simon Tina Ulla "
    "Victor Wanda Xavier Yara Zoe Adam Bella Carl Dora Edgar Fiona"
)
SURNAMES = _words(
    "Smith Brown Miller Fischer Novak Silva Rossi Weber Larsen Kovac Garcia Mueller Petrov Tanaka Okafor Dubois "
    "Jensen Moreau Costa Schmidt Haas Berg Lopez Meyer"
)
CITIES = _words(
    "Paris Berlin Oslo Madrid Rome Vienna Prague Lisbon Dublin Athens Warsaw Helsinki Cairo Tokyo Lima Boston Hamburg "
    "Toronto Delhi Nairobi Bern Geneva Munich Porto"
)
PERSON_OR_PLACE = _words("Jordan Florence Victoria Austin Sydney Madison Lincoln Chelsea")
"""Names of people and of places: only the sentence tells which."""
COMPANIES = _words(
    "Nordic Global Union Delta Alpha Pacific Royal Apex Summit Orion Atlas Vertex Pioneer Crown Harbor Falcon"
)
COMPANY_KINDS = _words("Bank Motors Airlines Foods Press Energy Records Steel")
JOBS = _words(
    "teacher doctor baker farmer pilot painter singer driver nurse lawyer writer gardener plumber cook tailor judge "
    "soldier dentist waiter builder actor engineer sailor miner"
)
ANIMALS = _words("dog cat horse bird rabbit fox bear wolf mouse goat duck sheep turtle lion frog owl")
FOODS = _words("bread cheese rice soup apples fish cake honey grapes pasta beans eggs nuts salad pizza plums")
COLOURS = _words("red blue green yellow black white brown grey pink purple orange golden silver violet crimson beige")
OBJECTS = _words(
    "book ball cup key lamp chair box hat coin map drum kite bottle basket mirror clock spoon rope candle brush "
    "pencil ring umbrella guitar"
)
PLACES = _words("park garden kitchen library market station school forest beach museum office church")
HOBBIES = _words("chess tennis football painting swimming dancing cooking reading fishing singing sailing running")

GOOD = _words(
    "good great wonderful excellent lovely superb perfect amazing brilliant charming delightful fantastic pleasant "
    "splendid terrific beautiful enjoyable impressive marvellous outstanding fresh stylish comfortable clever"
)
BAD = _words(
    "bad awful terrible horrible poor dreadful boring nasty ugly disappointing weak dull annoying rude dirty "
    "disgusting painful useless broken lousy stale clumsy unpleasant stupid"
)
REVIEWED = (
    _words("soup waiter dessert menu pizza service coffee steak"),
    _words("plot actor ending dialogue music camera story scene"),
    _words("room bed view breakfast bathroom reception pool location"),
    _words("phone screen battery keyboard speaker design charger software"),
)
"""What reviews are about, by domain."""

SUBJECTS = (
    ("man", "person"),
    ("woman", "person"),
    ("boy", "child"),
    ("girl", "child"),
    ("nurse", "person"),
    ("farmer", "person"),
    ("teacher", "person"),
    ("painter", "person"),
    ("dog", "animal"),
    ("cat", "animal"),
    ("horse", "animal"),
    ("rabbit", "animal"),
)
"""(subject, what every such subject is)"""
ACTIVITIES = _words("sleeping running eating swimming singing reading dancing crying waiting jumping climbing drinking")
WHEREABOUTS = (
    ("in the kitchen", "indoors"),
    ("in the bedroom", "indoors"),
    ("in the library", "indoors"),
    ("in the museum", "indoors"),
    ("in the office", "indoors"),
    ("in the church", "indoors"),
    ("in the classroom", "indoors"),
    ("in the hotel", "indoors"),
    ("in the park", "outdoors"),
    ("in the garden", "outdoors"),
    ("on the beach", "outdoors"),
    ("in the forest", "outdoors"),
    ("on the street", "outdoors"),
    ("in the field", "outdoors"),
    ("on the mountain", "outdoors"),
    ("on the lawn", "outdoors"),
)
"""(place, indoors or outdoors)"""
TRAITS = _pairs("tall:short old:young happy:sad big:small rich:poor strong:weak quiet:loud hungry:full")
"""(trait, its opposite)"""

SYNONYMS = _pairs(
    "bought:purchased fixed:repaired hid:concealed picked:chose liked:enjoyed got:received built:constructed "
    "found:discovered broke:smashed wanted:desired carried:transported displayed:showed"
)
"""(verb, a verb of the same meaning), both in the past tense, for things"""
DEEDS = _words(
    "praised helped followed visited invited thanked ignored met trusted blamed warned taught paid hired saw hugged"
)
"""What people did to each other; the participle is the same word, or stands in PARTICIPLES."""
PARTICIPLES = {"saw": "seen"}
MOMENTS = _words("yesterday today tonight")

DETERMINERS = _words("the a this that every some")
ADJECTIVES = _words("old young big small red green happy sad quiet brave strange heavy cold warm clever lazy")
NOUNS = _words("dog cat horse bird teacher farmer child king river house tree garden letter book window door")
TRANSITIVE = _words("sees likes finds carries follows paints sells brings opens hides takes loves")
INTRANSITIVE = _words("sleeps laughs falls smiles waits arrives sings disappears")
ADVERBS = _words("quickly slowly often never always quietly gladly suddenly")
PREPOSITIONS = _words("near under behind with beside against above towards")
PRONOUNS = _words("he she it")
AUXILIARIES = _words("will can must should may could")
CONJUNCTIONS = _words("and but")
NOUN_OR_VERB = _words("walk play watch cook dance cry jump talk visit smile dream fight")
"""A noun after a determiner or an adjective, a verb after an auxiliary."""

NUMBERS = _words("two three four five six seven eight nine ten")
FUNCTION_NAMES = _words("compute solve apply convert measure result value answer process change handle output")

LANDS = _words(
    "Norland Velmar Tosk Arvia Belund Caldor Drovia Estmark Farrow Gelland Hestia Irland Jorvik Kessel Lumora Morvia "
    "Nessia Ostmark Perland Quoria Rovenia Selmark Tarvia Umbria"
)
CAPITALS = _words(
    "Velm Torga Ansel Brill Corvo Dalen Erzig Fenn Gorsk Halle Ismir Jarn Kolm Lasko Mirna Nolde Orsk Pellin Quent "
    "Rask Sarno Tolve Ulmen Varna"
)
RIVERS = _words("Alder Brenn Cisse Dorn Elva Firth Gale Hask Ister Juna Kell Lode")
"""The names of an invented world, whose facts never change (see prose.py)."""
DIRECTIONS = _words("north south east west")


def article(word: str) -> str:
    """A word after "a" or "an" as this lexicon needs it."""
    return f"an {word}" if word[0] in "aeiou" else f"a {word}"
