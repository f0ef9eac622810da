"""Calls that a reply attempts in a spelling that nothing runs: a reply with one is no answer without a call."""

import re
from collections.abc import Iterable
from typing import Any

TAG = re.compile(
    r"<[|/]?(?:tool_?calls?|function_?calls?|tool_use|tool_code|invoke name|function name)\b|<function="
    r"|<\|python_tag\|>|<\uff5ctool|\[TOOL_?CALLS?\]",
    re.IGNORECASE,
)
"""How models mark a call, <tool_call> aside."""
NAMED = r"""["'](?:name|function|function_name|tool|tool_name|recipient_name|action)["']\s*:\s*["'](?:functions\.)?"""
GIVEN = re.compile(
    r"""["'](?:arguments|parameters|params|args|kwargs|input|tool_input|action_input)["']\s*:"""
    r"""(?!\s*\{\s*["'](?:type["']\s*:\s*["'](?:object|dict)|properties["']))"""
)
"""Not the schema of a tool."""
WITH_ARGUMENTS = re.compile(NAMED + r"""[\w.-]+["']\s*,\s*["']arguments["']\s*:\s*["'{]""")

MARKS = r"[^\w\n]*+"


def tool_names(tools: Any) -> set[str]:
    """The names of tools, as far as they can be read."""
    functions = [tool.get("function", tool) for tool in tools or () if isinstance(tool, dict)]
    return {f["name"] for f in functions if isinstance(f, dict) and isinstance(f.get("name"), str)}


def attempted(text: str, names: Iterable[str]) -> str | None:
    """The first words of an attempt to call, of these tools or in a form that is nothing but a call; None without."""
    found = TAG.search(text) or WITH_ARGUMENTS.search(text)
    known = "|".join(re.escape(name) for name in sorted(names) if name)
    if not found and known:
        alone = (  # in a line of its own, with a value or nothing else in the reply
            rf"""^{MARKS}(?:[a-z_]{{1,30}}[.(])?(?:{known})\("""
            rf"""(?:[\[{{"'\d-]|\w{{1,60}}\s*=|(?=\)\W{{0,20}}\Z))[^\n]*(?<=\))[^\w\n]{{0,20}}$"""
        )
        found = GIVEN.search(text) and re.search(rf"""{NAMED}(?:{known})["']""", text)
        found = found or re.search(rf"^{MARKS}Action:{MARKS}(?:{known})\b|<(?:{known})[\s/>]", text, re.MULTILINE)
        found = found or re.match(rf"""\W{{0,20}}["'](?:{known})["']\s*:\s*\{{""", text)
        found = found or re.search(alone, text, re.MULTILINE)
    return text[found.start() :].strip()[:60] if found else None
