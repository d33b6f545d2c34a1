"""The words of the starter grammar, English beside Persian.

Persian is written here with "_" for the zero-width non-joiner, which no editor
shows; ``grammar.finish`` puts the real character in.
"""

from dataclasses import dataclass

# Final he is a consonant in these; elsewhere (except after alef) it is silent.
SPOKEN_HE = frozenset({"ده", "مه", "نه", "کوه"})
# Final vav is a consonant in these; elsewhere it is a vowel.
CONSONANT_VAV = frozenset({"گاو"})


@dataclass(frozen=True)
class Noun:
    """A noun; ``plural`` is empty for a mass noun."""

    key: str
    plural: str
    fa: str
    fa_plural: str
    gender: str = ""
    place: str = ""

    @property
    def en(self) -> str:
        return self.key


@dataclass(frozen=True)
class Name:
    """A person, a city or a country."""

    key: str
    fa: str
    gender: str = ""


@dataclass(frozen=True)
class Adjective:
    """An adjective with the English keys of the nouns it may describe."""

    key: str
    comparative: str
    superlative: str
    fa: str
    nouns: tuple[str, ...] = ()


@dataclass(frozen=True)
class Verb:
    """English forms, and the Persian stems from which every form is built.

    ``light`` is the word before a light verb, ``prefix`` one that is joined to
    the verb, and ``bare`` marks a verb whose present has no «می».
    """

    key: str
    third: str
    past: str
    participle: str
    ing: str
    light: str
    present: str
    past_fa: str
    subjunctive: str
    prefix: str = ""
    bare: bool = False


@dataclass(frozen=True)
class Frame:
    """A verb with its objects.

    ``modes``: d "the N", p "the Ns", i "a N", g a bare plural or mass noun, m "my
    N", q "my Ns", t "the N" in English but bare in Persian, n no object.
    ``uses``: P progressive, H habit, I imperative, L let us, M modal, F future;
    the past fits every frame.
    """

    key: str
    verb: str
    modes: str
    uses: str
    nouns: tuple[str, ...] = ()
    en_prep: str = ""
    fa_prep: str = "را"


@dataclass(frozen=True)
class Phrase:
    """A fixed pair, such as an adverb or a time."""

    key: str
    fa: str


def words(text: str) -> list[str]:
    """The words of a list, between commas where one of them has a space."""
    return text.split("," if "," in text else None)


# Nouns


def _plural(word: str) -> str:
    if word.endswith(("s", "x", "ch", "sh")):
        return word + "es"
    if word.endswith("y") and word[-2] not in "aeiou":
        return word[:-1] + "ies"
    return word + "s"


def _noun(
    en: str,
    fa: str,
    plural: str | None = None,
    fa_plural: str = "",
    gender: str = "",
    place: str = "",
) -> Noun:
    return Noun(
        en,
        _plural(en) if plural is None else plural,
        fa,
        fa_plural or fa + "_ها",
        gender,
        place,
    )


def _mass(en: str, fa: str) -> Noun:
    return _noun(en, fa, plural="")


JOBS = (
    _noun("teacher", "معلم"),
    _noun("doctor", "پزشک", fa_plural="پزشکان"),
    _noun("nurse", "پرستار"),
    _noun("engineer", "مهندس"),
    _noun("driver", "راننده"),
    _noun("student", "دانشجو", fa_plural="دانشجویان"),
    _noun("farmer", "کشاورز", fa_plural="کشاورزان"),
    _noun("chef", "آشپز"),
    _noun("baker", "نانوا"),
    _noun("tailor", "خیاط"),
    _noun("painter", "نقاش"),
    _noun("writer", "نویسنده", fa_plural="نویسندگان"),
    _noun("poet", "شاعر", fa_plural="شاعران"),
    _noun("singer", "خواننده", fa_plural="خوانندگان"),
    _noun("actor", "بازیگر", fa_plural="بازیگران"),
    _noun("lawyer", "وکیل"),
    _noun("judge", "قاضی"),
    _noun("pilot", "خلبان"),
    _noun("soldier", "سرباز", fa_plural="سربازان"),
    _noun("worker", "کارگر", fa_plural="کارگران"),
    _noun("shopkeeper", "مغازه_دار", fa_plural="مغازه_داران"),
    _noun("waiter", "پیشخدمت"),
    _noun("dentist", "دندان_پزشک"),
    _noun("journalist", "خبرنگار", fa_plural="خبرنگاران"),
    _noun("translator", "مترجم"),
    _noun("carpenter", "نجار"),
    _noun("mechanic", "مکانیک"),
    _noun("scientist", "دانشمند", fa_plural="دانشمندان"),
    _noun("photographer", "عکاس"),
    _noun("gardener", "باغبان"),
    _noun("secretary", "منشی"),
    _noun("manager", "مدیر", fa_plural="مدیران"),
)
PEOPLE = (
    _noun("man", "مرد", "men", gender="m"),
    _noun("woman", "زن", "women", gender="f"),
    _noun("boy", "پسر", gender="m"),
    _noun("girl", "دختر", gender="f"),
    _noun("child", "بچه", "children"),
    _noun("friend", "دوست", fa_plural="دوستان"),
    _noun("neighbor", "همسایه"),
    _noun("colleague", "همکار", fa_plural="همکاران"),
    _noun("classmate", "هم_کلاسی"),
    _noun("pupil", "دانش_آموز", fa_plural="دانش_آموزان"),
    _noun("guest", "مهمان"),
    _noun("tourist", "گردشگر", fa_plural="گردشگران"),
)
KIN = (
    _noun("mother", "مادر", gender="f"),
    _noun("father", "پدر", gender="m"),
    _noun("brother", "برادر", gender="m"),
    _noun("sister", "خواهر", gender="f"),
    _noun("son", "پسر", gender="m"),
    _noun("daughter", "دختر", gender="f"),
    _noun("wife", "همسر", "wives", gender="f"),
    _noun("husband", "شوهر", gender="m"),
    _noun("grandmother", "مادربزرگ", gender="f"),
    _noun("grandfather", "پدربزرگ", gender="m"),
    _noun("uncle", "عمو", gender="m"),
    _noun("aunt", "خاله", gender="f"),
)
ANIMALS = (
    _noun("cat", "گربه"),
    _noun("dog", "سگ"),
    _noun("horse", "اسب"),
    _noun("cow", "گاو"),
    _noun("sheep", "گوسفند", "sheep"),
    _noun("bird", "پرنده"),
    _noun("rooster", "خروس"),
    _noun("duck", "اردک"),
    _noun("rabbit", "خرگوش"),
    _noun("mouse", "موش", "mice"),
    _noun("wolf", "گرگ", "wolves"),
    _noun("bear", "خرس"),
    _noun("monkey", "میمون"),
    _noun("elephant", "فیل"),
    _noun("camel", "شتر"),
    _noun("donkey", "الاغ"),
    _noun("fox", "روباه"),
    _noun("goat", "بز"),
    _noun("snake", "مار"),
    _noun("butterfly", "پروانه"),
)
FOODS = (
    _noun("apple", "سیب"),
    _noun("orange", "پرتقال"),
    _noun("banana", "موز"),
    _noun("egg", "تخم_مرغ"),
    _noun("potato", "سیب_زمینی", "potatoes"),
    _noun("tomato", "گوجه_فرنگی", "tomatoes"),
    _noun("onion", "پیاز"),
    _noun("cucumber", "خیار"),
    _noun("carrot", "هویج"),
    _noun("lemon", "لیمو"),
    _noun("pomegranate", "انار"),
    _noun("watermelon", "هندوانه"),
    _noun("peach", "هلو"),
    _noun("pear", "گلابی"),
    _noun("cherry", "گیلاس"),
    _noun("strawberry", "توت_فرنگی"),
    _noun("walnut", "گردو"),
    _noun("cake", "کیک"),
    _noun("cookie", "کلوچه"),
    _noun("sandwich", "ساندویچ"),
)
MASSES = (
    _mass("bread", "نان"),
    _mass("rice", "برنج"),
    _mass("meat", "گوشت"),
    _mass("chicken", "مرغ"),
    _noun("fish", "ماهی", "fish"),
    _mass("cheese", "پنیر"),
    _mass("butter", "کره"),
    _mass("honey", "عسل"),
    _mass("jam", "مربا"),
    _mass("sugar", "شکر"),
    _mass("salt", "نمک"),
    _mass("soup", "سوپ"),
    _mass("salad", "سالاد"),
    _mass("yogurt", "ماست"),
    _mass("chocolate", "شکلات"),
    _mass("ice cream", "بستنی"),
    _mass("fruit", "میوه"),
    _mass("food", "غذا"),
    _mass("water", "آب"),
    _mass("tea", "چای"),
    _mass("coffee", "قهوه"),
    _mass("milk", "شیر"),
    _mass("juice", "آب_میوه"),
    _mass("breakfast", "صبحانه"),
    _mass("lunch", "ناهار"),
    _mass("dinner", "شام"),
    _mass("money", "پول"),
    _mass("music", "موسیقی"),
    _mass("paper", "کاغذ"),
    _mass("soap", "صابون"),
    _mass("work", "کار"),
)
SUBJECTS_TAUGHT = (
    _mass("history", "تاریخ"),
    _mass("mathematics", "ریاضی"),
    _mass("physics", "فیزیک"),
    _mass("chemistry", "شیمی"),
    _mass("geography", "جغرافیا"),
)
SPORTS = (
    _mass("football", "فوتبال"),
    _mass("volleyball", "والیبال"),
    _mass("basketball", "بسکتبال"),
    _mass("tennis", "تنیس"),
    _mass("chess", "شطرنج"),
)
INSTRUMENTS = (
    _noun("guitar", "گیتار"),
    _noun("piano", "پیانو"),
    _noun("violin", "ویولن"),
)
THINGS = (
    _noun("book", "کتاب"),
    _noun("notebook", "دفتر"),
    _noun("pen", "خودکار"),
    _noun("pencil", "مداد"),
    _noun("letter", "نامه"),
    _noun("newspaper", "روزنامه"),
    _noun("magazine", "مجله"),
    _noun("message", "پیام"),
    _noun("bag", "کیف"),
    _noun("key", "کلید"),
    _noun("phone", "تلفن"),
    _noun("computer", "کامپیوتر"),
    _noun("camera", "دوربین"),
    _noun("watch", "ساعت"),
    _noun("photo", "عکس"),
    _noun("map", "نقشه"),
    _noun("umbrella", "چتر"),
    _noun("hat", "کلاه"),
    _noun("coat", "پالتو"),
    _noun("shirt", "پیراهن"),
    _noun("shoe", "کفش"),
    _noun("skirt", "دامن"),
    _noun("scarf", "شال_گردن", "scarves"),
    _noun("sock", "جوراب"),
    _noun("glove", "دستکش"),
    _noun("jacket", "کت"),
    _noun("ring", "انگشتر"),
    _noun("gift", "هدیه"),
    _noun("ticket", "بلیت"),
    _noun("passport", "گذرنامه"),
    _noun("suitcase", "چمدان"),
    _noun("box", "جعبه"),
    _noun("bottle", "بطری"),
    _noun("glass", "لیوان"),
    _noun("cup", "فنجان"),
    _noun("plate", "بشقاب"),
    _noun("spoon", "قاشق"),
    _noun("fork", "چنگال"),
    _noun("knife", "چاقو", "knives"),
    _noun("basket", "سبد"),
    _noun("table", "میز"),
    _noun("chair", "صندلی"),
    _noun("bed", "تخت"),
    _noun("lamp", "چراغ"),
    _noun("mirror", "آینه"),
    _noun("carpet", "فرش"),
    _noun("door", "در"),
    _noun("window", "پنجره"),
    _noun("wall", "دیوار"),
    _noun("curtain", "پرده"),
    _noun("blanket", "پتو"),
    _noun("pillow", "بالش"),
    _noun("towel", "حوله"),
    _noun("toy", "اسباب_بازی"),
    _noun("ball", "توپ"),
    _noun("doll", "عروسک"),
    _noun("refrigerator", "یخچال"),
    _noun("heater", "بخاری"),
    _noun("radio", "رادیو"),
    _noun("television", "تلویزیون"),
    _noun("candle", "شمع"),
    _noun("coin", "سکه"),
    _noun("stamp", "تمبر"),
    _noun("rope", "طناب"),
    _noun("flower", "گل"),
    _noun("tree", "درخت"),
    _noun("leaf", "برگ", "leaves"),
    _noun("stone", "سنگ"),
)
VEHICLES = (
    _noun("bicycle", "دوچرخه"),
    _noun("car", "ماشین"),
    _noun("bus", "اتوبوس"),
    _noun("train", "قطار"),
    _noun("plane", "هواپیما"),
    _noun("ship", "کشتی"),
    _noun("taxi", "تاکسی"),
    _noun("boat", "قایق"),
    _noun("truck", "کامیون"),
    _noun("motorcycle", "موتور"),
)
IDEAS = (
    _noun("word", "کلمه", fa_plural="کلمه_ها"),
    _noun("sentence", "جمله"),
    _noun("question", "سؤال"),
    _noun("answer", "پاسخ"),
    _noun("lesson", "درس"),
    _noun("story", "داستان"),
    _noun("poem", "شعر"),
    _noun("song", "آهنگ"),
    _noun("film", "فیلم"),
    _noun("game", "بازی"),
    _noun("program", "برنامه"),
    _noun("problem", "مسئله"),
    _noun("exam", "امتحان"),
    _noun("class", "کلاس"),
    _noun("meeting", "جلسه"),
    _noun("trip", "سفر"),
    _noun("party", "مهمانی"),
    _noun("wedding", "عروسی"),
    _noun("job", "شغل"),
    _noun("name", "نام"),
    _noun("language", "زبان"),
    _noun("report", "گزارش"),
    _noun("contract", "قرارداد"),
    _noun("voice", "صدا"),
    _noun("day", "روز"),
    _noun("night", "شب"),
    _noun("hour", "ساعت"),
    _noun("week", "هفته"),
    _noun("month", "ماه"),
    _noun("year", "سال"),
    _noun("minute", "دقیقه"),
    _mass("news", "اخبار"),
    _mass("weather", "هوا"),
    _mass("rain", "باران"),
    _mass("snow", "برف"),
    _mass("wind", "باد"),
    _mass("sun", "خورشید"),
    _mass("moon", "ماه"),
    _mass("sky", "آسمان"),
    _noun("star", "ستاره"),
    _noun("cloud", "ابر"),
)
PLACES = (
    _noun("house", "خانه", place="in"),
    _noun("school", "مدرسه", place="at"),
    _noun("university", "دانشگاه", place="at"),
    _noun("hospital", "بیمارستان", place="at"),
    _noun("park", "پارک", place="in"),
    _noun("restaurant", "رستوران", place="in"),
    _noun("hotel", "هتل", place="in"),
    _noun("bank", "بانک", place="at"),
    _noun("market", "بازار", place="at"),
    _noun("shop", "مغازه", place="in"),
    _noun("library", "کتابخانه", place="in"),
    _noun("museum", "موزه", place="in"),
    _noun("cinema", "سینما", place="at"),
    _noun("station", "ایستگاه", place="at"),
    _noun("airport", "فرودگاه", place="at"),
    _noun("office", "اداره", place="at"),
    _noun("factory", "کارخانه", place="at"),
    _noun("bakery", "نانوایی", place="at"),
    _noun("pharmacy", "داروخانه", place="at"),
    _noun("mosque", "مسجد", place="in"),
    _noun("church", "کلیسا", place="in"),
    _noun("embassy", "سفارت", place="at"),
    _noun("stadium", "ورزشگاه", place="at"),
    _noun("pool", "استخر", place="at"),
    _noun("street", "خیابان", place="in"),
    _noun("square", "میدان", place="in"),
    _noun("bridge", "پل"),
    _noun("road", "جاده"),
    _noun("city", "شهر", place="in"),
    _noun("village", "روستا", place="in"),
    _noun("country", "کشور", place="in"),
    _noun("garden", "باغ", place="in"),
    _noun("yard", "حیاط", place="in"),
    _noun("kitchen", "آشپزخانه", place="in"),
    _noun("room", "اتاق", place="in"),
    _noun("building", "ساختمان", place="in"),
    _noun("apartment", "آپارتمان", place="in"),
    _noun("farm", "مزرعه", place="on"),
    _noun("forest", "جنگل", place="in"),
    _noun("mountain", "کوه"),
    _noun("river", "رودخانه"),
    _noun("lake", "دریاچه"),
    _noun("sea", "دریا"),
    _noun("beach", "ساحل", place="on"),
    _noun("island", "جزیره", place="on"),
)
BODY = (
    _noun("head", "سر"),
    _noun("hand", "دست"),
    _noun("foot", "پا", "feet"),
    _noun("eye", "چشم"),
    _noun("ear", "گوش"),
    _noun("tooth", "دندان", "teeth"),
    _noun("back", "کمر"),
    _noun("stomach", "شکم", "stomachs"),
    _noun("knee", "زانو"),
    _noun("neck", "گردن"),
    _noun("throat", "گلو"),
    _noun("finger", "انگشت"),
    _noun("shoulder", "شانه"),
    _mass("hair", "موها"),
    _noun("face", "صورت"),
)
NOUNS = (
    JOBS
    + PEOPLE
    + KIN
    + ANIMALS
    + FOODS
    + MASSES
    + SUBJECTS_TAUGHT
    + SPORTS
    + INSTRUMENTS
    + THINGS
    + VEHICLES
    + IDEAS
    + PLACES
    + BODY
)
NOUN = {noun.key: noun for noun in NOUNS}

PERSON_NAMES = (
    Name("Ali", "علی", "m"),
    Name("Sara", "سارا", "f"),
    Name("Maryam", "مریم", "f"),
    Name("Reza", "رضا", "m"),
    Name("Mina", "مینا", "f"),
    Name("Omid", "امید", "m"),
    Name("Leila", "لیلا", "f"),
    Name("Hassan", "حسن", "m"),
    Name("Nima", "نیما", "m"),
    Name("Zahra", "زهرا", "f"),
    Name("Parviz", "پرویز", "m"),
    Name("Anna", "آنا", "f"),
)
CITIES = (
    Name("Tehran", "تهران"),
    Name("Shiraz", "شیراز"),
    Name("Isfahan", "اصفهان"),
    Name("Tabriz", "تبریز"),
    Name("Mashhad", "مشهد"),
    Name("Yazd", "یزد"),
    Name("London", "لندن"),
    Name("Paris", "پاریس"),
)
COUNTRIES = (
    Name("Iran", "ایران"),
    Name("France", "فرانسه"),
    Name("Germany", "آلمان"),
    Name("Italy", "ایتالیا"),
    Name("India", "هند"),
    Name("China", "چین"),
    Name("Japan", "ژاپن"),
)

# Adjectives


def _adj(en: str, fa: str, nouns: str = "") -> Adjective:
    """``en`` holds three forms, or one that is compared with more and most."""
    forms = en.split()
    if len(forms) == 1:
        forms = [en, f"more {en}", f"most {en}"]
    keys = tuple(key.replace("_", " ") for key in nouns.split())
    return Adjective(forms[0], forms[1], forms[2], fa, keys)


THING_ADJECTIVES = (
    _adj(
        "big bigger biggest",
        "بزرگ",
        "house car city park hotel garden room table window box bag mirror school"
        " hospital university kitchen apartment farm tree ship building museum",
    ),
    _adj(
        "small smaller smallest",
        "کوچک",
        "house room bag box car table village shop garden apartment bottle plate"
        " basket island lake yard key kitchen ball church mosque",
    ),
    _adj(
        "good better best",
        "خوب",
        "book film restaurant hotel job school story game doctor program computer"
        " camera lesson food answer song pen",
    ),
    _adj("bad worse worst", "بد", "film road news hotel job program answer food"),
    _adj(
        "new newer newest",
        "جدید",
        "car book computer phone hotel shirt coat bag school bridge hospital teacher"
        " manager secretary neighbor camera carpet lamp program stadium notebook",
    ),
    _adj(
        "old older oldest",
        "قدیمی",
        "house car book bridge city mosque church carpet watch building radio"
        " mirror song photo film market stamp coin map street truck camera",
    ),
    _adj(
        "beautiful",
        "زیبا",
        "city garden house flower butterfly horse photo carpet ring sky sea island"
        " lake village poem voice song beach skirt forest curtain",
    ),
    _adj(
        "clean cleaner cleanest",
        "تمیز",
        "room kitchen house street plate glass towel shirt window hotel beach river"
        " restaurant table spoon fork carpet pool",
    ),
    _adj(
        "dirty dirtier dirtiest",
        "کثیف",
        "shoe shirt plate glass window towel car room carpet sock kitchen cup"
        " curtain spoon knife",
    ),
    _adj(
        "cheap cheaper cheapest",
        "ارزان",
        "ticket book hat watch shirt hotel restaurant fruit phone umbrella sock pen"
        " pencil bag apartment motorcycle",
    ),
    _adj(
        "expensive",
        "گران",
        "car ring watch coat hotel ticket house carpet phone camera piano meat jacket"
        " computer shoe restaurant apartment refrigerator television",
    ),
    _adj("hot hotter hottest", "داغ", "tea coffee soup water milk bread food rice"),
    _adj(
        "cold colder coldest",
        "سرد",
        "water milk juice room weather night food house wind river",
    ),
    _adj("warm warmer warmest", "گرم", "room coat blanket weather bread hat house"),
    _adj("cool cooler coolest", "خنک", "water weather night room wind juice"),
    _adj(
        "long longer longest",
        "طولانی",
        "trip film lesson meeting night day story road letter sentence report class"
        " game party",
    ),
    _adj(
        "short shorter shortest",
        "کوتاه",
        "story letter skirt poem trip film sentence answer report rope curtain wall"
        " message",
    ),
    _adj("high higher highest", "بلند", "wall mountain building bridge"),
    _adj(
        "interesting",
        "جالب",
        "book film story job museum trip game lesson question letter program city"
        " report magazine newspaper",
    ),
    _adj(
        "boring",
        "خسته_کننده",
        "film lesson meeting game class job program party trip",
    ),
    _adj(
        "important",
        "مهم",
        "letter question meeting lesson exam report contract message job word game"
        " problem",
    ),
    _adj(
        "easy easier easiest",
        "آسان",
        "question exam lesson game word language answer sentence job",
    ),
    _adj(
        "difficult",
        "سخت",
        "question exam lesson job language trip game word sentence problem",
    ),
    _adj(
        "useful",
        "مفید",
        "book lesson map computer program meeting answer knife language report",
    ),
    _adj(
        "heavy heavier heaviest",
        "سنگین",
        "bag box suitcase table stone door bed basket coat piano refrigerator",
    ),
    _adj(
        "light lighter lightest",
        "سبک",
        "bag box suitcase chair coat bicycle blanket phone boat",
    ),
    _adj(
        "fast faster fastest",
        "سریع",
        "car train horse computer motorcycle plane boat bicycle",
    ),
    _adj("empty emptier emptiest", "خالی", "box glass bottle basket cup bus room"),
    _adj("full fuller fullest", "پر", "box glass bottle basket cup suitcase bag"),
    _adj("open", "باز", "door window shop museum bank box pharmacy bakery library"),
    _adj("closed", "بسته", "door window shop museum bank box road pharmacy bakery"),
    _adj("broken", "شکسته", "chair window glass cup mirror plate bottle toy"),
    _adj("wet wetter wettest", "خیس", "coat shoe towel hat umbrella street shirt"),
    _adj("dry drier driest", "خشک", "towel shirt bread leaf weather skirt"),
    _adj("soft softer softest", "نرم", "bed pillow blanket bread towel carpet"),
    _adj(
        "sweet sweeter sweetest",
        "شیرین",
        "apple tea cake watermelon honey peach pear cherry orange jam strawberry",
    ),
    _adj("sour", "ترش", "orange lemon cherry pomegranate apple strawberry"),
    _adj("bitter", "تلخ", "coffee tea chocolate cucumber orange"),
    _adj("salty saltier saltiest", "شور", "soup cheese fish rice water food"),
    _adj(
        "fresh fresher freshest",
        "تازه",
        "bread milk fish fruit cheese egg tomato meat cucumber butter juice apple",
    ),
    _adj(
        "delicious",
        "خوشمزه",
        "soup food cake rice chicken sandwich salad dinner lunch banana cookie jam"
        " breakfast ice_cream peach walnut fish",
    ),
    _adj("dark darker darkest", "تاریک", "room street night forest kitchen yard"),
    _adj("bright brighter brightest", "روشن", "room star moon lamp apartment"),
    _adj("wide wider widest", "پهن", "street road river bed bridge"),
    _adj("narrow narrower narrowest", "باریک", "street road bridge river bed"),
    _adj("deep deeper deepest", "عمیق", "river sea lake pool"),
    _adj(
        "comfortable",
        "راحت",
        "bed chair shoe hotel room house train jacket pillow plane",
    ),
    _adj("dangerous", "خطرناک", "road river snake wolf bear game job trip knife"),
    _adj("safe safer safest", "امن", "city street house road park village"),
    _adj(
        "modern",
        "مدرن",
        "hotel hospital airport building kitchen stadium library university station",
    ),
    _adj(
        "crowded",
        "شلوغ",
        "street market bus station airport square restaurant city beach train bank"
        " shop cinema park stadium",
    ),
    _adj(
        "quiet quieter quietest",
        "ساکت",
        "room library street village park class beach house",
    ),
    _adj(
        "famous",
        "مشهور",
        "film writer singer actor poet restaurant museum bridge city book song"
        " painter story university",
    ),
    _adj(
        "strange stranger strangest",
        "عجیب",
        "story question voice name hat answer word film game letter photo message",
    ),
)
# Shown only with living things.
PERSON_ADJECTIVES = (
    _adj("kind kinder kindest", "مهربان"),
    _adj("polite", "باادب"),
    _adj("honest", "صادق"),
    _adj("brave braver bravest", "شجاع"),
    _adj("clever cleverer cleverest", "باهوش"),
    _adj("funny funnier funniest", "بامزه"),
    _adj("shy shyer shyest", "خجالتی"),
    _adj("friendly friendlier friendliest", "خوش_برخورد"),
    _adj("serious", "جدی"),
    _adj("patient", "صبور"),
    _adj("young younger youngest", "جوان"),
    _adj("thin thinner thinnest", "لاغر"),
    _adj("tall taller tallest", "قدبلند"),
    _adj("strong stronger strongest", "قوی"),
    _adj("rich richer richest", "ثروتمند"),
    _adj("poor poorer poorest", "فقیر"),
    _adj("lazy lazier laziest", "تنبل"),
    _adj("generous", "سخاوتمند"),
    _adj("curious", "کنجکاو"),
    _adj("calm calmer calmest", "آرام"),
    _adj("hardworking", "سخت_کوش"),
)
ANIMAL_ADJECTIVES = (
    _adj("big bigger biggest", "بزرگ", "dog horse cow bear elephant camel fish"),
    _adj("small smaller smallest", "کوچک", "cat bird rabbit mouse duck goat fox"),
    _adj("beautiful", "زیبا", "horse butterfly bird cat rooster duck"),
    _adj("fast faster fastest", "سریع", "horse rabbit fox wolf"),
    _adj("strong stronger strongest", "قوی", "bear horse elephant cow donkey camel"),
    _adj("dangerous", "خطرناک", "snake wolf bear"),
    _adj("clever cleverer cleverest", "باهوش", "fox monkey elephant dog"),
    _adj("funny funnier funniest", "بامزه", "monkey cat duck rabbit"),
    _adj("thin thinner thinnest", "لاغر", "sheep cow goat donkey horse cat"),
    _adj("calm calmer calmest", "آرام", "sheep camel cow donkey elephant"),
    _adj("hungry hungrier hungriest", "گرسنه", "cat dog wolf mouse bear sheep fox"),
)
FEELINGS = (
    _adj("happy happier happiest", "خوشحال"),
    _adj("sad sadder saddest", "غمگین"),
    _adj("tired", "خسته"),
    _adj("hungry hungrier hungriest", "گرسنه"),
    _adj("thirsty thirstier thirstiest", "تشنه"),
    _adj("angry angrier angriest", "عصبانی"),
    _adj("worried", "نگران"),
    _adj("sick", "بیمار"),
    _adj("sleepy", "خواب_آلود"),
    _adj("ready", "آماده"),
    _adj("alone", "تنها"),
    _adj("surprised", "متعجب"),
    _adj("upset", "ناراحت"),
    _adj("hopeful", "امیدوار"),
    _adj("excited", "هیجان_زده"),
    _adj("satisfied", "راضی"),
)
COLORS = (
    _adj("red", "قرمز"),
    _adj("blue", "آبی"),
    _adj("green", "سبز"),
    _adj("yellow", "زرد"),
    _adj("white", "سفید"),
    _adj("black", "سیاه"),
    _adj("brown", "قهوه_ای"),
    _adj("gray", "خاکستری"),
    _adj("pink", "صورتی"),
    _adj("purple", "بنفش"),
)
COLORED = tuple(
    words(
        "car coat hat shirt bag umbrella skirt scarf pen bicycle chair curtain glove"
        " shoe towel suitcase jacket sock ball blanket notebook cup carpet box"
        " wall"
    )
)
NATIONALITIES = (
    _adj("Iranian", "ایرانی"),
    _adj("French", "فرانسوی"),
    _adj("German", "آلمانی"),
    _adj("Italian", "ایتالیایی"),
    _adj("Indian", "هندی"),
    _adj("Chinese", "چینی"),
    _adj("Japanese", "ژاپنی"),
)
LANGUAGES = (
    Phrase("Persian", "فارسی"),
    Phrase("English", "انگلیسی"),
    Phrase("French", "فرانسوی"),
    Phrase("German", "آلمانی"),
    Phrase("Italian", "ایتالیایی"),
    Phrase("Arabic", "عربی"),
    Phrase("Chinese", "چینی"),
    Phrase("Japanese", "ژاپنی"),
)

# Verbs

_DOUBLED = frozenset(words("put cut run swim sit knit chop hug forget"))


def _third(base: str) -> str:
    if base in ("go", "do"):
        return base + "es"
    return _plural(base)


def _ing(base: str) -> str:
    if base in _DOUBLED:
        return base + base[-1] + "ing"
    if base.endswith("e") and not base.endswith("ee"):
        return base[:-1] + "ing"
    return base + "ing"


def _ed(base: str) -> str:
    if base in _DOUBLED:
        return base + base[-1] + "ed"
    if base.endswith("e"):
        return base + "d"
    if base.endswith("y") and base[-2] not in "aeiou":
        return base[:-1] + "ied"
    return base + "ed"


def _verb(
    en: str,
    present: str,
    past: str,
    light: str = "",
    subjunctive: str = "",
    particle: str = "",
    prefix: str = "",
    bare: bool = False,
) -> Verb:
    """``en`` holds the base form, or base, past and participle."""
    forms = en.split()
    base = forms[0]
    past_en, participle = forms[1:] if len(forms) == 3 else (_ed(base), _ed(base))
    if not subjunctive:
        # The light verbs کردن and شدن, and joined prefixes, go without «ب».
        no_be = prefix or (light and present in ("کن", "شو"))
        subjunctive = present if no_be else "ب" + present
    tail = f" {particle}" if particle else ""
    return Verb(
        base + tail,
        ("has" if base == "have" else _third(base)) + tail,
        past_en + tail,
        participle + tail,
        _ing(base) + tail,
        light,
        present,
        past,
        subjunctive,
        prefix,
        bare,
    )


def _do(en: str, light: str, particle: str = "") -> Verb:
    return _verb(en, "کن", "کرد", light, particle=particle)


VERBS = (
    _verb("read read read", "خوان", "خواند"),
    _verb("write wrote written", "نویس", "نوشت"),
    _verb("buy bought bought", "خر", "خرید"),
    _verb("sell sold sold", "فروش", "فروخت"),
    _verb("see saw seen", "بین", "دید"),
    _do("find found found", "پیدا"),
    _do("lose lost lost", "گم"),
    _do("open", "باز"),
    _verb("close", "بند", "بست"),
    _verb("wash", "شوی", "شست"),
    _do("clean", "تمیز"),
    _verb("cook", "پز", "پخت"),
    _verb("bake", "پز", "پخت"),
    _do("fry", "سرخ"),
    _do("chop", "خرد"),
    _verb("eat ate eaten", "خور", "خورد"),
    _verb("drink drank drunk", "نوش", "نوشید"),
    _verb("taste", "چش", "چشید"),
    _verb("bring brought brought", "آور", "آورد", subjunctive="بیاور"),
    _verb("take took taken", "بر", "برد"),
    _do("carry", "حمل"),
    _verb("give gave given", "ده", "داد"),
    _verb("show showed shown", "ده", "داد", "نشان"),
    _verb("send sent sent", "فرست", "فرستاد"),
    _do("receive", "دریافت"),
    _verb("break broke broken", "شکن", "شکست"),
    _do("repair", "تعمیر"),
    _verb("build built built", "ساز", "ساخت"),
    _do("make made made", "درست"),
    _do("paint", "رنگ"),
    _verb("draw drew drawn", "کش", "کشید"),
    _verb("cut cut cut", "بر", "برید"),
    _verb("throw threw thrown", "انداز", "انداخت", subjunctive="بینداز"),
    _verb("catch caught caught", "گیر", "گرفت"),
    _verb("put put put", "گذار", "گذاشت"),
    _verb("pick", "دار", "داشت", particle="up", prefix="بر"),
    _verb("gather", "چین", "چید"),
    _verb("hear heard heard", "شنو", "شنید"),
    _verb("listen", "ده", "داد", "گوش"),
    _do("watch", "تماشا"),
    _do("look", "نگاه"),
    _verb("learn", "گیر", "گرفت", "یاد"),
    _verb("teach taught taught", "ده", "داد", "درس"),
    _verb("study", "خوان", "خواند", "درس"),
    _verb("understand understood understood", "فهم", "فهمید"),
    _verb("know knew known", "شناس", "شناخت"),
    _do("forget forgot forgotten", "فراموش"),
    _verb("ask", "پرس", "پرسید"),
    _verb("answer", "ده", "داد", "پاسخ"),
    _do("speak spoke spoken", "صحبت"),
    _verb("talk", "زن", "زد", "حرف"),
    _verb("call", "زن", "زد", "زنگ"),
    _do("help", "کمک"),
    _do("visit", "بازدید"),
    _do("meet met met", "ملاقات"),
    _do("invite", "دعوت"),
    _do("use", "استفاده"),
    _do("choose chose chosen", "انتخاب"),
    _do("play", "بازی"),
    _do("turn", "روشن", particle="on"),
    _do("turn", "خاموش", particle="off"),
    _verb("plant", "کار", "کاشت"),
    _do("hide hid hidden", "پنهان"),
    _verb("knit", "باف", "بافت"),
    _verb("sew sewed sewn", "دوز", "دوخت"),
    _do("fill", "پر"),
    _do("translate", "ترجمه"),
    _verb("explain", "ده", "داد", "توضیح"),
    _verb("order", "ده", "داد", "سفارش"),
    _do("finish", "تمام"),
    _do("start", "شروع"),
    _verb("borrow", "گیر", "گرفت", "قرض"),
    _do("leave left left", "ترک"),
    _verb("enter", "شو", "شد", subjunctive="شو"),
    _do("iron", "اتو"),
    _do("sign", "امضا"),
    _verb("count", "شمار", "شمرد"),
    _verb("feed fed fed", "ده", "داد", "غذا"),
    _do("check", "بررسی"),
    _do("move", "جابه_جا"),
    _do("collect", "جمع"),
    _do("print", "چاپ"),
    _do("rent", "اجاره"),
    _do("believe", "باور"),
    _do("solve", "حل"),
    _do("hug", "بغل"),
    _verb("kiss", "بوس", "بوسید"),
    _do("thank", "تشکر"),
    _verb("go went gone", "رو", "رفت"),
    _verb("come came come", "آی", "آمد", subjunctive="بیای"),
    _verb("return", "گرد", "گشت", prefix="بر"),
    _verb("arrive", "رس", "رسید"),
    _do("travel", "سفر"),
    _do("live", "زندگی"),
    _do("work", "کار"),
    _verb("stay", "مان", "ماند"),
    _verb("sit sat sat", "نشین", "نشست"),
    _verb("stand stood stood", "ایست", "ایستاد", subjunctive="بایست"),
    _do("wait", "صبر"),
    _do("rest", "استراحت"),
    _verb("sleep slept slept", "خواب", "خوابید"),
    _verb("wake woke woken", "شو", "شد", "بیدار", particle="up"),
    _verb("run ran run", "دو", "دوید"),
    _verb("walk", "رو", "رفت", "راه"),
    _do("swim swam swum", "شنا"),
    _verb("dance", "رقص", "رقصید"),
    _verb("sing sang sung", "خوان", "خواند", "آواز"),
    _verb("laugh", "خند", "خندید"),
    _verb("smile", "زن", "زد", "لبخند"),
    _do("cry", "گریه"),
    _verb("shout", "زن", "زد", "فریاد"),
    _do("exercise", "ورزش"),
    _do("drive drove driven", "رانندگی"),
    _do("think thought thought", "فکر"),
    _verb("fall fell fallen", "افت", "افتاد", subjunctive="بیفت"),
    _do("try", "سعی"),
    _verb("decide", "گیر", "گرفت", "تصمیم"),
    _verb("have had had", "دار", "داشت", bare=True),
    _verb("need", "دار", "داشت", "نیاز", bare=True),
    _verb("like", "دار", "داشت", "دوست", bare=True),
    _verb("want", "خواه", "خواست"),
    _verb("say said said", "گوی", "گفت"),
)
VERB = {verb.key: verb for verb in VERBS}
# One English verb, another Persian one for instruments.
PLAY_INSTRUMENT = _verb("play", "نواز", "نواخت")

_GROUPS = {
    "@jobs": tuple(noun.key for noun in JOBS),
    "@people": tuple(noun.key for noun in PEOPLE),
    "@kin": tuple(noun.key for noun in KIN),
    "@animals": tuple(noun.key for noun in ANIMALS),
    "@foods": tuple(noun.key for noun in FOODS),
}


def keys(text: str) -> tuple[str, ...]:
    """The noun keys of a list in which "_" stands for a space."""
    found: list[str] = []
    for word in text.split():
        for key in _GROUPS.get(word, (word.replace("_", " "),)):
            if key not in NOUN:
                raise KeyError(key)
            found.append(key)
    return tuple(found)


def _frame(
    verb: str,
    modes: str,
    uses: str,
    nouns: str = "",
    en_prep: str = "",
    fa_prep: str = "را",
) -> Frame:
    key = f"{verb} {modes} {nouns[:12]}"
    return Frame(key, verb, modes, uses, keys(nouns), en_prep, fa_prep)


FRAMES = (
    _frame("read", "dpig", "PHIMFL", "book letter newspaper magazine story poem"),
    _frame("write", "dig", "PHIMF", "letter story poem book report message"),
    _frame("write", "d", "PIMF", "sentence word answer name"),
    _frame(
        "buy",
        "di",
        "PMFI",
        "car bicycle house coat hat shirt jacket scarf ring watch phone computer"
        " camera carpet lamp bed mirror piano suitcase umbrella ticket refrigerator"
        " heater cake blanket basket",
    ),
    _frame(
        "buy",
        "g",
        "PHMFIL",
        "bread milk fruit rice meat cheese egg flower honey soap paper apple tomato"
        " potato onion cucumber carrot yogurt butter candle fish chicken orange",
    ),
    _frame("sell", "dm", "PMF", "house car bicycle piano carpet camera apartment"),
    _frame(
        "sell",
        "g",
        "PH",
        "flower fruit bread book carpet shoe ticket hat toy newspaper honey sock"
        " watermelon peach pear walnut umbrella coin stamp",
    ),
    _frame("see", "dp", "MF", "@people"),
    _frame("see", "dip", "", "@animals"),
    _frame(
        "find",
        "dm",
        "MF",
        "key bag phone passport ticket ring watch umbrella camera notebook suitcase",
    ),
    _frame(
        "lose",
        "dm",
        "",
        "key bag phone passport ticket ring watch umbrella hat coin pen doll",
    ),
    _frame("open", "d", "PHIMF", "door window shop curtain"),
    _frame("open", "d", "PIMF", "box suitcase bag bottle letter"),
    _frame("close", "dp", "PIMF", "door window box suitcase curtain"),
    _frame(
        "wash",
        "dp",
        "PHIMF",
        "plate cup glass spoon fork knife shirt sock towel car apple cherry"
        " skirt curtain window",
    ),
    _frame("wash", "q", "PHIM", "hand foot"),
    _frame("wash", "m", "PHIM", "face hair"),
    _frame(
        "clean",
        "dm",
        "PHIMFL",
        "room house kitchen yard table carpet office refrigerator",
    ),
    _frame("cook", "g", "PHIMFL", "rice chicken fish soup meat lunch dinner potato"),
    _frame("bake", "ig", "PHMF", "cake"),
    _frame("bake", "g", "PHMFL", "bread cookie"),
    _frame("fry", "dg", "PHIMF", "fish potato onion chicken carrot egg"),
    _frame("chop", "dp", "PIMF", "onion carrot tomato potato cucumber"),
    _frame(
        "eat",
        "g",
        "PHMFL",
        "bread rice fish chicken meat salad soup fruit cheese honey jam yogurt"
        " breakfast lunch dinner chocolate ice_cream butter cookie",
    ),
    _frame("eat", "di", "PMF", "@foods"),
    _frame("drink", "g", "PHMFL", "water tea coffee milk juice"),
    _frame("taste", "d", "PIMF", "soup honey cheese jam cake salad ice_cream food"),
    _frame("bring", "dim", "IMF", "umbrella camera book map ball notebook guitar"),
    _frame(
        "bring",
        "di",
        "IMF",
        "chair table blanket coat pillow cup lamp plate spoon fork knife pencil",
    ),
    _frame("bring", "g", "IMF", "water bread tea fruit salt sugar money food"),
    _frame("carry", "dp", "PIMF", "box suitcase bag stone basket chair"),
    _frame("send", "dim", "PMFI", "letter message photo gift report"),
    _frame("receive", "di", "F", "letter message gift photo answer report"),
    _frame("break", "d", "", "glass cup plate window mirror bottle toy"),
    _frame(
        "repair",
        "dm",
        "PIMF",
        "car bicycle motorcycle computer watch radio television refrigerator phone"
        " camera heater chair bed door",
    ),
    _frame("repair", "g", "PHM", "car shoe computer truck boat watch motorcycle"),
    _frame("build", "i", "PMF", "house bridge school hospital hotel wall factory boat"),
    _frame("make", "g", "PHIMFL", "tea coffee salad breakfast jam sandwich cheese"),
    _frame("paint", "dp", "PIMF", "wall door room chair table window boat"),
    _frame("draw", "i", "PIMF", "flower tree map house horse star cat bird ship"),
    _frame("cut", "d", "PIMF", "bread cake watermelon paper rope cheese tree"),
    _frame("throw", "d", "IM", "ball stone rope"),
    _frame("catch", "d", "MF", "ball bird mouse fish rabbit fox"),
    _frame("pick up", "dm", "IM", "bag key umbrella phone pen book hat"),
    _frame("pick up", "d", "IM", "ball coin towel toy spoon gift box stone"),
    _frame("gather", "pg", "PHMF", "flower apple cherry pomegranate orange strawberry"),
    _frame("hear", "d", "MF", "voice song news story answer"),
    _frame("listen", "d", "PHIMFL", "music radio news song story", "to", "به"),
    _frame("watch", "di", "PMFL", "film game program"),
    _frame("look", "dp", "PIML", "photo map star flower", "at", "به"),
    _frame("look", "d", "PIML", "sky sea moon", "at", "به"),
    _frame("learn", "dip", "PMF", "language song poem lesson word game"),
    _frame(
        "teach",
        "g",
        "PHMF",
        "history mathematics physics chemistry geography music",
    ),
    _frame("understand", "dp", "C", "question lesson problem sentence answer story"),
    _frame("forget", "d", "", "name lesson poem word song meeting exam answer"),
    _frame("forget", "m", "", "key umbrella passport ticket notebook coat bag"),
    _frame("ask", "i", "MFI", "question"),
    _frame(
        "ask", "d", "MFI", "teacher manager doctor driver nurse secretary", "", "از"
    ),
    _frame("answer", "dp", "PIMF", "question letter message", "", "به"),
    _frame("speak", "d", "PMF", "@jobs", "with", "با"),
    _frame("talk", "dm", "PMFI", "@people", "to", "با"),
    _frame("call", "m", "MFI", "@kin", "", "به"),
    _frame("call", "d", "MFI", "doctor manager lawyer hotel hospital", "", "به"),
    _frame("help", "dpm", "PHIMF", "@people", "", "به"),
    _frame("help", "m", "PHMF", "@kin", "", "به"),
    _frame("visit", "dp", "MFL", "museum factory school mosque church", "", "از"),
    _frame("meet", "di", "MF", "@jobs", "", "با"),
    _frame("invite", "dpm", "MFI", "neighbor friend colleague classmate teacher"),
    _frame("invite", "dp", "MFI", "student singer writer tourist pupil poet actor"),
    _frame("thank", "dp", "MFI", "nurse driver waiter chef gardener", "", "از"),
    _frame("thank", "dm", "MFI", "teacher doctor neighbor friend", "", "از"),
    _frame("use", "d", "PHIMF", "computer phone camera knife map", "", "از"),
    _frame("choose", "di", "MFI", "book shirt ring carpet gift film hat song game"),
    _frame("play", "g", "PHMFL", "football volleyball basketball tennis chess"),
    _frame("instrument", "t", "PHMF", "guitar piano violin"),
    _frame("turn on", "d", "IMF", "lamp radio television computer heater"),
    _frame("turn off", "d", "IMF", "lamp radio television computer heater phone"),
    _frame("plant", "ig", "PMFL", "tree flower"),
    _frame("hide", "dm", "PMF", "key letter gift ring toy photo coin"),
    _frame("knit", "ig", "PHMF", "scarf hat"),
    _frame("knit", "g", "PHMF", "sock glove"),
    _frame("sew", "di", "PMF", "shirt skirt coat curtain doll pillow"),
    _frame("fill", "dp", "PIMF", "glass bottle basket cup box"),
    _frame("translate", "dpi", "PIMF", "book letter poem sentence story contract"),
    _frame("explain", "dp", "PIMF", "lesson problem sentence word game"),
    _frame("order", "g", "PMFL", "soup salad coffee chicken fish juice food"),
    _frame("order", "i", "PMF", "cake sandwich book"),
    _frame("finish", "dm", "MF", "book lesson work letter breakfast report"),
    _frame("finish", "d", "MF", "game exam film"),
    _frame("start", "d", "IMFL", "game lesson class meeting trip"),
    _frame("borrow", "di", "MF", "book bicycle umbrella pen car camera"),
    _frame("leave", "d", "MF", "city house room party hotel office country village"),
    _frame("enter", "d", "MFI", "room building hotel shop garden city", "", "وارد"),
    _frame("iron", "dp", "PIMF", "shirt skirt towel curtain jacket"),
    _frame("sign", "dp", "IMF", "letter contract report"),
    _frame("count", "p", "PIM", "coin chair sheep star egg cow"),
    _frame(
        "feed", "dpm", "PHIMF", "cat dog bird horse duck sheep goat rabbit", "", "به"
    ),
    _frame("check", "dp", "PIMF", "ticket passport car answer letter door"),
    _frame("move", "dp", "PIMF", "table chair bed box piano"),
    _frame("collect", "g", "PHF", "stamp coin leaf stone doll"),
    _frame("print", "dp", "PIMF", "photo letter map ticket report"),
    _frame("rent", "i", "MFL", "house car apartment bicycle room boat"),
    _frame("believe", "d", "M", "story news word"),
    _frame("solve", "dp", "PIMF", "problem"),
    _frame("hug", "dm", "PMF", "child cat doll"),
    _frame("hug", "m", "PMF", "mother sister grandmother son daughter aunt"),
    _frame("kiss", "m", "M", "mother father grandmother son daughter wife husband"),
    _frame(
        "go",
        "d",
        "PHIMFL",
        "park market school bank library cinema restaurant museum hospital station"
        " airport pharmacy bakery mosque beach pool village embassy stadium farm"
        " forest office church island",
        "to",
        "به",
    ),
    _frame(
        "come",
        "d",
        "PIMF",
        "school party office hotel restaurant station wedding class meeting farm",
        "to",
        "به",
    ),
    _frame(
        "return", "d", "PMFIL", "hotel office village city airport shop", "to", "به"
    ),
    _frame("arrive", "d", "F", "station airport hotel school", "at", "به"),
    _frame(
        "work",
        "d",
        "PHMF",
        "bank hospital restaurant factory hotel farm shop"
        " library bakery pharmacy office embassy museum university",
        "@",
        "در",
    ),
    _frame("stay", "d", "MFI", "hotel house village room", "in", "در"),
    _frame("sit", "d", "MIFL", "park garden yard kitchen restaurant", "in", "در"),
    _frame(
        "wait", "d", "PIMF", "station airport restaurant bank office yard", "@", "در"
    ),
    _frame("rest", "d", "PMIFL", "hotel room garden park house", "in", "در"),
    _frame("sleep", "d", "MF", "room house hotel", "in", "در"),
    _frame("walk", "d", "PHMFL", "park forest garden beach street", "@", "در"),
    _frame("run", "d", "PHMF", "park street stadium yard", "@", "در"),
    _frame("swim", "d", "PHMFL", "river lake sea pool", "in", "در"),
    _frame("study", "d", "PHMFL", "library school room university kitchen", "@", "در"),
    _frame("exercise", "d", "PHMFL", "park yard stadium room", "@", "در"),
    _frame("play", "d", "PHM", "park yard garden street beach", "@", "در"),
    _frame("fall", "d", "", "street yard park kitchen", "in", "در"),
    _frame("fall", "d", "", "tree horse chair bicycle wall bed", "from", "از"),
    _frame("laugh", "n", "PHF"),
    _frame("smile", "n", "PI"),
    _frame("cry", "n", "P"),
    _frame("shout", "n", "P"),
    _frame("sleep", "n", "PHMF"),
    _frame("rest", "n", "PHIMF"),
    _frame("work", "n", "PHMF"),
    _frame("study", "n", "PHMF"),
    _frame("dance", "n", "PHMFL"),
    _frame("sing", "n", "PHMFL"),
    _frame("swim", "n", "PHMF"),
    _frame("exercise", "n", "PHMFIL"),
    _frame("drive", "n", "PHMF"),
    _frame("travel", "n", "HMF"),
    _frame("wake up", "n", "HMF"),
    _frame("stand", "d", "MI", "street yard garden square park", "in", "در"),
    _frame("think", "n", "P"),
)

# Times, adverbs and numbers

PAST_TIMES = (
    Phrase("yesterday", "دیروز"),
    Phrase("last night", "دیشب"),
    Phrase("last week", "هفته_ی گذشته"),
    Phrase("last month", "ماه گذشته"),
    Phrase("last year", "سال گذشته"),
    Phrase("this morning", "امروز صبح"),
    Phrase("two days ago", "دو روز پیش"),
    Phrase("an hour ago", "یک ساعت پیش"),
)
FUTURE_TIMES = (
    Phrase("tomorrow", "فردا"),
    Phrase("tonight", "امشب"),
    Phrase("next week", "هفته_ی آینده"),
    Phrase("next month", "ماه آینده"),
    Phrase("next year", "سال آینده"),
    Phrase("tomorrow morning", "فردا صبح"),
    Phrase("soon", "به_زودی"),
)
HABIT_TIMES = (
    Phrase("every day", "هر روز"),
    Phrase("every morning", "هر روز صبح"),
    Phrase("every night", "هر شب"),
    Phrase("every week", "هر هفته"),
)
OFTEN = (
    Phrase("always", "همیشه"),
    Phrase("usually", "معمولاً"),
    Phrase("often", "اغلب"),
    Phrase("sometimes", "گاهی"),
)
WEEKDAYS = (
    Phrase("Saturday", "شنبه"),
    Phrase("Sunday", "یکشنبه"),
    Phrase("Monday", "دوشنبه"),
    Phrase("Tuesday", "سه_شنبه"),
    Phrase("Wednesday", "چهارشنبه"),
    Phrase("Thursday", "پنج_شنبه"),
    Phrase("Friday", "جمعه"),
)
MONTHS = (
    Phrase("January", "ژانویه"),
    Phrase("February", "فوریه"),
    Phrase("March", "مارس"),
    Phrase("April", "آوریل"),
    Phrase("May", "مه"),
    Phrase("June", "ژوئن"),
    Phrase("July", "ژوئیه"),
    Phrase("August", "اوت"),
    Phrase("September", "سپتامبر"),
    Phrase("October", "اکتبر"),
    Phrase("November", "نوامبر"),
    Phrase("December", "دسامبر"),
)
SEASONS = (
    Phrase("spring", "بهار"),
    Phrase("summer", "تابستان"),
    Phrase("autumn", "پاییز"),
    Phrase("winter", "زمستان"),
)
NUMBERS = (
    Phrase("two", "دو"),
    Phrase("three", "سه"),
    Phrase("four", "چهار"),
    Phrase("five", "پنج"),
    Phrase("six", "شش"),
    Phrase("seven", "هفت"),
    Phrase("eight", "هشت"),
    Phrase("nine", "نه"),
    Phrase("ten", "ده"),
    Phrase("eleven", "یازده"),
    Phrase("twelve", "دوازده"),
)
WEATHERS = (
    _adj("cold colder coldest", "سرد"),
    _adj("warm warmer warmest", "گرم"),
    _adj("cool cooler coolest", "خنک"),
    _adj("sunny", "آفتابی"),
    _adj("cloudy", "ابری"),
    _adj("rainy", "بارانی"),
    _adj("snowy", "برفی"),
    _adj("dry drier driest", "خشک"),
)

# Things and where they are: English and Persian preposition, place, things.
SPOTS = (
    (
        "on",
        "روی",
        "table",
        keys(
            "book notebook pen pencil letter newspaper magazine bag key phone computer"
            " camera watch photo map hat gift bottle glass cup plate spoon fork knife"
            " basket lamp radio candle apple banana cake sandwich coin lemon"
        ),
    ),
    (
        "in",
        "در",
        "bag",
        keys("book key phone camera passport umbrella towel ticket toy coin stamp"),
    ),
    (
        "in",
        "در",
        "box",
        keys("doll toy ring candle stamp coin scarf glove photo pencil spoon stone"),
    ),
    (
        "under",
        "زیر",
        "bed",
        keys("cat shoe ball box suitcase sock toy guitar mouse carpet key"),
    ),
    (
        "under",
        "زیر",
        "tree",
        keys("chair bicycle dog sheep apple ball goat motorcycle leaf donkey"),
    ),
    (
        "in",
        "در",
        "room",
        keys(
            "table chair bed lamp mirror carpet heater television piano radio guitar"
            " window curtain computer violin"
        ),
    ),
    (
        "in",
        "در",
        "kitchen",
        keys("refrigerator table chair onion plate knife fork basket heater potato"),
    ),
    (
        "in",
        "در",
        "garden",
        keys("tree flower bird butterfly rabbit cat snake duck rooster"),
    ),
    ("near", "نزدیک", "hotel", keys("bank restaurant park museum station bakery")),
    ("near", "نزدیک", "house", keys("school pharmacy mosque market river park shop")),
    ("near", "نزدیک", "village", keys("lake forest mountain road river farm bridge")),
    ("behind", "پشت", "school", keys("garden yard stadium library church wall")),
    (
        "in",
        "در",
        "refrigerator",
        keys("egg orange carrot cucumber tomato peach cake lemon watermelon pear"),
    ),
    (
        "in",
        "در",
        "basket",
        keys("apple pear cherry walnut egg towel pomegranate strawberry cookie"),
    ),
    ("on", "روی", "wall", keys("mirror photo map lamp butterfly")),
    ("on", "روی", "bed", keys("pillow blanket shirt doll cat book towel skirt")),
    (
        "next to",
        "کنار",
        "window",
        keys("table chair bed lamp flower piano television basket candle"),
    ),
    (
        "next to",
        "کنار",
        "door",
        keys("umbrella shoe suitcase box bicycle chair bag mirror"),
    ),
    ("in", "در", "city", keys("park museum church hospital university cinema embassy")),
    (
        "in",
        "در",
        "street",
        keys("car truck bus taxi shop bicycle tree motorcycle bakery"),
    ),
    ("on", "در", "farm", keys("cow sheep goat horse donkey dog camel duck rooster")),
    ("in", "در", "forest", keys("bear wolf fox bird snake rabbit monkey")),
    ("on", "روی", "lake", keys("boat ship duck leaf")),
)
# What one finds in a place that cannot be counted.
MASS_SPOTS = (
    (
        "in",
        "در",
        "refrigerator",
        keys("milk cheese butter yogurt juice meat chicken fruit water salad"),
    ),
    ("in", "در", "kitchen", keys("bread rice sugar salt tea coffee honey soap fish")),
    (
        "on",
        "روی",
        "table",
        keys("bread jam soup food paper chocolate money sugar salt"),
    ),
    ("in", "در", "glass", keys("water milk juice")),
    ("in", "در", "bag", keys("money paper chocolate food soap")),
)
# Adjectives that go together, and ones that stand against each other.
AND_PAIRS = tuple(
    pair.split("+")
    for pair in words(
        "big+bright clean+quiet small+dark old+famous new+modern big+crowded"
        " beautiful+safe long+boring interesting+useful heavy+big small+light"
        " narrow+dangerous new+expensive small+cheap old+beautiful crowded+dirty"
        " soft+warm sweet+fresh wide+long fresh+delicious short+easy deep+cold"
        " long+difficult hot+delicious big+comfortable clean+comfortable"
    )
)
BUT_PAIRS = tuple(
    pair.split("+")
    for pair in words(
        "big+dark small+clean old+beautiful easy+boring difficult+interesting"
        " small+comfortable cheap+good expensive+good new+bad long+interesting"
        " short+difficult old+clean small+expensive beautiful+dangerous sweet+hot"
        " narrow+safe heavy+useful small+crowded beautiful+expensive old+safe"
    )
)
# Things that can be compared with each other.
COMPARABLE = tuple(
    keys(group)
    for group in (
        "hat coat shirt jacket skirt scarf shoe sock",
        "table chair bed lamp mirror carpet refrigerator",
        "house apartment hotel",
        "restaurant hospital library museum school university hotel",
        "room kitchen yard garden",
        "river lake sea",
        "street road bridge",
        "wall tree building mountain",
        "book newspaper magazine story poem letter report",
        "film game trip party program",
        "lesson class exam question",
        "car bus train plane motorcycle bicycle ship boat taxi truck",
        "tea coffee milk juice water",
        "apple orange banana lemon cherry peach pear watermelon pomegranate",
        "soup salad rice fish chicken cake",
        "bag box suitcase basket",
        "phone computer camera watch radio television",
        "city village island",
    )
)
# Who works where.
WORKPLACES = (
    ("doctor", "hospital"),
    ("nurse", "hospital"),
    ("chef", "restaurant"),
    ("teacher", "school"),
    ("pilot", "airport"),
    ("waiter", "hotel"),
    ("waiter", "restaurant"),
    ("baker", "bakery"),
    ("worker", "factory"),
    ("engineer", "factory"),
    ("farmer", "farm"),
    ("gardener", "park"),
    ("secretary", "office"),
    ("manager", "bank"),
    ("translator", "embassy"),
    ("scientist", "university"),
    ("teacher", "university"),
    ("driver", "station"),
)
