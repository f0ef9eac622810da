"""What `dtype: auto` stands for: the number format that this machine computes in without emulating it."""

from typing import Literal

NATIVE_ON_CPU = ("amx_bf16", "avx512_bf16", "bf16")
"""Instructions that multiply bfloat16, in torch's words: Intel, Intel and AMD, Arm."""


def resolved(dtype: str) -> str:
    """A config's `dtype`, with `auto` as what it is on this machine."""
    return fastest_dtype() if dtype == "auto" else dtype


def fastest_dtype() -> Literal["bfloat16", "float32"]:
    """bfloat16 where the GPU or the CPU has instructions for it, else float32.

    A CPU that has none (AVX2 alone: most before 2020, laptops until today) takes bfloat16 apart, number by number; see
    docs/decisions/number_format.md for what that costs.
    """
    import torch

    if torch.cuda.is_available():
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        ask = getattr(torch.cpu, "get_capabilities", dict[str, bool])  # older versions of torch cannot tell
        found = ask()
        native = any(found.get(name) for name in NATIVE_ON_CPU)
    return "bfloat16" if native else "float32"
