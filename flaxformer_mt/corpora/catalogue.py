"""Where real parallel corpora are to be had: one dated table, and how files are named.

Addresses grow old. Each entry says when and where its address was seen; `tried` says
whether it was ever fetched from the place where this table was written, which had no
way out to the network. An address that has moved is given with `--url`.

Sources name languages in their own ways. OPUS has ISO 639-1 codes (en, fa) where there
is one, the two of a pair sorted by the alphabet. manythings.org has English and one
other language, which goes by a code of three letters.
"""

import dataclasses
import re
from typing import Literal

from flaxformer_mt.config import did_you_mean
from flaxformer_mt.errors import InputError

LOOKED_UP = "2026-11-22"

_OPUS = "https://object.pouta.csc.fi/OPUS-{name}/{release}/moses/{pair}.txt.zip"
_ANKI = "https://www.manythings.org/anki/{code}-eng.zip"
_SCRIPTS = "download scripts in public GitHub repositories"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entry:
    """A corpus, or a family of files of one: a line of the table."""

    name: str  # as a person types it
    what: str
    url: str  # with {name}, {release}, {pair} and {code} still open
    release: str = ""  # taken unless a person asks for another
    other_releases: tuple[str, ...] = ()  # seen as well
    licence: str  # as in SPDX where there is such a name
    licence_note: str
    format: Literal["moses", "anki"]  # a zip with a text a language; a zip with a TSV
    seen_in: str
    looked_up: str = LOOKED_UP
    tried: bool = False


def _opus(name: str, release: str, what: str, licence: str, note: str) -> Entry:
    return Entry(
        name=f"opus:{name}",
        what=what,
        url=_OPUS,
        release=release,
        licence=licence,
        licence_note=note,
        format="moses",
        seen_in=_SCRIPTS,
    )


_UNKNOWN = "OPUS names no licence: ask where the texts come from"
_TATOEBA_NOTE = "a few sentences have other terms; name Tatoeba and the authors"

CATALOGUE = (
    Entry(
        name="tatoeba",
        what="short everyday sentences; Mandarin is cmn there",
        url=_OPUS.replace("{name}", "Tatoeba"),
        release="v2023-04-12",
        other_releases=("v2026-07-08", "v2022-03-03"),
        licence="CC-BY-2.0-FR",
        licence_note=f"{_TATOEBA_NOTE}, whom the archive does not tell",
        format="moses",
        seen_in=_SCRIPTS,
    ),
    Entry(
        name="manythings",
        what="short sentences of Tatoeba with English on one side, easiest first",
        url=_ANKI,
        licence="CC-BY-2.0-FR",
        licence_note=f"{_TATOEBA_NOTE}, who stand in the third column",
        format="anki",
        seen_in=f"{_SCRIPTS}; that of Persian (pes) is by analogy with the others",
    ),
    _opus(
        "TED2020",
        "v1",
        "subtitles of talks",
        "CC-BY-NC-ND-4.0",
        "no commercial use; TED's terms of use forbid some uses: read them first",
    ),
    _opus(
        "GlobalVoices", "v2018q4", "news and blogs", "CC-BY-3.0", "name Global Voices"
    ),
    _opus(
        "wikimedia",
        "v20230407",
        "translated Wikipedia articles",
        "CC-BY-SA-4.0",
        "name Wikipedia; share alike",
    ),
    _opus(
        "WikiMatrix",
        "v1",
        "pairs found in Wikipedia by machine, noisy",
        "CC-BY-SA-4.0",
        "as OPUS says; name Wikipedia; share alike",
    ),
    _opus("TEP", "v1", "Tehran corpus: film subtitles, en and fa", "unknown", _UNKNOWN),
    _opus(
        "MIZAN",
        "v1",
        "classical literature, en and fa",
        "unknown",
        "others say of it: not for commercial use",
    ),
    _opus(
        "QED",
        "v2.0a",
        "subtitles of lectures",
        "LicenseRef-QED",
        "for research only, all rights reserved",
    ),
    _opus(
        "Tanzil",
        "v1",
        "translations of the Quran",
        "LicenseRef-Tanzil",
        "not for commercial use",
    ),
    _opus(
        "OpenSubtitles",
        "v2024",
        "film subtitles, very large",
        "unknown",
        "no licence; link to opensubtitles.org; no commercial use",
    ),
    _opus(
        "NLLB",
        "v1",
        "pairs found on the web by machine, very large and noisy",
        "ODC-By-1.0",
        "of the collection; the texts keep their own terms",
    ),
)


@dataclasses.dataclass(frozen=True)
class Download:
    """One file to fetch: its address, its name here, and what is inside."""

    entry: Entry
    src: str  # language codes as the rest of the package spells them
    tgt: str
    url: str
    release: str

    @property
    def label(self) -> str:
        """The corpus without its family: "tatoeba", "TED2020"."""
        return self.entry.name.removeprefix("opus:")

    @property
    def stem(self) -> str:
        """The name here, without an ending; no part of it is taken from a server."""
        family = self.entry.name.replace(":", "-")
        return f"{family}-{'-'.join(sorted((self.src, self.tgt)))}"


def find(corpus: str, src: str, tgt: str, *, release: str, url: str) -> Download:
    """Returns what a corpus and two languages mean.

    Args:
      corpus: the name of an entry, or "opus:" and the name of any corpus of OPUS.
      src, tgt: codes of the two languages, in the direction of the translation.
      release: of the corpus; "" for the one in the table.
      url: an address of one's own; "" for the one in the table.

    Raises:
      InputError: there is no such corpus or language, or no release is known.
    """
    for side, code in (("source", src), ("target", tgt)):
        if not re.fullmatch(r"[A-Za-z]{2,3}([_-][A-Za-z0-9]{2,8})*", code):
            raise InputError(
                f"the {side} language must be a code like en or fa; got {code!r}."
            )
    entry = _entry(corpus, release, url)
    if entry.format == "anki":
        src, tgt = (ISO_639_1.get(code.lower(), code.lower()) for code in (src, tgt))
    if src == tgt:
        raise InputError(
            f"the two languages must differ; got {src} twice: give both sides, as in "
            f"'{corpus} en fa'."
        )
    release = release or entry.release
    if not re.fullmatch(r"[\w.-]*", release, re.ASCII):
        raise InputError(
            f"--release must be a name like v1 or v2023-04-12; got {release!r}."
        )
    address = url or entry.url.format(
        name=entry.name.removeprefix("opus:"),
        release=release,
        pair="-".join(sorted((src, tgt))),
        code="" if url or entry.format == "moses" else anki_code(src, tgt),
    )
    return Download(entry, src, tgt, address, release)


def _entry(corpus: str, release: str, url: str) -> Entry:
    """The line of the table, or one made up for another corpus of OPUS."""
    names = {entry.name.lower(): entry for entry in CATALOGUE}
    if corpus.lower() in names:
        entry = names[corpus.lower()]
        if release and entry.format == "anki":
            raise InputError(
                f"{entry.name} has no releases; got --release {release}: leave it out."
            )
        return entry
    family, colon, name = corpus.partition(":")
    hint = did_you_mean(corpus.lower(), names)
    for typed, entry in names.items():  # as it is spelled in the table
        hint = hint.replace(f"'{typed}'", f"'{entry.name}'")
    if family.lower() != "opus" or not colon:
        raise InputError(
            f"there is no corpus '{corpus}'{hint or '; --list shows those there are.'}"
        )
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", name):
        raise InputError(
            f"expected the name of a corpus of OPUS, as in opus:TED2020; got {corpus!r}"
            ": opus.nlpl.eu lists them."
        )
    if not release and not url:
        raise InputError(
            f"the release of '{corpus}' is not known here{hint or ':'} give it as "
            "--release v1 (opus.nlpl.eu shows it)."
        )
    return _opus(name, release, "", "unknown", _UNKNOWN)


# ---- languages of manythings.org ---------------------------------------------------

# From ISO 639-1 to the code in its file names: that of ISO 639-3, and where this names
# a group of languages, that of the one which Tatoeba has. A code that stands here does
# not promise that there is a file.
ANKI_CODES: dict[str, str] = dict(
    re.findall(
        r"(\w+)=(\w+)",
        "af=afr ar=ara az=aze be=bel bg=bul bn=ben ca=cat cs=ces da=dan de=deu el=ell "
        "eo=epo es=spa et=est eu=eus fa=pes fi=fin fr=fra ga=gle gl=glg he=heb hi=hin "
        "hr=hrv hu=hun id=ind is=isl it=ita ja=jpn ka=kat ko=kor la=lat lt=lit lv=lvs "
        "mk=mkd mr=mar ms=zsm nb=nob nl=nld no=nob pl=pol pt=por ro=ron ru=rus sk=slk "
        "sl=slv sq=sqi sr=srp sv=swe ta=tam te=tel th=tha tl=tgl tr=tur uk=ukr ur=urd "
        "vi=vie yi=yid zh=cmn en=eng",
    )
)
# And back, so that `pes` and `fa` are one: nb stands before no, and is what is told.
ISO_639_1 = {theirs: ours for ours, theirs in reversed(ANKI_CODES.items())}


def anki_code(src: str, tgt: str) -> str:
    """Returns the code of the side that is not English.

    Raises:
      InputError: neither side is English, or the code of the other is not known.
    """
    if "en" not in (src, tgt):
        raise InputError(
            f"manythings has pairs with English only; got {src} and {tgt}: give en as "
            "one side, or take tatoeba."
        )
    other = tgt if src == "en" else src
    code = ANKI_CODES.get(other, other)
    if not re.fullmatch("[a-z]{3}", code):
        raise InputError(
            f"the code that manythings has for '{other}' is not known here: give the "
            "three letters of its file name, as in pes-eng.zip (manythings.org/anki "
            "lists them)."
        )
    return code


def listing() -> str:
    """Returns the table, for a person."""
    rows = []
    for entry in CATALOGUE:
        tried = "tried" if entry.tried else "never tried from here"
        # {pair} and {code} stay: they show where a language goes.
        address = entry.url.replace("{release}", entry.release)
        address = address.replace("{name}", entry.name.removeprefix("opus:"))
        others = ", ".join(entry.other_releases)
        rows += [
            f"{entry.name:18} {entry.what}",
            f"    {entry.licence}: {entry.licence_note}",
            f"    {address}",
            *([f"    other releases seen: {others}"] if others else []),
            f"    looked up {entry.looked_up} in {entry.seen_in}; {tried}",
        ]
    return "\n".join(
        [
            *rows,
            "",
            "Any other corpus of OPUS: opus:NAME with --release, as on opus.nlpl.eu.",
        ]
    )
