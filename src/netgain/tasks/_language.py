"""Where sentences end, and whether a text is in a language: by its letters, and among languages that share them by its
commonest words.

Both are rules and no trained tools, so that every machine counts alike. They are sure about whole answers and not about
a word or two: a text without any common word is in every language of its script.
"""

import re
import unicodedata
from collections import Counter

END = re.compile(r"[.!?\u2026\u3002\uff01\uff1f\u0964]+[\"'\u2019\u201d)\]*]*(?=\s|$)|[\u3002\uff01\uff1f\u0964]")
ABBREVIATIONS = "mr mrs ms dr prof sr jr st vs no vol fig al dept gen col rev inc ltd co approx e.g i.e u.s u.k a.m p.m"
"""Words whose full stop ends no sentence, unless the text ends there."""

SCRIPTS = {
    "LATIN": "en es pt fr de it pl vi sw fi", "CYRILLIC": "ru uk bg", "ARABIC": "ar fa ur", "DEVANAGARI": "hi mr ne",
    "HEBREW": "he", "BENGALI": "bn", "GURMUKHI": "pa", "GUJARATI": "gu", "TAMIL": "ta", "TELUGU": "te",
    "KANNADA": "kn", "MALAYALAM": "ml", "THAI": "th", "HANGUL": "ko", "KANA": "ja", "CJK": "zh",
}  # fmt: skip
COMMON = {
    "en": "the of and to in is that for it with as was on are be this you i not have my your we can",
    "es": "el la los las de que y en un una es por con para no se del su lo como más pero",
    "pt": "o os a as de que e em um uma é por com para não se do da no na mais mas como são",
    "fr": "le la les des de et est une un en que qui dans pour pas ne sur il au du ce je vous avec plus",
    "de": "der die das und ist nicht ein eine zu den mit von auf für sich dem es im auch als ich wir",
    "it": "il lo la i gli le di che e è un una per con non si del della nel sono come più ma",
    "pl": "i w na z do nie się jest to że o jak po ale za przez dla od co czy był oraz",
    "vi": "là và của có không cho một các được trong với người những đã này để tôi",
    "sw": "na ya wa kwa ni katika za la kuwa hii cha si yake ambayo watu hiyo kama pia sana au",
    "fi": "ja on ei se että oli hän mutta ovat kun niin myös sen tai jos kuin ole tämä joka minä",
    "ru": "и в не на что с это как а по он я к но из для от был",
    "uk": "і у в не на що з це як а та до й є для від був",
    "bg": "и в не на че със това като а по се да за са от е съм бе",
    "ar": "في من على أن إلى ما لا هذا التي هذه عن مع كان هو",
    "fa": "و در به از که این را با است برای آن می یک خود",
    "ur": "کے کی میں اور ہے سے کا کو ہیں یہ نے پر بھی",
    "hi": "के की में और है से का को हैं यह ने पर भी",
    "mr": "आणि आहे या ते हे तर नाही होते करून त्या आहेत",
    "ne": "र छ मा को ले भएको लाई यो छन् नेपाल का की पनि",
}  # fmt: skip
LANGUAGES = tuple(code for codes in SCRIPTS.values() for code in codes.split())
WORD = re.compile(r"[^\W\d_]+(?:[\u093e-\u094f\u0901-\u0903]+[^\W\d_]*)*")


def sentences(text: str) -> list[str]:
    """The sentences of a text. One ends at its marks, whatever comes next; a line without a mark goes on."""
    found: list[str] = []
    start = 0
    for end in END.finditer(text):
        if end.end() < len(text.rstrip()) and _goes_on(text[start : end.start()], end.group()):
            continue
        found.append(text[start : end.end()].strip())
        start = end.end()
    found.append(text[start:].strip())
    return [each for each in found if each]


def _goes_on(before: str, mark: str) -> bool:
    """Whether a full stop belongs to an abbreviation, to initials, or to the number of a list item."""
    if mark != ".":
        return False
    line = before.rsplit("\n", 1)[-1].strip()
    last = before.split()[-1] if before.split() else ""
    bare = last.lstrip("(\"'")
    initial = len(bare) == 1 and bare.isupper() and bare != "I"
    return bare.lower() in ABBREVIATIONS.split() or initial or line.isdecimal()


def is_in(code: str, text: str) -> bool:
    """Whether most letters are of the language's script and no other language of that script has more common words."""
    script = next(name for name, codes in SCRIPTS.items() if code in codes.split())
    counts = Counter(found for letter in text if letter.isalpha() and (found := _script(letter)))
    if not counts:
        return True
    if script in ("KANA", "CJK"):
        # Japanese mixes both; Chinese has no kana.
        share = (counts["KANA"] + counts["CJK"]) / counts.total()
        return share > 0.5 and (counts["KANA"] > 0) == (script == "KANA")
    if counts[script] <= counts.total() / 2:
        return False
    rivals = SCRIPTS[script].split()
    if len(rivals) == 1:
        return True
    words = Counter(WORD.findall(text.lower()))
    common = {each: sum(words[word] for word in COMMON[each].split()) for each in rivals}
    return common[code] >= max(common.values())


def _script(letter: str) -> str | None:
    """The script that a letter's Unicode name begins with."""
    first = unicodedata.name(letter, "").partition(" ")[0]
    if first in ("HIRAGANA", "KATAKANA"):
        return "KANA"
    return first or None
