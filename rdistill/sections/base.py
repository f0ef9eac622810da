"""What every section of a config has in common."""

from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from rdistill.explain import types_inside
from rdistill.records import StudentMode

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1)]
V = TypeVar("V")
PerMode = dict[StudentMode, V]
"""A value for each mode; a mode that a config leaves out keeps its default."""


class Section(BaseModel):
    """A part of the config: frozen, strict about its keys."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, protected_namespaces=(), use_attribute_docstrings=True, allow_inf_nan=False
    )

    @field_validator("*", mode="before")
    @classmethod
    def no_flag_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        """YAML reads yes, no, on and off as true and false, which would count as 1 and 0."""
        kinds = types_inside(cls.model_fields[info.field_name or ""].annotation)
        if isinstance(value, bool) and bool not in kinds and Any not in kinds:
            raise ValueError(f"got {str(value).lower()}, which is neither a number nor text; change it")
        return value

    @field_validator("prompts", "max_tokens", "mode_weights", mode="before", check_fields=False)
    @classmethod
    def other_modes_keep_their_default(cls, value: Any, info: ValidationInfo) -> Any:
        default = cls.model_fields[info.field_name or ""].default
        return {**default, **value} if isinstance(value, dict) and isinstance(default, dict) else value
