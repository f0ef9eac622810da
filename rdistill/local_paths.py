"""The paths of a config as absolute ones, so that RUN/config.yaml repeats the run from any folder.

A path is looked for from the current folder first, then beside the config file. Data files start from `data_dir`.
"""

import os
from pathlib import Path
from typing import Any


def resolve_paths(tree: dict[str, Any], folder: Path) -> None:
    """Change a config's tree, which may be of any shape: validation says later what is wrong with it."""
    tree["data_dir"] = _resolved(tree.get("data_dir") or str(folder), folder)
    run_dir = tree.get("run_dir") or f"runs/{tree.get('name', 'unnamed')}"
    tree["run_dir"] = str(Path(run_dir).resolve()) if isinstance(run_dir, str) else run_dir
    for stage in ("sft", "dpo"):
        section = _mapping(tree.get(stage))
        if section.get("deepspeed"):
            section["deepspeed"] = _resolved(section["deepspeed"], folder)
    for name in ("student", "teacher"):
        section = _mapping(tree.get(name))
        if section.get("engine", "vllm") == "vllm":  # an endpoint has its own names
            _resolve_model(section, folder)
    specs = _mapping(tree.get("verify")).get("verifiers")
    for spec in map(_mapping, specs if isinstance(specs, list) else ()):
        _resolve_plugin(spec, "name", folder)
        _resolve_plugin(_mapping(spec.get("options")), "equality", folder)


def _resolve_model(section: dict[str, Any], folder: Path) -> None:
    """A folder that is there, beside the config one that holds a model; not a hub id nor a bundled name."""
    model = section.get("model")
    if not isinstance(model, str) or not model or model.startswith("bundled:"):
        return
    if os.path.isdir(model):
        section["model"] = str(Path(model).resolve())
    elif os.path.isfile(folder / model / "config.json"):
        section["model"] = str((folder / model).resolve())


def _resolve_plugin(section: dict[str, Any], key: str, folder: Path) -> None:
    """path/to/file.py:Class, not the name of an installed verifier."""
    name = section.get(key)
    if isinstance(name, str) and ".py:" in name:
        path, _, attribute = name.rpartition(":")
        section[key] = f"{_resolved(path, folder)}:{attribute}"


def _resolved(path: Any, folder: Path) -> Any:
    if not isinstance(path, str):
        return path
    is_beside = not Path(path).exists() and (folder / path).exists()
    return str((folder / path if is_beside else Path(path)).resolve())


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
