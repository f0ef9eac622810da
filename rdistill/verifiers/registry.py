"""Verifiers by name: installed ones by entry point, a user's own as `path/to/file.py:Class`.

Names are listed without importing anything; only what a config names is imported, and that in a worker process.
"""

import difflib
import functools
import importlib.util
import sys
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, get_type_hints

from pydantic import PydanticUserError, TypeAdapter, ValidationError

from rdistill.errors import ConfigError, VerifierError
from rdistill.verifiers.protocol import Verifier

GROUP = "rdistill.verifiers"
FIRST_PARTY = "rdistill"


class Installed(NamedTuple):
    """A verifier that a distribution brings."""

    point: EntryPoint
    distribution: str
    version: str


def known() -> dict[str, Installed]:
    """Installed verifiers by name. A first-party name is never taken by another distribution."""
    return _installed(tuple(sys.path))


@functools.cache
def _installed(path: tuple[str, ...]) -> dict[str, Installed]:
    """What is found on `path`, which is sys.path now: a look at the metadata of every package takes some 15 ms."""
    found: dict[str, Installed] = {}
    for point in entry_points(group=GROUP):
        origin = (point.dist.name, point.dist.version) if point.dist else ("unknown", "0")
        if point.name not in found or origin[0] == FIRST_PARTY:
            found[point.name] = Installed(point, *origin)
    return found


def list_verifiers() -> list[tuple[str, str, str]]:
    """(name, distribution, version) of every installed verifier, sorted; imports none of them."""
    return sorted((name, one.distribution, one.version) for name, one in known().items())


def is_path(name: str) -> bool:
    return ".py:" in name


def find(name: str) -> Installed:
    """An installed verifier. Raises ConfigError, listing the known names, if there is none."""
    installed = known()
    if name in installed:
        return installed[name]
    near = difflib.get_close_matches(name, installed, 1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    names = ", ".join(sorted(installed)) or "none installed"
    raise ConfigError(f"verifier {name!r} is unknown; {hint}known: {names}; or write path/to/file.py:Class")


def require(name: str) -> None:
    """Check that a name can be found, without importing it. Raises ConfigError."""
    if not is_path(name):
        find(name)
    elif not Path(name.rpartition(":")[0]).is_file():
        raise ConfigError(f"verifier {name!r}: no such file; expected path/to/file.py:Class")


def is_first_party(name: str) -> bool:
    return not is_path(name) and find(name).distribution == FIRST_PARTY


def folder(name: str) -> Path:
    """The folder that holds a verifier's code and its cases.jsonl."""
    require(name)
    if is_path(name):
        return Path(name.rpartition(":")[0]).resolve().parent
    module = find(name).point.module
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise VerifierError(f"verifier {name!r}: its package {module!r} is not installed")
    return Path(spec.origin).parent


def create(name: str, options: dict[str, Any]) -> Verifier:
    """Import a verifier and build it.

    Raises: ConfigError for an unknown name or a refused option; VerifierError, with the cause, if the import fails or
    the class is not a verifier.
    """
    require(name)
    try:
        cls = _load_file(name) if is_path(name) else find(name).point.load()
    except ConfigError:
        raise
    except Exception as error:
        raise VerifierError(f"verifier {name!r} failed to import: {type(error).__name__}: {error}") from error
    try:
        verifier = cls(**typed(cls, options))
    except (TypeError, ValueError) as error:
        raise ConfigError(f"verifier {name!r} refused its options {options!r}: {error}") from error
    has_names = all(isinstance(getattr(verifier, field, None), str) for field in ("name", "version"))
    if not has_names or not callable(getattr(verifier, "check", None)):
        raise VerifierError(
            f"verifier {name!r} needs text fields 'name' and 'version' and a method check(problem, sample)"
        )
    return verifier


def typed(cls: Any, options: dict[str, Any]) -> dict[str, Any]:
    """Options as the types that the class says they have; what it says nothing of, or nothing known, stays as it is.

    Raises: ValueError for one that is of another type.
    """
    try:
        hints = get_type_hints(cls.__init__)
    except Exception:  # a plug-in's annotations may name what cannot be found
        return options
    found = dict(options)
    for name in options.keys() & hints.keys():
        try:
            adapter = TypeAdapter(hints[name])
        except PydanticUserError:  # a type that pydantic has no rules for
            continue
        try:
            found[name] = adapter.validate_python(options[name])
        except ValidationError as error:
            raise ValueError(f"{name} is {options[name]!r}: {error.errors()[0]['msg']}") from None
    return found


def _load_file(name: str) -> Any:
    path, _, attribute = name.rpartition(":")
    spec = importlib.util.spec_from_file_location(f"rdistill_plugin_{Path(path).stem}", path)
    assert spec is not None and spec.loader is not None, f"{path} is a Python file"
    module: ModuleType = importlib.util.module_from_spec(spec)
    sys.modules[module.__name__] = module
    spec.loader.exec_module(module)
    if not hasattr(module, attribute):
        own = [key for key, value in vars(module).items() if getattr(value, "__module__", None) == module.__name__]
        classes = ", ".join(key for key in own if isinstance(vars(module)[key], type)) or "no class"
        raise ConfigError(f"verifier {name!r}: {path} has no {attribute!r}; it has {classes}")
    return getattr(module, attribute)
