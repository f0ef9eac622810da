"""The one YAML file: its whole schema, its loader, its `key=value` overrides.

    config = load_config("configs/quickstart.yaml", ["dpo.beta=0.2"])

Each stage has one frozen section (rdistill/sections); unknown keys are refused with the nearest known one. Nothing here
loads a model.
"""

from pathlib import Path
from typing import Annotated, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from rdistill.contradictions import contradictions
from rdistill.errors import ConfigError
from rdistill.explain import explain_validation
from rdistill.local_paths import resolve_paths
from rdistill.overrides import apply_override, parse_yaml
from rdistill.run import RunFolder
from rdistill.sections.base import Section
from rdistill.sections.choosing import PairConfig, SelectConfig, VerifierSpec, VerifyConfig
from rdistill.sections.data import AnswerConfig, Fields, PromptsConfig, Source
from rdistill.sections.measuring import EvaluateConfig, ModelRole, SandboxConfig
from rdistill.sections.teacher import Sampling, TeacherConfig, VllmConfig, WorkedExample
from rdistill.sections.training import (
    DpoConfig,
    EarlyStopConfig,
    LoraConfig,
    SftConfig,
    SpanWeights,
    StudentConfig,
    TrainConfig,
)
from rdistill.strict_yaml import MAX_BYTES

__all__ = [
    "AnswerConfig",
    "Config",
    "DpoConfig",
    "EarlyStopConfig",
    "EvaluateConfig",
    "Fields",
    "LoraConfig",
    "ModelRole",
    "PairConfig",
    "PromptsConfig",
    "Sampling",
    "SandboxConfig",
    "Section",
    "SelectConfig",
    "SftConfig",
    "Source",
    "SpanWeights",
    "StudentConfig",
    "TeacherConfig",
    "TrainConfig",
    "VerifierSpec",
    "VerifyConfig",
    "VllmConfig",
    "WorkedExample",
    "dump_config",
    "load_config",
]


class Config(Section):
    """A whole run."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    """Letters, digits and . _ -; names the run's folder."""
    run_dir: str | None = None
    """Default: runs/NAME under the current folder."""
    data_dir: str | None = None
    """Folder that relative data paths start from, itself looked for from the current folder, then beside the config
    file; default: the config file's folder."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Of splits, sampling, procedural tasks and the order of training rows."""
    prompts: PromptsConfig
    answer: AnswerConfig = AnswerConfig()
    teacher: TeacherConfig
    verify: VerifyConfig = VerifyConfig()
    select: SelectConfig = SelectConfig()
    pair: PairConfig = PairConfig()
    student: StudentConfig
    sft: SftConfig = SftConfig()
    dpo: DpoConfig = DpoConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    sandbox: SandboxConfig = SandboxConfig()

    @model_validator(mode="after")
    def fields_agree(self) -> Self:
        for fault in contradictions(self):
            raise ValueError(fault)
        return self

    @property
    def asks_student(self) -> bool:
        """Whether pairs are also built from the student's own mistakes, so that SFT comes before them."""
        return "student" in self.pair.sources and self.dpo.enabled


def load_config(path: str | Path, overrides: list[str] | None = None) -> Config:
    """Read, override and validate a config; its local paths become absolute ones.

    Raises ConfigError: one sentence with the field, the value got, what was expected.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        text = path.read_text(encoding="utf-8") if size <= MAX_BYTES else None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}); name an existing YAML file") from None
    if text is None:
        raise ConfigError(f"{path}: {size} bytes, a config has at most {MAX_BYTES}; name another file")
    tree = parse_yaml(text, str(path))
    if not isinstance(tree, dict):
        raise ConfigError(
            f"{path}: holds {type(tree).__name__}, expected a mapping of sections (name, prompts, teacher, ...)"
        )
    if RunFolder(path.parent).is_config(path):
        tree["run_dir"] = str(path.parent)  # and no other, wherever it was copied or moved from
    for override in overrides or []:
        apply_override(tree, override)
    resolve_paths(tree, path.parent)
    _tell_format_the_marker(tree)
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(f"{path}: {explain_validation(error, Config)}") from None


def _tell_format_the_marker(tree: dict) -> None:
    """The answer marker is declared once; the `format` verifier takes it from there."""
    try:
        marker = (tree.get("answer") or {}).get("marker", AnswerConfig().marker)
        for spec in (tree.get("verify") or {}).get("verifiers") or []:
            if spec["name"] == "format":
                spec["options"] = {"marker": marker} | (spec.get("options") or {})
    except (AttributeError, KeyError, TypeError):
        return  # not in this shape: validation says so


def dump_config(config: Config) -> str:
    """The resolved config as YAML, nulls kept: reading it back gives the same run."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=120)
