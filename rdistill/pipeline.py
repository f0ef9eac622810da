"""`rdistill run`: go through the stages, skip what is done, run what changed."""

import sys
import time
from collections.abc import Sequence

from rich.console import Console

from rdistill.check import check_prerequisites, check_sandbox, check_verifiers
from rdistill.config import Config, dump_config
from rdistill.errors import ConfigError, DataError, full_disk_told
from rdistill.outputs import damaged_output
from rdistill.run import RunFolder, write_durable
from rdistill.sandbox.levels import Consent
from rdistill.stages import STAGE_NAMES, Stage, fingerprints, run_stage, stages_of, why_repair, why_rerun

FOLLOWS = "runs again"
"""How the reason of a stage ends that has none of its own."""


def run_pipeline(
    config: Config,
    console: Console,
    *,
    until: str | None = None,
    from_stage: str | None = None,
    only: str | None = None,
    consent: Consent = Consent(),
) -> None:
    """Run the stages that are not done or have changed, in order.

    `only` runs one stage, whose inputs must be done; `consent` is to a weaker sandbox than the config requires.
    Raises: ConfigError for an unknown stage; what check_prerequisites and check_sandbox raise; the failing stage's
    error.
    """
    stages = stages_of(config)
    for option, name in (("--until", until), ("--from", from_stage)):
        if name is not None and name not in STAGE_NAMES:
            raise ConfigError(f"{option} {name!r} is no stage; the stages are {', '.join(STAGE_NAMES)}")
    if from_stage and until and _place(until, stages) < _place(from_stage, stages):
        raise ConfigError(f"--until {until} comes before --from {from_stage}, so nothing would run; swap them")
    run = RunFolder(config.run_dir or "")
    with full_disk_told(run.root), run.locked(config.name) as lock:
        prints = fingerprints(config)
        reasons = _plan(run, stages, prints, from_stage, only)
        chosen = _chosen(stages, until, only)
        if only:
            _require_inputs(run, chosen[-1], prints)
        if any(stage.name == "generate" and reasons[stage.name] for stage in chosen):
            # Before hours of the teacher's time are spent: is all that later stages need there?
            check_prerequisites(config)
        if any(stage.judges and reasons[stage.name] for stage in chosen):
            for warning in check_sandbox(config, consent):
                _warn(console, warning)
            check_verifiers(config)
        write_durable(run.config, dump_config(config))
        logs, ran = None, set[str]()
        for stage in chosen:
            reason = reasons[stage.name]
            if reason and reason.endswith(FOLLOWS):
                reason = why_repair(stage, run, ran)  # the inputs may have come out as they were
            if reason is None:
                console.print(f"{stage.name:<9} done", style="dim", soft_wrap=True)
                continue
            logs = logs or run.new_attempt()
            _announce(console, stage, reason)
            started = time.monotonic()
            result = run_stage(stage, run, config, logs, lock)
            ran.add(stage.name)
            console.print(
                f"{stage.name:<9} {_brief(result)}  ({time.monotonic() - started:.0f} s)", markup=False, soft_wrap=True
            )
            for warning in result.get("warnings", []):
                _warn(console, warning)


def _place(name: str, stages: Sequence[Stage]) -> int:
    return [stage.name for stage in stages].index(name)


def _plan(
    run: RunFolder, stages: Sequence[Stage], prints: dict, from_stage: str | None, only: str | None
) -> dict[str, str | None]:
    """Why each stage must run, or None. One that only follows another is asked again once that one has run."""
    reasons: dict[str, str | None] = {}
    for place, stage in enumerate(stages):
        reason = why_rerun(stage, run.read_manifest(stage.name), prints)
        reason = reason or why_repair(stage, run)
        if from_stage and place >= _place(from_stage, stages):
            reason = reason or f"--from {from_stage}"
        if only == stage.name:
            reason = reason or "asked for"
        if reason is None and any(reasons[name] for name in stage.inputs):
            reason = f"{' and '.join(n for n in stage.inputs if reasons[n])} {FOLLOWS}"
        reasons[stage.name] = reason
    return reasons


def _chosen(stages: Sequence[Stage], until: str | None, only: str | None) -> list[Stage]:
    if only:
        # The problems are drawn by the first stage that needs them: `rdistill generate` starts a run.
        return [s for s in stages if s.name == only or (s.name == "prompts" and only == "generate")]
    return list(stages[: _place(until, stages) + 1 if until else None])


def _require_inputs(run: RunFolder, stage: Stage, prints: dict) -> None:
    for name in stage.inputs:
        if name == "prompts" and stage.name == "generate":
            continue
        manifest = run.read_manifest(name)
        is_same = manifest is not None and manifest.get("fingerprint") == prints[name][0]
        damage = damaged_output(run, name, manifest) if is_same else None
        if not is_same or damage:
            other = "is not done" if manifest is None else "was done with other settings"
            state = f"is done, but {damage}" if damage else other
            raise DataError(f"stage {stage.name} needs stage {name}, which {state}; run: rdistill run {run.config}")


def _announce(console: Console, stage: Stage, reason: str) -> None:
    console.print(f"{stage.name:<9} starts: {reason}", style="bold", markup=False, soft_wrap=True)
    sys.stderr.flush()


def _warn(console: Console, warning: str) -> None:
    console.print(f"warning   {warning}", style="yellow", markup=False, soft_wrap=True)


def _brief(result: dict) -> str:
    """The first few plain numbers of a stage's result."""
    plain = [f"{k}={v}" for k, v in result.items() if isinstance(v, int | float | str) and not isinstance(v, bool)]
    return ", ".join(plain[:6])
