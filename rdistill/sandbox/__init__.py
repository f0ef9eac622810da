"""Where model-written code runs."""

from rdistill.sandbox.box import Sandbox, SandboxResult
from rdistill.sandbox.functions import Outcome, StepsRun, equals_json, run_function, run_steps
from rdistill.sandbox.levels import LEVELS, LOCAL, Consent, Level, granted, sandbox_warnings
from rdistill.sandbox.probes import Probe, require, self_test

__all__ = [
    "LEVELS",
    "LOCAL",
    "Consent",
    "Level",
    "Outcome",
    "Probe",
    "Sandbox",
    "SandboxResult",
    "StepsRun",
    "equals_json",
    "granted",
    "require",
    "run_function",
    "run_steps",
    "sandbox_warnings",
    "self_test",
]
