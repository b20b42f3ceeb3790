"""Whether what was said so far sounds finished. Pluggable; the default looks at how the transcript ends.

A speech model writes a full stop after many a sentence that was only interrupted, so the last word counts more than the
mark: nobody ends with "and the".
"""

from __future__ import annotations

import re

from voxturn.runtime.messages import Samples, Transcript

FINISHED, LIKELY, UNSURE, UNLIKELY, UNFINISHED = 1.0, 0.8, 0.5, 0.25, 0.0


class TextCompleteness:
    """An `EndOfTurn` that looks at the words alone.

    A question is finished, a sentence likely so; after a comma, a dash, an ellipsis or a word that leads on, it is not.
    A word that ends nothing but a question, as in "How is she?", does not lead on in one.
    Languages without a list of words are judged by their marks alone.
    """

    def chance(self, transcript: Transcript, samples: Samples) -> float:
        """From 0 (goes on) to 1 (is done); the samples are not looked at."""
        text, language = transcript.text, transcript.language
        bare = text.rstrip(_CLOSERS)
        if not bare or bare.endswith(_PAUSES):
            return UNFINISHED if bare else UNLIKELY
        never, asked, seldom = _LEADING_ON.get(language, _NO_WORDS)
        question, sentence = bare.endswith(_QUESTIONS), bare.endswith(_SENTENCES)
        if _ends_with(bare, language, never) or (
            _ends_with(bare, language, asked) and not question
        ):
            return UNFINISHED
        if _ends_with(bare, language, seldom):
            return UNSURE if question or sentence else UNFINISHED
        return FINISHED if question else LIKELY if sentence else UNLIKELY


def _ends_with(text: str, language: str, words: frozenset[str]) -> bool:
    """Whether the last word is one of these; where words are not spaced, whether the text ends with one."""
    bare = re.sub(r"\W+$", "", text).lower()
    if language in _UNSPACED:
        return bare.endswith(tuple(words))
    return re.split(r"[^\w']", bare)[-1] in words


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_CLOSERS = " \n\"'”’»)]}」』"
_QUESTIONS, _SENTENCES = ("?", "؟", "？"), (".", "!", "。", "！", "۔", "।")
_PAUSES = (",", ";", ":", "،", "؛", "、", "，", "；", "：", "-", "–", "—", "…", "...")
_UNSPACED = ("zh", "ja", "yue", "th")
_NO_WORD = frozenset[str]()
_NO_WORDS = (_NO_WORD, _NO_WORD, _NO_WORD)
_LEADING_ON = {
    "en": (
        _words("and or but because so if when while although unless until than then the a an my your its our their"
               " um uh er hmm well every very"),
        _words("that's is are was were am be i i'm we he she they his"),
        _words("of to for with from at in on by about into that which who as like between under over without would could"
               " should will can have has had do does did this these some any"),
    ),
    "de": (
        _words("und oder aber weil wenn dass denn sondern ob obwohl damit als der die das den dem des ein eine einen einem"
               " einer mein meine dein deine seine ihre äh ähm also sehr"),
        _words("ich wir ihr ist sind war hat haben kann will"),
        _words("von mit für bei nach aus zu zum zur im in auf an über unter ohne möchte sein"),
    ),
    "fr": (
        _words("et ou mais parce que qu donc car si quand la le les un une des du au aux mon ma mes ton ta tes son sa ses"
               " notre votre leur j euh ben très"),
        _words("je tu il elle on nous vous ils elles est sont"),
        _words("de d à en dans pour avec sans sur sous chez par vers qui dont c'est ce cette"),
    ),
    "es": (
        _words("y e o u pero porque que si cuando aunque el la los las un una unos unas mi tu su nuestro eh muy del al"),
        _words("es son"),
        _words("de a en con por para sin sobre entre hasta desde como quiero este esta"),
    ),
    "it": (
        _words("e ed o ma perché che se quando il lo la i gli le un uno una mio mia tuo tua suo sua eh molto del della"),
        _words("è sono"),
        _words("di a da in con su per tra fra senza come questo questa al alla nel nella"),
    ),
    "pt": (
        _words("e ou mas porque que se quando o a os as um uma meu minha seu sua eh muito do da dos das no na"),
        _words("é são"),
        _words("de em com por para sem sobre entre até desde como este esta ao"),
    ),
    "nl": (
        _words("en of maar omdat want als dat de een mijn jouw zijn haar ons eh uh heel"),
        _words("het ik we is"),
        _words("van met voor bij naar uit in op aan over onder zonder te om"),
    ),
    "ru": (
        _words("и или но а потому если когда чтобы хотя мой моя твой его её наш э очень"),
        _words("что"),
        _words("в во на с со к ко о об от до для из у за под над без между как"),
    ),
    "ar": (
        _words("و أو او لكن لأن لان إذا اذا أن ان إن التي الذي ثم حتى بل يعني هل"),
        _NO_WORD,
        _words("في من إلى الى على عن مع بين عند بعد قبل هذا هذه"),
    ),
    "zh": (
        _words("和 跟 或者 但是 可是 因为 所以 如果 而且 然后 的话 那个 这个"),
        _NO_WORD,
        _words("在 对 把 被 给 从"),
    ),
    "ja": (_words("けど けれど から ので て で と が は を に の えーと あの"), _NO_WORD, _words("も や へ")),
}  # fmt: skip
"""By language: words that never end what is said, those that end a question alone, and those that seldom end it."""
