"""Where model-written code runs."""

from rdistill.sandbox.box import Sandbox, SandboxResult

__all__ = ["Sandbox", "SandboxResult"]
