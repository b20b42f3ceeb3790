"""Chinese numbers. Which readings are chosen follows upstream: long bare numbers digit by digit, counted ones as amounts.

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
    text = substitute(_AMOUNT, lambda m: cardinal(m[1]), text)
    text = substitute(_CODE, lambda m: one_by_one(m[0]), text)
    return substitute(_NUMBER, lambda m: cardinal(m[0]), text)


def commas(text: str) -> str:
    """Every punctuation mark as a comma, the only one in upstream's Chinese."""
    return text.translate(_PUNCTUATION)
