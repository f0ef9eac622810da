"""Numbers with the scale words of Chinese, Japanese and Korean: 3万, 1.5万亿, 8,635亿元, 3万5千, 二百五十, 5천만 원."""

import re
from fractions import Fraction

DIGITS = {char: n for chars in ("零一二三四五六七八九", "〇壹贰叁肆伍陆柒捌玖") for n, char in enumerate(chars)}
DIGITS |= {"两": 2, "兩": 2}
SMALL_SCALES = {"十": 10, "百": 100, "千": 1000, "拾": 10, "佰": 100, "仟": 1000, "십": 10, "백": 100, "천": 1000}
BIG_SCALES = {"万": 10**4, "萬": 10**4, "만": 10**4, "亿": 10**8, "億": 10**8, "억": 10**8, "조": 10**12}
"""兆 is left out: 10^12 in Taiwan and Japan, a million in China."""
COUNTERS = """
元 块 人民币 美元 欧元 日元 円 圆 원 人 个 個 只 隻 名 位 本 条 條 张 張 件 岁 歲 年 月 日 天 小时 小時 分钟
分鐘 秒 米 千米 公里 厘米 毫米 公分 克 千克 公斤 升 毫升 吨 噸 平方米 平方厘米 平方千米
立方米 立方厘米 度 倍 次 支 枝 棵 辆 台 页 頁 种 種 组 組
箱 袋 瓶 杯 朵 头 頭 匹 篇 排 间 間 层 層 票 题 題 分 斤 歩 步 枚 匹 冊 回 時間 명 개 마리 살 시간 분 번 권 장
"""
"""What is counted or measured; it says nothing of the number."""
COUNTER = "|".join(sorted(COUNTERS.split(), key=len, reverse=True))
NUMERALS = "".join((*DIGITS, *SMALL_SCALES, *BIG_SCALES))
SCALED = re.compile(rf"(?P<sign>[-+])?\s*(?P<number>[0-9.,\s{NUMERALS}]+?)(?P<unit>{COUNTER})?")
THOUSANDS = re.compile(r"(?<=[0-9]),(?=[0-9]{3}(?![0-9]))")
PART = re.compile(r"[0-9]+(?:\.[0-9]+)?|\S")
MAX_CHARS = 60


def read_scaled(text: str) -> Fraction | None:
    """The value of a text that is such a number, with no more than a counter after it; None for any other."""
    match = SCALED.fullmatch(text) if not text.isascii() and len(text) <= MAX_CHARS else None
    if match is None:
        return None
    value = _value([part for part in PART.findall(THOUSANDS.sub("", match["number"]))])
    return -value if value is not None and match["sign"] == "-" else value


def _value(parts: list[str]) -> Fraction | None:
    """Digits, then the thousands, hundreds and tens they count, then the ten thousands that all of this counts."""
    total = section = Fraction(0)
    current: Fraction | None = None
    for part in parts:
        if part in SMALL_SCALES:
            section += (Fraction(1) if current is None else current) * SMALL_SCALES[part]
            current = None
        elif part in BIG_SCALES:
            section += current or 0
            if not section and not total:
                return None
            total = total + section * BIG_SCALES[part] if section else total * BIG_SCALES[part]  # 万亿
            section, current = Fraction(0), None
        elif part in DIGITS and (current is None or current == 0):
            current = Fraction(DIGITS[part])
        elif current is None and part[0].isdigit():
            current = Fraction(part)
        else:
            return None
    return total + section + (current or 0)
