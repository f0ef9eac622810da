"""Every config that the repository offers can be used as it is."""

import json
from pathlib import Path

import pytest
import yaml

from rdistill.config import dump_config, load_config

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def named(pattern: str) -> list:
    return [pytest.param(p, id=p.relative_to(CONFIGS).as_posix()) for p in sorted(CONFIGS.rglob(pattern))]


@pytest.mark.parametrize("path", named("*.yaml"))
def test_config_validates_and_repeats_itself(path: Path, tmp_path: Path) -> None:
    config = load_config(path)
    resolved = tmp_path / "config.yaml"
    resolved.write_text(dump_config(config))
    assert load_config(resolved) == config


@pytest.mark.parametrize("path", named("*.yaml"))
def test_config_names_files_that_exist(path: Path) -> None:
    """A DeepSpeed file named in a config is there; data and models are the user's to give."""
    config = load_config(path)
    for stage in (config.sft, config.dpo):
        if stage.deepspeed:
            candidates = [path.parent / stage.deepspeed, CONFIGS.parent / stage.deepspeed]
            assert any(c.is_file() for c in candidates), f"{path.name}: no file {stage.deepspeed}"


@pytest.mark.parametrize("path", named("*.yaml"))
def test_config_holds_no_path_of_a_machine(path: Path) -> None:
    def texts(value: object) -> list[str]:
        if isinstance(value, dict):
            return [t for v in value.values() for t in texts(v)]
        if isinstance(value, list):
            return [t for v in value for t in texts(v)]
        return [value] if isinstance(value, str) else []

    absolute = [t for t in texts(yaml.safe_load(path.read_text())) if t.startswith(("/", "~"))]
    assert not absolute


@pytest.mark.parametrize("path", named("deepspeed/*.json"))
def test_deepspeed_json_parses(path: Path) -> None:
    assert isinstance(json.loads(path.read_text()).get("zero_optimization"), dict)
