"""YAML from hostile hands: plain values only, with size and depth caps, no duplicate keys, no aliases, no tags.

    loads_yaml("a: 1")         -> {'a': 1}
    loads_yaml("a: 1\\na: 2")   -> ValueError: line 2: key 'a' stands twice

Every refusal is a ValueError with one short reason.
"""

import re
from typing import Any

import yaml

PLAIN_INT = re.compile(r"[-+]?(0|[1-9][0-9_]*|0x[0-9a-fA-F_]+)")
MAX_BYTES, MAX_NODES, MAX_DEPTH = 1 << 20, 10_000, 50


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses what a config has no use for."""

    nodes = 0
    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self.nodes += 1
        self.depth += 1
        if self.nodes > MAX_NODES or self.depth > MAX_DEPTH:
            raise yaml.YAMLError(f"more than {MAX_NODES} nodes or {MAX_DEPTH} levels")
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not allowed")
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1

    def construct_mapping(self, node: Any, deep: bool = False) -> dict:
        seen: set[str] = set()
        for key in (self.construct_object(k, deep=True) for k, _ in node.value):
            if not isinstance(key, str):
                raise yaml.YAMLError(f"line {node.start_mark.line + 1}: key {key!r} is not text; put it in quotes")
            if key in seen:
                raise yaml.YAMLError(f"line {node.start_mark.line + 1}: key {key!r} stands twice")
            seen.add(key)
        return super().construct_mapping(node, deep)

    def construct_plain_int(self, node: Any) -> int:
        """017 is 15, and 1:30 is 90, to some readers of YAML and not to others."""
        if not PLAIN_INT.fullmatch(node.value):
            raise yaml.YAMLError(
                f"line {node.start_mark.line + 1}: {node.value[:40]!r} is another number to other programs; write it "
                "in decimal, or in quotes"
            )
        return super().construct_yaml_int(node)

    def construct_plain_float(self, node: Any) -> float:
        if ":" in node.value:
            raise yaml.YAMLError(
                f"line {node.start_mark.line + 1}: {node.value[:40]!r} is no decimal; put it in quotes"
            )
        return super().construct_yaml_float(node)


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_plain_int)
_Loader.add_constructor("tag:yaml.org,2002:float", _Loader.construct_plain_float)


def loads_yaml(text: str) -> Any:
    """Parse one YAML document into plain values. Raises ValueError with the reason, on one line."""
    if len(text) > MAX_BYTES:
        raise ValueError(f"{len(text)} characters, at most {MAX_BYTES}")
    try:
        # _Loader is a SafeLoader: no tags, no objects.
        loader = _Loader(text)
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ValueError(" ".join(str(error).split())) from None
