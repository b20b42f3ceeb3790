"""Words after which more is to come, by language: what `end_of_turn` looks a transcript's last
words up in."""

from __future__ import annotations

from dataclasses import dataclass


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_NONE = frozenset[str]()


@dataclass(frozen=True)
class LeadingWords:
    """A language's words that lead on when they come last.

    `always`: they end nothing: conjunctions, articles, possessives, prepositions, fillers.
    `statements`: they end a question ("How is she?"), no statement. `stranded`: prepositions that
    end a question with a question word ("What are you looking for?"), nothing else. `questions`:
    those question words. `seldom`: they end a sentence now and then. `particles`: prepositions
    that, with one of `phrasal` before them, may belong to the verb ("Turn the lights on."); without
    one they lead on. `digits`: words of which a number that is dictated consists. `ones`: of them,
    those that are pronouns or articles, too, and so count after another one alone.
    """

    always: frozenset[str] = _NONE
    statements: frozenset[str] = _NONE
    stranded: frozenset[str] = _NONE
    questions: frozenset[str] = _NONE
    seldom: frozenset[str] = _NONE
    particles: frozenset[str] = _NONE
    phrasal: frozenset[str] = _NONE
    digits: frozenset[str] = _NONE
    ones: frozenset[str] = _NONE


NO_WORDS = LeadingWords()
_CHINESE = LeadingWords(
    always=_words("和 跟 与 或 或者 还是 但是 可是 不过 因为 所以 如果 要是 虽然 而且 并且 然后 的话 那个 这个 把 被 从"
                  " 向 往 比 由 关于 為了 为了 還是 因為 與 從 關於 那個 這個 雖然 並且 然後 的話 嗯 呃"),
    seldom=_words("在 对 給 给 對"),
    digits=_words("零 一 二 三 四 五 六 七 八 九 十 百 千 两 兩 〇"),
    ones=_words("零 一 二 三 四 五 六 七 八 九 十 百 千 两 兩 〇"),  # as in the names of days and months
)  # fmt: skip
LEADING: dict[str, LeadingWords] = {
    "en": LeadingWords(
        always=_words("and or nor but because so if when while although though unless until whether than then the a an my your"
                      " its our their um uh er hmm well every very plus minus dot slash underscore as onto toward towards during"
                      " among upon via per despite beside besides except regarding concerning"),
        statements=_words("that's what's is are was were am be i i'm we he she they his it's he's she's we're you're they're"),
        stranded=_words("of to for with from at into under without between against about like"),
        questions=_words("what who whom whose which where how why when what's who's where's"),
        seldom=_words("that which who will can have has had do does did this these some any would could should"),
        particles=_words("on in by over"),
        phrasal=_words("turn turned turning switch switched put come came coming go going goes went log logged bring brought"
                       " carry carried move moved moving plug plugged hold hang hung pass passed think start started"),
        digits=_words("zero oh one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
                      " seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand"
                      " million double triple"),
        ones=_words("one oh double"),
    ),
    "ar": LeadingWords(
        always=_words("و أو او أم ام لكن لكنّ ولكن لأن لان إذا اذا لو لولا أن ان إن بأن لأنه التي الذي الذين اللذان اللواتي ثم حتى بل"
                      " يعني هل قد سوف لن لم يا في إلى الى على عن مع بين عند منذ ضد بدون دون لدى خلال حول حوالي نحو مثل كل بعض غير سوى"
                      " إلا الا لكي كي كما بينما عندما حين حيث كأن أثناء بسبب إما أما اما اه آه امم"),
        statements=_words("هو هي هم"),
        stranded=_words("من"),
        questions=_words("من"),
        seldom=_words("بعد قبل هذا هذه ذلك تلك كان كانت"),
        digits=_words("صفر واحد واحدة اثنان اثنين اثنتان اثنتين إثنان إثنين ثلاثة ثلاث أربعة اربعة أربع اربع خمسة خمس ستة ست سبعة سبع"
                      " ثمانية ثماني ثمان تسعة تسع عشرة عشر عشرون عشرين ثلاثون ثلاثين أربعون أربعين اربعين خمسون خمسين ستون ستين"
                      " سبعون سبعين ثمانون ثمانين تسعون تسعين مئة مائة ألف"),
        ones=_words("واحد واحدة"),
    ),
    "de": LeadingWords(
        always=_words("und oder aber weil wenn dass denn sondern ob obwohl damit als der die das den dem des ein eine einen einem"
                      " einer eines mein meine meinen meinem meiner dein deine deinen seine seinen ihre ihren unsere unser euer äh"
                      " ähm also sehr von für zum zur im am vom beim ins ans ohne gegen zwischen durch wegen während seit bis"
                      " entlang hinter neben trotz statt pro per"),
        statements=_words("ich wir ihr er ist sind war hat haben kann will"),
        seldom=_words("mit bei nach aus zu in auf an über unter vor um möchte sein"),
        digits=_words("null eins ein zwei zwo drei vier fünf sechs sieben acht neun zehn elf zwölf zwanzig dreißig vierzig"
                      " fünfzig sechzig siebzig achtzig neunzig hundert tausend"),
        ones=_words("ein"),
    ),
    "fr": LeadingWords(
        always=_words("et ou ni mais parce que qu puisque lorsque quand donc car si comme la le l les un une des du au aux mon ma mes"
                      " ton ta tes son sa ses notre nos votre vos leur leurs j euh ben très de d à en dans pour avec sans sur sous"
                      " chez par vers entre depuis pendant dès jusqu jusque malgré selon contre parmi afin quel quelle"),
        statements=_words("je tu il elle on nous vous ils elles est sont c'est s'est"),
        seldom=_words("qui dont ce cette ces"),
        digits=_words("zéro un une deux trois quatre cinq six sept huit neuf dix onze douze treize quatorze quinze seize vingt"
                      " trente quarante cinquante soixante cent mille"),
        ones=_words("un une"),
    ),
    "es": LeadingWords(
        always=_words("y e o u ni pero sino porque que si cuando mientras aunque el la los las un una unos unas mi mis tu tus su sus"
                      " nuestro nuestra eh muy del al de a en con por para sin sobre entre hasta desde hacia según contra durante"
                      " mediante ante bajo tras"),
        statements=_words("es son está están"),
        seldom=_words("como quiero este esta estos estas"),
        digits=_words("cero uno una dos tres cuatro cinco seis siete ocho nueve diez once doce trece catorce quince veinte treinta"
                      " cuarenta cincuenta sesenta setenta ochenta noventa cien ciento mil"),
        ones=_words("uno una"),
    ),
    "it": LeadingWords(
        always=_words("e ed o oppure ma però perché che se quando mentre anche il lo la i gli le l un uno una mio mia miei tuo tua suo"
                      " sua nostro eh molto del dello della dei degli delle al allo alla ai agli alle dal dalla nel nella nei"
                      " sul sulla di a da in con su per tra fra senza verso durante contro"),
        statements=_words("è sono"),
        seldom=_words("come questo questa dopo prima"),
        digits=_words("zero uno una due tre quattro cinque sei sette otto nove dieci undici dodici venti trenta quaranta cinquanta"
                      " sessanta settanta ottanta novanta cento mille"),
        ones=_words("uno una sei"),
    ),
    "pt": LeadingWords(
        always=_words("e ou nem mas porque que se quando enquanto embora o a os as um uma uns umas meu minha meus minhas seu sua"
                      " nosso nossa eh muito do da dos das no na nos nas ao aos à às pelo pela num numa de em com por para pra sem"
                      " sobre entre até desde contra durante"),
        statements=_words("é são está"),
        seldom=_words("como este esta esse essa"),
        digits=_words("zero um uma dois duas três quatro cinco seis meia sete oito nove dez onze doze vinte trinta quarenta cinquenta"
                      " sessenta setenta oitenta noventa cem cento mil"),
        ones=_words("um uma meia"),
    ),
    "nl": LeadingWords(
        always=_words("en of maar omdat want als dat terwijl hoewel tenzij de een mijn jouw zijn haar ons onze hun eh uh heel van voor"
                      " zonder tussen tijdens tegen sinds tot bij"),
        statements=_words("het ik we wij hij ze is"),
        seldom=_words("met naar uit in op aan over onder te om"),
        digits=_words("nul een één twee drie vier vijf zes zeven acht negen tien elf twaalf twintig dertig veertig vijftig zestig"
                      " zeventig tachtig negentig honderd duizend"),
        ones=_words("een één"),
    ),
    "sv": LeadingWords(
        always=_words("och eller men utan att eftersom när medan fast en ett min mitt mina din ditt sin vår er eh väldigt"
                      " från mellan genom hos sedan"),
        statements=_words("jag du han hon vi är var"),
        seldom=_words("den det om mot under av för till med i på vid efter"),
        digits=_words("noll ett en två tre fyra fem sex sju åtta nio tio elva tolv tjugo trettio fyrtio femtio hundra tusen"),
        ones=_words("ett en"),
    ),
    "da": LeadingWords(
        always=_words("og eller men at fordi når mens en et min mit mine din dit sin vores eh meget fra mellem uden hos ved"),
        statements=_words("jeg du han hun vi er var"),
        seldom=_words("den det om af for til med i på over under efter"),
        digits=_words("nul en et to tre fire fem seks syv otte ni ti elleve tolv tyve tredive fyrre hundrede tusind"),
        ones=_words("en et"),
    ),
    "no": LeadingWords(
        always=_words("og eller men at fordi når mens en ei et min mitt mine din ditt sin vår eh veldig fra mellom uten hos ved"),
        statements=_words("jeg du han hun vi er var"),
        seldom=_words("den det om av for til med i på over under etter"),
        digits=_words("null en ett to tre fire fem seks sju syv åtte ni ti elleve tolv tjue tretti førti femti hundre tusen"),
        ones=_words("en ett"),
    ),
    "pl": LeadingWords(
        always=_words("i oraz a albo lub ale bo ponieważ że żeby jeśli gdy kiedy chociaż mój moja moje twój swój bardzo w we z ze na do"
                      " od dla po przy przez pod nad przed za bez między o u"),
        statements=_words("jest są"),
        digits=_words("zero jeden jedna dwa trzy cztery pięć sześć siedem osiem dziewięć dziesięć dwadzieścia trzydzieści sto tysiąc"),
        ones=_words("jeden jedna"),
    ),
    "cs": LeadingWords(
        always=_words("a i nebo ale protože že aby jestli když ačkoli můj moje tvůj svůj velmi v ve z ze na do od pro po při přes pod nad"
                      " před za bez mezi o u k ke s"),
        statements=_words("je jsou"),
        digits=_words("nula jeden jedna dva dvě tři čtyři pět šest sedm osm devět deset dvacet třicet sto tisíc"),
        ones=_words("jeden jedna"),
    ),
    "ru": LeadingWords(
        always=_words("и или но а потому если когда чтобы хотя мой моя моё мои твой твоя его её их наш ваш э очень в во на с со к ко о"
                      " об от до для из у за под над без между через при про около перед"),
        statements=_words("что"),
        seldom=_words("как после"),
        digits=_words("ноль один одна два две три четыре пять шесть семь восемь девять десять одиннадцать двенадцать двадцать"
                      " тридцать сорок пятьдесят шестьдесят семьдесят восемьдесят девяносто сто двести тысяча"),
        ones=_words("один одна"),
    ),
    "uk": LeadingWords(
        always=_words("і й та або але бо якщо коли щоб хоча мій моя моє твій його її їх наш ваш дуже в у на з із зі до від для за під"
                      " над без між через при про біля перед"),
        statements=_words("що"),
        seldom=_words("як тому після"),
        digits=_words("нуль один одна два дві три чотири п'ять шість сім вісім дев'ять десять двадцять тридцять сорок сто тисяча"),
        ones=_words("один одна"),
    ),
    "el": LeadingWords(
        always=_words("και κι ή αλλά επειδή ότι αν όταν ενώ ο η το οι τα του της των τον την ένας ένα μια σε στο στη στην"
                      " στον στα με από για χωρίς προς μέχρι"),
        seldom=_words("πολύ είναι"),
        digits=_words("μηδέν ένα δύο δυο τρία τέσσερα πέντε έξι επτά εφτά οκτώ οχτώ εννέα εννιά δέκα είκοσι τριάντα εκατό χίλια"),
        ones=_words("ένα"),
    ),
    "ro": LeadingWords(
        always=_words("și sau dar pentru că dacă când deși un o unei unui cel cea meu mea mei mele foarte în din de la cu pe fără despre"
                      " între până spre sub prin"),
        statements=_words("este sunt e"),
        digits=_words("zero unu una doi două trei patru cinci șase șapte opt nouă zece douăzeci treizeci sută mie"),
        ones=_words("unu una două"),
    ),
    "hu": LeadingWords(
        always=_words("és vagy de mert hogy ha amikor bár a az egy nagyon"),
        digits=_words("nulla egy kettő két három négy öt hat hét nyolc kilenc tíz húsz harminc száz ezer"),
        ones=_words("egy hét"),
    ),
    "fi": LeadingWords(
        always=_words("ja tai mutta koska että jos kun vaikka sekä ilman minun sinun hänen meidän teidän heidän"),
        digits=_words("nolla yksi kaksi kolme neljä viisi kuusi seitsemän kahdeksan yhdeksän kymmenen sata tuhat"),
        ones=_words("yksi"),
    ),
    "tr": LeadingWords(
        always=_words("ve veya ya ama fakat çünkü eğer ki bir için ile"),
        seldom=_words("kadar gibi"),
        digits=_words("sıfır bir iki üç dört beş altı yedi sekiz dokuz on yirmi otuz kırk elli altmış yetmiş seksen doksan yüz bin"),
        ones=_words("bir"),
    ),
    "fa": LeadingWords(
        always=_words("و یا اما ولی چون زیرا که اگر وقتی تا در به از با برای بدون بین درباره روی هر یک"),
        seldom=_words("این آن"),
        digits=_words("صفر یک دو سه چهار پنج شش هفت هشت نه ده بیست سی چهل پنجاه صد هزار"),
        ones=_words("یک نه"),
    ),
    "ur": LeadingWords(
        always=_words("اور یا لیکن مگر کیونکہ کہ اگر جب تو کا کی کے کو میں سے پر نے میرا میری ایک بہت"),
        digits=_words("صفر ایک دو تین چار پانچ چھ سات آٹھ نو دس بیس سو ہزار"),
        ones=_words("ایک"),
    ),
    "hi": LeadingWords(
        always=_words("और या लेकिन मगर क्योंकि कि अगर जब तो का की के को में से पर ने मेरा मेरी मेरे एक बहुत"),
        digits=_words("शून्य ज़ीरो एक दो तीन चार पांच पाँच छह छः सात आठ नौ दस बीस तीस सौ हज़ार"),
        ones=_words("एक"),
    ),
    "bn": LeadingWords(
        always=_words("এবং ও বা কিন্তু কারণ যে যদি যখন তবে আমার একটি একটা জন্য থেকে"),
        digits=_words("শূন্য এক দুই তিন চার পাঁচ ছয় সাত আট নয় দশ বিশ শত হাজার"),
        ones=_words("এক নয়"),
    ),
    "ta": LeadingWords(
        always=_words("மற்றும் அல்லது ஆனால் ஏனென்றால் ஏனெனில் என் எனது ஒரு"),
        digits=_words("பூஜ்ஜியம் ஒன்று இரண்டு மூன்று நான்கு ஐந்து ஆறு ஏழு எட்டு ஒன்பது பத்து நூறு ஆயிரம்"),
        ones=_words("ஒன்று"),
    ),
    "he": LeadingWords(
        always=_words("ו או אבל כי אם כאשר כש של את על עם אל בין בלי ליד כל ה ב ל מ"),
        statements=_words("הוא היא הם"),
        seldom=_words("לפני אחרי"),
        digits=_words("אפס אחד אחת שניים שתיים שלוש שלושה ארבע ארבעה חמש חמישה שש שישה שבע שבעה שמונה תשע תשעה עשר עשרים מאה אלף"),
        ones=_words("אחד אחת"),
    ),
    "id": LeadingWords(
        always=_words("dan atau tetapi tapi karena bahwa jika kalau ketika yang di ke dari dengan untuk pada oleh tanpa antara sebuah"
                      " seorang sangat"),
        digits=_words("nol satu dua tiga empat lima enam tujuh delapan sembilan sepuluh puluh ratus ribu"),
        ones=_words("satu"),
    ),
    "vi": LeadingWords(
        always=_words("và hoặc nhưng vì nếu khi mà của với cho ở tại từ các những một rất"),
        digits=_words("không một hai ba bốn năm sáu bảy tám chín mười"),
        ones=_words("không một năm"),
    ),
    "ko": LeadingWords(
        always=_words("그리고 또는 하지만 그런데 그러나 왜냐하면 만약 그래서 저는 제가 그 이 저 음 어"),
        digits=_words("영 공 일 이 삼 사 오 육 칠 팔 구 십 백 천 하나 둘 셋 넷 다섯 여섯 일곱 여덟 아홉 열"),
        ones=_words("이 일 사 공 영 구 천 열 백"),
    ),
    "ja": LeadingWords(
        always=_words("けど けれど から ので て で と が は を に の えーと あの そして または しかし でも"),
        seldom=_words("も や へ"),
        digits=_words("〇 一 二 三 四 五 六 七 八 九 十 百 千"),
        ones=_words("〇 一 二 三 四 五 六 七 八 九 十 百 千"),
    ),
    "zh": _CHINESE,
    "yue": _CHINESE,
    "th": LeadingWords(
        always=_words("และ หรือ แต่ เพราะ ถ้า เมื่อ ที่ ของ กับ จาก ใน เพื่อ โดย"),
        digits=_words("ศูนย์ หนึ่ง สอง สาม สี่ ห้า หก เจ็ด แปด เก้า สิบ"),
    ),
}  # fmt: skip
"""By Whisper's code of the language.

One without a row is judged by its marks, digits and spelled letters alone.
"""

LETTERS = {
    "en": frozenset("I"),
}
"""Capital letters that are words by themselves: alone they spell nothing."""
