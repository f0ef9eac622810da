"""The documentation says what is true: settings, links, configs and the plug-in in it."""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from rdistill.config import load_config
from rdistill.starter import STARTER

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md")), *ROOT.glob("verifiers/*/README.md")]
LINK = re.compile(r"\]\(([^)#\s]+)(#[^)]*)?\)")
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
EXAMPLE = DOCS / "examples" / "iso_date"


def fenced(language: str) -> list[Any]:
    return [
        pytest.param(text, id=f"{page.name}-{number}")
        for page in PAGES
        for number, (name, text) in enumerate(FENCE.findall(page.read_text()))
        if name == language
    ]


def merged(base: dict, change: dict) -> dict:
    both = {key: merged(base[key], value) for key, value in change.items() if isinstance(base.get(key), dict)}
    return {**base, **change, **both}


def test_configuration_is_up_to_date():
    spec = importlib.util.spec_from_file_location("make_configuration", DOCS / "make_configuration.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    page = (DOCS / "configuration.md").read_text()
    assert page == module.page(), "run: python docs/make_configuration.py"
    assert "|  |" not in page, "a field of the config has no docstring"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_relative_links_lead_somewhere(page):
    targets = [target for target, _ in LINK.findall(page.read_text()) if not re.match(r"[a-z]+:", target)]
    assert [t for t in targets if not (page.parent / t).exists()] == []


def test_every_page_is_in_the_index():
    index = (DOCS / "README.md").read_text()
    decisions = (DOCS / "decisions" / "README.md").read_text()
    assert [p.name for p in DOCS.glob("*.md") if p.name != "README.md" and f"({p.name})" not in index] == []
    assert [p.name for p in DOCS.glob("decisions/*.md") if p.name != "README.md" and p.name not in decisions] == []


@pytest.mark.parametrize("text", fenced("yaml"))
def test_yaml_in_the_docs_validates(text, tmp_path):
    """A whole config by itself, a part of one as a change to `rdistill init`'s."""
    shown = yaml.safe_load(text)
    if "name" not in shown:
        shown = merged(yaml.safe_load(STARTER), shown)
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(shown))
    assert load_config(path).name == shown["name"]


def test_the_plugin_in_the_docs_is_the_file():
    text = (DOCS / "verifiers.md").read_text()
    blocks = dict(FENCE.findall(text))
    assert blocks["python"] == (EXAMPLE / "iso_date.py").read_text()
    assert blocks["json"] in (EXAMPLE / "cases.jsonl").read_text()


def test_the_plugin_in_the_docs_agrees_with_its_cases():
    command = [sys.executable, "-m", "rdistill.cli", "verifiers", "test", f"{EXAMPLE}/iso_date.py:IsoDate"]
    done = subprocess.run([*command, "--cases", f"{EXAMPLE}/cases.jsonl", "--json"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["wrong"] == [] and found["n"] == len((EXAMPLE / "cases.jsonl").read_text().splitlines())


def test_commands_in_the_docs_exist():
    """Every `rdistill COMMAND` of an indented block is a command."""
    listed = subprocess.run([sys.executable, "-m", "rdistill.cli", "--help"], capture_output=True, text=True).stdout
    known = set(re.findall(r"^  ([a-z]+)  ", listed, re.MULTILINE))
    named = {c for p in PAGES for c in re.findall(r"^    (?:\S*/)?rdistill ([a-z]+)", p.read_text(), re.MULTILINE)}
    assert named and named <= known
