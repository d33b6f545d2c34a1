"""Patterns that turn the lexicon into English-Persian sentence pairs.

Choices the whole grammar keeps, so that the mapping can be learned:

* "you" is «شما», and every English subject pronoun is written in Persian too.
* Only a second clause with the same subject does without its pronoun, as Persians
  say it: after «چون» and «ولی», and after "when I was a child".
* A possessive is a suffix when it means the subject (I sold my car -> ماشینم را)
  or a part of the body that hurts, and a pronoun elsewhere (ماشین من).
* "the N" as a direct object takes «را»; "a N" is «یک» and N without «را», but bare
  when the verb is negative; bare plurals and mass nouns are bare singulars.
* A profession is bare after "is" (پزشک است), but takes «یک» with an adjective.
* Plural things take a singular verb, people and animals a plural one, and "there
  is/are" is always «هست».
* Nothing is random: a slot takes one of its least used fillers, and a hash of the
  pattern, the attempt and the slot decides between them.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from . import lexicon as lex
from .lexicon import NOUN, VERB, Adjective, Frame, Noun, Verb


@dataclass(frozen=True)
class Sentence:
    """An English sentence, its Persian translation and the pattern they follow."""

    english: str
    persian: str
    pattern: str


@dataclass(frozen=True)
class Subject:
    """Who does something.

    ``kind`` is "1", "2" or "3" for I, you and one other, "p" for we, "t" for they
    and other plurals. ``owner`` is the matching possessive, empty where English
    would have to guess a gender.
    """

    key: str
    fa: str
    kind: str
    owner: str = ""
    noun: str = ""


Pair = tuple[str, str] | None


@dataclass(frozen=True)
class Selection:
    """How much of the grammar to use: names are taken by their hash, always the same.

    A small model learns in minutes only what it meets often, so the starter corpus says
    more with fewer words.
    """

    words: float = 1.0  # share of the fillers of each slot, at least three of them
    patterns: float = 1.0  # share of the patterns
    scale: int = 1  # times the sentences that a pattern gives by itself
    most: int = 10_000  # sentences of one pattern
    least: int = 1  # a pattern that gives fewer is left out
    without: frozenset[str] = frozenset()  # patterns to leave out


STARTER = Selection(
    words=0.33,
    patterns=0.6,
    scale=6,
    most=330,
    least=80,
    # With few words to choose from, these say odd things too often.
    without=frozenset({"when_came", "was_thing", "who_is_nation", "superlative_place"}),
)
LEAST_FILLERS = 3
ATTEMPTS = 6  # for each sentence wanted: a slot's words may all have been used


def is_among(kind: str, name: str, share: float) -> bool:
    """Whether a name is among a share of its kind."""
    digest = sha256(f"{kind}{name}".encode()).digest()
    return int.from_bytes(digest[:4], "big") < share * 2**32


class Pick:
    """Chooses the fillers of one pattern's slots."""

    def __init__(self, pattern: str, totals: dict[str, int], words: float) -> None:
        self.pattern = pattern
        self.attempt = 0
        self._words = words
        self._totals = totals
        self._used: dict[tuple[str, str], int] = {}

    def __call__(self, slot: str, options: Sequence[Any]) -> Any:
        """Take one of the least used options, first here and then overall."""
        core = [o for o in options if is_among("core", _label(o), self._words)]
        if len(core) < LEAST_FILLERS:
            core = list(options[:LEAST_FILLERS])
        ranked: list[tuple[int, int, Any, str]] = []
        for option in core:
            label = _label(option)
            here = self._used.get((slot, label), 0)
            # Coarse, so that the hash still mixes words of like frequency.
            overall = self._totals.get(label, 0) // 12
            ranked.append((here, overall, option, label))
        lowest = min(entry[:2] for entry in ranked)
        tied = [entry for entry in ranked if entry[:2] == lowest]
        _, _, chosen, label = min(tied, key=lambda entry: self._hash(slot, entry[3]))
        self._used[slot, label] = self._used.get((slot, label), 0) + 1
        self._totals[label] = self._totals.get(label, 0) + 1
        return chosen

    def noun(self, slot: str, names: Iterable[str]) -> Noun:
        return self(slot, [NOUN[name] for name in names])

    def number(self, slot: str, low: int, high: int, step: int = 1) -> int:
        return int(self(slot, [str(n) for n in range(low, high + 1, step)]))

    def _hash(self, slot: str, label: str) -> bytes:
        text = f"{self.pattern}/{self.attempt}/{slot}/{label}"
        return sha256(text.encode()).digest()


def _label(option: Any) -> str:
    if isinstance(option, str):
        return option
    if isinstance(option, (tuple, list)):
        return "+".join(str(part) for part in option)
    return option.key


# Persian words. "_" is the zero-width non-joiner until finish().


def is_silent_he(word: str) -> bool:
    last = word.split()[-1].split("_")[-1]
    return last.endswith("ه") and not last.endswith("اه") and last not in lex.SPOKEN_HE


def ends_in_vowel(word: str) -> bool:
    return word[-1] == "ا" or (word[-1] == "و" and word not in lex.CONSONANT_VAV)


def ez(word: str) -> str:
    """The word as it stands before an adjective or an owner."""
    if is_silent_he(word):
        return word + "_ی"
    return word + "ی" if ends_in_vowel(word) else word


def of(*words: str) -> str:
    """An ezafe chain."""
    return " ".join([*(ez(word) for word in words[:-1]), words[-1]])


def that_which(word: str) -> str:
    """The word with the ی that comes before «که», and after «هیچ»."""
    if is_silent_he(word) or word.endswith("ی"):
        return word + "_ای"
    return word + ("یی" if ends_in_vowel(word) else "ی")


_SUFFIX = {"1": "م", "2": "تان", "3": "ش", "p": "مان", "t": "شان"}


def suffixed(word: str, kind: str) -> str:
    """The word with a possessive suffix."""
    suffix = _SUFFIX[kind]
    if is_silent_he(word) or word.endswith("ی"):
        return word + "_" + ("ا" if len(suffix) == 1 else "") + suffix
    return word + ("ی" if ends_in_vowel(word) else "") + suffix


def digits(number: int | str) -> str:
    return str(number).translate(str.maketrans("0123456789", "۰۱۲۳۴۵۶۷۸۹"))


def comparative(adjective: Adjective) -> str:
    return {"خوب": "بهتر", "بد": "بدتر"}.get(adjective.fa, adjective.fa + "_تر")


def finish(text: str) -> str:
    """Put in the real joiner, which is not written after a letter that never joins."""
    text = re.sub(r"(?<=[اآدذرزژو])_", "", text)
    return text.replace("_", "\u200c")


# English words


def a(words: str) -> str:
    vowel = words[0].lower() in "aeiou" or words.startswith(("hour", "honest"))
    if words.startswith(("useful", "university", "one")):
        vowel = False
    return ("an " if vowel else "a ") + words


def be(subject: Subject, past: bool = False) -> str:
    if past:
        return "was" if subject.kind in "13" else "were"
    return {"1": "am", "3": "is"}.get(subject.kind, "are")


def third(subject: Subject) -> bool:
    return subject.kind == "3"


def do(subject: Subject) -> str:
    return "does" if third(subject) else "do"


# Subjects

I = Subject("I", "من", "1", "my")  # noqa: E741
YOU = Subject("you", "شما", "2", "your")
HE = Subject("he", "او", "3", "his")
SHE = Subject("she", "او", "3", "her")
WE = Subject("we", "ما", "p", "our")
THEY = Subject("they", "آن_ها", "t", "their")
PRONOUNS = (I, YOU, HE, SHE, WE, THEY)
_OWNER_OF = {"m": "his", "f": "her", "": ""}
OWNERS = (
    ("my", "من"),
    ("your", "شما"),
    ("his", "او"),
    ("her", "او"),
    ("our", "ما"),
    ("their", "آن_ها"),
)


# "The friend" begs the question whose.
STRANGERS = tuple(n for n in lex.JOBS + lex.PEOPLE if n.key != "friend")
_CLOSE = frozenset(lex.words("child friend neighbor colleague classmate guest"))
# Worn in pairs, so that one of them is seldom spoken of.
_PAIRED = frozenset(lex.words("shoe sock glove"))


def named(name: lex.Name) -> Subject:
    return Subject(name.key, name.fa, "3", _OWNER_OF[name.gender])


def relative_of(pick: Pick, slot: str) -> Subject:
    """My brother and the like."""
    kin = pick(slot + " kin", lex.KIN)
    owners = [owner for owner in OWNERS if is_owner_of(owner[0], kin.key)]
    owner = pick(slot + " owner", owners)
    return Subject(
        f"{owner[0]} {kin.key}",
        of(kin.fa, owner[1]),
        "3",
        _OWNER_OF[kin.gender],
        kin.key,
    )


def is_owner_of(owner: str, key: str) -> bool:
    """Whether "her wife" and the like are to be kept out."""
    allowed = {"wife": ("my", "your", "his"), "husband": ("my", "your", "her")}
    return owner in allowed.get(key, (owner,))


def subject(
    pick: Pick, kinds: str = "pPnkjs", slot: str = "subject", you: bool = True
) -> Subject:
    """p or P pronoun, n name, k kin, j the teacher or the man, s the teachers."""
    kind = pick(slot + " kind", list(kinds))
    if kind in "pP":
        pronouns = PRONOUNS if you else (I, HE, SHE, WE, THEY)
        return pick(slot + " pronoun", pronouns)
    if kind == "n":
        return named(pick(slot + " name", lex.PERSON_NAMES))
    if kind == "k":
        return relative_of(pick, slot)
    noun = pick(slot + " noun", STRANGERS)
    if kind == "s":
        return Subject(f"the {noun.plural}", noun.fa_plural, "t", "", noun.key)
    return Subject(f"the {noun.key}", noun.fa, "3", _OWNER_OF[noun.gender], noun.key)


# Persian verbs

_PRESENT = {"1": "م", "2": "ید", "3": "د", "p": "یم", "t": "ند"}
_PAST = {"1": "م", "2": "ید", "3": "", "p": "یم", "t": "ند"}
_PERFECT = {"1": "_ام", "2": "_اید", "3": " است", "p": "_ایم", "t": "_اند"}
_COPULA = {"1": "هستم", "2": "هستید", "3": "است", "p": "هستیم", "t": "هستند"}
_NO_COPULA = {"1": "نیستم", "2": "نیستید", "3": "نیست", "p": "نیستیم", "t": "نیستند"}


def copula(kind: str, negative: bool = False, past: bool = False) -> str:
    if past:
        return ("ن" if negative else "") + "بود" + _PAST[kind]
    return (_NO_COPULA if negative else _COPULA)[kind]


def _negated_past(stem: str) -> str:
    if stem.startswith("آ"):
        return "نیا" + stem[1:]
    if stem.startswith("ا") and not stem.startswith("ای"):
        return "نی" + stem[1:]
    return "ن" + stem


def conjugate(verb: Verb, tense: str, kind: str, negative: bool = False) -> str:
    """One finite form, with the light word or joined prefix before it."""
    past, present = verb.past_fa, verb.present
    no = "ن" if negative else ""
    if tense == "present":
        form = no + ("" if verb.bare else "می_") + present + _PRESENT[kind]
    elif tense == "imperfect":
        form = no + ("" if verb.bare else "می_") + past + _PAST[kind]
    elif tense == "past":
        form = (_negated_past(past) if negative else past) + _PAST[kind]
    elif tense == "perfect":
        form = (_negated_past(past) if negative else past) + "ه" + _PERFECT[kind]
    elif tense == "future":
        form = f"{no}خواه{_PRESENT[kind]} {past}"
    elif tense == "subjunctive":
        if verb.bare:
            form = f"{no}داشته باش{_PRESENT[kind]}"
        else:
            stem = verb.subjunctive
            if negative:
                has_be = stem != present
                stem = "ن" + (stem[1:] if has_be else stem)
            form = stem + _PRESENT[kind]
    else:
        raise ValueError(tense)
    light = verb.light + " " if verb.light else ""
    return light + verb.prefix + form


# Predicates: a verb with its objects


@dataclass(frozen=True)
class Predicate:
    verb: Verb
    en: str
    fa: str
    noun: str = ""


_ANIMATE = frozenset(noun.key for noun in lex.JOBS + lex.PEOPLE + lex.KIN + lex.ANIMALS)
_HABITUAL_D = frozenset({"clean", "wash", "open"})
FRAMES = lex.FRAMES


def _modes(frame: Frame, who: Subject, habit: bool, negative: bool) -> list[str]:
    modes = []
    for mode in frame.modes:
        if mode in "mq" and not who.owner:
            continue
        if habit and frame.fa_prep == "را":
            if mode == "i" or (mode in "dp" and frame.verb not in _HABITUAL_D):
                continue
            if mode == "m" and frame.verb not in _HABITUAL_D:
                continue
        if habit and mode == "i":
            continue
        of_living = bool(frame.nouns) and frame.nouns[0] in _ANIMATE
        awkward = frame.fa_prep != "را" or of_living
        if mode == "i" and negative and awkward:
            continue
        modes.append(mode)
    return modes


def predicate(
    pick: Pick,
    who: Subject,
    use: str = "",
    habit: bool = False,
    negative: bool = False,
    only: Sequence[str] = (),
    never: Sequence[str] = (),
) -> Predicate:
    """A verb and object that may be used as ``use`` says and suit the subject."""
    frames = [
        frame
        for frame in FRAMES
        if (not use or use in frame.uses)
        and (not only or frame.verb in only)
        and frame.verb not in never
        and (use or only or frame.verb != "think")
        and _modes(frame, who, habit, negative)
    ]
    verb_key = pick("verb", sorted({frame.verb for frame in frames}))
    frame = pick("frame", [frame for frame in frames if frame.verb == verb_key])
    mode = pick("mode " + frame.key, _modes(frame, who, habit, negative))
    is_instrument = frame.verb == "instrument"
    verb = lex.PLAY_INSTRUMENT if is_instrument else VERB[frame.verb]
    if mode == "n":
        return Predicate(verb, "", "")
    noun = pick.noun("object " + frame.key, _fitting(frame.nouns, mode, who))
    en_prep = noun.place if frame.en_prep == "@" else frame.en_prep
    return _with_object(verb, noun, mode, who, en_prep, frame.fa_prep, negative)


def _fitting(names: tuple[str, ...], mode: str, who: Subject) -> list[str]:
    strangers = {noun.key for noun in lex.PEOPLE} - _CLOSE
    found = []
    for name in names:
        if mode in "pqi" and not NOUN[name].plural:
            continue
        if mode == "p" and NOUN[name].plural == name:
            continue
        if mode in "dp" and name == "friend":
            continue
        if mode == "m" and (name in strangers or not is_owner_of(who.owner, name)):
            continue
        found.append(name)
    return found


def _with_object(
    verb: Verb,
    noun: Noun,
    mode: str,
    who: Subject,
    en_prep: str,
    fa_prep: str,
    negative: bool,
) -> Predicate:
    direct = fa_prep == "را"
    marked = mode in "dpmq"
    if mode in "dt":
        en, fa = f"the {noun.key}", noun.fa
    elif mode == "p":
        en, fa = f"the {noun.plural}", noun.fa_plural
    elif mode == "i":
        en, fa = a(noun.key), noun.fa if negative else "یک " + noun.fa
    elif mode == "g":
        en, fa = noun.plural or noun.key, noun.fa
        if noun.key == "fish" or (noun.key == "chicken"):
            en = noun.key
    elif mode == "m":
        en, fa = f"{who.owner} {noun.key}", suffixed(noun.fa, who.kind)
    else:
        en, fa = f"{who.owner} {noun.plural}", suffixed(noun.fa_plural, who.kind)
    if direct:
        fa = fa + " را" if marked else fa
    else:
        fa = f"{fa_prep} {fa}"
    return Predicate(verb, f"{en_prep} {en}".strip(), fa, noun.key)


def joined(*parts: str) -> str:
    return " ".join(part for part in parts if part)


# Modal words: English for he/she, for others, their negative; and Persian.

_ABLE = Verb("", "", "", "", "", "", "توان", "توانست", "بتوان")
_WANT = VERB["want"]
MODALS = ("can", "must", "should", "may", "want", "like", "have", "try", "decided")


def _modal_en(who: Subject, modal: str, negative: bool) -> str:
    if modal == "can":
        return "cannot" if negative else "can"
    if modal in ("must", "should", "may"):
        return modal + (" not" if negative else "")
    if modal == "decided":
        return "did not decide to" if negative else "decided to"
    if negative:
        return f"{do(who)} not {modal} to"
    forms = {"want": "wants", "like": "likes", "have": "has", "try": "tries"}
    return (forms[modal] if third(who) else modal) + " to"


def _modal_fa(who: Subject, modal: str, negative: bool) -> str:
    if modal == "can":
        return conjugate(_ABLE, "present", who.kind, negative)
    if modal == "must":
        return "نباید" if negative else "باید"
    if modal == "should":
        return "بهتر است"
    if modal == "may":
        return "ممکن است"
    if modal == "have":
        return "مجبور " + copula(who.kind, negative)
    if modal == "decided":
        return conjugate(VERB["decide"], "past", who.kind, negative)
    return conjugate(VERB[modal], "present", who.kind, negative)


def clause(
    who: Subject,
    what: Predicate,
    tense: str,
    negative: bool = False,
    adverb: tuple[str, str] = ("", ""),
    time: tuple[str, str] = ("", ""),
) -> tuple[str, str]:
    """A statement without capital or full stop.

    ``adverb`` stands before the English verb and ``time`` after it; in Persian both
    follow the subject.
    """
    verb = what.verb
    when = joined(adverb[1], time[1])
    not_ = "not" if negative else ""
    aux = ""
    if tense in MODALS:
        en_verb = joined(_modal_en(who, tense, negative), verb.key)
        aux = _modal_fa(who, tense, negative)
        inner = negative and tense == "should"
        fa_verb = conjugate(verb, "subjunctive", who.kind, inner)
    elif tense == "present":
        if negative:
            en_verb = f"{do(who)} not {verb.key}"
        else:
            en_verb = joined(adverb[0], verb.third if third(who) else verb.key)
        fa_verb = conjugate(verb, "present", who.kind, negative)
    elif tense == "progressive":
        en_verb = joined(be(who), not_, adverb[0], verb.ing)
        aux = "" if negative else "دار" + _PRESENT[who.kind]
        fa_verb = conjugate(verb, "present", who.kind, negative)
    elif tense == "past_progressive":
        en_verb = joined(be(who, True), not_, verb.ing)
        aux = "" if negative else "داشت" + _PAST[who.kind]
        fa_verb = conjugate(verb, "imperfect", who.kind, negative)
    elif tense == "past":
        en_verb = f"did not {verb.key}" if negative else verb.past
        fa_verb = conjugate(verb, "past", who.kind, negative)
    elif tense == "perfect":
        have = "has" if third(who) else "have"
        en_verb = joined(have, not_, adverb[0], verb.participle)
        fa_verb = conjugate(verb, "perfect", who.kind, negative)
    elif tense == "future":
        en_verb = joined("will", not_, verb.key)
        fa_verb = conjugate(verb, "future", who.kind, negative)
    else:
        raise ValueError(tense)
    en = joined(who.key, en_verb, what.en, time[0])
    if tense in ("want", "like", "have", "try", "decided"):
        # The time belongs to the second verb.
        return en, joined(who.fa, adverb[1], aux, time[1], what.fa, fa_verb)
    return en, joined(who.fa, when, aux, what.fa, fa_verb)


def question(
    who: Subject, what: Predicate, tense: str, time: tuple[str, str] = ("", "")
) -> str:
    """The English question; the Persian one is «آیا» and the statement."""
    verb = what.verb
    if tense in ("can", "must", "should"):
        head, form = tense, verb.key
    elif tense == "want":
        head, form = do(who), "want to " + verb.key
    elif tense == "present":
        head, form = do(who), verb.key
    elif tense == "past":
        head, form = "did", verb.key
    elif tense == "future":
        head, form = "will", verb.key
    elif tense == "perfect":
        head, form = ("has" if third(who) else "have"), verb.participle
    elif tense == "progressive":
        head, form = be(who), verb.ing
    else:
        head, form = be(who, True), verb.ing
    return joined(head, who.key, form, what.en, time[0])


def said(pair: tuple[str, str]) -> tuple[str, str]:
    return pair[0] + ".", pair[1] + "."


def asked(pair: tuple[str, str]) -> tuple[str, str]:
    return pair[0] + "?", pair[1] + "؟"


def both(phrase: Any) -> tuple[str, str]:
    return phrase.key, phrase.fa


# Registry

Maker = Callable[[Pick], Pair]
PATTERNS: dict[str, tuple[int, Maker]] = {}


def pattern(count: int) -> Callable[[Maker], Maker]:
    """Register a maker that is to give ``count`` sentences."""

    def register(maker: Maker) -> Maker:
        PATTERNS[maker.__name__] = (count, maker)
        return maker

    return register


# Descriptions


def thing_and_adjective(
    pick: Pick, countable: bool = False, slot: str = "adjective", pairs: bool = False
) -> tuple[Noun, Adjective]:
    adjective = pick(slot, lex.THING_ADJECTIVES)
    names = adjective.nouns
    if not pairs:
        names = tuple(name for name in names if name not in _PAIRED)
    if countable:
        names = tuple(name for name in names if NOUN[name].plural)
        if not names:
            return thing_and_adjective(pick, countable, slot, pairs)
    return pick.noun("noun " + adjective.key, names), adjective


def living_and_adjective(pick: Pick) -> tuple[Noun, Adjective]:
    if pick("living", ["person", "person again", "animal"]) == "animal":
        adjective = pick("animal adjective", lex.ANIMAL_ADJECTIVES)
        return pick.noun("animal " + adjective.key, adjective.nouns), adjective
    return pick("person", STRANGERS), pick("person adjective", lex.PERSON_ADJECTIVES)


@pattern(77)
def thing_is(pick: Pick) -> Pair:
    noun, adjective = thing_and_adjective(pick)
    return said((f"The {noun.key} is {adjective.key}", f"{noun.fa} {adjective.fa} است"))


@pattern(56)
def thing_is_not(pick: Pick) -> Pair:
    noun, adjective = thing_and_adjective(pick)
    return said(
        (f"The {noun.key} is not {adjective.key}", f"{noun.fa} {adjective.fa} نیست")
    )


@pattern(51)
def thing_is_very(pick: Pick) -> Pair:
    noun, adjective = thing_and_adjective(pick)
    which = pick("which", [("this", "این"), ("that", "آن"), ("the", "")])
    if noun.key in _ALONE and which[0] != "the":
        return None
    if adjective.key in ("open", "closed", "broken"):
        return None
    return said(
        (
            f"{which[0]} {noun.key} is very {adjective.key}",
            joined(which[1], noun.fa, "خیلی", adjective.fa, "است"),
        )
    )


# Not pointed out among others.
_ALONE = frozenset(lex.words("moon sun sky night day weather sea wind star"))

_EXCESS = frozenset(
    lex.words(
        "big small old expensive hot cold long short heavy sour bitter salty dark"
        " narrow difficult easy dangerous crowded sweet boring high warm deep"
    )
)


@pattern(43)
def thing_is_too(pick: Pick) -> Pair:
    adjectives = [adj for adj in lex.THING_ADJECTIVES if adj.key in _EXCESS]
    adjective = pick("adjective", adjectives)
    noun = pick.noun("noun " + adjective.key, adjective.nouns)
    this = pick("this", [("this", "این"), ("that", "آن"), ("the", "")])
    if noun.key in _PAIRED or (noun.key in _ALONE and this[0] != "the"):
        return None
    return said(
        (
            f"{this[0]} {noun.key} is too {adjective.key}",
            joined(this[1], noun.fa, "بیش از حد", adjective.fa, "است"),
        )
    )


@pattern(46)
def was_thing(pick: Pick) -> Pair:
    passing = lex.words(
        "crowded quiet dirty clean open closed dark cold warm hot delicious salty long"
        " difficult easy interesting boring short wet empty full fresh bad good dry"
        " cool bitter important"
    )
    adjective = pick("adjective", [x for x in lex.THING_ADJECTIVES if x.key in passing])
    noun = pick.noun(
        "noun " + adjective.key,
        [
            name
            for name in adjective.nouns
            if name
            not in _PAIRED | _ANIMATE | {"night", "curtain", "rope", "language", "word"}
        ],
    )
    time = pick("time", lex.PAST_TIMES[:2])
    return said(
        (
            f"The {noun.key} was {adjective.key} {time.key}",
            f"{noun.fa} {time.fa} {adjective.fa} بود",
        )
    )


@pattern(46)
def is_thing(pick: Pick) -> Pair:
    noun, adjective = thing_and_adjective(pick)
    return asked(
        (f"Is the {noun.key} {adjective.key}", f"آیا {noun.fa} {adjective.fa} است")
    )


@pattern(56)
def this_is_a(pick: Pick) -> Pair:
    noun, adjective = thing_and_adjective(pick, countable=True)
    this = pick("this", [("this", "این"), ("that", "آن")])
    return said(
        (
            f"{this[0]} is {a(adjective.key + ' ' + noun.key)}",
            f"{this[1]} یک {of(noun.fa, adjective.fa)} است",
        )
    )


@pattern(56)
def these_are(pick: Pick) -> Pair:
    noun, adjective = thing_and_adjective(pick, countable=True, pairs=True)
    if noun.key in _ANIMATE:
        return None
    these = pick("these", [("these", "این"), ("those", "آن")])
    return said(
        (
            f"{these[0]} {noun.plural} are {adjective.key}",
            f"{these[1]} {noun.fa_plural} {adjective.fa} است",
        )
    )


@pattern(43)
def are_these(pick: Pick) -> Pair:
    noun, adjective = thing_and_adjective(pick, countable=True, pairs=True)
    if noun.key in _ANIMATE:
        return None
    these = pick("these", [("these", "این"), ("those", "آن"), ("the", "")])
    return asked(
        (
            f"Are {these[0]} {noun.plural} {adjective.key}",
            joined("آیا", these[1], noun.fa_plural, adjective.fa, "است"),
        )
    )


@pattern(56)
def person_is(pick: Pick) -> Pair:
    noun, adjective = living_and_adjective(pick)
    which = pick("which", [("the", ""), ("this", "این"), ("that", "آن")])
    return said(
        (
            f"{which[0]} {noun.key} is {adjective.key}",
            joined(which[1], noun.fa, adjective.fa, "است"),
        )
    )


@pattern(51)
def people_are(pick: Pick) -> Pair:
    noun, adjective = living_and_adjective(pick)
    which = pick("which", [("the", ""), ("these", "این"), ("those", "آن")])
    much = pick("much", [("", ""), ("very", "خیلی")])
    return said(
        (
            joined(which[0], noun.plural, "are", much[0], adjective.key),
            joined(which[1], noun.fa_plural, much[1], adjective.fa, "هستند"),
        )
    )


@pattern(43)
def who_is_a(pick: Pick) -> Pair:
    who = subject(pick, "npk")
    if who.kind in "pt":
        return None
    unfit = lex.words("thin tall rich poor shy funny lazy strong generous calm curious")
    adjective = pick(
        "adjective", [x for x in lex.PERSON_ADJECTIVES if x.key not in unfit]
    )
    noun = pick("noun", lex.JOBS)
    return said(
        (
            f"{who.key} {be(who)} {a(adjective.key + ' ' + noun.key)}",
            f"{who.fa} یک {of(noun.fa, adjective.fa)} {copula(who.kind)}",
        )
    )


@pattern(41)
def colour_is(pick: Pick) -> Pair:
    noun = pick.noun("noun", lex.COLORED)
    colour = pick("colour", lex.COLORS)
    owner = pick("owner", OWNERS)
    if noun.key in _PAIRED:
        return said(
            (
                f"{owner[0]} {noun.plural} are {colour.key}",
                f"{of(noun.fa_plural, owner[1])} {colour.fa} است",
            )
        )
    return said(
        (
            f"{owner[0]} {noun.key} is {colour.key}",
            f"{of(noun.fa, owner[1])} {colour.fa} است",
        )
    )


@pattern(41)
def what_colour(pick: Pick) -> Pair:
    noun = pick.noun("noun", [n for n in lex.COLORED if n not in _PAIRED])
    owner = pick("owner", [*OWNERS, ("the", ""), ("this", "این")])
    if owner[0] in ("the", "this"):
        fa = joined(owner[1], noun.fa)
    else:
        fa = of(noun.fa, owner[1])
    return asked((f"What color is {owner[0]} {noun.key}", f"{fa} چه رنگی است"))


@pattern(55)
def has_coloured(pick: Pick) -> Pair:
    who = subject(pick, "pnk")
    noun = pick.noun(
        "noun", [n for n in lex.COLORED if n != "wall" and n not in _PAIRED]
    )
    colour = pick("colour", lex.COLORS)
    has = "has" if third(who) else "have"
    return said(
        (
            f"{who.key} {has} {a(colour.key + ' ' + noun.key)}",
            f"{who.fa} یک {of(noun.fa, colour.fa)} "
            + conjugate(VERB["have"], "present", who.kind),
        )
    )


@pattern(41)
def wearing(pick: Pick) -> Pair:
    who = subject(pick, "pnkj")
    noun = pick.noun("noun", ("coat", "hat", "shirt", "skirt", "scarf", "jacket"))
    if noun.key == "skirt" and who.owner != "her":
        return None
    colour = pick("colour", lex.COLORS)
    # Clothes that are being worn have been put on, in Persian; a hat or a scarf
    # takes another verb.
    if noun.key in ("hat", "scarf"):
        return None
    return said(
        (
            f"{who.key} {be(who)} wearing {a(colour.key + ' ' + noun.key)}",
            f"{who.fa} یک {of(noun.fa, colour.fa)} پوشیده{_PERFECT[who.kind]}",
        )
    )


@pattern(56)
def bought_adjective(pick: Pick) -> Pair:
    who = subject(pick, "pPnk")
    tense = pick("tense", ["past", "future", "want", "perfect"])
    adjectives = [
        adj
        for adj in lex.THING_ADJECTIVES
        if adj.key
        in lex.words(
            "big small new old beautiful cheap expensive warm light comfortable"
        )
    ]
    things = lex.THINGS + lex.VEHICLES[:3] + lex.INSTRUMENTS + (NOUN["house"],)
    sold = {noun.key for noun in things} - set(
        lex.words("wall leaf door window stone shoe sock glove")
    )
    adjective = pick("adjective", adjectives)
    noun = pick.noun(
        "noun " + adjective.key,
        [n for n in adjective.nouns if n in sold and NOUN[n].plural and n != "bus"],
    )
    what = Predicate(
        VERB["buy"],
        a(f"{adjective.key} {noun.key}"),
        "یک " + of(noun.fa, adjective.fa),
    )
    return said(clause(who, what, tense))


# Feelings and people


@pattern(46)
def feels(pick: Pick) -> Pair:
    who = subject(pick, "ppPnks")
    feeling = pick("feeling", lex.FEELINGS)
    much = pick("much", [("", ""), ("very", "خیلی"), ("a little", "کمی")])
    if feeling.key in ("ready", "alone", "excited", "surprised") and (
        much[0] == "a little" or (feeling.key in ("ready", "alone") and much[0])
    ):
        return None
    return said(
        (
            joined(who.key, be(who), much[0], feeling.key),
            joined(who.fa, much[1], feeling.fa, copula(who.kind)),
        )
    )


@pattern(43)
def felt(pick: Pick) -> Pair:
    who = subject(pick, "pPnksj")
    feeling = pick("feeling", lex.FEELINGS)
    time = pick("time", lex.PAST_TIMES[:3] + lex.PAST_TIMES[5:6])
    return said(
        (
            f"{who.key} {be(who, True)} {feeling.key} {time.key}",
            f"{who.fa} {time.fa} {feeling.fa} {copula(who.kind, past=True)}",
        )
    )


@pattern(43)
def does_not_feel(pick: Pick) -> Pair:
    who = subject(pick, "pPnksj")
    feeling = pick("feeling", lex.FEELINGS)
    now = pick("now", [("now", "الان"), ("today", "امروز"), ("", "")])
    return said(
        (
            joined(who.key, be(who), "not", feeling.key, now[0]),
            joined(who.fa, now[1], feeling.fa, copula(who.kind, True)),
        )
    )


@pattern(41)
def is_feeling(pick: Pick) -> Pair:
    who = subject(pick, "ppnksj")
    feeling = pick("feeling", lex.FEELINGS)
    if who.kind in "1p":
        return None
    return asked(
        (
            f"{be(who)} {who.key} {feeling.key}",
            f"آیا {who.fa} {feeling.fa} {copula(who.kind)}",
        )
    )


@pattern(41)
def why_feels(pick: Pick) -> Pair:
    who = subject(pick, "ppnksj")
    names = "happy sad tired angry worried sleepy alone upset excited surprised"
    feeling = pick("feeling", [f for f in lex.FEELINGS if f.key in names.split()])
    if who.kind in "1p":
        return None
    return asked(
        (
            f"Why {be(who)} {who.key} {feeling.key}",
            f"چرا {who.fa} {feeling.fa} {copula(who.kind)}",
        )
    )


@pattern(41)
def kin_is(pick: Pick) -> Pair:
    who = relative_of(pick, "kin")
    adjective = pick("adjective", lex.PERSON_ADJECTIVES)
    return said((f"{who.key} is {adjective.key}", f"{who.fa} {adjective.fa} است"))


@pattern(41)
def kin_is_not(pick: Pick) -> Pair:
    who = relative_of(pick, "kin")
    adjective = pick("adjective", lex.PERSON_ADJECTIVES)
    return said((f"{who.key} is not {adjective.key}", f"{who.fa} {adjective.fa} نیست"))


@pattern(41)
def how_is_kin(pick: Pick) -> Pair:
    who = relative_of(pick, "kin")
    past = pick("past", [("is", "است", "", ""), ("was", "بود", "yesterday", "دیروز")])
    if who.key.startswith("my"):
        return None
    return asked(
        (
            joined("How", past[0], who.key, past[2]),
            joined("حال", who.fa, past[3], "چطور", past[1]),
        )
    )


@pattern(58)
def fears(pick: Pick) -> Pair:
    who = subject(pick, "pPnksj")
    noun = pick.noun("noun", keys_of_fear())
    negative = pick("negative", [("", False), ("not", True)])
    feared = "the sea" if noun.key == "sea" else noun.plural
    verb = lex.Verb("", "", "", "", "", "", "ترس", "ترسید", "بترس")
    return said(
        (
            joined(who.key, be(who), negative[0], "afraid of", feared),
            f"{who.fa} از {noun.fa} "
            + conjugate(verb, "present", who.kind, negative[1]),
        )
    )


def keys_of_fear() -> tuple[str, ...]:
    return lex.keys(
        "snake wolf bear dog mouse horse cow elephant monkey exam sea rooster fox"
        " plane cat dentist"
    )


# Possession


@pattern(46)
def has_a(pick: Pick) -> Pair:
    who = subject(pick, "pPnkj")
    tense = pick("tense", ["present", "past"])
    noun = pick.noun("noun", OWNED)
    if tense == "past" and who.key != "you" and noun not in lex.KIN:
        verb = VERB["have"]
        return said(
            (
                f"{who.key} had {a(noun.key)}",
                f"{who.fa} یک {noun.fa} {conjugate(verb, 'past', who.kind)}",
            )
        )
    has = "has" if third(who) else "have"
    return said(
        (
            f"{who.key} {has} {a(noun.key)}",
            f"{who.fa} یک {noun.fa} {conjugate(VERB['have'], 'present', who.kind)}",
        )
    )


OWNED = lex.keys(
    "book notebook pen pencil bag phone computer camera watch map umbrella hat coat"
    " jacket scarf ring gift ticket passport suitcase lamp mirror carpet toy doll"
    " radio television bicycle car boat truck motorcycle guitar piano violin cat dog"
    " horse rabbit house shop garden farm apartment brother sister"
    " son daughter question problem job exam heater rooster towel candle"
)


@pattern(43)
def has_no(pick: Pick) -> Pair:
    who = subject(pick, "pPnkj")
    noun = pick.noun("noun", OWNED)
    return said(
        (
            f"{who.key} {do(who)} not have {a(noun.key)}",
            f"{who.fa} {noun.fa} " + conjugate(VERB["have"], "present", who.kind, True),
        )
    )


@pattern(43)
def do_you_have(pick: Pick) -> Pair:
    who = subject(pick, "ppnkj")
    noun = pick.noun("noun", OWNED)
    if who.kind in "1p":
        return None
    return asked(
        (
            f"{do(who)} {who.key} have {a(noun.key)}",
            f"آیا {who.fa} یک {noun.fa} "
            + conjugate(VERB["have"], "present", who.kind),
        )
    )


@pattern(43)
def has_several(pick: Pick) -> Pair:
    who = subject(pick, "pPnkj")
    number = pick("number", lex.NUMBERS[:6])
    noun = pick.noun(
        "noun",
        lex.keys(
            "book pen bag coat hat shirt umbrella carpet cat dog horse cow sheep goat"
            " camel donkey rabbit duck rooster brother sister son daughter friend"
            " colleague neighbor shoe question key ticket chair lamp blanket pillow"
            " uncle aunt lesson exam class house car truck boat"
        ),
    )
    few = noun.key in ("house", "car", "truck", "boat")
    if noun.key == "shoe" or (few and number.key not in ("two", "three")):
        return None
    has = "has" if third(who) else "have"
    return said(
        (
            f"{who.key} {has} {number.key} {noun.plural}",
            f"{who.fa} {number.fa} {noun.fa} "
            + conjugate(VERB["have"], "present", who.kind),
        )
    )


@pattern(43)
def owned_thing_is(pick: Pick) -> Pair:
    noun, adjective = thing_and_adjective(pick, countable=True)
    if noun.key not in POSSESSED:
        return None
    owner = pick("owner", OWNERS)
    return said(
        (
            f"{owner[0]} {noun.key} is {adjective.key}",
            f"{of(noun.fa, owner[1])} {adjective.fa} است",
        )
    )


POSSESSED = frozenset(
    noun.key
    for noun in lex.THINGS + lex.VEHICLES[:2]
    if noun.key not in ("leaf", "tree", "stone")
) | frozenset(
    lex.words(
        "house room kitchen yard garden apartment school city village job hotel farm"
        " shop country trip guitar piano violin sandwich cake lesson exam class"
    )
)


@pattern(46)
def name_thing_is(pick: Pick) -> Pair:
    noun, adjective = thing_and_adjective(pick, countable=True)
    if noun.key not in POSSESSED:
        return None
    name = pick("name", lex.PERSON_NAMES)
    return said(
        (
            f"{name.key}'s {noun.key} is {adjective.key}",
            f"{of(noun.fa, name.fa)} {adjective.fa} است",
        )
    )


@pattern(51)
def kin_chain(pick: Pick) -> Pair:
    kin = pick("kin", lex.KIN)
    middle = pick("middle", ("friend", "neighbor", "colleague", "classmate", "teacher"))
    noun = NOUN[middle]
    owner = pick("owner", OWNERS)
    job = pick("job", lex.JOBS)
    if job.key == middle:
        return None
    return said(
        (
            f"{owner[0]} {noun.key}'s {kin.key} is {a(job.key)}",
            f"{of(kin.fa, noun.fa, owner[1])} {job.fa} است",
        )
    )


@pattern(41)
def name_kin(pick: Pick) -> Pair:
    kin = pick("kin", lex.KIN)
    name = pick("name", lex.PERSON_NAMES)
    is_wed = {"wife": "m", "husband": "f"}.get(kin.key, name.gender)
    if is_wed != name.gender:
        return None
    adjective = pick("adjective", lex.PERSON_ADJECTIVES + lex.FEELINGS)
    return said(
        (
            f"{name.key}'s {kin.key} is {adjective.key}",
            f"{of(kin.fa, name.fa)} {adjective.fa} است",
        )
    )


@pattern(43)
def is_mine(pick: Pick) -> Pair:
    noun = pick.noun("noun", sorted(OWNED_THINGS))
    mine = pick(
        "mine",
        [
            ("mine", "من"),
            ("yours", "شما"),
            ("his", "او"),
            ("hers", "او"),
            ("ours", "ما"),
            ("theirs", "آن_ها"),
        ],
    )
    this = pick("this", [("this", "این"), ("that", "آن")])
    negative = pick("negative", [("is", "است"), ("is not", "نیست")])
    return said(
        (
            f"{this[0]} {noun.key} {negative[0]} {mine[0]}",
            f"{this[1]} {noun.fa} مال {mine[1]} {negative[1]}",
        )
    )


OWNED_THINGS = frozenset(noun.key for noun in lex.THINGS + lex.VEHICLES) - frozenset(
    lex.words("wall leaf stone star tree flower door window bus train plane")
)


@pattern(41)
def whose(pick: Pick) -> Pair:
    noun = pick.noun("noun", sorted(OWNED_THINGS))
    this = pick("this", [("this", "این"), ("that", "آن")])
    return asked((f"Whose {noun.key} is {this[0]}", f"{this[1]} {noun.fa} مال کیست"))


# Existence and place


def in_spot(pick: Pick, spots: Any) -> tuple[Noun, str, str]:
    """A thing and where it is, in both languages."""
    en_prep, fa_prep, place, names = pick("spot", spots)
    noun = pick.noun(f"in {en_prep} {place}", names)
    return noun, f"{en_prep} the {place}", f"{fa_prep} {NOUN[place].fa}"


@pattern(51)
def there_is(pick: Pick) -> Pair:
    noun, en, fa = in_spot(pick, lex.SPOTS)
    tense = pick("tense", [("is", "هست"), ("was", "بود")])
    return said(
        (f"There {tense[0]} {a(noun.key)} {en}", f"{fa} یک {noun.fa} {tense[1]}")
    )


@pattern(56)
def there_are(pick: Pick) -> Pair:
    noun, en, fa = in_spot(pick, lex.SPOTS)
    few = noun in lex.PLACES or noun.key in _ROOMY
    number = pick("few" if few else "number", lex.NUMBERS[:2] if few else lex.NUMBERS)
    tense = pick("tense", [("are", "هست"), ("were", "بود")])
    return said(
        (
            f"There {tense[0]} {number.key} {noun.plural} {en}",
            f"{fa} {number.fa} {noun.fa} {tense[1]}",
        )
    )


_ROOMY = frozenset(
    lex.words("piano television refrigerator heater bed table ship suitcase carpet")
)


@pattern(43)
def there_are_many(pick: Pick) -> Pair:
    noun, en, fa = in_spot(pick, lex.SPOTS)
    if fa.startswith("پشت") or noun.key in ("yard", "wall", "refrigerator", "lake"):
        return None
    return said(
        (
            f"There are many {noun.plural} {en}",
            f"{fa} {of(noun.fa_plural, 'زیادی')} هست",
        )
    )


@pattern(43)
def there_is_no(pick: Pick) -> Pair:
    noun, en, fa = in_spot(pick, lex.SPOTS)
    if noun.fa.endswith("ی"):
        return None
    return said(
        (f"There are no {noun.plural} {en}", f"{fa} هیچ {that_which(noun.fa)} نیست")
    )


@pattern(41)
def there_is_mass(pick: Pick) -> Pair:
    noun, en, fa = in_spot(pick, lex.MASS_SPOTS)
    form = pick("form", ["is", "no", "some", "was", "was no"])
    if form == "some":
        return said((f"There is some {noun.key} {en}", f"{fa} مقداری {noun.fa} هست"))
    verb = {"is": "هست", "no": "نیست", "was": "بود", "was no": "نبود"}[form]
    head = {"no": "is no"}.get(form, form)
    return said((f"There {head} {noun.key} {en}", f"{fa} {noun.fa} {verb}"))


@pattern(43)
def is_there(pick: Pick) -> Pair:
    noun, en, fa = in_spot(pick, lex.SPOTS)
    return asked((f"Is there {a(noun.key)} {en}", f"آیا {fa} یک {noun.fa} هست"))


@pattern(51)
def thing_is_at(pick: Pick) -> Pair:
    noun, en, fa = in_spot(pick, lex.SPOTS)
    form = pick("form", [("is", "است"), ("is not", "نیست"), ("was", "بود")])
    return said((f"The {noun.key} {form[0]} {en}", f"{noun.fa} {fa} {form[1]}"))


@pattern(46)
def things_are_at(pick: Pick) -> Pair:
    noun, en, fa = in_spot(pick, lex.SPOTS)
    if noun.key in lex.keys("bank park museum station market river mosque"):
        return None
    form = pick("form", [("are", False), ("are not", True)])
    kind = "t" if noun.key in _ANIMATE else "3"
    return said(
        (
            f"The {noun.plural} {form[0]} {en}",
            f"{noun.fa_plural} {fa} {copula(kind, form[1])}",
        )
    )


@pattern(41)
def is_thing_at(pick: Pick) -> Pair:
    noun, en, fa = in_spot(pick, lex.SPOTS)
    return asked((f"Is the {noun.key} {en}", f"آیا {noun.fa} {fa} است"))


@pattern(41)
def where_is(pick: Pick) -> Pair:
    places = [n.key for n in lex.PLACES if n.place and n.key not in ("country", "city")]
    noun = pick.noun("noun", places + MISLAID)
    if noun.place and noun.key not in ("house", "room", "office"):
        return asked((f"Where is the {noun.key}", f"{noun.fa} کجاست"))
    owner = pick("owner", OWNERS)
    return asked((f"Where is {owner[0]} {noun.key}", f"{of(noun.fa, owner[1])} کجاست"))


MISLAID = sorted(
    OWNED_THINGS
    - set(
        lex.words(
            "table bed refrigerator heater curtain carpet ship boat mirror taxi truck"
            " television box lamp"
        )
    )
)


@pattern(51)
def person_is_at(pick: Pick) -> Pair:
    who = subject(pick, "pPnksj")
    place = pick("place", [p for p in lex.PLACES if p.place and p.key != "country"])
    form = pick("form", ["is", "is not", "was"])
    time = pick("time", lex.PAST_TIMES[:2]) if form == "was" else None
    past = form == "was"
    return said(
        (
            joined(
                who.key,
                be(who, past),
                "not" if form == "is not" else "",
                f"{place.place} the {place.key}",
                time.key if time else "",
            ),
            joined(
                who.fa,
                time.fa if time else "",
                "در " + place.fa,
                copula(who.kind, form == "is not", past),
            ),
        )
    )


@pattern(41)
def is_person_at(pick: Pick) -> Pair:
    who = subject(pick, "pnksj")
    place = pick("place", [p for p in lex.PLACES if p.place and p.key != "country"])
    if who.kind in "1p":
        return None
    return asked(
        (
            f"{be(who)} {who.key} {place.place} the {place.key}",
            f"آیا {who.fa} در {place.fa} {copula(who.kind)}",
        )
    )


@pattern(43)
def place_near(pick: Pick) -> Pair:
    names = [p for p in lex.PLACES if p.key not in ("country", "room", "kitchen")]
    first = pick("first", names)
    second = pick("second", names)
    if first.key == second.key or first.key in ("city", "yard", "bridge", "street"):
        return None
    far = pick("far", [("near", "نزدیک"), ("far from", "از"), ("behind", "پشت")])
    if far[0] == "behind" and not (first.key in _BUILT and second.key in _BUILT):
        return None
    if far[0] == "far from":
        fa = f"{first.fa} از {second.fa} دور است"
    else:
        fa = f"{first.fa} {far[1]} {second.fa} است"
    return said((f"The {first.key} is {far[0]} the {second.key}", fa))


_BUILT = frozenset(
    lex.words(
        "school hospital park restaurant hotel bank market shop library museum cinema"
        " station office factory bakery pharmacy mosque church embassy stadium pool"
    )
)


# Tenses


def _same(who: Subject, what: Predicate) -> bool:
    return bool(who.noun) and who.noun == what.noun


# What people do once in a while; the rest is not told of last year.
_RARE = frozenset(
    lex.words(
        "buy,sell,build,visit,travel,leave,plant,rent,learn,work,stay,repair,see,meet,"
        "lose,find,receive,send,write,paint,knit,sew,translate,go,borrow,print,sign,"
        "read,teach,study,collect,move,invite,return,come,forget,solve"
    )
)
_NEAR_TIMES = frozenset(
    lex.words(
        "yesterday,last night,this morning,an hour ago,two days ago,tomorrow,tonight,"
        "tomorrow morning,today,now,yet,every day,every night,every morning"
    )
)
_WEEKLY = frozenset(
    lex.words(
        "buy,sell,go,clean,call,help,write,play,swim,travel,visit,repair,bake,study,"
        "dance,exercise,work,walk,iron,wash,read"
    )
)
# Too plain to be told without a time.
_PLAIN = ("wake up", "sleep", "open", "rest", "wash")


def _time(pick: Pick, times: Sequence[Any], what: Predicate) -> tuple[str, str]:
    if not times:
        return "", ""
    verb = what.verb.key
    fits = []
    for time in times:
        if time.key == "every week":
            if verb in _WEEKLY and not what.en.startswith(("her ", "his ", "my ")):
                fits.append(time)
        elif verb == "wake up" and time.key in ("every night", "last night", "tonight"):
            continue
        elif not time.key or time.key in _NEAR_TIMES or verb in _RARE:
            fits.append(time)
    return both(pick("time", fits))


def tensed(
    pick: Pick,
    tense: str,
    use: str,
    times: Sequence[Any] = (),
    negative: bool = False,
    kinds: str = "pPnkjs",
    adverb: tuple[str, str] = ("", ""),
    habit: bool = False,
    never: Sequence[str] = (),
) -> Pair:
    who = subject(pick, kinds)
    what = predicate(pick, who, use, habit, negative, never=never)
    if _same(who, what):
        return None
    time = _time(pick, times, what)
    same = what.verb.key == what.verb.past
    if tense == "past" and same and not (negative or third(who) or time[0]):
        # "I read the book" could be the present.
        return None
    return said(clause(who, what, tense, negative, adverb, time))


def tensed_question(
    pick: Pick,
    tense: str,
    use: str,
    times: Sequence[Any] = (),
    habit: bool = False,
    never: Sequence[str] = (),
) -> Pair:
    who = subject(pick, "ppnkjs")
    if who.kind in "1p" and tense not in ("can", "should"):
        return None
    what = predicate(pick, who, use, habit, never=never)
    if _same(who, what):
        return None
    time = _time(pick, times, what)
    fa = clause(who, what, tense, time=time)[1]
    return asked((question(who, what, tense, time), "آیا " + fa))


@pattern(77)
def habit_time(pick: Pick) -> Pair:
    return tensed(pick, "present", "H", lex.HABIT_TIMES, habit=True)


@pattern(85)
def habit_adverb(pick: Pick) -> Pair:
    return tensed(
        pick,
        "present",
        "H",
        habit=True,
        adverb=both(pick("often", lex.OFTEN)),
        never=_PLAIN[:3],
    )


@pattern(51)
def never(pick: Pick) -> Pair:
    who = subject(pick)
    what = predicate(pick, who, "H", True, never=_PLAIN)
    if _same(who, what):
        return None
    en = clause(who, what, "present", adverb=("never", ""))[0]
    return said((en, clause(who, what, "present", True, ("", "هرگز"))[1]))


@pattern(67)
def does_not(pick: Pick) -> Pair:
    return tensed(pick, "present", "H", negative=True, habit=True, never=_PLAIN)


@pattern(67)
def does_one(pick: Pick) -> Pair:
    return tensed_question(pick, "present", "H", habit=True, never=_PLAIN)


@pattern(71)
def present_plain(pick: Pick) -> Pair:
    return tensed(pick, "present", "H", habit=True, never=_PLAIN)


@pattern(116)
def progressive(pick: Pick) -> Pair:
    now = [lex.Phrase("", ""), lex.Phrase("now", "الان")]
    return tensed(pick, "progressive", "P", now)


@pattern(61)
def progressive_not(pick: Pick) -> Pair:
    return tensed(pick, "progressive", "P", [lex.Phrase("now", "الان")], True)


@pattern(61)
def progressive_asked(pick: Pick) -> Pair:
    return tensed_question(pick, "progressive", "P")


@pattern(132)
def past_time(pick: Pick) -> Pair:
    return tensed(pick, "past", "", lex.PAST_TIMES)


@pattern(77)
def past_plain(pick: Pick) -> Pair:
    return tensed(pick, "past", "")


@pattern(95)
def past_not(pick: Pick) -> Pair:
    return tensed(pick, "past", "", negative=True)


@pattern(67)
def past_asked(pick: Pick) -> Pair:
    time = [lex.Phrase("", ""), *lex.PAST_TIMES[:3]]
    return tensed_question(pick, "past", "", time)


@pattern(67)
def past_progressive(pick: Pick) -> Pair:
    return tensed(pick, "past_progressive", "P")


@pattern(95)
def perfect(pick: Pick) -> Pair:
    return tensed(pick, "perfect", "")


@pattern(61)
def perfect_not_yet(pick: Pick) -> Pair:
    yet = [lex.Phrase("", ""), lex.Phrase("yet", "هنوز")]
    who = subject(pick)
    what = predicate(pick, who, "M", negative=True, never=("sit", "stand", "think"))
    if _same(who, what):
        return None
    time = both(pick("yet", yet))
    return said(clause(who, what, "perfect", True, time=time))


@pattern(51)
def perfect_asked(pick: Pick) -> Pair:
    return tensed_question(pick, "perfect", "M")


@pattern(43)
def perfect_just(pick: Pick) -> Pair:
    return tensed(
        pick,
        "perfect",
        "F",
        adverb=("just", "تازه"),
        never=lex.words("stay,collect,teach,travel,wait,sleep,rest,work,walk,run"),
    )


@pattern(112)
def future(pick: Pick) -> Pair:
    return tensed(pick, "future", "F", lex.FUTURE_TIMES)


@pattern(67)
def future_not(pick: Pick) -> Pair:
    time = [lex.Phrase("", ""), *lex.FUTURE_TIMES[:3]]
    return tensed(pick, "future", "F", time, negative=True)


@pattern(61)
def future_asked(pick: Pick) -> Pair:
    time = [lex.Phrase("", ""), *lex.FUTURE_TIMES[:3]]
    return tensed_question(pick, "future", "F", time)


# Modals


@pattern(61)
def can(pick: Pick) -> Pair:
    return tensed(pick, "can", "M")


@pattern(56)
def cannot(pick: Pick) -> Pair:
    return tensed(pick, "can", "M", negative=True)


@pattern(56)
def can_asked(pick: Pick) -> Pair:
    return tensed_question(pick, "can", "M")


@pattern(61)
def must(pick: Pick) -> Pair:
    time = [lex.Phrase("", ""), lex.Phrase("today", "امروز"), *lex.FUTURE_TIMES[:2]]
    return tensed(pick, "must", "M", time)


@pattern(46)
def must_not(pick: Pick) -> Pair:
    return tensed(pick, "must", "I", negative=True)


@pattern(46)
def should(pick: Pick) -> Pair:
    return tensed(pick, "should", "I", negative=pick("no", ["", "no"]) == "no")


@pattern(75)
def want_to(pick: Pick) -> Pair:
    return tensed(pick, "want", "M")


@pattern(46)
def want_not(pick: Pick) -> Pair:
    return tensed(pick, "want", "M", negative=True)


@pattern(46)
def want_asked(pick: Pick) -> Pair:
    return tensed_question(pick, "want", "M")


@pattern(43)
def like_to(pick: Pick) -> Pair:
    never_liked = ("start", "buy", "rent", "order")
    negative = pick("no", ["", "no", " "]) == "no"
    return tensed(pick, "like", "L", negative=negative, never=never_liked)


@pattern(43)
def may(pick: Pick) -> Pair:
    return tensed(pick, "may", "F", lex.FUTURE_TIMES[:3])


@pattern(41)
def has_to(pick: Pick) -> Pair:
    return tensed(pick, "have", "I")


@pattern(41)
def tries_to(pick: Pick) -> Pair:
    who = subject(pick)
    only = tuple(lex.words("find learn sleep repair solve finish catch translate draw"))
    what = predicate(pick, who, "M", only=(*only, "open", "write", "bake", "close"))
    return said(clause(who, what, "try"))


@pattern(41)
def decided_to(pick: Pick) -> Pair:
    who = subject(pick)
    only = "buy sell go return rent learn leave plant build write clean stay invite"
    what = predicate(pick, who, "M", only=(*only.split(), "study", "travel", "wake up"))
    if _same(who, what):
        return None
    return said(clause(who, what, "decided"))


@pattern(56)
def imperative(pick: Pick) -> Pair:
    what = predicate(pick, YOU, "I")
    if what.verb.key in ("read", "write") and what.fa.count(" ") == 0:
        return None
    please = pick("please", [("", ""), ("please", "لطفاً")])
    fa = conjugate(what.verb, "subjunctive", "2")
    return said(
        (joined(please[0], what.verb.key, what.en), joined(please[1], what.fa, fa))
    )


@pattern(51)
def imperative_not(pick: Pick) -> Pair:
    forget = Frame("", "forget", "m", "")
    if pick("forget", ["no", " no", "yes", "  no"]) == "yes":
        noun = pick.noun("forgotten", lex.keys("key umbrella passport ticket coat bag"))
        what = _with_object(VERB[forget.verb], noun, "m", YOU, "", "را", True)
    else:
        what = predicate(pick, YOU, "I", negative=True)
    please = pick("please", [("", ""), ("please", "لطفاً")])
    fa = conjugate(what.verb, "subjunctive", "2", True)
    return said(
        (
            joined(please[0], "do not", what.verb.key, what.en),
            joined(please[1], what.fa, fa),
        )
    )


@pattern(46)
def lets(pick: Pick) -> Pair:
    what = predicate(pick, WE, "L")
    time = both(
        pick(
            "time",
            [lex.Phrase("", ""), *lex.FUTURE_TIMES[:2], lex.Phrase("today", "امروز")],
        )
    )
    fa = conjugate(what.verb, "subjunctive", "p")
    return said(
        (
            joined("Let's", what.verb.key, what.en, time[0]),
            joined("بیایید", time[1], what.fa, fa),
        )
    )


# Questions with a question word


@pattern(43)
def who_did(pick: Pick) -> Pair:
    someone = Subject("who", "چه کسی", "3")
    what = predicate(pick, someone)
    time = both(pick("time", [lex.Phrase("", ""), *lex.PAST_TIMES[:3]]))
    en = joined("who", what.verb.past, what.en, time[0])
    fa = joined(time[1], "چه کسی", what.fa, conjugate(what.verb, "past", "3"))
    return asked((en, fa))


@pattern(43)
def what_did(pick: Pick) -> Pair:
    who = subject(pick, "ppnkjs")
    if who.kind in "1p":
        return None
    names = "read write buy sell see find eat drink cook bring make draw learn order"
    verb = VERB[pick("verb", (names + " choose plant translate hear send sew").split())]
    tense = pick("tense", ["past", "progressive", "future", "want"])
    if verb.key in ("see", "find", "hear") and tense != "past":
        tense = "past"
    time = ("", "")
    if tense == "past":
        time = both(pick("time", [lex.Phrase("", ""), *lex.PAST_TIMES[:3]]))
    what = Predicate(verb, "", "چه چیزی")
    fa = clause(who, what, tense, time=time)[1]
    return asked(("what " + question(who, what, tense, time), fa))


@pattern(43)
def where_did(pick: Pick) -> Pair:
    who = subject(pick, "ppnkjs")
    if who.kind in "1p":
        return None
    only = lex.words(
        "buy find lose see read hide eat plant repair meet learn hear print"
    )
    what = predicate(pick, who, only=only)
    if _same(who, what) or " یک " in f" {what.fa}":
        return None
    verb = conjugate(what.verb, "past", who.kind)
    # The question word stands close before the verb, but not between it and a bare
    # object.
    if what.fa.endswith(" را"):
        fa = joined(who.fa, what.fa, "کجا", verb)
    else:
        fa = joined(who.fa, "کجا", what.fa, verb)
    return asked(("where " + question(who, what, "past"), fa))


@pattern(41)
def where_goes(pick: Pick) -> Pair:
    who = subject(pick, "ppnkjs")
    if who.kind in "1p":
        return None
    verb = VERB[pick("verb", ["go", "work", "live", "study", "sit", "sleep", "wait"])]
    tense = pick("tense", ["past", "present", "future", "want"])
    if tense == "present" and verb.key in ("go", "sit", "wait"):
        return None
    if verb.key == "live" and tense == "past":
        tense = "present"
    what = Predicate(verb, "", "کجا")
    time = ("", "")
    if tense in ("past", "future"):
        phrases = lex.PAST_TIMES[:3] if tense == "past" else lex.FUTURE_TIMES[:3]
        time = both(pick("time " + tense, [lex.Phrase("", ""), *phrases]))
    fa = clause(who, what, tense, time=time)[1]
    return asked(("where " + question(who, what, tense, time), fa))


@pattern(43)
def when_will(pick: Pick) -> Pair:
    who = subject(pick, "ppnkjs")
    if who.kind == "1":
        return None
    tense = pick("tense", ["future", "past"])
    what = predicate(pick, who, "F")
    if _same(who, what):
        return None
    fa = clause(who, what, tense, adverb=("", "چه زمانی"))[1]
    return asked(("when " + question(who, what, tense), fa))


@pattern(43)
def why_did(pick: Pick) -> Pair:
    who = subject(pick, "ppnkjs")
    if who.kind == "1":
        return None
    tense = pick("tense", ["past", "progressive", "want"])
    what = predicate(pick, who, "P" if tense == "progressive" else "M")
    if _same(who, what):
        return None
    fa = "چرا " + clause(who, what, tense)[1]
    return asked(("why " + question(who, what, tense), fa))


COUNTABLES = lex.keys(
    "apple orange banana egg potato tomato onion cucumber carrot lemon pomegranate"
    " watermelon peach pear walnut cake cookie sandwich cherry strawberry"
    " book notebook pen pencil hat shirt sock candle plate cup glass chair ticket"
    " stamp flower bottle spoon fork knife pillow blanket towel toy doll"
)
_BUYABLE_MASS = lex.keys(
    "bread rice meat cheese butter honey jam sugar salt yogurt chocolate fruit milk"
    " juice tea coffee fish chicken paper soap"
)


@pattern(43)
def how_many(pick: Pick) -> Pair:
    who = subject(pick, "ppnkjs")
    if who.kind in "1p":
        return None
    verb = VERB[pick("verb", ["buy", "have", "need", "see", "sell"])]
    names = COUNTABLES
    if verb.key == "see":
        names = tuple(n.key for n in lex.ANIMALS + lex.VEHICLES)
    elif verb.key == "have":
        names = lex.keys(
            "book brother sister son daughter cat horse cow pen coat key"
            " friend sheep ticket chair hat stamp coin class exam"
        )
    noun = pick.noun("noun " + verb.key, names)
    tense = "present" if verb.key in ("have", "need") else "past"
    to = "به " if verb.key == "need" else ""
    what = Predicate(verb, "", f"{to}چند {noun.fa}")
    fa = clause(who, what, tense)[1]
    return asked((f"how many {noun.plural} " + question(who, what, tense), fa))


@pattern(41)
def how_much(pick: Pick) -> Pair:
    who = subject(pick, "ppnks")
    if who.kind in "1p":
        return None
    verb = VERB[pick("verb", ["buy", "need", "order", "have"])]
    noun = pick.noun("noun", (*_BUYABLE_MASS, "money", "water"))
    if verb.key in ("buy", "order") and noun.key in ("money", "water", "paper", "soap"):
        return None
    tense = "present" if verb.key in ("need", "have") else "past"
    to = "به " if verb.key == "need" else ""
    what = Predicate(verb, "", f"{to}چقدر {noun.fa}")
    fa = clause(who, what, tense)[1]
    return asked((f"how much {noun.key} " + question(who, what, tense), fa))


@pattern(41)
def which_did(pick: Pick) -> Pair:
    who = subject(pick, "ppnkjs")
    if who.kind in "1p":
        return None
    verb, names = pick("pair", CHOICES)
    noun = pick.noun("noun " + verb, lex.keys(names))
    tense = pick("tense", ["past", "want", "future"])
    what = Predicate(VERB[verb], "", f"کدام {noun.fa} را")
    fa = clause(who, what, tense)[1]
    return asked((f"which {noun.key} " + question(who, what, tense), fa))


CHOICES = (
    ("read", "book story poem newspaper magazine letter"),
    ("buy", "shirt coat car bicycle carpet ring phone computer lamp hat jacket"),
    ("choose", "film song gift room hotel watch scarf camera"),
    ("clean", "room table window car"),
    ("learn", "language song poem lesson"),
    ("sell", "house car horse carpet camera"),
    ("watch", "film program game"),
    ("translate", "book letter poem sentence contract"),
    ("open", "door window box suitcase"),
    ("repair", "car motorcycle radio television truck"),
)


@pattern(41)
def which_is(pick: Pick) -> Pair:
    adjective = pick("adjective", [x for x in lex.THING_ADJECTIVES if _graded(x)])
    noun = pick.noun("noun " + adjective.key, _countable(adjective.nouns))
    if noun.key in _PAIRED | _ALONE:
        return None
    return asked(
        (
            f"Which {noun.key} is {adjective.comparative}",
            f"کدام {noun.fa} {comparative(adjective)} است",
        )
    )


_UNGRADED = frozenset(lex.words("open closed broken empty full wet"))


def _graded(adjective: Adjective) -> bool:
    return adjective.key not in _UNGRADED and bool(_countable(adjective.nouns))


def _countable(names: Iterable[str]) -> list[str]:
    return [name for name in names if NOUN[name].plural and name not in _ANIMATE]


# Comparison


@pattern(51)
def than_that_one(pick: Pick) -> Pair:
    adjective = pick("adjective", [x for x in lex.THING_ADJECTIVES if _graded(x)])
    noun = pick.noun("noun " + adjective.key, _countable(adjective.nouns))
    if noun.key in _PAIRED | _ALONE:
        return None
    return said(
        (
            f"This {noun.key} is {adjective.comparative} than that one",
            f"این {noun.fa} از آن یکی {comparative(adjective)} است",
        )
    )


def comparable(adjective: Adjective) -> list[tuple[str, ...]]:
    """The groups in which the adjective fits at least two nouns."""
    groups = []
    for group in lex.COMPARABLE:
        shared = tuple(name for name in group if name in adjective.nouns)
        if len(shared) > 1:
            groups.append(shared)
    return groups


@pattern(61)
def thing_than_thing(pick: Pick) -> Pair:
    adjectives = [x for x in lex.THING_ADJECTIVES if comparable(x) and _graded(x)]
    adjective = pick("adjective", adjectives)
    group = pick("group " + adjective.key, comparable(adjective))
    first = pick.noun("first", group)
    second = pick.noun("second", [name for name in group if name != first.key])
    return said(
        (
            f"The {first.key} is {adjective.comparative} than the {second.key}",
            f"{first.fa} از {second.fa} {comparative(adjective)} است",
        )
    )


@pattern(51)
def person_than_person(pick: Pick) -> Pair:
    first = subject(pick, "nkj", "first")
    second = subject(pick, "nkj", "second")
    adjective = pick("adjective", lex.PERSON_ADJECTIVES)
    if first.key.split()[0] == second.key.split()[0] == "the" or first == second:
        return None
    if (first.noun and first.noun == second.noun) or (
        first.key.startswith("the") != second.key.startswith("the")
    ):
        return None
    return said(
        (
            f"{first.key} is {adjective.comparative} than {second.key}",
            f"{first.fa} از {second.fa} {comparative(adjective)} است",
        )
    )


_REALMS = (("city", "شهر"), ("country", "کشور"), ("village", "روستا"))


@pattern(43)
def superlative_place(pick: Pick) -> Pair:
    names = "big good bad old cheap expensive beautiful clean famous crowded modern"
    adjectives = [x for x in lex.THING_ADJECTIVES if x.key in names.split()]
    adjective = pick("adjective", adjectives)
    places = {place.key for place in lex.PLACES} - set(
        lex.words(
            "city country village kitchen room yard house table farm road sea island"
            " beach forest apartment lake river"
        )
    )
    noun = pick.noun(
        "noun " + adjective.key, [n for n in adjective.nouns if n in places]
    )
    realm = pick("realm", _REALMS)
    if realm[0] == "village" and noun.key not in ("mosque", "school", "shop", "garden"):
        return None
    this = pick("this", [("this", "این"), ("that", "آن")])
    return said(
        (
            f"{this[0]} is the {adjective.superlative} {noun.key} in the {realm[0]}",
            f"{this[1]} {comparative(adjective)}ین {of(noun.fa, realm[1])} است",
        )
    )


@pattern(43)
def superlative_person(pick: Pick) -> Pair:
    who = subject(pick, "nnkp")
    noun, en, fa = pick(
        "role",
        [
            ("pupil", "class", "کلاس"),
            ("teacher", "school", "مدرسه"),
            ("doctor", "hospital", "بیمارستان"),
            ("nurse", "hospital", "بیمارستان"),
            ("student", "university", "دانشگاه"),
            ("worker", "factory", "کارخانه"),
            ("waiter", "restaurant", "رستوران"),
            ("farmer", "village", "روستا"),
            ("lawyer", "city", "شهر"),
        ],
    )
    if who.kind in "pt":
        return None
    names = "kind polite honest clever friendly serious patient young tall strong lazy"
    adjectives = [x for x in lex.PERSON_ADJECTIVES if x.key in names.split()]
    adjective = pick("adjective", adjectives)
    prep = "on" if en == "farm" else "in"
    if en in ("school", "hospital", "university", "restaurant", "factory"):
        prep = "at"
    return said(
        (
            f"{who.key} {be(who)} the {adjective.superlative} {noun} {prep} the {en}",
            f"{who.fa} {comparative(adjective)}ین {of(NOUN[noun].fa, fa)} "
            + copula(who.kind),
        )
    )


@pattern(41)
def superlative_owned(pick: Pick) -> Pair:
    owner = pick("owner", OWNERS)
    names = "new old good beautiful expensive cheap big small warm comfortable heavy"
    adjectives = [x for x in lex.THING_ADJECTIVES if x.key in names.split()]
    adjective = pick("adjective", adjectives)
    things = {n.key for n in lex.THINGS + lex.VEHICLES} - {"door", "window", "wall"}
    noun = pick.noun(
        "noun " + adjective.key,
        [n for n in _countable(adjective.nouns) if n in things and n in POSSESSED],
    )
    return said(
        (
            f"This is {owner[0]} {adjective.superlative} {noun.key}",
            f"این {comparative(adjective)}ین {of(noun.fa, owner[1])} است",
        )
    )


# Numbers, prices and times


@pattern(46)
def bought_count(pick: Pick) -> Pair:
    who = subject(pick, "pPnkjs")
    noun = pick.noun("noun", COUNTABLES)
    tense = pick("tense", ["past", "must", "future", "want"])
    if pick("digits", ["yes", "no"]) == "yes":
        number = pick.number("number", 2, 40)
        en, fa = str(number), digits(number)
    else:
        en, fa = both(pick("words", lex.NUMBERS))
    what = Predicate(VERB["buy"], f"{en} {noun.plural}", f"{fa} {noun.fa}")
    return said(clause(who, what, tense))


@pattern(43)
def saw_count(pick: Pick) -> Pair:
    who = subject(pick, "pPnkjs")
    noun = pick("noun", lex.ANIMALS + lex.VEHICLES + lex.PEOPLE[:5])
    number = pick("words", lex.NUMBERS)
    place = pick.noun("place", ("park", "street", "village", "city", "road"))
    if noun.key in ("ship", "boat", "wolf", "bear", "elephant") or _same(
        who, Predicate(VERB["see"], "", "", noun.key)
    ):
        return None
    if noun.key == "plane":
        return None
    prep = "on" if place.key == "road" else "in"
    what = Predicate(
        VERB["see"],
        f"{number.key} {noun.plural} {prep} the {place.key}",
        f"در {place.fa} {number.fa} {noun.fa}",
    )
    return said(clause(who, what, "past"))


PRICED = lex.keys(
    "book notebook pen pencil bag phone computer camera watch map umbrella hat coat"
    " shirt skirt scarf jacket ring suitcase bottle glass cup plate knife basket"
    " table chair bed lamp mirror carpet curtain blanket pillow towel toy ball doll"
    " refrigerator heater radio television candle bicycle car boat motorcycle guitar"
    " piano violin watermelon cake sandwich ticket"
)
_CHEAP = frozenset(
    lex.words(
        "pen pencil notebook glass cup plate knife candle ball cake sandwich watermelon"
        " bottle book towel toy hat umbrella map basket doll scarf pillow ticket"
    )
)
_DEAR = frozenset(lex.words("car boat piano motorcycle refrigerator carpet ring"))


def price(pick: Pick, noun: Noun) -> int:
    if noun.key in _CHEAP:
        return pick.number("low price", 2, 30)
    number = pick.number("price", 30, 95, 5)
    if noun.key in ("car", "boat", "motorcycle"):
        return number * 100
    return number * 10 if noun.key in _DEAR else number


@pattern(46)
def costs(pick: Pick) -> Pair:
    noun = pick.noun("noun", PRICED)
    number = price(pick, noun)
    which = pick("which", [("the", ""), ("this", "این"), ("that", "آن")])
    coin = pick("coin", [("dollars", "دلار"), ("euros", "یورو")])
    return said(
        (
            f"{which[0]} {noun.key} costs {number} {coin[0]}",
            joined("قیمت", which[1], noun.fa, digits(number), coin[1], "است"),
        )
    )


@pattern(41)
def how_much_is(pick: Pick) -> Pair:
    noun = pick.noun("noun", PRICED)
    which = pick("which", [("the", ""), ("this", "این"), ("that", "آن")])
    return asked(
        (
            f"How much is {which[0]} {noun.key}",
            joined("قیمت", which[1], noun.fa, "چقدر است"),
        )
    )


@pattern(41)
def paid(pick: Pick) -> Pair:
    who = subject(pick, "pPnk")
    noun = pick.noun("noun", PRICED)
    number = price(pick, noun)
    pay = lex.Verb("pay", "pays", "paid", "paid", "", "", "پرداز", "پرداخت", "بپرداز")
    which = pick("which", [("this", "این"), ("that", "آن")])
    what = Predicate(
        pay,
        f"{number} dollars for {which[0]} {noun.key}",
        f"برای {which[1]} {noun.fa} {digits(number)} دلار",
    )
    return said(clause(who, what, "past"))


@pattern(41)
def is_aged(pick: Pick) -> Pair:
    who = subject(pick, "pnkj")
    low, high = 19, 58
    if who.noun in ("grandmother", "grandfather"):
        low, high = 65, 90
    elif who.noun in ("father", "mother", "uncle", "aunt"):
        low, high = 38, 60
    elif who.noun in ("child", "boy", "girl", "pupil"):
        low, high = 5, 13
    elif who.noun in ("son", "daughter"):
        low, high = 4, 25
    number = pick.number(f"years from {low}", low, high)
    has = conjugate(VERB["have"], "present", who.kind)
    return said(
        (
            f"{who.key} {be(who)} {number} years old",
            f"{who.fa} {digits(number)} سال {has}",
        )
    )


@pattern(41)
def how_old(pick: Pick) -> Pair:
    who = subject(pick, "pnkkjjs")
    if who.kind == "1" or who.key == "we":
        return None
    has = conjugate(VERB["have"], "present", who.kind)
    return asked((f"How old {be(who)} {who.key}", f"{who.fa} چند سال {has}"))


_HOURS = (("one", "یک"), *((n.key, n.fa) for n in lex.NUMBERS))
_PARTS = (
    ("{} o'clock", "{}"),
    ("half past {}", "{} و نیم"),
    ("a quarter past {}", "{} و ربع"),
)


@pattern(41)
def it_is_oclock(pick: Pick) -> Pair:
    hour = pick("hour", _HOURS)
    part = pick("part", (*_PARTS, ("ten minutes past {}", "{} و ده دقیقه")))
    now = pick("now", [("", ""), ("now", "الان")])
    en = joined("it is", part[0].format(hour[0]), now[0])
    return said((en, joined(now[1], "ساعت", part[1].format(hour[1]), "است")))


_EVENTS = (
    (
        "starts",
        "شروع می_شود",
        lex.keys("class film game lesson meeting exam party wedding program"),
    ),
    ("arrives", "می_رسد", lex.keys("train bus plane ship")),
    ("leaves", "حرکت می_کند", lex.keys("train bus ship boat")),
    (
        "opens",
        "باز می_شود",
        lex.keys("bank shop museum pharmacy library bakery market school pool park"),
    ),
    (
        "closes",
        "بسته می_شود",
        lex.keys("bank shop museum pharmacy library bakery market park pool embassy"),
    ),
)


@pattern(51)
def event_at(pick: Pick) -> Pair:
    verb, fa_verb, names = pick("event", _EVENTS)
    noun = pick.noun("noun " + verb, names)
    hour = pick("hour", _HOURS)
    part = pick("part", _PARTS)
    return said(
        (
            f"The {noun.key} {verb} at {part[0].format(hour[0])}",
            f"{noun.fa} ساعت {part[1].format(hour[1])} {fa_verb}",
        )
    )


@pattern(41)
def event_when(pick: Pick) -> Pair:
    verb, fa_verb, names = pick("event", _EVENTS)
    noun = pick.noun("noun " + verb, names)
    this = pick("this", [("the", ""), ("this", "این")])
    base = {"closes": "close"}.get(verb, verb[:-1])
    return asked(
        (
            f"What time does {this[0]} {noun.key} {base}",
            joined(this[1], noun.fa, "چه ساعتی", fa_verb),
        )
    )


@pattern(46)
def does_at(pick: Pick) -> Pair:
    who = subject(pick, "pPnkj")
    tense = pick("tense", ["present", "past", "future"])
    only = lex.words(
        "wake up,go,eat,sleep,drink,study,exercise,work,cook,return,listen"
    )
    what = predicate(pick, who, "H" if tense == "present" else "F", True, only=only)
    hour = pick.number("hour", 5, 12)
    time = (f"at {hour} o'clock", f"ساعت {digits(hour)}")
    return said(clause(who, what, tense, time=time))


@pattern(43)
def for_hours(pick: Pick) -> Pair:
    who = subject(pick, "pPnkj")
    only = lex.words(
        "work study sleep wait rest walk swim dance run exercise drive read cry travel"
        " stay think"
    )
    what = predicate(pick, who, only=only)
    verb = what.verb.key
    number = pick("number", lex.NUMBERS)
    unit = "minute"
    if verb in ("stay", "travel"):
        unit = pick("long unit", ["day", "week", "month"])
    elif verb in ("work", "study", "rest", "sleep", "drive", "wait", "read"):
        unit = pick("unit", ["hour", "hour again"]).split()[0]
    elif pick("short unit", ["hour", "minute"]) == "hour":
        unit, number = "hour", pick("few hours", lex.NUMBERS[:2])
    time = (f"for {number.key} {NOUN[unit].plural}", f"{number.fa} {NOUN[unit].fa}")
    return said(clause(who, what, "past", time=time))


@pattern(41)
def lived_for(pick: Pick) -> Pair:
    who = subject(pick, "pPnkjs")
    city = pick("city", lex.CITIES + lex.COUNTRIES)
    number = pick("number", lex.NUMBERS)
    unit = pick("unit", ["year", "month", "year again"]).split()[0]
    verb = VERB[pick("verb", ["live", "work", "stay"])]
    time = (f"for {number.key} {NOUN[unit].plural}", f"{number.fa} {NOUN[unit].fa}")
    what = Predicate(verb, f"in {city.key}", f"در {city.fa}")
    return said(clause(who, what, "past", time=time))


@pattern(41)
def weekday_is(pick: Pick) -> Pair:
    day = pick("day", lex.WEEKDAYS)
    noun = pick.noun(
        "noun", lex.keys("meeting exam party wedding game class trip film program")
    )
    owner = pick("owner", [("the", ""), *OWNERS])
    tense = pick("tense", [("is", "است"), ("was", "بود")])
    if noun.key in ("game", "film", "program") and owner[0] != "the":
        return None
    fa = of(noun.fa, owner[1]) if owner[1] else noun.fa
    return said(
        (
            f"{owner[0]} {noun.key} {tense[0]} on {day.key}",
            f"{fa} روز {day.fa} {tense[1]}",
        )
    )


@pattern(41)
def open_on(pick: Pick) -> Pair:
    day = pick("day", lex.WEEKDAYS)
    noun = pick.noun(
        "noun",
        lex.keys(
            "bank shop museum pharmacy library bakery market school pool university"
            " embassy factory restaurant office"
        ),
    )
    state = pick("state", [("is open", "باز است"), ("is closed", "بسته است")])
    return said(
        (
            f"The {noun.key} {state[0]} on {day.key}s",
            f"{noun.fa} {day.fa}_ها {state[1]}",
        )
    )


@pattern(51)
def does_on_weekday(pick: Pick) -> Pair:
    who = subject(pick, "pPnkjs")
    tense = pick("tense", ["past", "future", "must"])
    day = pick("day", lex.WEEKDAYS)
    what = predicate(pick, who, "F" if tense != "must" else "I")
    if _same(who, what):
        return None
    time = (f"on {day.key}", f"روز {day.fa}")
    return said(clause(who, what, tense, time=time))


@pattern(43)
def on_weekdays(pick: Pick) -> Pair:
    who = subject(pick, "pPnkjs")
    day = pick("day", lex.WEEKDAYS)
    what = predicate(pick, who, "H", True, never=(*_PLAIN, "laugh", "use"))
    if _same(who, what):
        return None
    return said(clause(who, what, "present", time=(f"on {day.key}s", day.fa + "_ها")))


def season_or_month(pick: Pick) -> tuple[str, str]:
    if pick("span", ["month", "month again", "season"]) == "season":
        season = pick("season", lex.SEASONS)
        return "in " + season.key, "در " + season.fa
    month = pick("month", lex.MONTHS)
    return "in " + month.key, "در ماه " + month.fa


@pattern(60)
def travels_in(pick: Pick) -> Pair:
    who = subject(pick, "pPnkjs")
    where = pick("where", lex.CITIES + lex.COUNTRIES)
    verb = VERB[pick("verb", ["travel", "go", "return"])]
    tense = pick("tense", ["past", "future", "want"])
    what = Predicate(verb, f"to {where.key}", f"به {where.fa}")
    return said(clause(who, what, tense, time=season_or_month(pick)))


@pattern(60)
def born_in(pick: Pick) -> Pair:
    who = subject(pick, "pPnkjs")
    if who.key == "you":
        return None
    if pick("how", ["place", "time"]) == "place":
        place = pick("place", lex.CITIES + lex.COUNTRIES)
        en, fa = f"in {place.key}", f"در {place.fa}"
    else:
        en, fa = season_or_month(pick)
    come = conjugate(VERB["come"], "past", who.kind)
    return said(
        (f"{who.key} {be(who, True)} born {en}", f"{who.fa} {fa} به دنیا {come}")
    )


# Weather


@pattern(80)
def weather_in(pick: Pick) -> Pair:
    where = pick("where", lex.CITIES + lex.COUNTRIES[:0])
    weather = pick("weather", lex.WEATHERS)
    form = pick(
        "form",
        [
            ("is", "today", "امروز", "است"),
            ("was", "yesterday", "دیروز", "بود"),
            ("is not", "today", "امروز", "نیست"),
            ("will be", "tomorrow", "فردا", "خواهد بود"),
        ],
    )
    return said(
        (
            f"The weather in {where.key} {form[0]} {weather.key} {form[1]}",
            f"هوای {where.fa} {form[2]} {weather.fa} {form[3]}",
        )
    )


@pattern(60)
def weather_season(pick: Pick) -> Pair:
    en, fa = season_or_month(pick)
    weather = pick("weather", lex.WEATHERS)
    season = en.split()[1]
    cold = ("winter", "December", "January", "February")
    hot = ("summer", "June", "July", "August")
    if weather.key in ("cold", "snowy") and season not in cold:
        return None
    if weather.key in ("warm", "dry", "sunny") and season not in hot:
        return None
    if weather.key in ("cool", "rainy", "cloudy") and season in hot + cold:
        return None
    place = pick("place", [*lex.CITIES, *lex.COUNTRIES, lex.Name("", "")])
    en_place = f"in {place.key}" if place.key else ""
    fa_weather = f"هوای {place.fa}" if place.key else "هوا"
    return said(
        (
            joined("The weather", en_place, "is", weather.key, en),
            f"{fa_weather} {fa} {weather.fa} است",
        )
    )


@pattern(41)
def rains(pick: Pick) -> Pair:
    where = pick("where", lex.CITIES + lex.COUNTRIES)
    noun, base, past = pick(
        "fall", [("باران", "rain", "rained"), ("برف", "snow", "snowed")]
    )
    form = pick("form", ["past", "future", "is", "did not", "did"])
    if form == "is":
        return said(
            (
                f"It is {base}ing in {where.key} now",
                f"الان در {where.fa} {noun} می_بارد",
            )
        )
    if form == "future":
        time = pick("future time", lex.FUTURE_TIMES[:3])
        en = f"It will {base} in {where.key} {time.key}"
        return said((en, f"{time.fa} در {where.fa} {noun} خواهد بارید"))
    time = pick("past time", lex.PAST_TIMES[:3] + lex.PAST_TIMES[5:6])
    place = f"{time.fa} در {where.fa} {noun}"
    if form == "past":
        return said((f"It {past} in {where.key} {time.key}", f"{place} بارید"))
    if form == "did":
        en = f"Did it {base} in {where.key} {time.key}"
        return asked((en, f"آیا {place} بارید"))
    return said((f"It did not {base} in {where.key} {time.key}", f"{place} نبارید"))


# Two clauses


_LOW = lex.words("sick tired upset sleepy worried sad angry")


@pattern(51)
def because_feeling(pick: Pick) -> Pair:
    who = subject(pick, "pPnk")
    feeling = pick("feeling", [f for f in lex.FEELINGS if f.key in _LOW])
    only = "go,come,cook,work,study,exercise,dance,sing,swim,play,clean,drive,walk"
    what = predicate(pick, who, "F", negative=True, only=only.split(","))
    en, fa = clause(who, what, "past", True)
    short = {"1": "I", "2": "you", "p": "we", "t": "they"}.get(who.kind)
    short = short or {"his": "he", "her": "she"}[who.owner]
    return said(
        (
            f"{en} because {short} {be(who, True)} {feeling.key}",
            f"{fa}، چون {feeling.fa} {copula(who.kind, past=True)}",
        )
    )


@pattern(43)
def because_thing(pick: Pick) -> Pair:
    who = subject(pick, "pn")
    noun, reason, no = pick("reason", _REASONS)
    names = _REASON_NOUNS[noun]
    thing = pick.noun("thing " + noun, names)
    adjective = next(x for x in lex.THING_ADJECTIVES if x.key == reason)
    what = Predicate(VERB[noun], f"the {thing.key}", thing.fa + " را")
    en, fa = clause(who, what, "past", no == "not")
    return said(
        (
            f"{en} because it was {adjective.key}",
            f"{fa}، چون {adjective.fa} بود",
        )
    )


_REASONS = (
    ("buy", "expensive", "not"),
    ("buy", "cheap", ""),
    ("buy", "beautiful", ""),
    ("sell", "old", ""),
    ("wash", "dirty", ""),
    ("read", "interesting", ""),
    ("read", "boring", "not"),
    ("carry", "heavy", "not"),
    ("eat", "delicious", ""),
    ("eat", "salty", "not"),
    ("drink", "hot", "not"),
    ("drink", "bitter", "not"),
)
_REASON_NOUNS = {
    "buy": lex.keys("coat carpet ring car bag lamp scarf watch camera mirror"),
    "sell": lex.keys("car house bicycle radio television piano"),
    "wash": lex.keys("car shirt towel carpet coat plate curtain"),
    "read": lex.keys("book story newspaper magazine letter report"),
    "carry": lex.keys("box suitcase table bag basket"),
    "eat": lex.keys("soup cheese fish rice chicken salad"),
    "drink": lex.keys("tea coffee"),
}


@pattern(41)
def but_pair(pick: Pick) -> Pair:
    return _two_adjectives(pick, lex.BUT_PAIRS, "but", "ولی")


@pattern(41)
def and_pair(pick: Pick) -> Pair:
    return _two_adjectives(pick, lex.AND_PAIRS, "and", "و")


def _two_adjectives(pick: Pick, pairs: Any, en: str, fa: str) -> Pair:
    by_key = {adjective.key: adjective for adjective in lex.THING_ADJECTIVES}
    first, second = (by_key[key] for key in pick("pair", pairs))
    shared = [name for name in first.nouns if name in second.nouns]
    if not shared:
        return None
    noun = pick.noun(f"noun {first.key} {second.key}", shared)
    which = pick("which", [("the", ""), ("this", "این"), ("that", "آن")])
    return said(
        (
            f"{which[0]} {noun.key} is {first.key} {en} {second.key}",
            joined(which[1], noun.fa, first.fa, fa, second.fa, "است"),
        )
    )


@pattern(46)
def but_clause(pick: Pick) -> Pair:
    who = subject(pick, "pPnk")
    what = pick("wish", _WISHES)
    verb, en, fa = VERB[what[0]], what[1], what[2]
    wish = Predicate(verb, en, fa)
    en_want, fa_want = clause(who, wish, "want")
    short = {"1": "I", "2": "you", "p": "we", "t": "they"}.get(who.kind)
    short = short or {"his": "he", "her": "she"}[who.owner]
    feeling = pick("feeling", [f for f in lex.FEELINGS if f.key in _LOW[:4]])
    return said(
        (
            f"{en_want} but {short} {be(who)} {feeling.key}",
            f"{fa_want}، ولی {feeling.fa} {copula(who.kind)}",
        )
    )


_WISHES = (
    ("read", "the book", "کتاب را"),
    ("go", "to the park", "به پارک"),
    ("watch", "the film", "فیلم را"),
    ("study", "", ""),
    ("work", "", ""),
    ("cook", "dinner", "شام"),
    ("clean", "the room", "اتاق را"),
    ("write", "a letter", "یک نامه"),
    ("play", "football", "فوتبال"),
    ("dance", "", ""),
    ("exercise", "", ""),
    ("drive", "", ""),
    ("go", "to the cinema", "به سینما"),
    ("come", "to the party", "به مهمانی"),
)


@pattern(46)
def if_weather(pick: Pick) -> Pair:
    condition = pick(
        "condition",
        [
            ("it rains", "باران ببارد", "in"),
            ("it snows", "برف ببارد", "in"),
            ("the weather is good", "هوا خوب باشد", "out"),
            ("the weather is bad", "هوا بد باشد", "in"),
            ("the weather is warm", "هوا گرم باشد", "out"),
            ("the weather is cold", "هوا سرد باشد", "in"),
        ],
    )
    who = subject(pick, "pn")
    if condition[2] == "in":
        verb, prep, fa_prep, names = pick(
            "in",
            [
                ("stay", "in", "در", "hotel house room"),
                ("rest", "in", "در", "hotel house room"),
                ("go", "to", "به", "museum cinema library"),
            ],
        )
    else:
        verb, prep, fa_prep, names = pick(
            "out",
            [
                ("go", "to", "به", "park beach lake forest garden mountain farm"),
                ("swim", "in", "در", "sea river lake"),
                ("walk", "in", "در", "park forest garden"),
            ],
        )
    noun = pick.noun("place " + verb, lex.keys(names))
    what = Predicate(VERB[verb], f"{prep} the {noun.key}", f"{fa_prep} {noun.fa}")
    en, fa = clause(who, what, "future")
    return said((f"If {condition[0]}, {en}", f"اگر {condition[1]}، {fa}"))


@pattern(42)
def if_you_are(pick: Pick) -> Pair:
    feeling, wishes = pick("feeling", _ADVICE)
    adjective = next(x for x in lex.FEELINGS if x.key == feeling)
    verb, names = pick("wish " + feeling, wishes)
    noun = pick.noun(f"noun {feeling} {verb}", lex.keys(names)) if names else None
    fa_verb = conjugate(VERB[verb], "subjunctive", "2")
    if noun is None:
        en, fa = verb, fa_verb
    elif verb in ("rest", "sleep"):
        en, fa = f"{verb} in the {noun.key}", f"در {noun.fa} {fa_verb}"
    elif verb == "listen":
        en, fa = f"listen to {noun.key}", f"به {noun.fa} {fa_verb}"
    elif verb == "go":
        en, fa = f"go to the {noun.key}", f"به {noun.fa} {fa_verb}"
    elif verb == "call":
        en, fa = f"call your {noun.key}", f"به {suffixed(noun.fa, '2')} {fa_verb}"
    elif noun.plural and noun.key != "fish":
        en, fa = f"{verb} {a(noun.key)}", f"یک {noun.fa} {fa_verb}"
    else:
        en, fa = f"{verb} {noun.key}", f"{noun.fa} {fa_verb}"
    return said((f"If you are {feeling}, {en}", f"اگر شما {adjective.fa} هستید، {fa}"))


_ADVICE = (
    (
        "hungry",
        (
            ("eat", "apple banana sandwich egg bread soup fish rice salad fruit pear"),
            ("cook", "soup rice fish chicken"),
            ("go", "restaurant kitchen"),
        ),
    ),
    ("thirsty", (("drink", "water juice milk tea"),)),
    ("tired", (("rest", "room garden house hotel"), ("sleep", ""))),
    ("sick", (("go", "hospital pharmacy"), ("drink", "water"), ("eat", "soup"))),
    ("sad", (("listen", "music"), ("call", "mother sister brother"), ("go", "park"))),
    ("alone", (("call", "friend mother uncle aunt grandmother neighbor father"),)),
    ("sleepy", (("drink", "coffee tea"), ("sleep", ""))),
)


@pattern(51)
def when_came(pick: Pick) -> Pair:
    first = subject(pick, "nk", "first")
    who = subject(pick, "pPp")
    what = predicate(pick, who, "P")
    verb, en_verb = pick("event", [("آمد", "came"), ("رسید", "arrived")])
    time = "زنگ زد" if pick("call", ["call", "no"]) == "call" else verb
    en_time = "called" if time == "زنگ زد" else en_verb
    en, fa = clause(who, what, "past_progressive")
    return said((f"When {first.key} {en_time}, {en}", f"وقتی {first.fa} {time}، {fa}"))


@pattern(41)
def when_child(pick: Pick) -> Pair:
    who = subject(pick, "pPnk")
    place = pick("place", lex.CITIES + lex.COUNTRIES)
    if who.kind in "pt":
        return None
    short = {"1": "I", "2": "you"}.get(who.kind) or {"his": "he", "her": "she"}[
        who.owner
    ]
    kind = who.kind
    live = conjugate(VERB["live"], "imperfect", kind)
    return said(
        (
            f"When {who.key} {be(who, True)} a child, {short} lived in {place.key}",
            f"وقتی {who.fa} بچه {copula(kind, past=True)}، در {place.fa} {live}",
        )
    )


@pattern(51)
def think_that(pick: Pick) -> Pair:
    noun, adjective = thing_and_adjective(pick)
    who = subject(pick, "pPnk")
    if len(who.key) > 14:
        return None
    this = pick("this", [("the", ""), ("this", "این")])
    if noun.key in _ALONE and this[0] != "the":
        return None
    verb = pick(
        "verb",
        [
            (("think", "thinks"), "فکر می_کن"),
            (("know", "knows"), "می_دان"),
            (("say", "says"), "می_گوی"),
        ],
    )
    fa_verb = verb[1] + _PRESENT[who.kind]
    return said(
        (
            f"{who.key} {verb[0][third(who)]} that {this[0]} {noun.key}"
            f" is {adjective.key}",
            joined(who.fa, fa_verb, "که", this[1], noun.fa, adjective.fa, "است"),
        )
    )


@pattern(46)
def think_person(pick: Pick) -> Pair:
    who = subject(pick, "pPn", "thinker")
    other = subject(pick, "pnk", "other")
    if who == other or len(other.key) > 15:
        return None
    tense = pick("tense", ["feeling", "future", "job", "person"])
    verb = pick(
        "verb", [(("think", "thinks"), "فکر می_کن"), (("know", "knows"), "می_دان")]
    )
    head_en = f"{who.key} {verb[0][third(who)]} that "
    head_fa = f"{who.fa} {verb[1]}{_PRESENT[who.kind]} که "
    if tense == "future":
        en, fa = clause(other, predicate(pick, other, "F"), "future")
        return said((head_en + en, head_fa + fa))
    if tense == "job":
        job = pick("job", lex.JOBS)
        if other.kind in "pt":
            return None
        en, fa = a(job.key), job.fa
    else:
        pool = lex.FEELINGS if tense == "feeling" else lex.PERSON_ADJECTIVES
        adjective = pick("adjective " + tense, pool)
        en, fa = adjective.key, adjective.fa
    return said(
        (
            f"{head_en}{other.key} {be(other)} {en}",
            f"{head_fa}{other.fa} {fa} {copula(other.kind)}",
        )
    )


@pattern(41)
def not_know_where(pick: Pick) -> Pair:
    who = subject(pick, "pPn")
    noun = pick.noun("noun", MISLAID + sorted(_BUILT))
    know = "نمی_دان" + _PRESENT[who.kind]
    return said(
        (
            f"{who.key} {do(who)} not know where the {noun.key} is",
            f"{who.fa} {know} {noun.fa} کجاست",
        )
    )


@pattern(41)
def not_believe(pick: Pick) -> Pair:
    who = subject(pick, "pPnk")
    noun = pick.noun("noun", ("story", "news", "word", "answer", "report"))
    this = pick("this", [("this", "این"), ("that", "آن"), ("the", "")])
    tense = pick("tense", ["present", "past", "can"])
    verb = VERB[pick("verb", ["believe", "understand"])]
    if verb.key == "believe" and noun.key in ("word", "answer"):
        return None
    if verb.key == "understand" and noun.key == "news":
        return None
    what = Predicate(verb, f"{this[0]} {noun.key}", joined(this[1], noun.fa, "را"))
    return said(clause(who, what, tense, True))


# Relative clauses


_TRADES = lex.words(
    "sell,work,teach,repair,play,bake,knit,run,swim,sing,dance,study,collect,write,"
    "cook,feed,clean,drive,instrument,exercise,walk,help"
)


@pattern(56)
def person_who(pick: Pick) -> Pair:
    nouns = lex.JOBS[:12] + lex.PEOPLE[:5] + lex.PEOPLE[6:]
    noun = pick("noun", [n for n in nouns if not n.fa.endswith("ی")])
    doer = Subject("who", "", "3")
    what = predicate(pick, doer, "H", True, only=_TRADES)
    if what.noun == noun.key:
        return None
    adjective = pick("adjective", lex.PERSON_ADJECTIVES)
    en, fa = clause(doer, what, "present")
    return said(
        (
            f"The {noun.key} {en} is {adjective.key}",
            f"{that_which(noun.fa)} که {fa} {adjective.fa} است",
        )
    )


@pattern(56)
def person_who_did(pick: Pick) -> Pair:
    noun = pick("noun", lex.PEOPLE[:4] + lex.JOBS)
    doer = Subject("who", "", "3")
    what = predicate(pick, doer, "F", never=("arrive", "wake up", "sleep"))
    owner = pick("owner", OWNERS)
    other = pick("other", lex.KIN + lex.PEOPLE[5:9])
    mismatch = noun.gender and other.gender and noun.gender != other.gender
    old = noun.key in ("boy", "girl") and other.key not in _YOUNG
    if noun.fa.endswith("ی") or what.noun == noun.key or mismatch or old:
        return None
    if not is_owner_of(owner[0], other.key) or other.key == what.noun:
        return None
    en, fa = clause(doer, what, "past")
    return said(
        (
            f"The {noun.key} {en} is {owner[0]} {other.key}",
            f"{that_which(noun.fa)} که {fa} {of(other.fa, owner[1])} است",
        )
    )


_YOUNG = frozenset(lex.words("brother sister son daughter friend neighbor classmate"))


@pattern(46)
def person_who_is(pick: Pick) -> Pair:
    noun = pick("noun", lex.PEOPLE[:2] + lex.PEOPLE[5:8])
    doer = Subject("who", "", "3")
    place = pick("place", lex.CITIES + lex.COUNTRIES)
    job = pick("job", lex.JOBS)
    if noun.fa.endswith("ی") or noun.key == "child":
        return None
    verb = VERB[pick("verb", ["live", "work"])]
    what = Predicate(verb, f"in {place.key}", f"در {place.fa}")
    en, fa = clause(doer, what, "present")
    return said(
        (
            f"The {noun.key} {en} is {a(job.key)}",
            f"{that_which(noun.fa)} که {fa} {job.fa} است",
        )
    )


_THAT_FRAMES = {
    "buy": "book coat carpet phone camera lamp hat bag car ring computer shirt",
    "read": "book story letter poem newspaper magazine",
    "see": "film house horse garden city bird hotel lake",
    "write": "letter story poem book report",
    "choose": "gift film hotel shirt carpet room",
    "find": "key ring bag watch coin map",
    "eat": "apple cake orange fish sandwich peach cherry pear banana",
    "sell": "car house bicycle piano",
    "rent": "house apartment room car boat",
    "hear": "song story voice",
    "receive": "letter gift message",
}


@pattern(56)
def thing_that(pick: Pick) -> Pair:
    verb_key = pick("verb", sorted(_THAT_FRAMES))
    fits = {
        name: [x for x in lex.THING_ADJECTIVES if name in x.nouns]
        for name in lex.keys(_THAT_FRAMES[verb_key])
    }
    noun = pick.noun(
        "noun " + verb_key,
        [n for n, found in fits.items() if found and not NOUN[n].fa.endswith("ی")],
    )
    adjective = pick("adjective " + noun.key, fits[noun.key])
    who = subject(pick, "pPnk")
    verb = VERB[verb_key]
    if adjective.key in ("open", "closed", "broken", "full", "empty"):
        return None
    tense_en, is_fa = "is", "است"
    if verb_key in ("eat", "hear") or adjective.key in ("cold", "hot", "wet", "dirty"):
        tense_en, is_fa = "was", "بود"
    return said(
        (
            f"The {noun.key} that {who.key} {verb.past} {tense_en} {adjective.key}",
            f"{that_which(noun.fa)} که {who.fa} {conjugate(verb, 'past', who.kind)}"
            f" {adjective.fa} {is_fa}",
        )
    )


@pattern(41)
def know_who(pick: Pick) -> Pair:
    who = subject(pick, "pPn")
    noun = pick(
        "noun", (*lex.PEOPLE[:4], NOUN["child"], NOUN["tourist"], *lex.JOBS[:9])
    )
    doer = Subject("who", "", "3")
    what = predicate(pick, doer, "H", True, only=_TRADES)
    if what.noun == noun.key or len(what.fa) > 18:
        return None
    en, fa = clause(doer, what, "present")
    knows = "knows" if third(who) else "know"
    return said(
        (
            f"{who.key} {knows} the {noun.key} {en}",
            f"{who.fa} {that_which(noun.fa)} را که {fa} "
            + conjugate(VERB["know"], "present", who.kind),
        )
    )


@pattern(46)
def knows_person(pick: Pick) -> Pair:
    who = subject(pick, "pPnk")
    form = pick("form", ["yes", "no", "asked"])
    noun = pick("noun", STRANGERS)
    this = pick("this", [("the", ""), ("this", "این"), ("that", "آن")])
    what = Predicate(
        VERB["know"], f"{this[0]} {noun.key}", joined(this[1], noun.fa, "را")
    )
    en, fa = clause(who, what, "present", form == "no")
    if form == "asked":
        if who.kind in "1p":
            return None
        return asked((question(who, what, "present"), "آیا " + fa))
    return said((en, fa))


# Giving and going


_GIFTS = lex.keys(
    "book letter pen key map gift ticket photo flower ring apple money umbrella ball"
    " toy doll watch newspaper notebook pencil towel coat magazine box glass coin"
)


@pattern(61)
def gives(pick: Pick) -> Pair:
    who = subject(pick, "pPnkj")
    noun = pick.noun("noun", _GIFTS)
    verb = VERB[pick("verb", ["give", "give", "send", "show", "sell"])]
    if verb.key == "send" and noun.key in (
        "apple",
        "ball",
        "coin",
        "glass",
        "pen",
        "key",
    ):
        return None
    if verb.key == "sell" and noun.key in ("letter", "gift", "money", "apple"):
        return None
    tense = pick("tense", ["past", "future", "must", "perfect", "want"])
    indefinite = pick("article", ["the", "a"]) == "a" and noun.plural
    if indefinite:
        en, fa = a(noun.key), "یک " + noun.fa
    else:
        en, fa = f"the {noun.key}", noun.fa + " را"
    if who.owner and pick("to", ["own", "other"]) == "own":
        other = pick("own", lex.KIN + lex.PEOPLE[5:9])
        en_to, fa_to = f"{who.owner} {other.key}", suffixed(other.fa, who.kind)
        if other.key == who.noun or not is_owner_of(who.owner, other.key):
            return None
    else:
        other = pick("other", STRANGERS)
        en_to, fa_to = f"the {other.key}", other.fa
        if other.key == who.noun:
            return None
    to = "برای" if verb.key == "send" else "به"
    what = Predicate(verb, f"{en} to {en_to}", f"{fa} {to} {fa_to}")
    return said(clause(who, what, tense))


@pattern(43)
def please_give(pick: Pick) -> Pair:
    noun = pick.noun("noun", _GIFTS)
    verb = VERB[pick("verb", ["give", "show", "bring"])]
    other = pick("other", (*STRANGERS, *lex.KIN))
    if verb.key == "bring":
        en, fa = f"the {noun.key} for the {other.key}", f"{noun.fa} را برای {other.fa}"
    elif other in lex.KIN:
        en = f"the {noun.key} to your {other.key}"
        fa = f"{noun.fa} را به {suffixed(other.fa, '2')}"
    else:
        en, fa = f"the {noun.key} to the {other.key}", f"{noun.fa} را به {other.fa}"
    if verb.key == "bring" and other in lex.KIN:
        return None
    return said(
        (
            f"please {verb.key} {en}",
            f"لطفاً {fa} {conjugate(verb, 'subjunctive', '2')}",
        )
    )


@pattern(43)
def takes_to(pick: Pick) -> Pair:
    who = subject(pick, "pPnkj")
    pair = pick(
        "pair",
        [
            ("child", "school park hospital museum cinema beach"),
            ("guest", "hotel station airport restaurant museum market"),
            ("car", "mechanic"),
            ("tourist", "museum hotel airport square mosque bridge island"),
            ("suitcase", "airport room station hotel"),
            ("sheep", "mountain farm village market"),
            ("letter", "office embassy manager"),
            ("chair", "room kitchen yard garden"),
            ("dog", "park farm forest"),
            ("box", "house shop factory office"),
            ("money", "bank market"),
        ],
    )
    noun = NOUN[pair[0]]
    place = pick.noun("place " + pair[0], lex.keys(pair[1]))
    if noun.key == who.noun:
        return None
    tense = pick("tense", ["past", "future", "must", "can", "progressive"])
    what = Predicate(
        VERB["take"],
        f"the {noun.key} to the {place.key}",
        f"{noun.fa} را به {place.fa}",
    )
    return said(clause(who, what, tense))


@pattern(43)
def puts(pick: Pick) -> Pair:
    who = subject(pick, "pPnkj")
    noun, en, fa = in_spot(
        pick,
        [
            s
            for s in lex.SPOTS
            if s[2] in lex.words("table bag box refrigerator basket bed")
        ],
    )
    if noun.key in _ANIMATE or noun.key == "carpet":
        return None
    tense = pick("tense", ["past", "future", "perfect", "imperative", "must"])
    what = Predicate(VERB["put"], f"the {noun.key} {en}", f"{noun.fa} را {fa}")
    if tense == "imperative":
        verb = conjugate(VERB["put"], "subjunctive", "2")
        return said((f"put {what.en}", f"{what.fa} {verb}"))
    return said(clause(who, what, tense))


@pattern(46)
def from_to(pick: Pick) -> Pair:
    who = subject(pick, "pPnkjs")
    first = pick("first", lex.CITIES + lex.COUNTRIES)
    second = pick("second", lex.CITIES + lex.COUNTRIES)
    if first == second or ((first in lex.CITIES) != (second in lex.CITIES)):
        return None
    verb = VERB[pick("verb", ["go", "travel", "come", "return"])]
    tense = pick("tense", ["past", "future", "want", "perfect"])
    what = Predicate(
        verb, f"from {first.key} to {second.key}", f"از {first.fa} به {second.fa}"
    )
    return said(clause(who, what, tense))


@pattern(41)
def bus_from_to(pick: Pick) -> Pair:
    vehicle = pick("vehicle", [v for v in lex.VEHICLES if v.key in "bus train taxi"])
    names = lex.keys(
        "station airport hotel market university hospital museum beach park"
    )
    first, second = pick.noun("first", names), pick.noun("second", names)
    if first.key == second.key:
        return None
    form = pick("form", [("this", "این"), ("the", ""), ("that", "آن")])
    return said(
        (
            f"{form[0]} {vehicle.key} goes from the {first.key} to the {second.key}",
            joined(form[1], vehicle.fa, f"از {first.fa} به {second.fa} می_رود"),
        )
    )


_RIDES = (
    ("bus", "اتوبوس"),
    ("train", "قطار"),
    ("car", "ماشین"),
    ("taxi", "تاکسی"),
    ("bicycle", "دوچرخه"),
    ("motorcycle", "موتور"),
    ("plane", "هواپیما"),
    ("ship", "کشتی"),
    ("boat", "قایق"),
    ("truck", "کامیون"),
)


@pattern(56)
def goes_by(pick: Pick) -> Pair:
    who = subject(pick, "pPnkjs")
    ride = pick("ride", _RIDES)
    tense = pick("tense", ["present", "past", "future", "progressive", "want"])
    if ride[0] in ("plane", "ship"):
        place = pick("far", lex.COUNTRIES)
        en, fa = f"to {place.key}", f"به {place.fa}"
        if tense == "present":
            tense = "past"
    elif ride[0] == "boat":
        en, fa = "to the island", "به جزیره"
    elif ride[0] == "train":
        place = pick("city", lex.CITIES[:6])
        en, fa = f"to {place.key}", f"به {place.fa}"
    elif ride[0] == "truck":
        place = pick.noun("truck to", lex.keys("village factory farm market city"))
        en, fa = f"to the {place.key}", f"به {place.fa}"
    else:
        names = "school market office park university village factory airport farm"
        place = pick.noun("near", lex.keys(names + " station hospital library stadium"))
        en, fa = f"to the {place.key}", f"به {place.fa}"
    what = Predicate(VERB["go"], f"{en} by {ride[0]}", f"با {ride[1]} {fa}")
    return said(clause(who, what, tense))


@pattern(51)
def with_someone(pick: Pick) -> Pair:
    who = subject(pick, "pPnks")
    other = pick("other", lex.KIN + lex.PEOPLE[5:9])
    if other.key == who.noun or not who.owner:
        return None
    if not is_owner_of(who.owner, other.key):
        return None
    place = pick.noun(
        "place",
        lex.keys(
            "park market cinema restaurant museum hospital beach village farm stadium"
            " airport library pool forest office church mosque lake"
        ),
    )
    tense = pick("tense", ["past", "future", "want", "must"])
    what = Predicate(
        VERB["go"],
        f"to the {place.key} with {who.owner} {other.key}",
        f"با {suffixed(other.fa, who.kind)} به {place.fa}",
    )
    return said(clause(who, what, tense))


_MEALS = (
    ("drink", "tea", "sugar milk honey"),
    ("drink", "coffee", "sugar milk"),
    ("eat", "bread", "cheese butter jam honey"),
    ("eat", "rice", "meat chicken fish yogurt butter"),
    ("eat", "soup", "bread lemon salt"),
    ("eat", "salad", "salt lemon cheese yogurt"),
    ("eat", "fish", "lemon rice salt"),
    ("eat", "chicken", "rice salad potato"),
    ("eat", "egg", "bread salt"),
    ("eat", "ice cream", "chocolate fruit"),
    ("eat", "yogurt", "sugar honey walnut"),
    ("eat", "cucumber", "salt"),
)


@pattern(56)
def with_without(pick: Pick) -> Pair:
    who = subject(pick, "pPnks")
    verb, first, names = pick("meal", _MEALS)
    main = NOUN[first]
    side = pick.noun("side " + first, lex.keys(names))
    how = pick("with", [("with", "با"), ("without", "بدون")])
    tense = pick("tense", ["present", "like", "past"])
    main_en = main.plural if main.key in ("egg", "cucumber") else main.key
    side_en = side.plural if side.key in ("potato", "walnut") else side.key
    what = Predicate(
        VERB[verb], f"{main_en} {how[0]} {side_en}", f"{main.fa} {how[1]} {side.fa}"
    )
    return said(clause(who, what, tense))


_MOMENTS = lex.keys(
    "lunch dinner breakfast class meeting exam film game party trip work"
)


@pattern(51)
def before_after(pick: Pick) -> Pair:
    who = subject(pick, "pPnkjs")
    moment = pick.noun("moment", _MOMENTS)
    side = pick("side", [("before", "قبل از"), ("after", "بعد از")])
    tense = pick("tense", ["past", "future", "must", "want"])
    only = lex.words(
        "wash,call,drink,rest,clean,help,study,sleep,iron,talk,walk,exercise,read,buy,"
        "eat,write,answer,go,check,turn off,feed"
    )
    what = predicate(pick, who, "M", only=only)
    if _same(who, what) or what.noun in _MOMENTS:
        return None
    meal = moment.key in ("lunch", "dinner", "breakfast")
    if what.noun in ("foot", "hair", "face") or (what.noun == "hand" and not meal):
        return None
    if what.noun in ("name", "word", "sentence"):
        return None
    article = "" if moment.key in "lunch dinner breakfast work" else "the "
    time = (f"{side[0]} {article}{moment.key}", f"{side[1]} {moment.fa}")
    return said(clause(who, what, tense, time=time))


# Liking, needing


LIKED = lex.keys(
    "apple orange banana cherry pomegranate watermelon peach pear strawberry lemon"
    " walnut cake cookie onion carrot tomato cat dog horse bird butterfly rabbit"
    " monkey elephant fish bread rice chicken cheese honey jam soup salad yogurt"
    " chocolate tea coffee milk juice music football volleyball basketball tennis"
    " chess history mathematics physics chemistry geography rain snow flower book film"
    " poem duck goat"
)


def _liking(pick: Pick) -> tuple[str, str, str]:
    """What is liked, and its «را», which what there is but one of takes."""
    if pick("liked kind", ["noun", "noun again", "third", "season"]) == "season":
        return (*both(pick("season", lex.SEASONS)), " را")
    noun = pick.noun("liked", LIKED)
    en = noun.plural if noun.plural and noun.key != "fish" else noun.key
    unique = noun in lex.SUBJECTS_TAUGHT or noun.key in ("rain", "snow", "music")
    return en, noun.fa, " را" if unique else ""


@pattern(56)
def likes(pick: Pick) -> Pair:
    who = subject(pick, "pPnks")
    en, fa, mark = _liking(pick)
    return said(clause(who, Predicate(VERB["like"], en, fa + mark), "present"))


@pattern(46)
def likes_not(pick: Pick) -> Pair:
    who = subject(pick, "pPnks")
    en, fa, mark = _liking(pick)
    return said(clause(who, Predicate(VERB["like"], en, fa + mark), "present", True))


@pattern(43)
def likes_asked(pick: Pick) -> Pair:
    who = subject(pick, "ppnks")
    if who.kind in "1p":
        return None
    noun = pick.noun(
        "noun",
        (*LIKED, "city", "house", "song", "shirt", "garden", "ring", "story", "room"),
    )
    if noun.key in _THIS_LIKED:
        this = pick("this", [("this", "این"), ("that", "آن")])
        what = Predicate(
            VERB["like"], f"{this[0]} {noun.key}", f"{this[1]} {noun.fa} را"
        )
    else:
        en = noun.plural if noun.plural and noun.key != "fish" else noun.key
        unique = noun in lex.SUBJECTS_TAUGHT or noun.key in ("rain", "snow", "music")
        what = Predicate(VERB["like"], en, noun.fa + (" را" if unique else ""))
    fa = clause(who, what, "present")[1]
    return asked((question(who, what, "present"), "آیا " + fa))


_THIS_LIKED = frozenset(
    lex.words("city house song shirt garden ring story room film book poem")
)


@pattern(46)
def loves(pick: Pick) -> Pair:
    who = subject(pick, "pPnks")
    en, fa, _ = _liking(pick)
    love = "loves" if third(who) else "love"
    return said((f"{who.key} {love} {en}", f"{who.fa} عاشق {fa} {copula(who.kind)}"))


@pattern(41)
def loves_own(pick: Pick) -> Pair:
    who = subject(pick, "pPn")
    noun = pick.noun(
        "noun",
        (
            *(kin.key for kin in lex.KIN),
            "job",
            "house",
            "city",
            "garden",
            "car",
            "dog",
            "cat",
            "horse",
            "village",
            "country",
            "school",
        ),
    )
    if not who.owner or noun.key == who.noun or not is_owner_of(who.owner, noun.key):
        return None
    love = "loves" if third(who) else "love"
    fa = suffixed(noun.fa, who.kind)
    return said(
        (
            f"{who.key} {love} {who.owner} {noun.key}",
            f"{who.fa} عاشق {fa} {copula(who.kind)}",
        )
    )


@pattern(51)
def needs(pick: Pick) -> Pair:
    who = subject(pick, "pPnkj")
    noun = pick.noun(
        "noun",
        (
            *PRICED,
            *_BUYABLE_MASS,
            "key",
            "pen",
            "spoon",
            "fork",
            "doctor",
            "lawyer",
            "money",
            "rope",
            "dentist",
            "mechanic",
            "carpenter",
            "translator",
            "tailor",
        ),
    )
    form = pick("form", ["yes", "no", "asked", "past"])
    article = a(noun.key) if noun.plural and noun.key != "fish" else noun.key
    fa = noun.fa
    if noun.plural and noun.key != "fish" and form != "no":
        fa = "یک " + fa
    what = Predicate(VERB["need"], article, f"به {fa}")
    if form == "past":
        return said((f"{who.key} needed {article}", clause(who, what, "past")[1]))
    en, fa_clause = clause(who, what, "present", form == "no")
    if form == "asked":
        if who.kind in "1p":
            return None
        return asked((question(who, what, "present"), "آیا " + fa_clause))
    return said((en, fa_clause))


# Work, nations and languages


@pattern(56)
def is_a_job(pick: Pick) -> Pair:
    who = subject(pick, "pnkk")
    job = pick("job", lex.JOBS)
    form = pick("form", ["is", "not", "asked"])
    plural = who.kind in "pt"
    what = job.plural if plural else a(job.key)
    fa = f"{who.fa} {job.fa} {copula(who.kind, form == 'not')}"
    if form == "asked":
        if who.kind in "1p":
            return None
        return asked((f"{be(who)} {who.key} {what}", "آیا " + fa))
    return said((joined(who.key, be(who), "not" if form == "not" else "", what), fa))


@pattern(41)
def wants_to_become(pick: Pick) -> Pair:
    who = subject(pick, "pnkj")
    job = pick("job", lex.JOBS)
    if (
        who.kind in "pt"
        or who.noun in (n.key for n in lex.JOBS)
        or who.noun in ("grandmother", "grandfather", "man", "woman")
    ):
        return None
    form = pick("form", ["want", "not", "past"])
    if form == "past":
        shod = {"1": "شدم", "2": "شدید", "3": "شد"}[who.kind]
        return said((f"{who.key} became {a(job.key)}", f"{who.fa} {job.fa} {shod}"))
    become = lex.Verb("become", "", "", "", "", "", "شو", "شد", "شو")
    what = Predicate(become, a(job.key), job.fa)
    return said(clause(who, what, "want", form == "not"))


@pattern(41)
def works_where(pick: Pick) -> Pair:
    job, place = pick("pair", lex.WORKPLACES)
    noun, where = NOUN[job], NOUN[place]
    form = pick("form", ["the", "this", "that", "plural"])
    prep = where.place
    if form == "plural":
        who = Subject(f"the {noun.plural}", noun.fa_plural, "t")
    else:
        this = {"the": "", "this": "این", "that": "آن"}[form]
        who = Subject(f"{form} {noun.key}", joined(this, noun.fa), "3")
    tense = pick("tense", ["present", "progressive", "past"])
    time = ("", "")
    if tense == "past":
        time = both(pick("time", lex.PAST_TIMES[:5]))
    what = Predicate(VERB["work"], f"{prep} the {place}", f"در {where.fa}")
    return said(clause(who, what, tense, time=time))


@pattern(60)
def who_is_nation(pick: Pick) -> Pair:
    who = subject(pick, "pkjs")
    nation = pick("nation", lex.NATIONALITIES)
    form = pick("form", ["is", "not", "asked"])
    fa = f"{who.fa} {nation.fa} {copula(who.kind, form == 'not')}"
    if form == "asked":
        if who.kind in "1p":
            return None
        return asked((f"{be(who)} {who.key} {nation.key}", "آیا " + fa))
    return said((joined(who.key, be(who), "not" * (form == "not"), nation.key), fa))


@pattern(41)
def is_from(pick: Pick) -> Pair:
    who = subject(pick, "pnkjs")
    place = pick("place", lex.CITIES + lex.COUNTRIES)
    form = pick("form", ["is", "not", "asked"])
    fa = f"{who.fa} اهل {place.fa} {copula(who.kind, form == 'not')}"
    if form == "asked":
        if who.kind in "1p":
            return None
        return asked((f"{be(who)} {who.key} from {place.key}", "آیا " + fa))
    return said(
        (joined(who.key, be(who), "not" * (form == "not"), "from", place.key), fa)
    )


@pattern(60)
def nation_person(pick: Pick) -> Pair:
    who = subject(pick, "pPnk")
    nation = pick("nation", lex.NATIONALITIES)
    noun = pick("noun", lex.JOBS + lex.PEOPLE[:4] + lex.PEOPLE[5:6] + lex.PEOPLE[11:])
    verb = VERB[pick("verb", ["see", "meet", "know"])]
    if verb.key == "know":
        return None
    prep = "با " if verb.key == "meet" else ""
    what = Predicate(
        verb, a(f"{nation.key} {noun.key}"), f"{prep}یک {of(noun.fa, nation.fa)}"
    )
    time = both(pick("time", [lex.Phrase("", ""), *lex.PAST_TIMES[:3]]))
    return said(clause(who, what, "past", time=time))


@pattern(70)
def languages(pick: Pick) -> Pair:
    who = subject(pick, "pPnkjs")
    language = pick("language", lex.LANGUAGES)
    verb = VERB[pick("verb", ["speak", "learn", "teach", "understand", "read"])]
    tenses = {
        "speak": ["present", "can", "cannot"],
        "learn": ["progressive", "want", "past", "future", "must"],
        "teach": ["present", "progressive", "past"],
        "understand": ["present", "not"],
        "read": ["can", "cannot"],
    }
    tense = pick("tense " + verb.key, tenses[verb.key])
    negative = tense in ("not", "cannot")
    tense = {"not": "present", "cannot": "can"}.get(tense, tense)
    time = ("", "")
    fa = language.fa
    if verb.key == "understand":
        fa = language.fa + " را"
    return said(
        clause(who, Predicate(verb, language.key, fa), tense, negative, time=time)
    )


@pattern(41)
def language_of(pick: Pick) -> Pair:
    noun = pick.noun(
        "noun", lex.keys("book film letter story poem song magazine report")
    )
    language = pick("language", lex.LANGUAGES)
    this = pick("this", [("this", "این"), ("that", "آن"), ("the", "")])
    form = pick("form", [("is", "است"), ("is not", "نیست")])
    return said(
        (
            f"{this[0]} {noun.key} {form[0]} in {language.key}",
            joined(this[1], noun.fa, "به زبان", language.fa, form[1]),
        )
    )


# The body

_ACHES = lex.keys(
    "head hand foot eye ear tooth back stomach knee neck throat finger shoulder"
)


@pattern(180)
def hurts(pick: Pick) -> Pair:
    who = pick("who", (*PRONOUNS, *(named(name) for name in lex.PERSON_NAMES)))
    several = who.kind in "pt"
    noun = pick.noun("noun", _ACHES if not several else _ACHES_TOGETHER)
    form = pick(
        "form",
        [
            ("hurts", "", "", "درد می_کند"),
            ("hurts", "today", "امروز", "درد می_کند"),
            ("does not hurt", "now", "الان", "درد نمی_کند"),
            ("hurt", "yesterday", "دیروز", "درد می_کرد"),
            ("hurt", "last night", "دیشب", "درد می_کرد"),
        ],
    )
    verb, word = form[0], noun.key
    body = noun.fa
    if several:
        verb = {"hurts": "hurt", "does not hurt": "do not hurt"}.get(verb, verb)
        word, body = noun.plural, noun.fa_plural
    if who in PRONOUNS:
        owner, fa = who.owner, suffixed(body, who.kind)
    else:
        owner, fa = f"{who.key}'s", of(body, who.fa)
    return said((joined(owner, word, verb, form[1]), joined(form[2], fa, form[3])))


_ACHES_TOGETHER = lex.keys("hand foot eye ear tooth knee shoulder finger")


@pattern(56)
def sees_afar(pick: Pick) -> Pair:
    who = subject(pick, "pPnk")
    noun = pick.noun(
        "noun", lex.keys("sun moon star cloud sky sea mountain lake snow rain bird")
    )
    place = pick.noun("place", lex.keys("window room house garden yard train"))
    tense = pick("tense", ["can", "cannot", "past", "did not"])
    negative = tense in ("cannot", "did not")
    several = noun.key in ("star", "cloud", "bird")
    en = noun.plural if several else noun.key
    fa = noun.fa_plural if several else noun.fa
    what = Predicate(
        VERB["see"], f"the {en} from the {place.key}", f"{fa} را از {place.fa}"
    )
    return said(
        clause(who, what, "can" if tense.startswith("can") else "past", negative)
    )


@pattern(84)
def event_in_month(pick: Pick) -> Pair:
    noun = pick.noun("noun", lex.keys("exam wedding trip party meeting"))
    owner = pick("owner", [*OWNERS, *((f"{n.key}'s", n.fa) for n in lex.PERSON_NAMES)])
    month = pick("month", lex.MONTHS)
    tense = pick("tense", [("is", "است"), ("was", "بود"), ("is not", "نیست")])
    return said(
        (
            f"{owner[0]} {noun.key} {tense[0]} in {month.key}",
            f"{of(noun.fa, owner[1])} در ماه {month.fa} {tense[1]}",
        )
    )


@pattern(62)
def body_looks(pick: Pick) -> Pair:
    pairs = (
        ("eye", "blue green black brown big beautiful", "p"),
        ("hair", "black brown short beautiful white", ""),
        ("hand", "cold warm dirty clean wet", "p"),
        ("foot", "cold wet big dirty warm", "p"),
        ("face", "beautiful red dirty clean wet", ""),
        ("tooth", "white yellow clean small", "p"),
        ("finger", "cold thin", "p"),
        ("neck", "short", ""),
        ("shoulder", "wide", "p"),
        ("stomach", "empty full", ""),
        ("ear", "small big red", "p"),
    )
    part, names, plural = pick("part", pairs)
    noun = NOUN[part]
    adjective_key = pick("adjective " + part, names.split())
    pool = lex.THING_ADJECTIVES + lex.COLORS
    adjective = next((x for x in pool if x.key == adjective_key), None)
    if adjective is None:
        return None
    owners = [(o[0], o[1], "o") for o in OWNERS[:4]] + [
        (f"{n.key}'s", n.fa, "n") for n in lex.PERSON_NAMES
    ]
    owner = pick("owner", owners)
    en = noun.plural if plural else noun.key
    fa = noun.fa_plural if plural else noun.fa
    return said(
        (
            f"{owner[0]} {en} {'are' if plural else 'is'} {adjective.key}",
            f"{of(fa, owner[1])} {adjective.fa} است",
        )
    )


@pattern(41)
def has_eyes(pick: Pick) -> Pair:
    who = subject(pick, "pnkj")
    part, names = pick(
        "part",
        [
            ("eye", "blue green brown black big beautiful"),
            ("hair", "black brown short beautiful"),
            ("hand", "strong big small"),
            ("tooth", "white"),
        ],
    )
    noun = NOUN[part]
    pool = lex.COLORS + lex.THING_ADJECTIVES + lex.PERSON_ADJECTIVES
    key = pick("adjective " + part, names.split())
    adjective = next(x for x in pool if x.key == key)
    has = "has" if third(who) else "have"
    fa = noun.fa_plural if noun.plural else noun.fa
    return said(
        (
            f"{who.key} {has} {adjective.key} {noun.plural or noun.key}",
            f"{who.fa} {of(fa, adjective.fa)} "
            + conjugate(VERB["have"], "present", who.kind),
        )
    )


# Nature


@pattern(41)
def animal_does(pick: Pick) -> Pair:
    animal, verbs = pick(
        "animal",
        [
            ("cat", "eat meat,drink milk,eat fish"),
            ("dog", "eat meat,drink water"),
            ("horse", "eat apple,eat carrot,drink water"),
            ("monkey", "eat banana,eat walnut,eat fruit"),
            ("mouse", "eat cheese,eat bread"),
            ("rabbit", "eat carrot,eat leaf"),
            ("wolf", "eat meat"),
            ("bear", "eat honey,eat fish"),
            ("goat", "eat leaf,drink water"),
            ("elephant", "eat leaf,eat fruit,drink water"),
            ("camel", "drink water,eat leaf"),
            ("donkey", "eat carrot,eat apple"),
            ("fox", "eat mouse,eat chicken"),
            ("sheep", "drink water,eat leaf"),
            ("cow", "drink water,eat leaf"),
            ("duck", "eat bread,eat fish"),
            ("rooster", "eat bread,drink water"),
            ("snake", "eat mouse,eat egg"),
        ],
    )
    verb, thing = pick("act " + animal, verbs.split(",")).split()
    noun, food = NOUN[animal], NOUN[thing]
    form = pick("form", ["the", "plural", "this", "progressive"])
    if form == "plural":
        who = Subject(f"the {noun.plural}", noun.fa_plural, "t")
    elif form == "this":
        who = Subject(f"this {noun.key}", "این " + noun.fa, "3")
    else:
        who = Subject(f"the {noun.key}", noun.fa, "3")
    tense = "present" if form == "this" else "progressive"
    en = food.plural if food.plural and food.key != "fish" else food.key
    return said(clause(who, Predicate(VERB[verb], en, food.fa), tense))


@pattern(80)
def sky_is(pick: Pick) -> Pair:
    noun, names = pick(
        "noun",
        [
            ("sky", "blue gray red beautiful dark"),
            ("moon", "beautiful bright big white"),
            ("sun", "red yellow bright warm beautiful"),
            ("sea", "blue calm beautiful cold"),
            ("wind", "cold cool strong warm"),
            ("wind", "strong dry cold warm"),
            ("snow", "white cold beautiful"),
            ("rain", "cold beautiful"),
            ("star", "bright beautiful"),
            ("cloud", "white gray black"),
            ("cloud", "beautiful dark big"),
        ],
    )
    pool = lex.THING_ADJECTIVES + lex.COLORS + lex.PERSON_ADJECTIVES + lex.WEATHERS
    key = pick("adjective " + noun, names.split())
    adjective = next(x for x in pool if x.key == key)
    form = pick(
        "form",
        [
            ("is", "today", "امروز", "است"),
            ("was", "yesterday", "دیروز", "بود"),
            ("was", "last night", "دیشب", "بود"),
            ("is not", "today", "امروز", "نیست"),
        ],
    )
    thing = NOUN[noun]
    plural = noun in ("star", "cloud")
    en, fa = (thing.plural, thing.fa_plural) if plural else (thing.key, thing.fa)
    if (noun in ("moon", "star")) != (form[1] == "last night"):
        return None
    verb = form[0].replace("is", "are").replace("was", "were") if plural else form[0]
    return said(
        (
            f"The {en} {verb} {adjective.key} {form[1]}",
            f"{fa} {form[2]} {adjective.fa} {form[3]}",
        )
    )


@pattern(45)
def subject_teacher(pick: Pick) -> Pair:
    subject_taught = pick("subject", (*lex.SUBJECTS_TAUGHT, NOUN["music"]))
    owner = pick("owner", [("the", ""), ("this", "این"), *OWNERS])
    adjective = pick("adjective", lex.PERSON_ADJECTIVES)
    if owner[0] in ("the", "this"):
        fa = joined(owner[1], of("معلم", subject_taught.fa))
    else:
        fa = of("معلم", subject_taught.fa, owner[1])
    return said(
        (
            f"{owner[0]} {subject_taught.key} teacher is {adjective.key}",
            f"{fa} {adjective.fa} است",
        )
    )


@pattern(45)
def teaches_at(pick: Pick) -> Pair:
    who = subject(pick, "pPnkk")
    subject_taught = pick("subject", lex.SUBJECTS_TAUGHT)
    place = pick("place", ["school", "university"])
    tense = pick("tense", ["present", "past", "future", "want", "progressive"])
    what = Predicate(
        VERB["teach"],
        f"{subject_taught.key} at the {place}",
        f"در {NOUN[place].fa} {subject_taught.fa}",
    )
    return said(clause(who, what, tense))


@pattern(47)
def plays_with(pick: Pick) -> Pair:
    who = subject(pick, "pPnk")
    sport = pick("sport", lex.SPORTS)
    other = pick("other", lex.KIN + lex.PEOPLE[5:9])
    if other.key == who.noun or not is_owner_of(who.owner, other.key):
        return None
    tense = pick("tense", ["present", "past", "future", "want", "progressive"])
    what = Predicate(
        VERB["play"],
        f"{sport.key} with {who.owner} {other.key}",
        f"با {suffixed(other.fa, who.kind)} {sport.fa}",
    )
    return said(clause(who, what, tense))


@pattern(45)
def fell_from(pick: Pick) -> Pair:
    thing, place = pick(
        "fall",
        [
            ("cup glass plate lamp bottle phone spoon apple", "table"),
            ("pillow blanket doll child book", "bed"),
            ("mirror photo map", "wall"),
            ("apple pear leaf bird cherry", "tree"),
            ("basket box bag", "chair"),
            ("box ball suitcase", "car"),
        ],
    )
    noun = pick.noun("from " + place, lex.keys(thing))
    time = both(pick("time", [lex.Phrase("", ""), *lex.PAST_TIMES[:2]]))
    negative = pick("negative", ["", " ", "no"]) == "no"
    who = Subject(f"the {noun.key}", noun.fa, "3")
    # In Persian what lies on a thing falls "from on" it.
    on = "روی " if place in ("table", "bed", "chair", "wall") else ""
    what = Predicate(VERB["fall"], f"from the {place}", f"از {on}{NOUN[place].fa}")
    return said(clause(who, what, "past", negative, time=time))


@pattern(56)
def washes_with(pick: Pick) -> Pair:
    who = subject(pick, "pPnk")
    noun = pick.noun(
        "noun", lex.keys("hand face hair foot plate shirt towel cup glass car sock")
    )
    means = pick.noun("with", ("soap", "soap", "water"))
    tense = pick("tense", ["past", "must", "imperative", "future"])
    if noun in lex.BODY:
        who = YOU if tense == "imperative" else who
        owner, mark = who.owner, who.kind
        several = noun.key in ("hand", "foot")
        en = f"{owner} {noun.plural if several else noun.key}"
        fa = suffixed(noun.fa_plural if several else noun.fa, mark)
        if mark in "pt" and noun.key in ("face", "hair"):
            return None
    else:
        en, fa = f"the {noun.plural}", noun.fa_plural
    what = Predicate(VERB["wash"], f"{en} with {means.key}", f"{fa} را با {means.fa}")
    if tense == "imperative":
        verb = conjugate(what.verb, "subjunctive", "2")
        return said((f"wash {what.en}", f"{what.fa} {verb}"))
    return said(clause(who, what, tense))


@pattern(56)
def animal_lives(pick: Pick) -> Pair:
    animal, places = pick(
        "animal",
        [
            ("wolf", "forest mountain"),
            ("bear", "forest mountain"),
            ("fox", "forest farm"),
            ("monkey", "forest island"),
            ("snake", "forest garden"),
            ("camel", "farm village"),
            ("elephant", "forest"),
            ("rabbit", "forest garden farm"),
            ("donkey", "farm village"),
            ("duck", "lake river farm"),
            ("butterfly", "garden forest"),
            ("goat", "mountain farm"),
            ("mouse", "house kitchen garden"),
            ("rooster", "farm village yard"),
        ],
    )
    noun = NOUN[animal]
    place = pick.noun("place of " + animal, lex.keys(places))
    form = pick("form", ["the", "this", "these"])
    if form == "these":
        who = Subject(f"these {noun.plural}", f"این {noun.fa_plural}", "t")
    else:
        this = "این" if form == "this" else ""
        who = Subject(f"{form} {noun.key}", joined(this, noun.fa), "3")
    prep, fa_prep = place.place, "در"
    if place.key == "mountain":
        prep = "on"
    elif place.key in ("lake", "river"):
        prep, fa_prep = "near", "نزدیک"
    what = Predicate(VERB["live"], f"{prep} the {place.key}", f"{fa_prep} {place.fa}")
    return said(clause(who, what, "present"))


@pattern(45)
def lost_where(pick: Pick) -> Pair:
    who = subject(pick, "pPnk")
    noun = pick.noun(
        "noun",
        lex.keys("key bag phone passport ticket ring watch umbrella hat pen camera"),
    )
    place = pick.noun(
        "place",
        lex.keys("park street market station airport hotel school forest beach museum"),
    )
    verb = VERB[pick("verb", ["lose", "lose again", "find"]).split()[0]]
    tense = pick("tense", ["past", "perfect"])
    what = Predicate(
        verb,
        f"{who.owner} {noun.key} {place.place} the {place.key}",
        f"{suffixed(noun.fa, who.kind)} را در {place.fa}",
    )
    return said(clause(who, what, tense))


# All of them


def _sentence(pair: tuple[str, str]) -> tuple[str, str]:
    english, persian = pair
    return english[0].upper() + english[1:], finish(persian)


def _fits(english: str, persian: str) -> bool:
    return 3 <= len(english.split()) <= 10 and len(english) <= 50 and len(persian) <= 50


def generate(selection: Selection = STARTER) -> list[Sentence]:
    """The sentences of a selection, always the same and in the same order."""
    sentences: list[Sentence] = []
    seen: set[str] = set()
    totals: dict[str, int] = {}
    for name, (count, maker) in PATTERNS.items():
        if name in selection.without:
            continue
        if not is_among("pat", name, selection.patterns):
            continue
        count = min(selection.scale * count, selection.most)
        pick = Pick(name, totals, selection.words)
        made: dict[str, Sentence] = {}  # by their Persian, for the look-up
        english_made: set[str] = set()
        while len(made) < count and pick.attempt < ATTEMPTS * count:
            pick.attempt += 1
            pair = maker(pick)
            if pair is None:
                continue
            english, persian = _sentence(pair)
            known = {english, persian} & seen or english in english_made
            if known or persian in made or not _fits(english, persian):
                continue
            english_made.add(english)
            made[persian] = Sentence(english, persian, name)
        if len(made) >= selection.least:
            seen |= english_made | made.keys()
            sentences += made.values()
    return sentences
