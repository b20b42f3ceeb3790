"""Abbreviations: where sentences end beside them, and how they are read."""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from voxturn.runtime.text.abbreviations import abbreviations, written_out
from voxturn.runtime.text.normalize import LANGUAGES, in_words
from voxturn.runtime.text.split import ClauseSplitter

DATA = Path(__file__).parents[2] / "data" / "abbreviations.toml"
LISTED: dict[str, dict[str, str]] = tomllib.loads(DATA.read_text(encoding="utf-8"))
AROUND = {
    "en": ("We saw", "xylophone", "Xaver"), "es": ("Vimos", "xilófono", "Xaver"), "fr": ("Voici", "xylophone", "Xaver"),
    "de": ("Hier", "xylophon", "Xaver"), "it": ("Ecco", "xilofono", "Xaver"), "pt": ("Vimos", "xilofone", "Xaver"),
    "pl": ("Widać", "ksylofon", "Ksawery"), "tr": ("Gördük", "ksilofon", "Xaver"), "ru": ("Вот", "ксилофон", "Ксавер"),
    "nl": ("Hier", "xylofoon", "Xaver"), "cs": ("Vidíme", "xylofon", "Xaver"), "hu": ("Látjuk", "xilofon", "Xaver"),
    "ar": ("رأينا", "خسرو", "خسرو"), "hi": ("देखिए", "ज़ेवियर", "ज़ेवियर"), "zh-cn": ("看", "xylophone", "Xaver"),
}  # fmt: skip
"""By language: what begins a sentence, a word with a small letter, a name."""


def clauses(text: str, language: str) -> list[str]:
    splitter = ClauseSplitter(first_chars=200, language=language)
    return [*splitter.push(text), *splitter.flush()]


def listed(kind: str = "") -> Iterator[tuple[str, str]]:
    for language, lists in LISTED.items():
        for each in (kind,) if kind else ("titles", "others"):
            yield from ((language, abbreviation) for abbreviation in lists[each].split(", "))


def test_the_reference_lists_forty_abbreviations_where_a_language_has_so_many() -> None:
    few = {"ar"}  # with those in Latin letters
    for language in set(LISTED) - few:
        assert len({each for name, each in listed() if name == language}) >= 40


@pytest.mark.parametrize("language", LISTED)
def test_no_sentence_ends_with_a_listed_abbreviation_before_a_small_letter_or_a_number(
    language: str,
) -> None:
    begin, small, _ = AROUND[language]
    wrong = []
    titles = set(listed("titles"))  # before a number some of them are words: the gen. 5 others
    for name, abbreviation in listed():
        for word in (small,) if (name, abbreviation) in titles else (small, "5"):
            text = f"{begin} {abbreviation} {word}"
            caseless = language in ("ar", "hi") and word == small
            last = caseless and abbreviation in ("etc.", "p.m.", "a.m.")  # ends before any letter
            if name == language and not last and clauses(text, language) != [text]:
                wrong.append(text)
    assert not wrong


@pytest.mark.parametrize("language", LISTED)
def test_no_sentence_ends_with_a_title_before_a_name(language: str) -> None:
    begin, _, proper = AROUND[language]
    for name, abbreviation in listed("titles"):
        text = f"{begin} {abbreviation} {proper}"
        assert name != language or clauses(text, language) == [text]


@pytest.mark.parametrize(
    ("language", "first", "second"),
    [
        ("en", "He said stop.", "Then he left."),
        ("en", "We met at 5 p.m.", "Then we left."),
        ("en", "We met at 5 p.m.", "John was late."),
        ("en", "Apples, pears, etc.", "The end came."),
        ("en", "He lives in the U.S.", "It is big."),
        ("en", "He works for Apple Inc.", "They pay well."),
        ("en", "He is John Smith Jr.", "His father was late."),
        ("en", "The answer is no.", "In fact, never."),
        ("en", "Come in.", "John is here."),
        ("en", "This is art.", "Nobody knows why."),
        ("en", "The cat sat.", "Mary slept."),
        ("en", "We bask in the sun.", "Mary sleeps."),
        ("en", "We live on James St.", "It is quiet."),
        ("en", "It happened in Nov.", "The rest is known."),
        ("en", "So am I.", "John left."),
        ("en", "It has vitamin C.", "It is good."),
        ("en", "It is 5 m.", "Mary knows."),
        ("en", "I have a phone.", "iPhone users do not."),
        ("de", "Äpfel, Birnen usw.", "Dann gehen wir."),
        ("de", "Er sagte „Halt.“", "Dann ging er."),
        ("de", "Ich mag.", "Die Sonne scheint."),
        ("de", "Das ist Max.", "Er kommt."),
        ("fr", "Des pommes, etc.", "Puis il part."),
        ("fr", "Il change de cap.", "Le vent tourne."),
        ("es", "Vive en EE. UU.", "Pero no le gusta."),
        ("it", "Mele, pere ecc.", "Poi andiamo."),
        ("pt", "Maçãs, peras etc.", "Depois vamos."),
        ("pl", "Jabłka itd.", "Potem idziemy."),
        ("pl", "Dałem im.", "Potem poszli."),
        ("ru", "Яблоки и т. д.", "Потом мы пошли."),
        ("ru", "Острый ум.", "Ни слова больше."),
        ("ru", "Это было в 1990 г.", "Потом всё изменилось."),
        ("nl", "Appels enz.", "Daarna gaan we."),
        ("nl", "Dat is Jan.", "Hij komt."),
        ("cs", "Jablka atd.", "Potom jdeme."),
        ("hu", "Almák stb.", "Aztán megyünk."),
        ("hu", "Ott áll.", "A ház nagy."),
        ("fr", "J'en ai sept.", "Puis il part."),
        ("pt", "São dez.", "Depois vamos."),
        ("cs", "Pomohl nám.", "Potom odešel."),
        ("pl", "Miałem sen.", "Potem wstałem."),
        ("hu", "Ő tud.", "A ház nagy."),
        ("de", "Er wohnt in der Hauptstr.", "Die ist lang."),
        ("zh-cn", "他用e.g.这样.", "Mr. Li 来了."),
        ("tr", "Elma, armut vb.", "Sonra gideriz."),
        ("ar", "تفاح إلخ.", "ثم ذهبنا."),
        ("ko", "아니요.", "알겠습니다."),
        ("ko", "갔다.", "iPhone은 좋다."),
        ("en", "He left Shell and BP.", "The rest stayed."),
        ("en", "She has MS.", "The doctors know."),
        ("en", "He works at the BP.", "Mary knows."),
        ("nl", "Hij werkt bij Philips BV.", "Het is groot."),
        ("nl", "Dat is van de ING.", "De bank is groot."),
        ("de", "Sie arbeitet bei der ING.", "Die Bank ist groß."),
        ("de", "Er wählt den BEZ.", "Maria auch."),
        ("it", "Il gruppo ING.", "Roma lo sa."),
        ("ru", "Это СВ.", "Потом пошли."),
        ("fr", "Elle revoit son ex.", "Il est parti."),
        ("ru", "Я думаю о нем.", "Потом расскажу."),
        ("pt", "Quero ver.", "Depois vou."),
        ("tr", "Onu bul.", "Sonra gel."),
        ("nl", "Het is mijn ma.", "Ze komt."),
    ],
)
def test_sentences_end_where_that_can_be_known(language: str, first: str, second: str) -> None:
    text = f"{first} {second}"
    assert clauses(text, language) == [first, second]
    splitter = ClauseSplitter(first_chars=200, language=language)
    assert [c for char in text for c in splitter.push(char)] + splitter.flush() == [first, second]


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "By A. Smith and I. Newton, O. Henry, J. A. Adams and J. I. Case."),
        ("en", "Meet at 5 p.m. Monday or at 6 p.m. Eastern time."),
        ("en", "The U.S. President and Apple Inc. Chairman met Mr. Jones Jr. Smith."),
        ("en", "“Really?” she asked."),
        ("en", "Yahoo! is a company."),
        ("en", "An unknwn. abbreviation."),
        ("hi", "डॉ. ए. पी. जे. अब्दुल कलाम"),
        ("ar", "كتبت ج. ك. رولينغ"),
        ("de", "Das kostet 5 Mio. Euro."),
        ("en", "See Fig. 3, p. 5, vol. 2, No. 7 and Art. IV."),
        ("de", "Die Hauptstr. Berlin, Abt. Verkauf, Dr. med. Weiß"),
        ("ru", "Дом 3, г. Москва, в 1990 г. Иванов"),
        ("ar", "قال د. أحمد وأ. محمد"),
        ("sv", "Det är t.ex. bra, bl.a. här, dr. Svensson."),
        ("", "Ask Dr. Smith."),
        ("pt-BR", "O Sr. João"),
        ("de", "Das ist lt. Müller gem. Vertrag inkl. MwSt. Berlin und jmdm. Geld geben."),
        ("de", "Am Fr. 9–17 Uhr kommt Fr. Müller mit Fr. von Stein."),
        ("es", "En Blvd. Díaz Nro. 5 vive el Pte. Ruiz, lun. Madrid, vie. 5"),
        ("fr", "Il y a par ex. Lyon, bât. Pasteur, lun. 5, mar. 6, sam. 7 et dim. 8"),
        ("it", "In P.le Roma nr. 5, nel sec. XIX, lun. 5"),
        ("ru", "Это 5 долл. США и чл.-корр. Иванов"),
        ("en", "In Roe v. Wade Mx. Jones spoke."),
        ("nl", "Op ma. 5 en wo. 6, o.m. Amsterdam en i.s.m. Philips"),
        ("pl", "To mec. Nowak, cz. 5, dot. Warszawy"),
        ("pt", "Na al. Santos, cap. 5, com o card. Silva, sex. 5"),
        ("tr", "Bu öğr. gör. Ahmet, şek. 5, yakl. Ankara"),
        ("hu", "Ez a főtitk. és az eln. Kovács, fej. 5"),
        ("cs", "To je prap. Novák, kap. 5, eds. Praha"),
        ("hi", "देखिए ता. 5 और पो. रामपुर"),
    ],
)
def test_nothing_is_cut_where_a_sentence_goes_on(language: str, text: str) -> None:
    assert clauses(text, language) == [text]


@pytest.mark.parametrize(
    ("language", "text", "read"),
    [
        ("en", "Dr. Silva and Mrs. Reis met Mr. Jones Jr. on St. James St.",
         "doctor Silva and missus Reis met mister Jones junior on saint James street."),
        ("en", "123 Main St. Springfield, 5th St., Elm Dr. and Mount St. Helens",
         "123 Main street Springfield, 5th street, Elm drive and Mount saint Helens"),
        ("en", "Apples etc. The end, etc...", "Apples et cetera. The end, et cetera..."),
        ("en", "no. 5, but no. Then (Apple Co.)", "number 5, but no. Then (Apple company.)"),
        ("en", "The sun. Sun. 5 Nov., bbc.co.uk, a@st.co", "The sun. Sunday 5 November, bbc.co.uk, a@st.co"),
        ("en", "At 5 p.m. sharp, e.g. now", "At 5 p.m. sharp, for example now"),
        ("en", "Dr.Smith, Mr Jones and DR Congo", "doctor Smith, mister Jones and DR Congo"),
        ("fr", "M. Dupont, Mme Moreau et le Dr Leroux, M. Le Pen.", "monsieur Dupont, madame Moreau et le docteur Leroux, monsieur Le Pen."),
        ("fr", "M. et Mme Moreau, M. le maire, sept. J'en ai sept.", "monsieur et madame Moreau, monsieur le maire, sept. J'en ai sept."),
        ("de", "Hauptstr. 5, Abt. Verkauf", "Hauptstraße 5, abteilung Verkauf"),
        ("ru", "В 1990 г. в г. Москва", "В 1990 г. в город Москва"),
        ("zh-cn", "他。Mr. Li", "他。mister Li"),
        ("en", "Dr.Dr. and Dr.Smith.", "Dr.Dr. and doctor Smith."),
        ("fr", "Jean Paul M. Dupont, cap. Leroux, un cap. Le vent", "Jean Paul M. Dupont, capitaine Leroux, un cap. Le vent"),
        ("it", "La Dott.ssa Verdi, la Sig.ra Neri e l'Ing. Rossi", "La dottoressa Verdi, la signora Neri e l'ingegner Rossi"),
        ("ru", "г. Москва, ул. Ленина, т. е. и др.", "город Москва, улица Ленина, то есть и другие."),
        ("nl", "bijv. hier, d.w.z. daar", "bijvoorbeeld hier, dat wil zeggen daar"),
        ("de", "u. a. auch, z.B. hier, i. d. R.", "unter anderem auch, zum beispiel hier, in der Regel."),
        ("pl", "np. tu, m.in. tam i sp. z o.o.", "na przykład tu, między innymi tam i spółka z ograniczoną odpowiedzialnością."),
        ("es", "EE. UU. y la Dra. Ruiz, D. Juan", "Estados Unidos y la doctora Ruiz, don Juan"),
        ("cs", "např. zde, s. r. o.", "například zde, společnost s ručením omezeným."),
        ("ko", "Mr. 김, etc.", "mister 김, et cetera."),
        ("zh-cn", "Dr. 王在Apple Inc.工作", "doctor 王在Apple incorporated 工作"),
        ("hi", "डॉ. शर्मा, प्रा. लि.", "डॉक्टर शर्मा, प्राइवेट लिमिटेड."),
        ("sv", "t.ex. dr. Svensson", "t.ex. dr. Svensson"),
        ("en", "Shell and BP. The MS. Then DR. Jones JR. of ACME INC. now", "Shell and BP. The MS. Then doctor Jones junior of ACME incorporated now"),
        ("en", "SEE APPROX. FIVE, FIG. 5 AND LT. JONES", "SEE approximately FIVE, figure 5 AND lieutenant JONES"),
        ("de", "Die ING. Die Bank, SIEHE S. 5", "Die ING. Die Bank, SIEHE seite 5"),
        ("de", "BITTE VGL. BEZ. UND PROF. MEIER", "BITTE vergleiche bezüglich UND professor MEIER"),
        ("nl", "Philips BV. Het, bv. dit", "Philips BV. Het, bijvoorbeeld dit"),
        ("ru", "писал П. Иванов, п. 5", "писал П. Иванов, пункт 5"),
        ("de", "Fr. 9–17 Uhr, Fr. Müller, lt. Plan", "Freitag 9–17 Uhr, frau Müller, laut Plan"),
        ("it", "sec. XIX, P.le Roma", "secolo XIX, piazzale Roma"),
        ("es", "5 mar., mar. 5", "5 marzo, martes 5"),
        ("fr", "par ex. Lyon, mon ex. Elle", "par exemple Lyon, mon ex. Elle"),
        ("ru", "о. Сахалин, т. 5", "остров Сахалин, том 5"),
        ("en", "Roe v. Wade, V. S. Naipaul", "Roe versus Wade, V. S. Naipaul"),
    ],
)  # fmt: skip
def test_abbreviations_are_read_in_full(language: str, text: str, read: str) -> None:
    assert written_out(text, language) == read
    assert written_out(read, language) == read


def test_a_time_s_mark_is_read_with_the_time_and_leaves_the_sentence_its_end() -> None:
    assert in_words("At 5 p.m. Then go.", "en") == "At five p m. Then go."
    assert in_words("At 5 p.m. sharp.", "en") == "At five p m sharp."


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_is_read_is_read_as_it_is_the_second_time(language: str) -> None:
    table = abbreviations(language).table
    for key, end in itertools.product(table, ("", " x", " Xaver")):
        read = written_out(f"x {key}.{end}", language)
        assert written_out(read, language) == read


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_table_is_consistent(language: str) -> None:
    table = abbreviations(language)
    for key, entries in table.table.items():
        assert "".join(key.split()) == key
        assert not key.endswith(".")
        places = [entry.place for entry in entries]
        assert len(places) == len(set(places))
        assert all(len(entry.readings) <= 2 for entry in entries)
    lowered = {"".join(word.split()).lower() for word in table.undotted}
    assert lowered <= {key.lower() for key in table.table}
    assert set(table.trained) <= set(table.table)


WORDS = st.sampled_from(
    ["Then", "word", "Xaver", "A", "I", "no", "5", "am", "p.m", "U.S", "e.g", "z", "B", "EE", "UU", "Dr", "St", "etc", "т", "д",
     "Потом", "iPhone", "네", "ثم", "ए", "\"No\"", "(see", "Main", "12", "XX", "г", "M", "J.-C", "Nov", "Halt", "usw", "BP", "ING", "п"]
)  # fmt: skip
GLUE = st.sampled_from(
    [". ", ". ", ". ", ".", " ", "! ", "?” ", ".” ", "... ", "… ", ", ", ".\n", ".) ", ".“ "]
)
TEXTS = st.lists(st.tuples(WORDS, GLUE), max_size=12).map(lambda p: "".join(map("".join, p)))


@given(
    text=TEXTS,
    language=st.sampled_from([*LANGUAGES, "", "sv"]),
    size=st.integers(1, 7),
    longest=st.integers(4, 60),
)
@settings(max_examples=300)
def test_streamed_and_whole_are_cut_alike(
    text: str, language: str, size: int, longest: int
) -> None:
    def cut(pieces: list[str]) -> list[str]:
        splitter = ClauseSplitter(language=language, max_chars=longest)
        return [c for piece in pieces for c in splitter.push(piece)] + splitter.flush()

    whole = cut([text])
    assert cut(list(text)) == whole
    assert cut([text[i : i + size] for i in range(0, len(text), size)]) == whole


@given(first=st.text("abcdefxyz", min_size=1, max_size=9), language=st.sampled_from(LANGUAGES))
@settings(max_examples=150)
def test_no_sentence_ends_before_a_small_letter(first: str, language: str) -> None:
    text = f"So {first}. and on"
    assert clauses(text, language) == [text]


@given(text=TEXTS, language=st.sampled_from(LANGUAGES))
@settings(max_examples=150)
def test_reading_twice_is_reading_once(text: str, language: str) -> None:
    once = in_words(text, language)
    assert in_words(once, language) == once
