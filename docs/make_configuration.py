"""Write docs/configuration.md from the config's own fields, defaults and docstrings.

python docs/make_configuration.py
"""

import inspect
import json
import types
import typing
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo

from rdistill.config import Config, Section
from rdistill.stages import HARMLESS

PAGE = Path(__file__).parent / "configuration.md"
HEAD = """\
# Configuration

<!-- Written by docs/make_configuration.py from rdistill/sections and rdistill/config.py; edit the docstrings there. -->

A run is one YAML file. `rdistill init` writes one to start from, `rdistill check FILE` validates it, and every command
that takes a config also takes changes to it:

    rdistill check configs/quickstart.yaml dpo.beta=0.2 teacher.max_samples=4 prompts.sources.0.size=100

The value after `=` is YAML; a number in the key is an index of a list. A key that does not exist is refused, and so are
values of the wrong type and settings that contradict each other.

A run writes the config it used, with every default filled in and local paths made absolute, to `RUN/config.yaml`. That
file repeats the run from any folder. A folder with a run of another `name` in it, or with other files, is refused.

Quote text that holds ` #`: in YAML the rest of such a line is a comment. A block (`>-` or `|-`) needs no quotes.
"""
FOOT = """\
## What a change runs again

A stage that is done runs again if a setting that shapes its output changed, or its data, models or verifiers did; so do
the stages after it. It also runs again if a file that it left is missing or altered, or if requests of it had no reply;
the stages after it then do where it made something else. These settings only change how fast a stage runs, or name
places whose content is compared instead, and run nothing again:

"""


def main() -> None:
    PAGE.write_text(page(), encoding="utf-8")


def page() -> str:
    """The whole of configuration.md."""
    parts = [HEAD, "## The top level\n", *table(Config)]
    for name, field in Config.model_fields.items():
        if section := section_of(field.annotation):
            parts += section_parts(name, section)
    return "\n".join([*parts, FOOT + ", ".join(f"`{name}`" for name in HARMLESS) + ".\n"])


def section_parts(name: str, section: type[Section]) -> list[str]:
    """A section and, after it, the sections inside it."""
    parts = [f"{'#' * min(4, 2 + name.count('.'))} `{name}`\n", f"{doc_of(section)}\n", *table(section)]
    for inner_name, field in section.model_fields.items():
        if inner := section_of(field.annotation):
            is_list = typing.get_origin(field.annotation) is list
            parts += section_parts(f"{name}.{inner_name}{'.N' if is_list else ''}", inner)
    return parts


def table(section: type[Section]) -> list[str]:
    rows = [row(name, field, section) for name, field in section.model_fields.items()]
    return ["| field | type | default | meaning |\n|---|---|---|---|", *rows, ""]


def row(name: str, field: FieldInfo, section: type[Section]) -> str:
    inner = section_of(field.annotation)
    meaning = meaning_of(name, section) or (doc_of(inner) if inner else "")
    return f"| `{name}` | {type_name(field)} | {default_of(field, inner)} | {cell(meaning)} |"


def meaning_of(name: str, section: type[Section]) -> str:
    """A field's docstring, or that of the field it redefines."""
    for cls in section.__mro__:
        fields = getattr(cls, "model_fields", {})
        if name in fields and fields[name].description:
            return fields[name].description
    return ""


def default_of(field: FieldInfo, inner: type[Section] | None) -> str:
    if field.is_required():
        return "required"
    value = field.default
    if inner and isinstance(value, Section):
        return "see below"
    if inner and value:
        return ", ".join(f"`{name}`" for name in (item.name for item in value))
    return f"`{cell(json.dumps(value, ensure_ascii=False))}`"


def section_of(annotation: Any) -> type[Section] | None:
    """The section that a field's type is or holds."""
    for part in [annotation, *typing.get_args(annotation)]:
        if inspect.isclass(part) and issubclass(part, Section):
            return part
    return None


def type_name(field: FieldInfo) -> str:
    """A type in words, with its bounds."""
    bounds = [bound_text(m) for m in field.metadata]
    return cell(", ".join([spell(field.annotation), *filter(None, bounds)]))


def bound_text(bound: Any) -> str:
    signs = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}
    said = [f"{signs[name]} {getattr(bound, name)}" for name in signs if getattr(bound, name, None) is not None]
    return " and ".join(said)


def spell(annotation: Any) -> str:
    plain = {str: "text", int: "whole number", float: "number", bool: "true or false", type(None): "null", Any: "any"}
    if annotation in plain:
        return plain[annotation]
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return " / ".join(f"`{value}`" for value in args)
    if origin is typing.Annotated:
        bounds = [bound_text(m) for extra in args[1:] for m in extra.metadata]
        return ", ".join([spell(args[0]), *filter(None, bounds)])
    if origin is list:
        return f"list of {spell(args[0])}"
    if origin is dict:
        return f"mapping of {spell(args[0])} to {spell(args[1])}"
    if origin in (typing.Union, types.UnionType):
        return " or ".join(spell(arg) for arg in args)
    return "mapping" if section_of(annotation) else str(annotation)


def doc_of(section: type) -> str:
    return " ".join((section.__doc__ or "").split())


def cell(text: str) -> str:
    """Text that does not break a table."""
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    main()
