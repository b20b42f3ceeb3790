"""Chinese numbers. Which readings are chosen follows upstream: long bare numbers digit by digit,
counted ones as amounts.

Pure; the text that comes in has no dates, times or prices any more.
"""

from __future__ import annotations

import re
import string

from voxturn.runtime.text.normalize.spelling import substitute

_DIGITS = "零一二三四五六七八九"
_SMALL = ("", "十", "百", "千")
_LARGE = ("", "万", "亿", "万亿")
_COUNTED = (
    "匹张座回场尾条个首阙阵网炮顶丘棵只支袭辆挑担颗壳窠曲墙群腔砣客贯扎捆刀令打手罗坡山岭江溪钟队单双对出口头脚板跳枝件贴"
    "针线管名位身堂课本页家户层丝毫厘分钱两斤铢石钧锱忽寸尺丈里寻常铺程撮勺合升斗盘碗碟叠桶笼盆盒杯斛锅簋篮罐瓶壶卮盏箩箱煲"
    "啖袋钵年月日季刻时周天秒旬纪岁世更夜春夏秋冬代伏辈丸泡粒幢堆根道面片块元角毛万亿千百"
)
_MOBILE = re.compile(r"(?<!\d)(?:\+?86 ?)?1(?:[38]\d|5[0-35-9]|7[678]|9[89])\d{8}(?!\d)")
_FRACTION = re.compile(r"(?<!\d)(\d{1,15})/(\d{1,15})(?!\d)")
_PERCENT = re.compile(r"(?<![\d.])(\d+(?:\.\d+)?)%")
_YEAR = re.compile(r"(\d{4}|[089]\d)(?=年)")
_AMOUNT = re.compile(
    rf"(?<![\d.])(\d{{1,15}}(?:\.\d+)?)(?=[多余几]?(?:[{_COUNTED}]|[千分厘毫微][克米]))"
)
_CODE = re.compile(r"\d{4,}")
_NUMBERED = re.compile(
    r"(?:编号|号码|密码|代码|邮编|房间|房号|航班|车牌|学号|工号|账号|卡号|验证码|第|型号|邮政编码|区号|尾号|门牌|单号|订单号)[是为:：]?$"
)
"""What is before a code, not before an amount."""

_NOT_COUNTED = frozenset("年号路届级型版房室楼") | frozenset("和或与及至到是的在了也都就而但，。")
_TWO = re.compile(
    r"(?<![\d.,:：第/初])2(?=(?:个(?!位)|位(?!数)|名|人(?!称)|只|条|张|本(?!科)|块|杯|瓶|件|辆|台|间|家|双|对|支|枝|朵|棵|头|匹|座|栋|架|艘|斤|公斤|公里|米|克|吨|升|岁|年(?!级|代)|天|周|小时|分钟|秒|次|遍|种|份|句|封|碗|片|根|层|套|场|顿|元|千|万|亿|点|倍|成|部|门|首|幅|面|群|批|滴|口|盘|箱|包|袋|盒|把|串|道|段|篇|页|处|步|声|下|回|趟|阵|番|代|辈|项|起|桶|美元|欧元|英镑|角|英里|英尺|平方))"
)
_COUNT_OF_TWO = "两"
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_PUNCTUATION = str.maketrans(
    dict.fromkeys(
        "！？｡。＂＃＄％＆＇（）＊＋，－／：；＜＝＞＠［＼］＾＿｀｛｜｝～｟｠｢｣､、〃《》「」『』【】〔〕〖〗〘〙〚〛〜〝〞〟〰〾〿–—‘’‛“”„‟…‧﹏·〈〉"
        + string.punctuation,
        ",",
    )
)


def cardinal(digits: str) -> str:
    """A number as an amount: 一万两千; a fraction's digits one by one."""
    whole, point, fraction = digits.partition(".")
    said = _whole(whole)
    return f"{said}点{one_by_one(fraction)}" if point else said


def one_by_one(digits: str) -> str:
    """Every digit by itself: a year, a telephone."""
    return "".join(_DIGITS[int(digit)] for digit in digits)


def _whole(digits: str) -> str:
    digits = digits.lstrip("0") or "0"
    if digits == "0" or len(digits) > 4 * len(_LARGE):
        return one_by_one(digits)
    said, gap = "", False
    for at, digit in enumerate(digits):
        place = len(digits) - 1 - at
        if digit == "0":
            gap = bool(said)
        else:
            if gap:
                said += "零"
            # 两 before a unit, but 二十, and 二 after a zero
            two = place % 4 != 1 and place and not gap and not said.endswith("十")
            said += ("两" if digit == "2" and two else _DIGITS[int(digit)]) + _SMALL[place % 4]
            gap = False
        if place % 4 == 0 and place and any(d != "0" for d in digits[max(0, at - 3) : at + 1]):
            said, gap = said + _LARGE[place // 4], False
    return said.removeprefix("一") if said.startswith("一十") else said


def numbers(text: str) -> str:
    """All numbers in `text` in words."""
    text = substitute(_YEAR, lambda m: one_by_one(m[1]), text)
    text = substitute(_MOBILE, lambda m: one_by_one(re.sub(r"\D", "", m[0])), text)
    text = substitute(_FRACTION, lambda m: f"{cardinal(m[2])}分之{cardinal(m[1])}", text)
    text = substitute(_PERCENT, lambda m: f"百分之{cardinal(m[1])}", text)
    text = substitute(_TWO, _COUNT_OF_TWO, text)
    text = substitute(_AMOUNT, lambda m: cardinal(m[1]), text)
    text = substitute(_CODE, _code, text)
    return substitute(_NUMBER, lambda m: cardinal(m[0]), text)


def _code(match: re.Match[str]) -> str:
    """A long number: an amount where a word follows that it counts, otherwise digit by digit."""
    following = match.string[match.end() : match.end() + 1]
    counts = "\u4e00" <= following <= "\u9fff" and following not in _NOT_COUNTED
    numbered = _NUMBERED.search(match.string, max(0, match.start() - 6), match.start())
    if counts and not numbered and match[0][0] != "0":
        return cardinal(match[0])
    return one_by_one(match[0])


def commas(text: str) -> str:
    """Every punctuation mark as a comma, the only one in upstream's Chinese."""
    return text.translate(_PUNCTUATION)
