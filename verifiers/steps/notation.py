"""The plain text of calculations in Markdown and LaTeX: 3 * ((8)/(2)) = 12 for $3 \\times \\frac{8}{2} = **12**$."""

import re

SIGNS = str.maketrans(
    {"\u00a0": " ", "\u2009": " ", "\u202f": " ", "~": " ", "–": "-", "−": "-", "`": None, "°": None}
    | dict.fromkeys("·⋅∗", "*")
    | dict.fromkeys("€£¥₹", "$")
)
EMPHASIS = re.compile(
    r"(?<![\w)*])(\*{2,3}|_{1,3})(?=[^\s*_])([^\n]{0,200}?[^\s*_])\1(?![\w(*])"
    r"|(?:^|(?<==)|(?<== ))\*(?=[^\s*])([^\n]{0,200}?[^\s*])\*(?![\w(*])",
    re.MULTILINE,
)
"""**5**, __5__ and, at a line's start or behind an equals sign, *5*; neither 2**3 nor 2 ** 3."""
STRAY = re.compile(r"(?<![\w)*])(?<![\w)*] )\*\*(?=[\d($])|(?<=[\d)])\*\*(?=[ \t]*(?:$|[.,;:=]))", re.MULTILINE)
"""A mark whose other half stands elsewhere."""
FRACTION = re.compile(r"(?:(?<![\d.])(\d+)\s*)?\\[dt]?frac\s*(?:\{([^{}]*)\}\s*\{([^{}]*)\}|(\d)(\d))", re.ASCII)
"""Also of a mixed number."""
WRAPPED = re.compile(r"\\(?:text\w*|math\w+|mbox|boxed)\s*\{([^{}]*)\}", re.ASCII)
LATEX = (
    (re.compile(r"\\\\(?:\[[^\]\n]{0,20}\])?|\\[\[\]]|\\\) *\\\("), "\n"),
    (re.compile(r"\\(?:times|cdot|ast)(?![A-Za-z])"), "*"),
    (re.compile(r"\\div(?![A-Za-z])"), "/"),
    (re.compile(r"\\(?:left|right)(?![A-Za-z])|\{(?=,\})|(?<=,)\}"), ""),
    (re.compile(r"\\(?:[(),;:! ]|q?quad(?![A-Za-z]))|&(?= *=)"), " "),
    (re.compile(r"\\(?=[$%])|\^\{?\\circ\}?"), ""),
    (re.compile(r"\^\{([^{}]*)\}"), r"^(\1)"),
)
FORMULAS = re.compile(r"\$ *\$")
"""Between two formulas, or around one."""
NEXT_LINE = re.compile(r"(?<![ \t])[ \t]*+\n[ \t]*+(?==)")
"""A line that goes on with an equals sign."""


def plain(text: str) -> str:
    """Text without marks for emphasis and mathematics."""
    text = EMPHASIS.sub(lambda match: match[2] or match[3], text.translate(SIGNS))
    text = FORMULAS.sub("\n", STRAY.sub("", text))
    if "\\" in text or "{" in text:
        for _ in range(2):  # one within another
            text = FRACTION.sub(_fraction, WRAPPED.sub(r" \1 ", text))
        for pattern, sign in LATEX:
            text = pattern.sub(sign, text)
    return NEXT_LINE.sub(" ", text)


def _fraction(match: re.Match[str]) -> str:
    whole, top, bottom = match[1], match[2] or match[4] or "", match[3] or match[5] or ""
    is_mixed = top.isdigit() and bottom.isdigit() and (len(top), top) < (len(bottom), bottom)
    return f"({whole}{'+' if is_mixed else '*'}({top})/({bottom}))" if whole else f"(({top})/({bottom}))"
