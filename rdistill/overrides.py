"""`key=value` on the command line: changes to a parsed config before it is validated."""

from typing import Any

from rdistill.errors import ConfigError
from rdistill.strict_yaml import loads_yaml


def parse_yaml(text: str, origin: str) -> Any:
    """Parse YAML text into plain values. Raises ConfigError with the line."""
    try:
        return loads_yaml(text)
    except ValueError as error:
        raise ConfigError(f"{origin} is not plain YAML ({error}); mend it") from None


def apply_override(tree: dict, override: str) -> None:
    """Set `a.b.0.c=value` in a parsed config; the value is YAML."""
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"override {override!r} is not key=value; write e.g. dpo.beta=0.2")
    value = parse_yaml(text, f"override {override!r}")
    here: Any = tree
    *parents, last = key.split(".")
    for depth, part in enumerate([*parents, last]):
        is_last = depth == len(parents)
        if isinstance(here, list):
            if not part.isdigit() or int(part) >= len(here):
                raise ConfigError(f"override {override!r}: {part!r} is no index of a list of {len(here)}")
            if is_last:
                here[int(part)] = value
            else:
                here = here[int(part)]
        elif isinstance(here, dict):
            if is_last:
                here[part] = value
            else:
                here[part] = here.get(part) if isinstance(here.get(part), dict | list) else {}
                here = here[part]
        else:
            raise ConfigError(
                f"override {override!r}: {part!r} is below a value that holds no keys; set that one whole"
            )
