"""Equations and inequalities: do two say the same? 2 < 2x and x > 1, 3x^2 < 9a and x^2 - 3a < 0.

In one letter they do if both hold, or both fail, at and between all points where a difference of sides changes its
sign, which is exact for polynomials. In several letters each must be a multiple of its own partner.
"""

import re
from itertools import pairwise, product
from typing import Any, NamedTuple

from rdistill.verifiers.math.intervals import SPELLINGS, read_range
from rdistill.verifiers.math.numeric import DIGITS, ratio
from rdistill.verifiers.math.parts import INEQUALITY, OPEN, RELATION, SEVERAL, both_signs, closes_at_end, split_top
from rdistill.verifiers.math.symbolic import parse_all
from rdistill.verifiers.math.texts import has_words

from rdistill.verifiers import load_heavy

SIGN = re.compile(f"({RELATION.pattern})")
OR = re.compile(r"\\cup|\\lor|\\vee|\bor\b")
AND = re.compile(r"\band\b")
MAX_TERMS, MAX_DEGREE, MAX_BARS = 24, 6, 3
NO_LARGER_THAN_ZERO = 1e-15


class Relation(NamedTuple):
    """`left` sign `right`: text, and sympy's expressions once read; the sign is one of > >= = !=."""

    left: Any
    sign: str
    right: Any

    @property
    def difference(self):  # type: ignore[no-untyped-def]
        """What is compared with zero."""
        bars = load_heavy("sympy").Abs
        if self.sign == "=" and isinstance(self.left, bars) and isinstance(self.right, bars):
            return self.left.args[0] ** 2 - self.right.args[0] ** 2
        return self.left - self.right


Cases = list[list[Relation]]
"""Alternatives of relations that hold together."""


def say_the_same(gold: str, answer: str) -> bool | None:
    """Whether two cleaned texts have the same solutions: inequalities, or equations of which one lists several.

    None where that is not known, or for other modules to say: sets of values, groups with relations in them.
    """
    several = [bool(SEVERAL.search(text) or "\\pm" in text) for text in (gold, answer)]
    is_bound = INEQUALITY.search(gold) or INEQUALITY.search(answer)
    if not is_bound and ("=" not in gold or "=" not in answer or several[0] is several[1]):
        return None
    texts = [_split(text) for text in (gold, answer)]
    read = None if None in texts else _parse(*texts)  # type: ignore[arg-type]
    if read is None:
        return None
    letters = set().union(*(r.difference.free_symbols for cases in read for case in cases for r in case))
    if len(letters) != 1:
        return True if _same_multiples(*read) else None
    same = _same_solutions(read[0], read[1], letters.pop(), ["," in text for text in (gold, answer)])
    return same if is_bound else same or None


# Reading


def _split(text: str) -> Cases | None:
    """The relations of "x > 2 or x < -2", "1 <= x < 3, y = 2", (2, 5]; None for anything else."""
    if not SIGN.search(text):
        found = read_range(text)
        spans = found.spans if found and "\\mathbb" not in text else []
        return [_bounds(*span) for span in spans] or None
    if "," in text and text[0] in OPEN and closes_at_end(text):
        return None
    cases = []
    for part in OR.split(text):
        part = part.strip(" ,;")
        part = part[1:-1] if part[:1] == "(" and closes_at_end(part) else part
        for alternative in both_signs(part):
            conditions = [c.strip() for whole in split_top(alternative) for c in AND.split(whole) if c.strip()]
            relations = [relation for condition in conditions for relation in _chain(condition)]
            if not relations or not all(SIGN.search(condition) for condition in conditions):
                return None
            cases.append(relations)
    return cases


def _bounds(left: str, low: str, high: str, right: str) -> list[Relation]:
    found = [Relation("", ">=" if left == "[" else ">", low), Relation(high, ">=" if right == "]" else ">", "")]
    return [relation for relation in found if "\\infty" not in relation.left + relation.right]


def _chain(text: str) -> list[Relation]:
    """1 < x <= 3 as its two relations, none turned to the left."""
    parts = [part.strip() for part in SIGN.split(text)]
    signs = [SPELLINGS.get(sign, sign) for sign in parts[1::2]]
    return [
        Relation(right, sign.replace("<", ">"), left) if "<" in sign else Relation(left, sign, right)
        for (left, right), sign in zip(pairwise(parts[::2]), signs, strict=True)
    ]


def _parse(*texts: Cases) -> list[Cases] | None:
    """The same with sympy's expressions; the sides left empty by an interval are the letter of the other text."""
    sides = [side for cases in texts for case in cases for r in case for side in (r.left, r.right)]
    terms = [side for side in sides if side]
    if len(terms) > MAX_TERMS or any(has_words(term) for term in terms):
        return None
    values = parse_all(terms)
    if values is None:
        return None
    letters = set().union(*(value.free_symbols for value in values))
    if "" in sides and len(letters) != 1:
        return None
    known = dict(zip(terms, values, strict=True)) | {"": next(iter(letters), None)}
    return [[[Relation(known[r.left], r.sign, known[r.right]) for r in case] for case in cases] for cases in texts]


# One letter


def _same_solutions(gold: Cases, answer: Cases, letter, has_commas: list[bool]) -> bool | None:  # type: ignore[no-untyped-def]
    if not _is_solved(answer, letter) and _is_solved(gold, letter):
        return None
    points = _points([r for cases in (gold, answer) for case in cases for r in case], letter)
    if points is None:
        return None
    held = [_held(cases, letter, points, comma) for cases, comma in zip((gold, answer), has_commas, strict=True)]
    return held[0] == held[1]


def _is_solved(cases: Cases, letter) -> bool:  # type: ignore[no-untyped-def]
    """Whether each relation is linear: not x^2 = 4, the problem over again."""
    return all(relation.difference.diff(letter).is_number for case in cases for relation in case)


def _points(relations: list[Relation], letter):  # type: ignore[no-untyped-def]
    """Where a difference may change its sign, and a point in each gap; None if that is not known for each."""
    sympy = load_heavy("sympy")
    roots: list[Any] = []
    for relation in relations:
        difference = relation.difference
        bars = [bar for bar in difference.atoms(sympy.Abs) if bar.free_symbols]
        if len(bars) > MAX_BARS:
            return None
        for signs in product((1, -1), repeat=len(bars)):
            plain = difference.xreplace({bar: s * bar.args[0] for bar, s in zip(bars, signs, strict=True)})
            for part in sympy.fraction(sympy.together(plain)):
                found = _roots(part, letter)
                if found is None:
                    return None
                roots += found
    ends = sorted(roots)
    distinct = [root for at, root in enumerate(ends) if at == 0 or root - ends[at - 1] > NO_LARGER_THAN_ZERO]
    if not distinct:
        return [sympy.Integer(0)]
    return [distinct[0] - 1, *distinct, *((a + b) / 2 for a, b in pairwise(distinct)), distinct[-1] + 1]


def _roots(expression, letter):  # type: ignore[no-untyped-def]
    """The real roots of a polynomial; None for anything else."""
    sympy = load_heavy("sympy")
    if not expression.is_polynomial(letter) or any(p.exp > MAX_DEGREE for p in expression.atoms(sympy.Pow)):
        return None
    polynomial = sympy.Poly(expression, letter)
    if polynomial.degree() < 1:
        return []
    if polynomial.degree() > MAX_DEGREE or not all(c.is_real for c in polynomial.all_coeffs()):
        return None
    if polynomial.get_domain().is_ZZ or polynomial.get_domain().is_QQ:
        polynomial = polynomial.sqf_part()
    try:
        found = polynomial.nroots(n=DIGITS)
    except sympy.polys.polyerrors.PolynomialError:
        return None
    return [sympy.re(root) for root in found if abs(sympy.im(root)) < NO_LARGER_THAN_ZERO]


def _held(cases: Cases, letter, points, has_comma: bool) -> list[bool]:  # type: ignore[no-untyped-def]
    """At which points they hold. "x < 1, x > 2" never would: there the comma is an "or"."""
    kept = [any(all(_holds(r, letter, point) for r in case) for case in cases) for point in points]
    if has_comma and len(cases) == 1 and not any(kept) and (len(cases[0]) == 2 or all(r.sign == "=" for r in cases[0])):
        return [any(_holds(r, letter, point) for r in cases[0]) for point in points]
    return kept


def _holds(relation: Relation, letter, point) -> bool:  # type: ignore[no-untyped-def]
    value = relation.difference.evalf(DIGITS, subs={letter: point})
    if not (value.is_real and value.is_finite):
        return False
    size = 0 if abs(value) < NO_LARGER_THAN_ZERO else value
    return {">": size > 0, ">=": size >= 0, "=": size == 0, "!=": size != 0}[relation.sign]


# Several letters


def _same_multiples(gold: Cases, answer: Cases) -> bool:
    """Whether each alternative has one of its own that says the same; equations may be multiplied into one."""
    if _match(gold, answer, lambda a, b: _match(a, b, _is_multiple)):
        return True
    factors = [
        [case[0].difference for case in cases if len(case) == 1 and case[0].sign == "="] for cases in (gold, answer)
    ]
    if [len(f) for f in factors] != [len(gold), len(answer)]:
        return False
    sympy = load_heavy("sympy")
    return ratio(*(sympy.Mul(*differences) for differences in factors)) is not None


def _is_multiple(gold: Relation, answer: Relation) -> bool:
    if gold.sign != answer.sign:
        return False
    found = ratio(gold.difference, answer.difference)
    return found is not None and (gold.sign in ("=", "!=") or (found.is_real and found > 0))


def _match(gold: list[Any], answer: list[Any], is_same) -> bool:  # type: ignore[no-untyped-def]
    """Whether each has a partner of its own."""
    left = list(answer)
    for item in gold:
        partner = next((at for at, other in enumerate(left) if is_same(item, other)), None)
        if partner is None:
            return False
        del left[partner]
    return not left
