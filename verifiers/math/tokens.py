"""The words of the small grammar: which functions and letters it knows, and how bars may pair up."""

import re
from itertools import product

MAX_BARS, MAX_DIGITS = 6, 40
TRIGONOMETRY = ("sin", "cos", "tan", "cot", "sec", "csc", "sinh", "cosh", "tanh", "coth", "sech", "csch")
FUNCTIONS = {
    name: name for name in (*TRIGONOMETRY, "exp", "ln", "log10", "sqrt", "floor", "zeta", "arg", "conj", "sign")
}
FUNCTIONS |= {f"{arc}{name}": f"a{name}" for name in TRIGONOMETRY for arc in ("a", "ar", "arc")}
FUNCTIONS |= {
    "log": "ln",
    "lg": "log10",
    "abs": "fabs",
    "Abs": "fabs",
    "ceil": "ceil",
    "ceiling": "ceil",
    "gamma": "gamma",
}
FUNCTIONS |= {
    "re": "re",
    "im": "im",
    "Re": "re",
    "Im": "im",
    "factorial": "factorial",
    "cosec": "csc",
    "binom": "binomial",
}
FUNCTIONS |= {name: "binomial" for name in ("binomial", "nCr", "choose")}
FUNCTIONS |= {name: name for name in ("mod", "min", "max", "cbrt", "log2")}
FUNCTIONS |= {"nPr": "ff", "fact": "factorial", "nthroot": "root"}
GREEK_NAMES = """
alpha beta gamma delta epsilon varepsilon zeta eta theta kappa lambda mu nu xi rho sigma tau phi varphi chi psi omega
Gamma Delta Theta Lambda Sigma Phi Psi Omega
"""
GREEK = frozenset(GREEK_NAMES.split())
CONSTANTS = ("pi", "infty")
TOKEN = re.compile(
    r"\s*(?:([0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]{1,3}(?![0-9.]))?|\.[0-9]+)"
    r"|(\\[A-Za-z]+)|(log10|log2|[A-Za-z]+)|(\*\*|[-+*/^_!|()\[\]{},=]))"
)
SHORT_FRACTION = re.compile(r"\\frac\s*([0-9])\s*([0-9])")


class Unreadable(Exception):
    """Not in the grammar, or in it twice."""


def tokenise(text: str):  # type: ignore[no-untyped-def]
    at, text = 0, SHORT_FRACTION.sub(r"\\frac{\1}{\2}", text).rstrip()
    while at < len(text):
        match = TOKEN.match(text, at)
        if match is None:
            raise Unreadable
        at = match.end()
        number, command, word, mark = match.groups()
        if word and word not in FUNCTIONS and word not in GREEK and word not in CONSTANTS:
            yield from word
        elif word:
            yield "\\" + word
        elif number and len(number) > MAX_DIGITS:
            raise Unreadable
        else:
            yield {"**": "^"}.get(mark or "", number or command or mark)


def bar_readings(tokens: list[str]):  # type: ignore[no-untyped-def]
    """Every way in which bars may open and close, the least nested first."""
    bars = [at for at, token in enumerate(tokens) if token == "|"]
    if len(bars) > MAX_BARS:
        return
    for marks in product((")|", "|("), repeat=len(bars)):
        depths = [sum(1 if m == "|(" else -1 for m in marks[:end]) for end in range(1, len(bars) + 1)]
        if all(depth >= 0 for depth in depths) and (not depths or depths[-1] == 0):
            reading = list(tokens)
            for at, mark in zip(bars, marks, strict=True):
                reading[at] = mark
            yield reading
