"""Where model-written code runs."""

from rdistill.sandbox.box import Sandbox, SandboxResult
from rdistill.sandbox.functions import Outcome, StepsRun, equals_json, run_function, run_steps
from rdistill.sandbox.probes import Probe, require, self_test

__all__ = [
    "Outcome",
    "Probe",
    "Sandbox",
    "SandboxResult",
    "StepsRun",
    "equals_json",
    "require",
    "run_function",
    "run_steps",
    "self_test",
]
