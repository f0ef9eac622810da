"""One spelling for what is written in many: LaTeX wrappers, unicode signs, spaces."""

import re
import unicodedata
from functools import lru_cache

from rdistill.verifiers.math.looks import FONTS, without_looks, without_loose_end

MAX_ANSWER = 4_000

TEXT_COMMAND = re.compile(rf"\\(?:{FONTS})\s*\{{([^{{}}]*)\}}")
LETTER_UNIT = re.compile(r"(?<=[0-9})])\s*\\(?:text|mathrm)\s*\{\s*([mghsL])\s*\}")
UNIT_NAMES = {"m": "meters", "g": "grams", "h": "hours", "s": "seconds", "L": "liters"}
"""A letter set as text is a unit, though by itself it would be a variable."""
SIZE_COMMAND = re.compile(
    r"\\(?:left|right|middle|big|Big|bigg|Bigg|bigl|bigr|Bigl|Bigr|biggl|biggr|displaystyle|textstyle)(?![a-zA-Z])"
)
DEGREES = re.compile(r"\^\s*\{?\s*\\circ\s*\}?|(?<=[0-9])\s*\\circ(?![a-z])|°|\\degree")
LETTERS = re.compile(r"\\(?:overline|overrightarrow|overleftrightarrow|vec|hat|widehat)\s*\{\s*([A-Za-z]+)\s*\}")
"""Names of points and vectors. A line over digits is left: it repeats them."""
UNIT_FRACTION = re.compile(r"\\frac\s*\{\s*([A-Za-z]{1,12})\s*\}\s*\{\s*([A-Za-z]{1,12})\s*\}")
CHOOSE = re.compile(r"\{\s*([^{}]+?)\s*\\choose\s*([^{}]+?)\s*\}")
ARRAY = re.compile(r"\\begin\{array\}\s*\{[lcr| ]*\}(.*?)\\end\{array\}", re.DOTALL)
CASES = re.compile(r"\\begin\{cases\}(.*?)\\end\{cases\}", re.DOTALL)
BRACKETED_MATRIX = re.compile(r"[(\[]\s*\\begin\{[pb]?matrix\}(.*?)\\end\{[pb]?matrix\}\s*[)\]]", re.DOTALL)
ROOT = re.compile(r"([√∛∜])\s*(?:\(([^()]*)\)|([0-9]+|[A-Za-z]))")
ROOT_COMMANDS = {"√": "\\sqrt", "∛": "\\sqrt[3]", "∜": "\\sqrt[4]"}
LONG_BLANK = re.compile(r" {3,}")
"""Patterns with a blank on both sides of what they look for take cubic time in a long one."""
INLINE_MATHS = re.compile(r"\$([^$]+)\$(?![0-9])")
LINE_END = re.compile(r"\n|(?<=[^$])\$\s*[.;]?\s*\$(?=[^$])")
INEQUALITY = re.compile(r"[<>≤≥]|\\[lg](?:eq?|t)(?![a-z])")
"""One on each line: a list."""
INVISIBLE = re.compile(r"\{([^{}\\]+)\}")
"""Braces of LaTeX around all of a formula, which nobody sees: ${2, 5}$ shows 2, 5."""
VECTOR = re.compile(r"<([^<>=|]{1,80},[^<>=|]{1,80})>")
SCALED = rf"[-+]?[0-9./ ]{{0,12}}\*? *{VECTOR.pattern}"
VECTORS = re.compile(rf"\|?{SCALED}(?: *[-+] *{SCALED}){{0,3}}( *[/*] *[0-9./]{{1,12}})?\|?")
"""2<1,2,3>, <3,4>/5, <1,2> + <0,1>: no inequality."""
LOOSE_SPACE = re.compile(r"(?<![0-9]) | (?![0-9])")
MODULUS = re.compile(r"\\pmod\s*(?:\{([^{}]*)\}|(\w))")
IN_CODE = re.compile(r"(?:(?:sympy|sp|np|numpy)\.)?(?:Matrix|array|[Vv]ector)\((\[.*\])\)")
"""Matrix([[1, 2], [3, 4]])"""
INFINITE = re.compile(r"(?<![A-Za-z\\])(?:oo|inf|infty|infinity)(?![A-Za-z]|\s*[A-Za-z({\\])", re.IGNORECASE)
OTHER_WORD = re.compile(r"(?<!\\)\b(?!or\b|and\b)[A-Za-z]{2,}")
ROW_END, DOLLAR = "\ue000", "\ue001"  # private characters, which answers with a meaning never hold
ROW_SPACE = re.compile(ROW_END + r"\s*\[[0-9. ]+(?:pt|em|ex|mm|cm)\]")
DOUBLED = re.compile(r"\\\\(?=[A-Za-z]{2}|[{}])")
"""A command written with two backslashes, as in JSON; in an array they end a row."""
SEPARATOR = re.compile(r"\s*\{\s*,\s*\}\s*|,\\!\s*")
"""The comma of 12{,}500 and 12,\\! 500."""
GLUED = re.compile(r"(?<=[0-9)\]}])(or|and)(?=[0-9(\[{\\-]|[A-Za-z]\s*[=(])")
BRACED_DIGIT = re.compile(r"([\^_])\{(\w)\}")
RAISED = re.compile(r"[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+")
SUPERSCRIPTS = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
VULGAR = re.compile(r"[½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞]")
SIGNS = str.maketrans(
    {
        "−": "-", "–": "-", "—": "-", "‐": "-", "‑": "-", "×": "\\times ", "·": "\\cdot ", "÷": "/", "π": "\\pi ",
        "∞": "\\infty ", "≤": "\\le ", "≥": "\\ge ", "∪": "\\cup ", "∩": "\\cap ", "√": "\\sqrt ", "∈": "\\in ",
        "∅": "\\emptyset ", "≠": "\\ne ", "≈": "\\approx ", "±": "\\pm ", "ℝ": "\\mathbb{R}", "⟨": "(", "⟩": ")",
        "∖": "\\setminus ", "⋅": "\\cdot ", "∙": "\\cdot ", "θ": "\\theta ", "∠": "", "△": "", "∴": "",
        "’": "'", "‘": "'", "“": '"', "”": '"', "⁄": "/",
        "\u200b": None, "\ufeff": None, "\u2060": None, "\n": " ", "\t": " ", "\r": " ",
    }
)  # fmt: skip
REPLACED = (
    ("\\dfrac", "\\frac"), ("\\tfrac", "\\frac"), ("\\cfrac", "\\frac"), ("\\!", ""), ("\\,", ""),
    ("\\;", " "), ("\\:", " "), ("\\ ", " "), ("~", " "), ("\\quad", " "), ("\\%", "%"), ("\\$", "$"), ("\\{", "{"),
    ("\\}", "}"), ("\\lbrace", "{"), ("\\rbrace", "}"), ("\\leqslant", "\\le"), ("\\geqslant", "\\ge"),
    ("\\leq", "\\le"), ("\\geq", "\\ge"), ("\\lvert", "|"), ("\\rvert", "|"), ("\\vert", "|"), ("\\mid", "|"),
    ("\\langle", "("), ("\\rangle", ")"), ("\\varnothing", "\\emptyset "), ("\\backslash", "\\setminus "),
    ("\\mathbb R", "\\mathbb{R}"), ("\\ldots", "..."), ("\\cdots", "..."), ("\\dots", "..."), ("\\land", " and "),
    ("\\wedge", " and "), ("\\angle", ""), ("\\triangle", ""),
    ("\\lt ", "<"), ("\\gt ", ">"),
)  # fmt: skip
WRAPPERS = (
    ("$$", "$$"),
    ("\\(", "\\)"),
    ("\\[", "\\]"),
    ("**", "**"),
    ("*", "*"),
    ("`", "`"),
    ('"', '"'),
    ("'", "'"),
    ("__", "__"),
)
WRAPPER_STARTS = frozenset(start[0] for start, _ in WRAPPERS)


def clean(text: str) -> str | None:
    """An answer in one spelling, or None if it is too long or holds control or direction characters."""
    if len(text) > MAX_ANSWER:
        return None
    return text if text.isdigit() and text.isascii() else _clean(text)


@lru_cache(maxsize=64)  # one check asks for the same answer several times
def _clean(text: str) -> str | None:
    if "\n" in text or text.count("$") > 2:
        lines = [line.strip(" ,") for line in LINE_END.split(text) if line.strip()]
        if len(lines) > 1 and all(INEQUALITY.search(line) for line in lines):
            text = ", ".join(lines)
    if not text.isascii():
        text = VULGAR.sub(lambda m: " " + unicodedata.normalize("NFKC", m[0]), RAISED.sub(_lowered, text))
        text = ROOT.sub(lambda m: f"{ROOT_COMMANDS[m[1]]}{{{m[2] or m[3]}}}", text).translate(SIGNS)
        text = unicodedata.normalize("NFKC", text)
    text = text.translate(SIGNS)
    if not text.isprintable():
        return None
    if "," in text:
        text = SEPARATOR.sub(",", LONG_BLANK.sub("  ", text))
    if "\\\\" in text and "\\begin" not in text:
        text = DOUBLED.sub(r"\\", text)
    text = without_loose_end(without_looks(text).strip())
    text = unwrap(text.replace("\\$", DOLLAR)).replace(DOLLAR, "$")
    if "\\" in text or "°" in text:
        text = LONG_BLANK.sub("  ", text)
        text = DEGREES.sub(" degrees", text.replace("\\\\", ROW_END))
        text = SIZE_COMMAND.sub("", text)
        for old, new in REPLACED:
            text = text.replace(old, new)
        text = CHOOSE.sub(r"\\binom{\1}{\2}", text)
        text = MODULUS.sub(r" (mod \1\2)", text)
        text = LETTER_UNIT.sub(lambda m: f" {UNIT_NAMES[m[1]]}", text)
        text = LETTERS.sub(r"\1", TEXT_COMMAND.sub(r" \1 ", text)).replace(" ^", "^")
        text = unwrap(_plain_arrays(UNIT_FRACTION.sub(r"\1/\2", text)).replace(ROW_END, "\\\\"))
    text = INLINE_MATHS.sub(r"\1", text).strip() if "$" in text and text.count("$") % 2 == 0 else text
    if text[-1:] == ")" and (match := IN_CODE.fullmatch(text)):
        text = match[1]
    if ">" in text and VECTORS.fullmatch(text):
        text = VECTOR.sub(r"(\1)", text)
    if INFINITE.search(text) and not OTHER_WORD.search(INFINITE.sub("", text)):
        text = INFINITE.sub(r"\\infty", text)
    return GLUED.sub(r" \1 ", text)


def _lowered(match: re.Match[str]) -> str:
    """Raised digits as an exponent."""
    digits = match[0].translate(SUPERSCRIPTS)
    return f"^{digits}" if len(digits) == 1 else f"^{{{digits}}}"


def _plain_arrays(text: str) -> str:
    """Arrays in brackets as matrices, without the space asked for after a row."""
    if "\\begin" not in text:
        return text
    text = CASES.sub(lambda m: m[0] if "&" in m[1] else m[1].strip(ROW_END + " ,").replace(ROW_END, ","), text)
    text = ARRAY.sub(r"\\begin{matrix}\1\\end{matrix}", ROW_SPACE.sub(ROW_END, text))
    return BRACKETED_MATRIX.sub(r"\\begin{pmatrix}\1\\end{pmatrix}", text)


def unwrap(text: str) -> str:
    """Take off dollars, brackets of display maths, a box, bold, quotes and the full stop around an answer."""
    before = None
    while text != before:
        before = text
        text = text.strip().rstrip(",;:\\").rstrip()
        if text.endswith("!") and len(text) > 2 and text[-3:-1].isalpha():
            text = text[:-1]
        if text.endswith(".") and not text.endswith("..."):
            text = text[:-1].rstrip()
        for start, end in WRAPPERS if text[:1] in WRAPPER_STARTS else ():
            if len(text) > len(start) + len(end) and text.startswith(start) and text.endswith(end):
                inner = text[len(start) : -len(end)]
                if start not in inner and end not in inner:
                    text = inner
        if text.startswith("$") and text.endswith("$") and text.count("$") == 2 and len(text) > 2:
            text = _visible(text[1:-1].strip())
        if text.startswith("\\boxed{") and text.endswith("}") and text.count("\\boxed") == 1:
            text = text[7:-1]
    return text


def _visible(formula: str) -> str:
    """A formula without the braces around all of it."""
    match = INVISIBLE.fullmatch(formula)
    return match[1] if match else formula


def squash(text: str) -> str:
    """Text without the spaces that do not part numbers, for comparison letter by letter."""
    return BRACED_DIGIT.sub(r"\1\2", LOOSE_SPACE.sub("", " ".join(text.split())))
