"""Which of several values a reply stands by: the last, where the words between show that it went on to another one.

\\boxed{1} on the way is outdone by a word of sequence ("then", "finally", "so"); what is called the answer only by a
correction ("no", "wait", "actually"). Values joined by "or", "and", a comma or nothing at all are a hedge.
"""

import re
from fractions import Fraction
from itertools import pairwise

from rdistill.verifiers.math import values
from rdistill.verifiers.math.clean import clean, squash
from rdistill.verifiers.math.compare import Outcome, compare
from rdistill.verifiers.math.declared import MAX_DECLARED, Ambiguous, Stated
from rdistill.verifiers.math.parts import strip_prefix
from rdistill.verifiers.math.point import NoValue
from rdistill.verifiers.math.quantity import parse_quantity, same_quantity

MAX_BEFORE, MAX_AFTER, MAX_GAP, MAX_TEXT = 60, 60, 2_000, 300
LEAST_PLACES, MOST_PLACES = 2, 40
"""Digits after the point that make a decimal an approximation without a word for it; and that can be checked."""
LEAST_WORKING = 12
"""Words and numbers between two boxes that are working, not a second answer beside the first."""
FINER = 10**6
CORRECTED = re.compile(
    r"(?:^|[.!?,;:)\n-])\s*no\b(?=\s*(?:[,.!:;]|wait|it\b|that\b|the\b|this\b))|\bno wait\b"
    r"|\b(?:wait|hmm|actually|instead|rather|oops|sorry|mistaken?|mistakenly|correct(?:ing|ed|ion|s)"
    r"|(?:the )?correct (?:one|answer|value|result)|revis(?:ed?|ing|ion)"
    r"|rectif\w+|amend(?:ed|ing)?|fix(?:ed|ing)?|updat(?:ed?|ing)|recheck\w*|recomput\w+"
    r"|recalculat\w+|redo(?:ing)?|reconsider\w*|scratch that|on reflection|that (?:is|was) wrong|that['’]s wrong"
    r"|korrigier\w*|doch|nein|perdón|corrijo|en realidad|pardon|je corrige|en fait|нет|исправ\w+)\b"
    r"|不对|不對|更正|修正|纠正|糾正|其实|應該是|应该是|错了|錯了|訂正|正しくは|아니",
    re.IGNORECASE,
)
SEQUENCE = re.compile(
    r"\b(?:then|later|finally?|lastly|last|eventually|ultimately|now|next|afterwards?|after that|subsequently|step"
    r"|therefore|thus|hence|so|consequently|accordingly|whence|giv(?:es?|ing)|yield(?:s|ing)?|leads? to|becomes?|we get"
    r"|we obtain|we have|we find|which means|concluding|conclusion|in total|overall|altogether"
    r"|dann|danach|schließlich|endlich|zuletzt|daher|deshalb|somit|folglich|puis|ensuite|enfin|finalement|donc|alors"
    r"|luego|entonces|finalmente|por (?:lo )?tanto|después|quindi|infine|poi|portanto|então|depois|затем|потом|наконец"
    r"|итак|поэтому|следовательно|значит)\b"
    r"|\\(?:implies|Rightarrow|Longrightarrow|therefore)(?![a-z])|[⇒→⟹∴]|=>|->"
    r"|最后|最後|最终|最終|所以|因此|于是|於是|然后|然後|接着|接著|从而|從而|故|得到|可得|其次|再|まず|次に|つまり|よって|したがって|ゆえに"
    r"|따라서|그러므로|마지막|다음",
    re.IGNORECASE,
)
DRAFT_BEFORE = re.compile(
    r"\b(?:scratch(?: ?work)?|draft|(?:first |initial )?(?:attempt|try|trial|guess)|rough(?:ly)?|initially|at first"
    r"|intermediate|partial|subtotal|side note|erst(?:er Versuch)?)\b[^.!?\n]{0,30}$"
    r"|(?:草稿|初步|尝试)[^。\n]{0,10}$",
    re.IGNORECASE,
)
HEDGED = re.compile(
    r"\b(?:or|either|alternatively|alternative|maybe|perhaps|possibly|probably"
    r"|might|may|could|another|others?|else"
    r"|otherwise|if|unless|depend(?:s|ing)|whichever|both|as well|then again|on the other hand|versus|vs|also|too"
    r"|oder|vielleicht|ou|peut-être|quizás?"
    r"|tal vez|или|возможно)\b|或|也许|也許|可能|还是|還是|另一|または|もしくは|あるいは|또는|혹은",
    re.IGNORECASE,
)
OFFERED_BEFORE = re.compile(
    r"\b(?:either|one of|any of|both|possible|possibilities|candidates?|options?|choices?|answers are|if)\b[^.!?\n]*$"
    r"|要么|或者",
    re.IGNORECASE,
)
ANSWER_BEFORE = re.compile(
    r"(?:\banswers?\b|\bfinal(?: (?:result|value))?\b|答案|答え|ответ|antwort|respuesta|réponse|정답)"
    r"[^.!?\n0-9]{0,25}$",
    re.IGNORECASE,
)
APPROXIMATELY = re.compile(
    r"\\approx|\\simeq|\\sim(?![a-z])|≈|\b(?:about|approx\w*|numerically|roughly|decimals?)\b|约|約", re.IGNORECASE
)
WORKING = re.compile(r"[A-Za-z]{2,}|[0-9]+|[\u4e00-\u9fff\u3040-\u30ff]{2}")


def settled(found: list[Stated], text: str, gold: str, what: str) -> Stated | None:
    """The one that the reply stands by; None if there is none. Raises Ambiguous if it offers several."""
    if not found:
        return None
    if len(found) > MAX_DECLARED and len({squash(f.text) for f in found}) > 1:
        raise Ambiguous(f"{len(found)} {what}")
    found = [f._replace(is_answer=f.is_answer or _is_called_answer(f, text)) for f in found[-MAX_DECLARED:]]
    if len(found) > 1 and (merged := _with_decimal(found[-2], found[-1], text, gold)):
        found = [*found[:-2], merged]
    last = found[-1]
    first = next((at for at in range(len(found) - 2, -1, -1) if not _same(found[at].text, last.text)), None)
    if first is None:
        return last
    gaps = [text[a.end : b.start] for a, b in pairwise(found[first:])]
    if _goes_on(found[first], last, gaps, text) and not _is_offered(found[first], last, gaps, text):
        outdone = [f for f in found[:first] if f.is_answer and not _same(f.text, last.text)]
        if all(CORRECTED.search(text[f.end : last.start]) for f in outdone):
            return last
    raise Ambiguous(f"two different {what}: {found[first].text[:60]!r} and {last.text[:60]!r}")


def _same(a: str, b: str) -> bool:
    return alike(a, b) or (max(len(a), len(b)) <= MAX_TEXT and compare(a, b) is Outcome.EQUAL)


def alike(a: str, b: str) -> bool:
    left, right = clean(a), clean(b)
    if left is None or right is None or squash(left) == squash(right):
        return a == b or (left is not None and right is not None)
    numbers = parse_quantity(left), parse_quantity(right)
    return numbers[0] is not None and numbers[1] is not None and same_quantity(*numbers)


def _is_called_answer(value: Stated, text: str) -> bool:
    return bool(ANSWER_BEFORE.search(text[max(0, value.start - MAX_BEFORE) : value.start]))


def _is_offered(first: Stated, last: Stated, gaps: list[str], text: str) -> bool:
    """Whether the words around two values leave both standing; of a long gap its two ends."""
    shown = [gap if len(gap) <= 2 * MAX_BEFORE else f"{gap[:MAX_BEFORE]} {gap[-MAX_BEFORE:]}" for gap in gaps]
    after = re.split(r"[.!?\n。]", text[last.end : last.end + MAX_AFTER])[0]
    before = text[max(0, first.start - MAX_BEFORE) : first.start]
    return any(HEDGED.search(words) for words in (*shown, after)) or bool(OFFERED_BEFORE.search(before))


def _goes_on(first: Stated, last: Stated, gaps: list[str], text: str) -> bool:
    """Whether what stands between two values says that the later one replaces the earlier one."""
    gaps = [gap if len(gap) <= MAX_GAP else gap[-MAX_GAP:] for gap in gaps]
    if any(CORRECTED.search(gap) for gap in gaps):
        return True
    if first.is_answer:
        return False
    if last.is_answer or any(SEQUENCE.search(gap) or len(WORKING.findall(gap)) >= LEAST_WORKING for gap in gaps):
        return True
    return bool(DRAFT_BEFORE.search(text[max(0, first.start - MAX_BEFORE) : first.start]))


def _with_decimal(one: Stated, other: Stated, text: str, gold: str) -> Stated | None:
    """An exact value and its decimal, in either order, as one: the exact one, or the decimal where the gold is that."""
    says_so = bool(APPROXIMATELY.search(text[one.end : other.start] + one.text + other.text))
    for exact, decimal in ((one, other), (other, one)):
        if _rounds_to(exact.text, decimal.text, 1 if says_so else LEAST_PLACES):
            chosen = decimal if alike(gold, decimal.text.replace("\\approx", "")) else exact
            return Stated(chosen.text, one.start, other.end, one.is_answer or other.is_answer)
    return None


def _rounds_to(exact: str, decimal: str, least_places: int) -> bool:
    """Whether a value that is no decimal is this decimal, rounded or cut off."""
    texts = [clean(text) for text in (exact, decimal)]
    if None in texts or max(len(exact), len(decimal)) > MAX_TEXT:
        return False
    left, right = (strip_prefix(text) for text in texts)  # type: ignore[arg-type]
    rounded, known = parse_quantity(right), parse_quantity(left)
    if rounded is None or rounded.decimals is None or not least_places <= rounded.decimals <= MOST_PLACES:
        return False
    if known is not None and known.decimals is not None:
        return False
    scale = 10**rounded.decimals
    try:
        value = known.value if known else Fraction(values.constant(left, scale * FINER), scale * FINER)
    except NoValue:
        return False
    error = (abs(value) - abs(rounded.value)) * scale
    return value * rounded.value > 0 and -Fraction(1, 2) <= error < 1
