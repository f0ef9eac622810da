"""What only changes how an answer looks: fonts, colours, frames, sizes, labels. \\mathbf{\\frac{1}{2}} is a half."""

import re

MAX_LOOKS = 100
FONTS = (
    "math(?:bf|rm|it|sf|tt|normal|bfit|cal|scr|op|ord|bin|rel)|text(?:bf|it|rm|sf|tt|sc|sl|up|md|normal)?"
    "|boldsymbol|bm|pmb|symbf|emph|mbox|hbox|ensuremath|operatorname\\*?|rm|bf|it|sf|tt"
)
FRAMES = (
    "underline|uline|fbox|framebox|boxed|hl|smash|bbox|(?:display|text)style|normalfont"
    "|tiny|scriptsize|small|normalsize|large|Large|LARGE|huge|Huge"
)
COLOURED = r"textcolor|colorbox|fcolorbox\s*(?:\[[^\[\]]{0,20}\])?\s*\{[^{}]{0,40}\}"
AROUND = re.compile(
    rf"\\(?:(?P<text>{FONTS})|{FRAMES}|(?:{COLOURED}|color)\s*(?:\[[^\[\]]{{0,20}}\])?\s*\{{[^{{}}]{{0,40}}\}})"
    r"\s*(?:\[[^\[\]]{0,60}\]\s*)?(?P<open>\{)"
)
"""A command and the brace that opens what it is about."""
PLAIN_TEXT = re.compile(r"[^{}\\$]*\}")
"""Words in a font are left to the one who reads units and words."""
SWITCHES = (
    r"\\(?:bf|rm|it|sf|tt|bfseries|itshape|rmfamily|mdseries|normalfont|boldmath|unboldmath|(?:display|text|script|scriptscript)style"
    r"|tiny|scriptsize|footnotesize|small|normalsize|large|Large|LARGE|huge|Huge|color\s*(?:\[[^\[\]]{0,20}\])?\s*\{[^{}]{0,40}\})"
    r"(?![A-Za-z])"
)
SWITCHED = re.compile(r"(?P<open>\{)\s*" + SWITCHES)
"""{\\bf 42}, {\\color{red} 42}."""
SWITCH = re.compile(SWITCHES + r"(?!\s*\{)\s*|\\color\s*(?:\[[^\[\]]{0,20}\])?\s*\{[^{}]{0,40}\}")
UNSEEN = re.compile(
    r"\\(?:tag\*?|label|[hv]space\*?|[hv]?phantom|footnote)\s*\{[^{}]{0,80}\}"
    r"|\\(?:nonumber|notag|hfill|noindent|centering|mathstrut|strut|relax|allowbreak|nolimits|limits|null)(?![A-Za-z])"
)
END_MARK = re.compile(r"\s*\\(?:blacksquare|qed|qedhere|checkmark)\s*(?=\$*\.?\s*$)|\s*[∎■✓✅]+\s*$")
LAST_BRACE = re.compile(r"(?<!\\)\}(\$*\.?)$")
HTML = re.compile(
    r"<(b|i|strong|em|u|mark|span|font|code|center|big|p)(?: [^<>]{0,80})?>(.*?)</\1>|<br ?/?>", re.DOTALL
)


def without_looks(text: str) -> str:
    """A text without commands for its look; those with words in a font stay as they are, but for colours and frames."""
    if "</" in text or "<br" in text:
        text = HTML.sub(lambda m: m[2] or " ", text)
    if "\\" not in text and text.isascii():
        return text
    text = END_MARK.sub("", text) if text[-1:] in "∎■✓✅$.}" or text[-1:].isalpha() else text
    if "\\" not in text:
        return text
    text = UNSEEN.sub(" ", text)
    at = 0
    for _ in range(MAX_LOOKS):
        found = min((m for m in (AROUND.search(text, at), SWITCHED.search(text, at)) if m), key=_start, default=None)
        if found is None:
            break
        start, opened = found.span("open")[0] + 1, found.start()
        end = closing_brace(text, start)
        is_raised = text[:opened].rstrip()[-1:] in ("^", "_")
        is_words = found.re is AROUND and found["text"] and end and PLAIN_TEXT.fullmatch(text, start, end + 1)
        if end is None or (is_words and not is_raised):
            at = found.end()
            continue
        inner = text[start if found.re is AROUND else found.end() : end]
        text = text[:opened] + (f"{{{inner}}}" if is_raised else f" {inner} ") + text[end + 1 :]
        at = opened
    return SWITCH.sub("", text)


def _start(match: re.Match[str]) -> int:
    return match.start()


def closing_brace(text: str, start: int) -> int | None:
    """Where the group whose contents begin at `start` closes; \\{ and \\} are signs."""
    depth, at = 1, start
    while at < len(text):
        if text[at] == "\\":
            at += 1
        elif text[at] == "{":
            depth += 1
        elif text[at] == "}":
            depth -= 1
            if depth == 0:
                return at
        at += 1
    return None


def without_loose_end(text: str) -> str:
    """Without the one brace, dollar or mark of bold that closes what was never opened, or opens what never closes."""
    if (match := LAST_BRACE.search(text)) and _excess(text) == 1:
        text = text[: match.start()] + match[1]
    if text.endswith("$") and text.count("$") == 1 and "\\" in text:
        text = text[:-1].rstrip()
    for opening, closing in (("\\(", "\\)"), ("\\[", "\\]")):
        if text.endswith(closing) and opening not in text:
            text = text[:-2].rstrip()
    if text.count("**") == 1 and (text.startswith("**") or text.endswith("**")):
        text = text.strip("*").strip()
    return text


def _excess(text: str) -> int:
    """How many more braces close than open."""
    plain = text.replace("\\\\", "").replace("\\{", "").replace("\\}", "")
    return plain.count("}") - plain.count("{")
