"""Reads number words back into digits, in the 17 languages: what the normaliser says is checked
against what was written.

Its tables come from the languages' grammars and share nothing with the normaliser. A table has
`word=value`; a value after `*` multiplies what is before it. Words of other kinds end a number, so
that a price gives two numbers and a telephone number one each digit.
"""

from __future__ import annotations

import re
from functools import cache

_TABLES = {
    "en": "zero=0 oh=0 one=1 two=2 three=3 four=4 five=5 six=6 seven=7 eight=8 nine=9 ten=10 eleven=11 twelve=12 thirteen=13 fourteen=14"
    " fifteen=15 sixteen=16 seventeen=17 eighteen=18 nineteen=19 twenty=20 thirty=30 forty=40 fifty=50 sixty=60 seventy=70 eighty=80 ninety=90"
    " hundred=*100 thousand=*1000 million=*1000000 billion=*1000000000 and=+",
    "de": "null=0 ein=1 eins=1 eine=1 zwei=2 drei=3 vier=4 fünf=5 sechs=6 sieben=7 acht=8 neun=9 zehn=10 elf=11 zwölf=12 dreizehn=13 vierzehn=14"
    " fünfzehn=15 sechzehn=16 siebzehn=17 achtzehn=18 neunzehn=19 zwanzig=20 dreißig=30 vierzig=40 fünfzig=50 sechzig=60 siebzig=70 achtzig=80"
    " neunzig=90 hundert=*100 tausend=*1000 million=*1000000 millionen=*1000000 milliarde=*1000000000 milliarden=*1000000000 und=+",
    "nl": "nul=0 een=1 één=1 twee=2 drie=3 vier=4 vijf=5 zes=6 zeven=7 acht=8 negen=9 tien=10 elf=11 twaalf=12 dertien=13 veertien=14"
    " vijftien=15 zestien=16 zeventien=17 achttien=18 negentien=19 twintig=20 dertig=30 veertig=40 vijftig=50 zestig=60 zeventig=70 tachtig=80"
    " negentig=90 honderd=*100 duizend=*1000 miljoen=*1000000 miljard=*1000000000 en=+ ën=+",
    "fr": "zéro=0 un=1 une=1 deux=2 trois=3 quatre=4 cinq=5 six=6 sept=7 huit=8 neuf=9 dix=10 onze=11 douze=12 treize=13 quatorze=14 quinze=15"
    " seize=16 vingt=20 vingts=20 trente=30 quarante=40 cinquante=50 soixante=60 quatrevingt=80 quatrevingts=80 cent=*100 cents=*100 mille=*1000"
    " million=*1000000 millions=*1000000 milliard=*1000000000 milliards=*1000000000 et=+",
    "es": "cero=0 un=1 uno=1 una=1 dos=2 tres=3 cuatro=4 cinco=5 seis=6 siete=7 ocho=8 nueve=9 diez=10 once=11 doce=12 trece=13 catorce=14"
    " quince=15 dieciséis=16 diecisiete=17 dieciocho=18 diecinueve=19 veinte=20 veintiuno=21 veintiún=21 veintiuna=21 veintidós=22 veintitrés=23"
    " veinticuatro=24 veinticinco=25 veintiséis=26 veintisiete=27 veintiocho=28 veintinueve=29 treinta=30 cuarenta=40 cincuenta=50 sesenta=60"
    " setenta=70 ochenta=80 noventa=90 cien=100 ciento=100 doscientos=200 doscientas=200 trescientos=300 trescientas=300 cuatrocientos=400"
    " cuatrocientas=400 quinientos=500 quinientas=500 seiscientos=600 seiscientas=600 setecientos=700 setecientas=700 ochocientos=800"
    " ochocientas=800 novecientos=900 novecientas=900 mil=*1000 millón=*1000000 millones=*1000000 y=+",
    "it": "zero=0 un=1 uno=1 una=1 due=2 tre=3 tré=3 quattro=4 cinque=5 sei=6 sette=7 otto=8 nove=9 dieci=10 undici=11 dodici=12 tredici=13"
    " quattordici=14 quindici=15 sedici=16 diciassette=17 diciotto=18 diciannove=19 vent=20 venti=20 trent=30 trenta=30 quarant=40 quaranta=40"
    " cinquant=50 cinquanta=50 sessant=60 sessanta=60 settant=70 settanta=70 ottant=80 ottanta=80 novant=90 novanta=90 cento=*100 cent=*100"
    " mille=*1000 mila=*1000 milione=*1000000 milioni=*1000000 miliardo=*1000000000 miliardi=*1000000000 e=+",
    "pt": "zero=0 um=1 uma=1 dois=2 duas=2 três=3 quatro=4 cinco=5 seis=6 sete=7 oito=8 nove=9 dez=10 onze=11 doze=12 treze=13 catorze=14"
    " quinze=15 dezasseis=16 dezesseis=16 dezassete=17 dezessete=17 dezoito=18 dezanove=19 dezenove=19 vinte=20 trinta=30 quarenta=40 cinquenta=50"
    " sessenta=60 setenta=70 oitenta=80 noventa=90 cem=100 cento=100 duzentos=200 duzentas=200 trezentos=300 trezentas=300 quatrocentos=400"
    " quatrocentas=400 quinhentos=500 quinhentas=500 seiscentos=600 seiscentas=600 setecentos=700 setecentas=700 oitocentos=800 oitocentas=800"
    " novecentos=900 novecentas=900 mil=*1000 milhão=*1000000 milhões=*1000000 e=+",
    "pl": "zero=0 jeden=1 jedna=1 jedno=1 dwa=2 dwie=2 trzy=3 cztery=4 pięć=5 sześć=6 siedem=7 osiem=8 dziewięć=9 dziesięć=10 jedenaście=11"
    " dwanaście=12 trzynaście=13 czternaście=14 piętnaście=15 szesnaście=16 siedemnaście=17 osiemnaście=18 dziewiętnaście=19 dwadzieścia=20"
    " trzydzieści=30 czterdzieści=40 pięćdziesiąt=50 sześćdziesiąt=60 siedemdziesiąt=70 osiemdziesiąt=80 dziewięćdziesiąt=90 sto=100 dwieście=200"
    " trzysta=300 czterysta=400 pięćset=500 sześćset=600 siedemset=700 osiemset=800 dziewięćset=900 tysiąc=*1000 tysiące=*1000 tysięcy=*1000"
    " milion=*1000000 miliony=*1000000 milionów=*1000000",
    "ru": "ноль=0 один=1 одна=1 одно=1 два=2 две=2 три=3 четыре=4 пять=5 шесть=6 семь=7 восемь=8 девять=9 десять=10 одиннадцать=11 двенадцать=12"
    " тринадцать=13 четырнадцать=14 пятнадцать=15 шестнадцать=16 семнадцать=17 восемнадцать=18 девятнадцать=19 двадцать=20 тридцать=30 сорок=40"
    " пятьдесят=50 шестьдесят=60 семьдесят=70 восемьдесят=80 девяносто=90 сто=100 двести=200 триста=300 четыреста=400 пятьсот=500 шестьсот=600"
    " семьсот=700 восемьсот=800 девятьсот=900 тысяча=*1000 тысячи=*1000 тысяч=*1000 миллион=*1000000 миллиона=*1000000 миллионов=*1000000",
    "cs": "nula=0 jeden=1 jedna=1 jedno=1 dva=2 dvě=2 tři=3 čtyři=4 pět=5 šest=6 sedm=7 osm=8 devět=9 deset=10 jedenáct=11 dvanáct=12 třináct=13"
    " čtrnáct=14 patnáct=15 šestnáct=16 sedmnáct=17 osmnáct=18 devatenáct=19 dvacet=20 třicet=30 čtyřicet=40 padesát=50 šedesát=60 sedmdesát=70"
    " osmdesát=80 devadesát=90 sto=100 dvěstě=200 třista=300 čtyřista=400 pětset=500 šestset=600 sedmset=700 osmset=800 devětset=900 tisíc=*1000"
    " tisíce=*1000 milion=*1000000 miliony=*1000000 milionů=*1000000",
    "tr": "sıfır=0 bir=1 iki=2 üç=3 dört=4 beş=5 altı=6 yedi=7 sekiz=8 dokuz=9 on=10 yirmi=20 otuz=30 kırk=40 elli=50 altmış=60 yetmiş=70 seksen=80"
    " doksan=90 yüz=*100 bin=*1000 milyon=*1000000 milyar=*1000000000",
    "hu": "nulla=0 egy=1 kettő=2 két=2 három=3 négy=4 öt=5 hat=6 hét=7 nyolc=8 kilenc=9 tíz=10 tizen=10 húsz=20 huszon=20 harminc=30 negyven=40"
    " ötven=50 hatvan=60 hetven=70 nyolcvan=80 kilencven=90 száz=*100 ezer=*1000 millió=*1000000",
    "ar": "صفر=0 واحد=1 واحدة=1 أحد=1 إحدى=1 اثنان=2 اثنتان=2 اثنا=2 اثنتا=2 ثلاثة=3 ثلاث=3 أربعة=4 أربع=4 خمسة=5 خمس=5 ستة=6 ست=6 سبعة=7 سبع=7"
    " ثمانية=8 ثماني=8 ثمان=8 تسعة=9 تسع=9 عشرة=10 عشر=10 عشرون=20 ثلاثون=30 أربعون=40 خمسون=50 ستون=60 سبعون=70 ثمانون=80 تسعون=90 مائة=100 مئة=100"
    " مئتان=200 مئتا=200 مائتان=200 ثلاثمائة=300 أربعمائة=400 خمسمائة=500 ستمائة=600 سبعمائة=700 ثمانمائة=800 تسعمائة=900 ألف=*1000 ألفا=*1000 ألفاً=*1000 مليوناً=*1000000"
    " آلاف=*1000 ألفان=2000 مليون=*1000000 مليونا=*1000000 ملايين=*1000000 مليونان=2000000 و=+",
    "zh-cn": "零=0 一=1 二=2 两=2 三=3 四=4 五=5 六=6 七=7 八=8 九=9 十=*10 百=*100 千=*1000 万=*10000 亿=*100000000",
    "ja": "零=0 一=1 二=2 三=3 四=4 五=5 六=6 七=7 八=8 九=9 十=*10 百=*100 千=*1000 万=*10000 億=*100000000",
    "ko": "영=0 일=1 이=2 삼=3 사=4 오=5 육=6 칠=7 팔=8 구=9 십=*10 백=*100 천=*1000 만=*10000 억=*100000000",
    "hi": "शून्य एक दो तीन चार पांच छह सात आठ नौ दस ग्यारह बारह तेरह चौदह पंद्रह सोलह सत्रह अठारह उन्नीस बीस इक्कीस बाईस तेईस चौबीस पच्चीस छब्बीस सत्ताईस"
    " अट्ठाईस उनतीस तीस इकतीस बत्तीस तैंतीस चौंतीस पैंतीस छत्तीस सैंतीस अड़तीस उनतालीस चालीस इकतालीस बयालीस तैंतालीस चौवालीस पैंतालीस छियालीस सैंतालीस अड़तालीस"
    " उनचास पचास इक्यावन बावन तिरेपन चौवन पचपन छप्पन सत्तावन अट्ठावन उनसठ साठ इकसठ बासठ तिरेसठ चौंसठ पैंसठ छियासठ सड़सठ अड़सठ उनहत्तर सत्तर इकहत्तर बहत्तर"
    " तिहत्तर चौहत्तर पचहत्तर छिहत्तर सतहत्तर अठहत्तर उनासी अस्सी इक्यासी बयासी तिरासी चौरासी पचासी छियासी सत्तासी अट्ठासी नवासी नब्बे इक्यानवे बानवे तिरानवे"
    " चौरानवे पचानवे छियानवे सत्तानवे अट्ठानवे निन्यानवे",
}  # fmt: skip
_TABLES["hi"] = " ".join(f"{word}={value}" for value, word in enumerate(_TABLES["hi"].split()))
_TABLES["hi"] += " सौ=*100 हज़ार=*1000 लाख=*100000 करोड़=*10000000 अरब=*1000000000"

_UNITS_FIRST = frozenset({"de", "nl", "ar"})
_TEN_AND_ONES = frozenset({"fr", "tr", "hu", "zh-cn", "ja", "ko"})
"""Where eleven is ten and one."""

_JOINED = frozenset({"zh-cn", "ja", "ko"})
_TENTHS = {
    "ru": {"десят[ыа]": 1, "сот[ыа]": 2, "тысячн": 3, "десятитысячн": 4},
    "hu": {"tized": 1, "század": 2, "ezred": 3, "tízezred": 4},
}


@cache
def _table(language: str) -> dict[str, tuple[str, int]]:
    table: dict[str, tuple[str, int]] = {}
    for entry in _TABLES[language].split():
        word, _, value = entry.partition("=")
        kind = value[0] if value[0] in "*+" else "="
        table[word] = (kind, int(value.strip("*+") or 0))
    return table


def _tokens(word: str, language: str) -> list[tuple[str, int]] | None:
    """The number words that a word is made of; None for another word."""
    table = _table(language)
    ways: list[list[str] | None] = [[], *[None] * len(word)]
    for end in range(1, len(word) + 1):
        for start in range(end):
            way = ways[start]
            if (
                way is not None
                and word[start:end] in table
                and (ways[end] is None or len(way) + 1 < len(ways[end] or []))
            ):
                ways[end] = [*way, word[start:end]]
    found = ways[-1]
    return [table[part] for part in found] if found else None


class _Number:
    def __init__(self) -> None:
        self.stack: list[int] = []
        self.joined = False

    def takes(self, kind: str, value: int, language: str) -> bool:
        """Whether a token continues this number; it is added where it does."""
        if kind == "+":
            self.joined = bool(self.stack)
            return bool(self.stack)
        joined, self.joined = self.joined, False
        if kind == "*":
            below = 0
            while self.stack and self.stack[-1] < value:
                below += self.stack.pop()
            if self.stack and self.stack[-1] == value and not below:
                return False
            self.stack.append((below or 1) * value)
            return True
        if not self.stack:
            self.stack.append(value)
            return True
        last = self.stack[-1]
        if language == "zh-cn" and value == 0 and last % 100 == 0 and last:
            return True  # stands for places that are empty
        room = 1
        while last and last % (room * 10) == 0:
            room *= 10
        units_first = (
            language in _UNITS_FIRST and 0 < last < 10 and value % 10 == 0 and 10 <= value < 100
        )
        teen = language == "ar" and value == 10 and not joined
        if language == "fr" and last in (60, 80) and value < 20:
            room = 20
        fits = 0 < value < room and (last != 10 or language in _TEN_AND_ONES)
        if fits or (units_first and (joined or teen)):
            self.stack.append(value)
            if units_first:
                self.stack[-2:] = [last + value]
            return True
        return False

    @property
    def value(self) -> int:
        return sum(self.stack)


def read(text: str, language: str) -> list[int]:
    """The numbers that `text` says, in their order."""
    text = text.lower().replace("quatre-vingt", "quatrevingt").replace("pět set", "pětset")
    if language == "cs":
        text = re.sub(r"(dvě|tři|čtyři|\w+) (stě|sta|set)\b", r"\1\2", text)
    pieces = list(text) if language in _JOINED else re.findall(r"[^\s,.;:!?\-–/]+|,", text)
    numbers: list[int] = []
    current = _Number()

    def close() -> None:
        nonlocal current
        if current.stack:
            numbers.append(current.value)
        current = _Number()

    for piece in pieces:
        if piece == "," and language == "en" and current.stack and current.stack[-1] >= 1000:
            continue
        tokens = _tokens(piece, language)
        if tokens is None:
            if language not in _JOINED or piece.strip():
                close()
            continue
        for kind, value in tokens:
            if not current.takes(kind, value, language):
                close()
                if kind != "+":
                    current.takes(kind, value, language)
    close()
    return numbers


def read_decimal(text: str, language: str) -> str:
    """A number with a fraction, as digits with a full stop."""
    whole, *rest = read(text, language)
    fraction = "".join(map(str, rest))
    for stem, places in sorted(_TENTHS.get(language, {}).items(), key=lambda item: -len(item[0])):
        if re.search(rf"\b{stem}", text):
            fraction = fraction.zfill(places)
            break
    return f"{whole}.{fraction}"
