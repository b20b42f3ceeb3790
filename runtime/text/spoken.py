"""What of a written reply is said: its words, without Markdown, HTML, code, pictures and thoughts.
Pure.

The parsers of Markdown (markdown-it-py, mistune) want the whole document, and what a line is may
change with the next one; a voice that waits for that is late. Here every mark is decided where it
stands. The price: what `*` pairs with what, headings underlined and links defined elsewhere are not
known, and need not be to say the words.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Iterator
from functools import lru_cache
from html import unescape
from itertools import groupby
from typing import NamedTuple

from voxturn.runtime.text import styles, thought
from voxturn.runtime.text.split import CLOSERS, ENDS, PAUSES, Clause

_ENDED = frozenset(ENDS + PAUSES)
_TIGHT = _ENDED - set("—–") | set(")]}%”’»」』）")  # nothing is set before them

_BLANK = r"[^\S\n]"
_LINE_MARK = r"[-+*_=|:>#•‣◦▪●○–—]"
_LINE_BEGUN = re.compile(
    rf"{_BLANK}*(?:(?:{_LINE_MARK}|{_BLANK})*|~~?|~{{3,8}}[^\n]*|\d{{1,3}}(?:[.)][*_]{{0,2}})?|\[[ xX]?\]?)"
)
_BLANKS, _MARKS_ALONE = (
    re.compile(rf"{_BLANK}+"),
    re.compile(rf"(?:{_LINE_MARK}|{_BLANK})+(?=\n|\Z)"),
)
_FENCE = re.compile(r"(`{3,8})[^`\n]*(?=\n|\Z)")
_TILDES = re.compile(r"(~{3,8})[^\n]*(?=\n|\Z)")
_MARKED = re.compile(rf">(?![\d=])|(?:[-+*–—]|#{{1,6}}|\[[ xX]\])(?={_BLANK})|[|•‣◦▪●○]")
_NUMBERED = re.compile(rf"(\d{{1,3}})[.)](?:[*_]{{2}})?(?={_BLANK})")

_WORD = re.compile(r"[A-Za-z0-9]+|[^\W_A-Za-z0-9]+")
_MARKS = re.compile(r"\*+|_+|~+|`+|#+|\|+|[-=]{1,2}>?")
_SEPARATORS = frozenset("→⇒➔➜➡⟶⟹•")
_JOINER = "\u200d"

_LINK_TEXT = r"(?:[^\[\]\n]|\[[^\[\]\n]{0,80}\]){0,200}"
_LINK_TARGET = r"(?:[^()\n]|\([^()\n]{0,200}\)){0,600}"
_HOST = re.compile(r"(?:https?://)?(?:[^/?#@]*@)?(?:www\.)?([^/?#:]*)", re.IGNORECASE)
_CODE_SIGNS = frozenset('{}[]()<>;|\\^~$&*"`!')
_BREAKS = re.compile(r"br|p|div|li|[uo]l|tr|table|h[r1-6]|blockquote")
_UNSAID = re.compile(rf"{thought.TAG_NAME.pattern}|script|style")
_LONGEST_END = 64  # of what ends a stretch that is not said
_MARKUP = re.compile(r"[\\*_~`#|<>&$]|(?<=[wW]{3})\.|:(?=//)")
_BEGINS_LINE = re.compile(rf"(?m)^({_BLANK}*(?:\d{{1,3}})?)([-+.)=:](?=\s))")
_TAGGED = re.compile(rf"\[(?={styles.NAME}\])")
_PIECE = 1024  # characters that are taken at once: what waits is copied at each step

_FRACTION = re.compile(r"\\[dt]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}")
_POWER = re.compile(r"\^(?:\{([23])\}|([23])(?!\d))")
_COMMAND = re.compile(r"\\([A-Za-z]+)|\\([%$#&])|\\.", re.DOTALL)
_COMMANDS = {
    "times": "×", "cdot": "×", "div": "÷", "pm": "±", "approx": "≈", "ne": "≠", "neq": "≠", "le": "≤", "leq": "≤",
    "ge": "≥", "geq": "≥", "circ": "°", "sqrt": "√", "infty": "∞", "to": "→", "rightarrow": "→",
    **dict.fromkeys(("left", "right", "text", "mathrm", "mathbf", "quad"), ""),
}  # fmt: skip


class Spoken:
    """Feed a reply as it comes; get what is said of it as soon as that is certain. How it is cut
    changes nothing.

    One object a reply.

    - Emphasis, headings, quotes and items lose their marks. A heading, an item and a table's row
      end as clauses, cells are set apart by commas, lines of marks alone are dropped. Items
      numbered from 1 keep their number: "1: ".
    - Inline code stays where it reads as words. Fenced code is dropped, up to its end or the
      reply's: only the end of a line is left of it.
    - A link is its text, an image its description, an address its host. Tags, comments, `<think>`
      and what it encloses are dropped, entities decoded, formulas said without their delimiters.
    - Tags of a style (`text/styles.py`) are dropped; `pieces` says what is in which style. A style
      holds until the next tag or the reply's end. `styles` are those that the voice has.
    - Pictures are dropped; the digit of a keycap stays, an arrow is a comma. `2 * 3`, `snake_case`,
      `5 < 6`, `10~20`, #1 and all signs that a text front end has names for stay.

    Words pass at once. What waits: spaces and marks for the character after them, and what `[`,
    `<`, `` ` ``, `$`, `\\(` or `https:` begins, for as long as it may become one of these
    constructs; at most some hundred characters.

    `in_thought`: the reply begins inside a thought that its prompt has opened, and nothing is said
    before `</think>` or another mark of `text/thought.py`. A reply that never has one is a thought
    alone. Without it, a lone `</think>` is dropped and what came before it has been said: a stream
    cannot take words back.
    """

    def __init__(self, *, in_thought: bool = False, styles: Collection[str] = ()) -> None:
        self._held, self._before = "", "\n"  # what is undecided, and the character before it
        # where a stretch ends that is not said
        self._until: re.Pattern[str] | None = thought.END if in_thought else None
        self._styles = styles
        self._style = ""
        self._out: list[str] = []
        self._pieces: list[SpokenText] = []
        self._last, self._number = (
            "",
            "0",
        )  # the last character that was said, the last numbered item
        self._begin_line()

    def push(self, piece: str) -> str:
        """What is certain now and was not given before."""
        return "".join(self.pieces(piece))

    def flush(self) -> str:
        """The reply ended: the rest."""
        return "".join(self.pieces("", final=True))

    def pieces(self, piece: str, *, final: bool = False) -> list[SpokenText]:
        """As `push` or, where the reply is `final`, `flush`: a text for each change of style."""
        self._held += piece.replace("\r", "")
        while self._held and self._step(final):
            pass
        if final:
            self._close_line()
        self._end_piece()
        pieces, self._pieces = self._pieces, []
        return pieces

    def _end_piece(self) -> None:
        if self._out:
            self._pieces.append(SpokenText("".join(self._out), style=self._style))
            self._out = []

    def _step(self, final: bool) -> bool:
        """Decide how the held text begins; False: that takes more of it."""
        if self._until:
            return self._leave(self._until)
        if self._held[0] == "\n":
            self._take(1)
            self._end_line()
            return True
        if self._fresh:
            if not final and _LINE_BEGUN.fullmatch(self._held):
                return False
            if self._line_mark():
                return True
        if (decided := self._construct(final)) is not None:
            return decided
        before, marks = self._before, _MARKS.match(self._held)
        if marks and marks.end() == len(self._held) and not final:
            return False
        if marks:
            self._mark(self._take(marks.end()), before)
        else:
            word = _WORD.match(self._held)
            self._put(self._take(word.end() if word else 1))
        return True

    def _construct(self, final: bool) -> bool | None:
        """None: no construct begins here; False: that is not certain."""
        first = self._held[0]
        if first.isalnum() and self._before.isascii() and self._before.isalnum():
            return None  # inside a word
        for construct in _CONSTRUCTS.get(first, ()):
            found = construct.whole.match(self._held)
            if found and not final and found.end() == len(self._held):
                return False
            if found and (construct.fits is None or construct.fits(self, found)):
                self._take(found.end())
                construct.act(self, found)
                return True
            if not final and construct.begun.fullmatch(self._held):
                return False
        return None

    def _take(self, count: int) -> str:
        taken, self._held = self._held[:count], self._held[count:]
        self._before = taken[-1]
        return taken

    def _leave(self, until: re.Pattern[str]) -> bool:
        """Go on after a stretch that is not said, if its end has come."""
        found = until.search(self._held)
        self._held = self._held[found.end() if found else -_LONGEST_END :]
        if found:
            self._until = None
        return found is not None

    # Lines.

    def _begin_line(self) -> None:
        self._fresh = True  # nothing but marks so far
        self._ended = True  # nothing of the next sentence was said
        self._said = self._block = self._row = self._strong = False
        self._gap, self._comma, self._dropped = (
            "",
            False,
            False,
        )  # between what was said last and what will be next

    def _close_line(self) -> None:
        if self._said and self._block and self._last not in _ENDED:
            self._out.append(".")

    def _end_line(self) -> None:
        self._close_line()
        if self._said:
            self._out.append("\n")
        self._begin_line()

    def _line_mark(self) -> bool:
        """Take a mark that stands before the text of a line, or a line without text."""
        if (alone := _BLANKS.match(self._held)) or (alone := _MARKS_ALONE.match(self._held)):
            self._take(alone.end())
        elif fence := _TILDES.match(self._held):
            self._take(fence.end())
            self._fence(fence)
        elif marked := _MARKED.match(self._held):
            mark = self._take(marked.end())
            self._block |= mark != ">"
            self._row = mark == "|"
            self._fresh = not self._row
        elif (numbered := _NUMBERED.match(self._held)) and int(numbered[1]) in (
            1,
            int(self._number) + 1,
        ):
            self._take(numbered.end())
            self._number, self._block = numbered[1], True
            self._put(f"{self._number}: ")
            self._fresh = True
        else:
            return False
        return True

    # Constructs; `found` has been taken.

    def _nothing(self, found: re.Match[str]) -> None:
        """Dropped without a trace."""

    def _fence(self, found: re.Match[str]) -> None:
        self._end_line()
        fence = found[1]
        self._until = re.compile(
            rf"\n[ \t>]{{0,16}}{fence[0]}{{{len(fence)},16}}[ \t]{{0,16}}(?=\n)"
        )

    def _code(self, found: re.Match[str]) -> None:
        code = found[2].replace("()", "")
        if any(char.isalnum() for char in code) and not _CODE_SIGNS & set(code):
            self._put(code)
        else:
            self._fresh, self._dropped = False, True

    def _link(self, found: re.Match[str]) -> None:
        self._held, self._before = found[1] + self._held, "["
        self._fresh, self._dropped = False, self._dropped or not found[1]

    def _autolink(self, found: re.Match[str]) -> None:
        self._put(found[1] if "@" in found[1] else _host(found[1]))

    def _address(self, found: re.Match[str]) -> None:
        address = found[0]
        while address[-1] in ".,;:!?'_~-" or (
            address[-1] == ")" and address.count("(") < address.count(")")
        ):
            address = address[:-1]
        self._held, self._before = found[0][len(address) :] + self._held, address[-1]
        self._put(_host(address))

    def _tagged(self, found: re.Match[str]) -> str | None:
        """The style that a tag asks for; None where it is text."""
        return styles.tagged_style(
            found[1],
            self._styles,
            begins=self._ended or self._fresh,
            after=found.string[found.end() : found.end() + 1],
        )

    def _is_tag(self, found: re.Match[str]) -> bool:
        return self._tagged(found) is not None

    def _change_style(self, found: re.Match[str]) -> None:
        self._end_piece()
        self._style = self._tagged(found) or ""
        self._dropped = True

    def _comment(self, found: re.Match[str]) -> None:
        self._until = re.compile("-->")

    def _tag(self, found: re.Match[str]) -> None:
        name = found[1].lower()
        if _UNSAID.fullmatch(name) and found[0][1] != "/" and found[0][-2] != "/":
            self._until = re.compile(rf"</{re.escape(name)}\s{{0,8}}>", re.IGNORECASE)
        elif _BREAKS.fullmatch(name):
            self._end_line()

    def _thought(self, found: re.Match[str]) -> None:
        """A mark that is no tag; one that begins nothing is dropped."""
        if thought.BEGIN.fullmatch(found[0]):
            self._until = re.compile(re.escape(thought.end_of(found[0])), re.IGNORECASE)

    def _entity(self, found: re.Match[str]) -> None:
        self._put(unescape(found[0]))

    def _escape(self, found: re.Match[str]) -> None:
        if found[1] not in "()[]":  # what is left of formulas without an end
            self._put(found[1])

    def _formula(self, found: re.Match[str]) -> None:
        self._put(_formula(found[1]))

    # Inside a line.

    def _mark(self, run: str, before: str) -> None:
        """A run of one sign that may be markup."""
        sign, after = run[0], self._held[:1]
        spaced = before.isspace() and (not after or after.isspace())
        if run[-1] == ">" or (sign == "|" and (self._row or spaced)):
            self._comma = True
        elif sign in "-=|" or (sign != "`" and _meant(run, before, after, self._strong)):
            self._put(run)
        elif sign == "*":
            self._strong = not _wordy(before) and bool(after) and not after.isspace()

    def _put(self, text: str) -> None:
        """Say `text`, less its pictures."""
        self._fresh = False
        for char in text:
            if char.isspace():
                self._gap = self._gap or char
            elif char in _SEPARATORS:
                self._comma = True
            elif _picture(char) or (char == _JOINER and self._dropped):
                self._dropped = True
            else:
                self._say(char)

    def _say(self, char: str) -> None:
        tight = char in _TIGHT
        if self._said and self._comma:
            self._out.append("" if tight else " " if self._last in _ENDED else ", ")
        elif self._said and not (tight and self._dropped):
            self._out.append(self._gap or (" " if self._dropped else ""))
        self._out.append(char)
        self._gap, self._comma, self._dropped = "", False, False
        self._said, self._last = True, char
        self._ended = char in ENDS or (self._ended and char in CLOSERS)


class SpokenText(Clause):
    """Text that is said as it stands: its markup was taken out.

    It is not cleaned again, which could change it. `style` is the one it is to be said in; empty:
    the voice's own.
    """

    style: str

    def __new__(cls, text: str, language: str = "", *, style: str = "") -> SpokenText:
        spoken = super().__new__(cls, text, language)
        spoken.style = style
        return spoken


def escaped(text: str) -> str:
    """Text that is said as it stands, written so that `Spoken` gives it back: for a reader that
    takes markup out itself."""
    marked = _TAGGED.sub("&#91;", _MARKUP.sub(r"\\\g<0>", text))
    return _BEGINS_LINE.sub(r"\1\\\2", marked)


def pieces_of(text: str) -> Iterator[str]:
    """A text of any length in pieces that `Spoken` and the splitter take in time proportional to
    its length."""
    for at in range(0, len(text), _PIECE):
        yield text[at : at + _PIECE]


def spoken_pieces(text: str, styles: Collection[str] = ()) -> Iterator[SpokenText]:
    """What is said of a whole text, piece by piece. `styles` are the voice's."""
    spoken = Spoken(styles=styles)
    for piece in pieces_of(text):
        yield from spoken.pieces(piece)
    yield from spoken.pieces("", final=True)


def styled_parts(text: str, styles: Collection[str] = ()) -> Iterator[SpokenText]:
    """What is said of a whole text, a part for each change of style; of one that was cleaned,
    itself."""
    if isinstance(text, SpokenText):
        yield text
        return
    for style, pieces in groupby(spoken_pieces(text, styles), key=lambda piece: piece.style):
        yield SpokenText("".join(pieces), style=style)


def spoken_text(text: str, styles: Collection[str] = ()) -> SpokenText:
    """What is said of a whole text in the style that it begins in; of one that was cleaned,
    itself."""
    parts = list(styled_parts(text, styles))
    if len(parts) == 1:
        return parts[0]
    return SpokenText("".join(parts), style=parts[0].style if parts else "")


class _Construct(NamedTuple):
    """Complete as `whole`; `begun` matches what may become that.

    What neither matches never will be one. `fits`: whether it is one where it stands; None: it is.
    """

    whole: re.Pattern[str]
    begun: re.Pattern[str]
    act: Callable[[Spoken, re.Match[str]], None]
    fits: Callable[[Spoken, re.Match[str]], bool] | None


def _construct(
    whole: str,
    begun: str,
    act: Callable[[Spoken, re.Match[str]], None],
    fits: Callable[[Spoken, re.Match[str]], bool] | None = None,
) -> _Construct:
    return _Construct(re.compile(whole, re.DOTALL), re.compile(begun, re.DOTALL), act, fits)


_LINKED = _construct(
    rf"!?\[({_LINK_TEXT})\](?:\({_LINK_TARGET}\)|\[[^\[\]\n]{{0,80}}\])",
    rf"!|!?\[{_LINK_TEXT}(?:\[[^\[\]\n]{{0,80}}|\](?:\({_LINK_TARGET}(?:\([^()\n]{{0,200}})?|\[[^\[\]\n]{{0,80}})?)?",
    Spoken._link,
)
_ADDRESS = _construct(
    r"(?i:https?://|www\.)[!#-)+-;=?-Z_a-z~]{1,1000}",
    r"(?i:h(?:t(?:t(?:p(?:s?(?::/{0,2})?)?)?)?)?|w{1,3}\.?)",
    Spoken._address,
)
_BRACKETED_THOUGHT = _construct(
    rf"(?i:{thought.BRACKETED})(?![(\[])", r"[\[◁]/?[A-Za-z]{0,10}[\]▷]?", Spoken._thought
)
_CONSTRUCTS: dict[str, tuple[_Construct, ...]] = {
    "`": (
        _construct(_FENCE.pattern, r"`{3,8}[^`\n]*", Spoken._fence),
        _construct(
            r"(`{1,8})(?!`)([^\n]{0,160}?[^`\n])\1(?!`)",
            r"`{1,8}(?:(?!`)[^\n]{0,168})?",
            Spoken._code,
        ),
    ),
    "[": (
        _construct(r"\[\^[^\]\s]{1,40}\]:?", r"\[(?:\^[^\]\s]{0,40})?", Spoken._nothing),
        _BRACKETED_THOUGHT,
        _construct(styles.TAGS, styles.BEGUN_TAGS, Spoken._change_style, Spoken._is_tag),
        _LINKED,
    ),
    "◁": (_BRACKETED_THOUGHT,),
    "!": (_LINKED,),
    "<": (
        _construct("<!--", "<!?-?", Spoken._comment),
        _construct(
            r"<(https?://[^\s<>]{1,600}|[^\s<>@]{1,64}@[^\s<>]{1,80})>",
            r"<[^\s<>]{0,600}",
            Spoken._autolink,
        ),
        _construct(
            rf"</?([A-Za-z][\w:-]{{0,30}})(?:{_BLANK}[^<>\n]{{0,200}}=[^<>\n]{{0,200}}|{_BLANK}[a-z]{{1,20}})?{_BLANK}?/?>",
            rf"</?(?:[A-Za-z][\w:-]{{0,30}}(?:{_BLANK}[^<>\n]{{0,403}})?)?/?",
            Spoken._tag,
        ),
        _construct(r"<\|[\w-]{1,40}\|>", r"<(?:\|[\w-]{0,40}\|?)?", Spoken._thought),
    ),
    "&": (
        _construct(
            r"&(?:#\d{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});",
            "&#?[A-Za-z0-9]{0,32}",
            Spoken._entity,
        ),
    ),
    "\\": (
        _construct(r"\\\((.{1,300}?)\\\)", r"\\(?:\(.{0,301})?", Spoken._formula),
        _construct(r"\\\[(.{1,300}?)\\\]", r"\\(?:\[.{0,301})?", Spoken._formula),
        _construct(r"\\([!-/:-@\[-`{-~]|(?=\n))", r"\\", Spoken._escape),
    ),
    "$": (
        _construct(r"\$\$([^$]{1,300})\$\$", r"\$(?:\$[^$]{0,300}\$?)?", Spoken._formula),
        _construct(r"\$\$", r"\$", Spoken._nothing),
        _construct(
            r"\$([A-Za-z\\({|][^$\n]{0,79}|\d[^\s$]{0,20}[\\^_=][^$\n]{0,79})(?<!\s)\$(?!\d)",
            r"\$(?:[A-Za-z\\({|][^$\n]{0,79}|\d[^\s$]{0,20}(?:[\\^_=][^$\n]{0,79})?)?",
            Spoken._formula,
        ),
    ),
    **dict.fromkeys("hHwW", (_ADDRESS,)),
}
"""By their first character, in the order in which they are tried."""


def _meant(run: str, before: str, after: str, strong: bool) -> bool:
    """Whether a run of signs between two characters is text: 2 * 3, snake_case, C#, #1, 10~20.
    `strong`: in emphasis."""
    inside = _wordy(before) and _wordy(after)
    if run[0] == "_":
        return inside
    if run[0] == "#":
        return _wordy(before) or after.isdigit()
    if inside and before.isdigit() and after.isdigit():
        return True
    if run != "*":
        return False
    factors = (before.isalnum() or before == ")") and (after.isalnum() or after == "(")
    return (before.isspace() and after == " ") or (
        factors and (before + after).isascii() and not strong
    )


def _wordy(char: str) -> bool:
    return char != "" and unicodedata.category(char)[0] in "LMN"


def _host(address: str) -> str:
    """What is said of an address: its host, without www."""
    found = _HOST.match(address)
    assert found
    return found[1]


def _formula(formula: str) -> str:
    """TeX as it can be said: signs instead of commands, other commands by their names, no braces."""

    def command(found: re.Match[str]) -> str:
        return _COMMANDS.get(found[1], found[1]) if found[1] else found[2] or " "

    formula = _POWER.sub(
        lambda found: "²" if "2" in found[0] else "³", _FRACTION.sub(r"\1/\2", formula)
    )
    return _COMMAND.sub(command, formula).translate(str.maketrans("_&", "  ", "{}"))


@lru_cache(maxsize=4096)
def _picture(char: str) -> bool:
    """Emoji and what they are put together from, arrows, box drawing, icons and control characters;
    not ° and №."""
    code, category = ord(char), unicodedata.category(char)
    if category == "So":
        return (
            (0x2100 <= code < 0x2C00 and char not in "№℃℉") or code >= 0xFFFC or char in "¦©®〽㊗㊙"
        )
    if category in ("Co", "Cc") or char in "\u20e3\ufe0e\ufe0fℹ〰":
        return True
    ranges = (
        (0x2190, 0x2200),
        (0x2500, 0x2600),
        (0x27F0, 0x2800),
        (0x2900, 0x2980),
        (0x1F000, 0x20000),
        (0xE0020, 0xE0080),
    )
    return any(begin <= code < end for begin, end in ranges)
