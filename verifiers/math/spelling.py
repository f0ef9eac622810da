"""Plain expressions as LaTeX that math-verify reads right, and a filter for those that sympy would never finish."""

import math
import re
from fractions import Fraction

MAX_CHARS, MAX_NESTING, MAX_DIGITS_IN_NUMBER, MAX_EXPONENT = 300, 12, 40, 500
MAX_BOTTOM, MAX_COLUMN_MARKS = 5, 24
# Commands that sympy may work on for ever, whatever their arguments.
HEAVY = re.compile(
    r"\\(?:int|sum|prod|lim|zeta|Gamma|gcd|binom|det|lfloor|lceil|bmod|pmod|mod|begin(?!\{[pbv]matrix\})|input|write|boxed|cases)"
    r"|matrix\}\s*\^|!|d/dx|__"
)
NUMBER = re.compile(r"[0-9]+")
FACTORIAL = re.compile(r"(?<![0-9.)}A-Za-z])([0-9]{1,2})!(?!!)")
TOUCHING = re.compile(
    r"((?<![\w.^_}])[0-9]+(?:\.[0-9]+)?(?=\(|\\left\()|\\[dt]?frac\{[^{}]*\}\{[^{}]*\}(?=\s*\\[dt]?frac))"
)
IMPROPER = re.compile(r"(?<![\w.^_}])([0-9]+)\s*(\\[dt]?frac\{([0-9]{1,9})\}\{([0-9]{1,9})\})")
BINOMIAL = re.compile(r"\\binom\s*\{([0-9]{1,2})\}\s*\{([0-9]{1,2})\}|\\binom\s*([0-9])\s*([0-9])(?![0-9])")
LETTER_BINOMIAL = re.compile(r"\\binom\s*\{([^{}!]{1,20})\}\s*\{([0-9])\}")
LETTER_FACTORIAL = re.compile(r"(?<![A-Za-z])([a-z])!(?!!)")
DEGREES = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*degrees?")
COMBINATIONS = re.compile(r"\bC\(([0-9]{1,2}),\s*([0-9]{1,2})\)|\bC_\{?([0-9]{1,2})\}?\^\{?([0-9]{1,2})\}?")
FRACTION_ARGUMENT = re.compile(r"\\(arcsin|arccos|arctan|sin|cos|tan|ln|log)\s*\\frac\s*([0-9])\s*([0-9])")
PLAIN = re.compile(r"(?<![A-Za-z\\])(sqrt|pi|(?:arc)?(?:sin|cos|tan)|(?:sin|cos|tan)h|cot|sec|csc|log|ln|exp)\b")
ARC = re.compile(r"(?<![A-Za-z\\])a(?=(?:sin|cos|tan)\b)")
CALL = re.compile(r"(?<![A-Za-z\\])(?:sqrt|abs|exp|sech|csch|coth)\s*\(|\^\s*(?:\\?(?:log|ln|sqrt|sin|cos|tan)\s*)?\(")
CALLS = {
    "sqrt": ("\\sqrt{", "}"), "abs": ("\\lvert ", "\\rvert "), "exp": ("(e^{", "})"),
    "sech": ("(\\frac{1}{\\cosh(", ")})"), "csch": ("(\\frac{1}{\\sinh(", ")})"), "coth": ("(\\frac{1}{\\tanh(", ")})"),
    "^": ("^{", "}"),
}  # fmt: skip
"""What stands around the argument of a function, in LaTeX that math-verify knows."""
MAX_CALLS = 20
SMALL_POWER = re.compile(r"[A-Za-z]\^(?:[2-4](?![0-9.])|\{[2-4]\})(?!\^)")
BARE_GREEK = re.compile(r"\\(frac|sqrt)\s*(\\(?:pi|alpha|beta|theta|lambda|mu|phi)(?![A-Za-z]))")
SIMPLE_EXPONENT = re.compile(r"\s*[-+]?\s*(?:[0-9]+|[^{(\s])")
DECIMAL = re.compile(r"(?<![0-9.A-Za-z_])([0-9]*\.[0-9]{1,5})(?![0-9.])")
LOOSE_LETTER = re.compile(r"(?<=[0-9A-Za-z)}])\s+(?=[A-Za-z](?![A-Za-z]))")
COMMAND_END = re.compile(r"\\[A-Za-z]+$")
COMMAND, LETTER = re.compile(r"\\[A-Za-z]+"), re.compile(r"\\[A-Za-z]+|([A-Z])(?!_)")
BARS = re.compile(r"\|([^|]+)\|")


def is_simple(text: str) -> bool:
    """Whether an expression is short, shallow and without towers or commands that do not end."""
    if (
        len(text) > MAX_CHARS
        or "--" in text
        or _nesting(text) > MAX_NESTING
        or text.count("|") > 2
        or text.count("&") > MAX_COLUMN_MARKS
    ):
        return False
    if any(len(n) > MAX_DIGITS_IN_NUMBER for n in NUMBER.findall(text)):
        return False
    return not HEAVY.search(expand_small(text)) and _small_exponents(text.replace("**", "^"))


def _nesting(text: str) -> int:
    depth = deepest = 0
    for char in text:
        depth += (char in "([{") - (char in ")]}")
        deepest = max(deepest, depth)
    return deepest


def _small_exponents(text: str) -> bool:
    """No power of a power but of a letter's, as in e^{x^2}, and no number above 500 in an exponent."""
    for at, char in enumerate(text):
        if char == "^":
            exponent = _exponent(text, at + 1)
            if "^" in SMALL_POWER.sub("", exponent) or any(int(n) > MAX_EXPONENT for n in NUMBER.findall(exponent)):
                return False
            if text[at + 1 + len(exponent) :].lstrip().startswith("^"):
                return False
    return True


def _exponent(text: str, start: int) -> str:
    """A braced or parenthesised group, or else a sign, digits, or one other character that stands there."""
    if match := SIMPLE_EXPONENT.match(text, start):
        return match[0]
    depth = 0
    for at in range(start, len(text)):
        depth += (text[at] in "({") - (text[at] in ")}")
        if depth == 0:
            return text[start : at + 1]
    return text[start:]


def expand_small(text: str) -> str:
    """Factorials and binomials of small numbers as numbers, n over 2 as a fraction; exp(x) and x^(y) as LaTeX."""
    text = _calls(text.replace("**", "^")) if "(" in text else text
    text = COMBINATIONS.sub(lambda m: f"\\binom{{{m[1] or m[3]}}}{{{m[2] or m[4]}}}", text)
    text = LETTER_FACTORIAL.sub(r"(\\psi_{\1})", text)  # a name: n!/2 needs to know no more of n!
    text = FACTORIAL.sub(lambda m: f"({math.factorial(int(m[1]))})", text)
    text = BINOMIAL.sub(lambda m: f"({math.comb(int(m[1] or m[3]), int(m[2] or m[4]))})", text)
    return LETTER_BINOMIAL.sub(lambda m: _product(m[1], int(m[2])) if int(m[2]) <= MAX_BOTTOM else m[0], text)


def _calls(text: str) -> str:
    """sqrt(x + f(y)) as \\sqrt{x + f(y)}."""
    for _ in range(MAX_CALLS):
        match = CALL.search(text)
        end = _closing(text, match.end() - 1) if match else None
        if match is None or end is None:
            break
        name = match[0][:-1].strip()
        before, after = CALLS["^" if name[0] == "^" else name]
        inner = text[match.end() : end]
        if name != "^" and name[0] == "^":
            inner = f"{name[1:].strip()}({inner})"
        text = text[: match.start()] + before + inner + after + text[end + 1 :]
    return text


def _closing(text: str, start: int) -> int | None:
    """Where the bracket that opens at `start` closes."""
    depth = 0
    for at in range(start, len(text)):
        depth += (text[at] == "(") - (text[at] == ")")
        if depth == 0:
            return at
    return None


def _product(top: str, bottom: int) -> str:
    """n over k as n (n - 1) ... / k!."""
    factors = "".join(f"({top}-{k})" for k in range(bottom)) or "1"
    return f"\\frac{{{factors}}}{{{math.factorial(bottom)}}}"


def to_latex(text: str) -> str:
    """sqrt(2)*pi as LaTeX."""
    text = text.replace("**", "^").replace("*", "\\cdot ").replace("\\div", "/")
    # (6)(7), 6(7), 1/1 41/1 and 6 42/1 would be read as mixed numbers.
    text = TOUCHING.sub(r"\1\\cdot ", text.replace(")(", ")\\cdot("))
    text = IMPROPER.sub(lambda m: f"{m[1]}\\cdot {m[2]}" if int(m[3]) >= int(m[4]) else m[0], text)
    text = DEGREES.sub(r"{(\1\\cdot\\frac{\\pi}{180})}", text)
    text = re.sub(r"\^(-(?:[0-9]+|[A-Za-z]))", r"^{\1}", text)
    text = BARE_GREEK.sub(r"\\\1{\2}", PLAIN.sub(r"\\\1 ", ARC.sub("arc", text)))
    text = FRACTION_ARGUMENT.sub(r"\\\1{(\\frac{\2}{\3})}", text)
    text = DECIMAL.sub(lambda m: _as_fraction(m[1]), text)
    text = LOOSE_LETTER.sub(lambda m: " " if COMMAND_END.search(m.string[: m.start()]) else "", text)
    return BARS.sub(r"\\left|\1\\right|", text)


def mark_capitals(*texts: str) -> list[str]:
    """The same texts, where a letter stands in both cases with a mark on the capitals: math-verify takes R for r."""
    letters = set("".join(COMMAND.sub(" ", text) for text in texts))
    twins = {letter for letter in letters if letter.isupper() and letter.lower() in letters}
    return (
        [LETTER.sub(lambda m: f"{m[0]}_{{9}}" if m[1] in twins else m[0], text) for text in texts]
        if twins
        else [*texts]
    )


def _as_fraction(decimal: str) -> str:
    value = Fraction(decimal)
    return f"\\frac{{{value.numerator}}}{{{value.denominator}}}"
