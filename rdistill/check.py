"""`rdistill check`: everything that can be known to be wrong before a model is loaded, in seconds.

Cheap checks come first: models and endpoint, files and rows, verifiers and sandbox, gold answers, then one training
example through the student's own chat template.
"""

import asyncio
import json
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.text import Text

from rdistill.answers import join_answer
from rdistill.config import AnswerConfig, Config, TrainConfig
from rdistill.errors import ConfigError, DataError, PrerequisiteError, VerifierError
from rdistill.models import bundled_is_ready, check_model, resolve_model
from rdistill.prompts.student import student_messages
from rdistill.quarantine import validate_gold
from rdistill.records import Example, Message, Problem, Sample, StudentMode
from rdistill.run import RunFolder
from rdistill.sandbox import Consent, sandbox_warnings
from rdistill.sandbox import require as require_sandbox
from rdistill.select.completions import complete
from rdistill.stages import RAN, fingerprints, stages_of, why_repair, why_rerun
from rdistill.teacher.engines import START_S
from rdistill.tools import format_tool_call
from rdistill.verifiers.composition import GROUP_VERIFIERS, check_domains

MARKER: str = AnswerConfig.model_fields["marker"].default
MAX_GOLD_CHECKED = 1000
"""Problems of each split whose gold `check` looks at; a run looks at all."""
SHOWN = 3
COLOURS = {"rationale": "cyan", "answer": "green", "tool_call": "magenta", "tool_result": "yellow", None: "dim"}


def check_all(config: Config, consent: Consent = Consent()) -> dict[str, Any]:
    """Validate a run and return its plan.

    Raises: ConfigError or DataError (exit code 2), PrerequisiteError (3), each naming the field and the remedy.
    """
    from rdistill.prompts import build_problems

    RunFolder(config.run_dir or "").check_usable(config.name)
    check_prerequisites(config, wait_s=6)
    accepted = check_sandbox(config, consent)
    problems, counts = build_problems(config)
    check_domains(config, problems)
    check_verifiers(config)
    gold = check_gold(config, problems)
    teacher = config.teacher
    train = [p for p in problems if p.split == "train"]
    limits = [teacher.most_samples(p.pool) for p in train]
    samples = sum(limit + teacher.hints * (limit > 0) for limit in limits)
    return {
        "name": config.name,
        "run_dir": str(RunFolder(config.run_dir or "").root),
        "teacher": f"{teacher.engine}: {teacher.model}",
        "student": config.student.model,
        "problems": counts,
        "gold": gold,
        "warnings": [*accepted, *warnings(config), *counts["warnings"], *gold_warnings(gold)],
        "teacher_samples_at_most": samples,
        "teacher_tokens_at_most": samples * teacher.sampling.max_tokens,
        "stages": plan_of_stages(config),
        "example": render_examples(config, train[0]),
    }


def warnings(config: Config) -> list[str]:
    """What is allowed and probably not meant."""
    teacher, marker, found = config.teacher, config.answer.marker, []
    if marker not in teacher.system:
        found.append(
            f"teacher.system does not name the answer marker {marker!r}; in YAML, text after ' #' is a comment unless "
            "the text is in quotes"
        )
    found += [
        f"{field} does not end as answer.marker={marker!r} says; the teacher will copy it"
        for field, text in worked_replies(config)
        if marker not in text
    ]
    found += [
        f"{field} still names '{MARKER}', but answer.marker is {marker!r}"
        for field, text in default_texts(config)
        if MARKER in text and MARKER not in marker
    ]
    if all(spec.name in GROUP_VERIFIERS for spec in config.verify.verifiers if spec.required):
        found.append(
            "verify.verifiers has none that judges one answer alone, so evaluation can call nothing right; name one "
            "for the held-out problems"
        )
    if teacher.sampling.temperature == 0 and teacher.max_samples > 1:
        found.append(
            "teacher.sampling.temperature=0 draws the same reply teacher.max_samples times; raise it, or ask 1"
        )
    return found


def worked_replies(config: Config) -> Iterator[tuple[str, str]]:
    """Each worked example's last reply, by field."""
    for number, example in enumerate(config.teacher.examples):
        yield f"teacher.examples.{number}.reply", example.reply if isinstance(example.reply, str) else example.reply[-1]


def default_texts(config: Config) -> Iterator[tuple[str, str]]:
    """What tells a model how to end, by field, where it is used; its default names the default marker."""
    if config.teacher.mode == "critique_revise":
        yield "teacher.revise", config.teacher.revise
    for mode in dict.fromkeys([*config.select.modes, *config.evaluate.modes]):
        yield f"student.prompts.{mode}", config.student.prompts[mode]


def gold_warnings(gold: dict[str, Any]) -> list[str]:
    """What becomes of gold answers that their verifiers refuse."""
    if not gold["quarantined"]:
        return []
    row = gold["examples"][0]
    return [
        f"{gold['quarantined']} of {gold['checked']} gold answers fail their own verifier, so their problems will be "
        f"quarantined, e.g. {str(row['gold'])[:60]!r} ({row['verifier']} {row['reason']}: {row['detail'][:80]})"
    ]


def check_prerequisites(config: Config, wait_s: float = START_S) -> None:
    """Data folder, models, endpoint, verifiers, DeepSpeed files. wait_s: for the endpoint's first token, at most."""
    from rdistill.verifiers.registry import require

    if not Path(config.data_dir or ".").is_dir():
        raise ConfigError(f"data_dir={config.data_dir!r} is no folder; name the one that holds the data")
    check_model(config.student.model, "student.model", config.student.revision)
    for name, section in (("sft", config.sft), ("dpo", config.dpo)):
        _check_deepspeed(name, section)
        _check_packages(name, section)
    for spec in config.verify.verifiers:
        require(spec.name)
    if config.teacher.engine == "openai":
        from rdistill.teacher.openai import probe_endpoint

        probe_endpoint(config.teacher, wait_s)
    else:
        check_model(config.teacher.model, "teacher.model", config.teacher.revision)


def check_sandbox(config: Config, consent: Consent) -> list[str]:
    """Settle on a sandbox level where the run needs one; returns a warning if it is less than the config requires.

    Raises: PrerequisiteError if it is less and `consent` does not accept that.
    """
    field = needs_sandbox(config)
    if field is None:
        return []
    try:
        lowest, url = config.sandbox.require, config.sandbox.url
        return sandbox_warnings(require_sandbox(lowest, consent, url), lowest)
    except PrerequisiteError as error:
        raise PrerequisiteError(f"{field} runs code that a model wrote, but {error}") from None


def needs_sandbox(config: Config) -> str | None:
    """The field that makes this run execute code that a model wrote, or None."""
    if config.teacher.mode == "tool_trace" and "python" in config.teacher.tools:
        return "teacher.tools"
    return "verify.verifiers" if any(spec.name == "code" for spec in config.verify.verifiers) else None


def _check_deepspeed(name: str, section: TrainConfig) -> None:
    if section.deepspeed is None:
        return
    try:
        tree = json.loads(Path(section.deepspeed).read_text())
    except OSError:
        raise ConfigError(
            f"{name}.deepspeed={section.deepspeed!r} cannot be read; name a file such as configs/deepspeed/zero2.json"
        ) from None
    except ValueError as error:
        raise ConfigError(f"{name}.deepspeed={section.deepspeed!r} is not JSON ({error}); mend the file") from None
    if not isinstance(tree, dict):
        raise ConfigError(f"{name}.deepspeed={section.deepspeed!r} holds {type(tree).__name__}, expected an object")


def _check_packages(name: str, section: TrainConfig) -> None:
    """Packages that only some settings need."""
    wanted: dict[str, str] = dict.fromkeys(section.report_to, f"{name}.report_to")
    if section.lora is not None and section.lora.quantize:
        wanted["bitsandbytes"] = f"{name}.lora.quantize"
    for package, field in wanted.items():
        if find_spec(package) is None:
            raise PrerequisiteError(f"{field}: {package} is not installed; pip install {package}")


def check_verifiers(config: Config) -> None:
    """Build every verifier with its options, in a worker as in the run, and let it look for what it depends on.

    Raises: ConfigError if one cannot be built, PrerequisiteError if it misses something.
    """
    from rdistill.verifiers.pool import VerifierPool

    async def build() -> None:
        async with VerifierPool.of(config.verify, workers=1, probe=True):
            pass

    try:
        asyncio.run(build())
    except (ConfigError, VerifierError) as error:
        raise ConfigError(f"verify.verifiers: {error}; correct its name or options") from None
    except PrerequisiteError as error:
        raise PrerequisiteError(f"verify.verifiers: {error}") from None


def check_gold(config: Config, problems: list[Problem]) -> dict[str, Any]:
    """What `generate` will find wrong with gold answers, from the first of each split.

    Raises: DataError if too many are wrong.
    """
    splits = [[p for p in problems if p.split == split] for split in ("train", "dev", "test")]
    refusals, counts = validate_gold(config, [p for split in splits for p in split[:MAX_GOLD_CHECKED]])
    return counts | {"examples": [refusal.row() for refusal in refusals[:SHOWN]]}


def plan_of_stages(config: Config) -> dict[str, str]:
    """For each stage, "done" or why it would run."""
    run, prints = RunFolder(config.run_dir or ""), fingerprints(config)
    found: dict[str, str] = {}
    for stage in stages_of(config):
        manifest = run.read_manifest(stage.name)
        reason = why_rerun(stage, manifest, prints) or why_repair(stage, run)
        follows = [name for name in stage.inputs if found[name] != "done"]
        if follows and (reason is None or reason.endswith(RAN)):
            reason = f"{' and '.join(follows)} {'runs' if len(follows) == 1 else 'run'} again"  # nothing has run yet
        found[stage.name] = reason or "done"
    return found


def render_examples(config: Config, problem: Problem) -> dict[str, Any]:
    """One made-up training example of each mode through the student's tokenizer; the first one's pieces.

    Raises: DataError if the student's chat template loses supervised text; PrerequisiteError without a tokenizer.
    """
    from rdistill.train.rank import load_tokenizer
    from rdistill.train.spans import SpanError, render, weighted_pieces

    model = config.student.model
    if not bundled_is_ready(model):
        return {"note": f"{model} is converted at its first use; check again after that to see an example"}
    folder = resolve_model(model, config.student.revision, tokenizer_only=True)
    try:
        tokenizer = load_tokenizer(folder)
        examples = [made_up_example(config, problem, mode) for mode in config.select.modes]
        rendered = [render(tokenizer, e.messages, e.spans, config.sft.weights) for e in examples]
    except SpanError as error:
        raise DataError(f"student.model={model!r} cannot be trained as it is: {error}; take another model") from None
    except PrerequisiteError as error:
        raise PrerequisiteError(f"student.model={model!r}: {error}") from None
    except Exception as error:  # a damaged tokenizer raises anything
        cause = " ".join(str(error).split())[:200]
        raise PrerequisiteError(
            f"student.model={model!r}: its tokenizer cannot be loaded ({type(error).__name__}: {cause}); mend it"
        ) from None
    pieces = [{"text": text, "weight": weight, "role": role} for text, weight, role in weighted_pieces(rendered[0])]
    return {"mode": examples[0].mode, "pieces": pieces}


def made_up_example(config: Config, problem: Problem, mode: StudentMode) -> Example:
    """An example with placeholder reasoning: before the teacher has written, only the form can be shown."""
    answer = str(problem.gold if problem.gold is not None else "42")
    rationale = "<think>step one</think> So the result follows."
    text = join_answer(rationale, answer, config.answer.marker)
    turns: list[Message] = [{"role": "assistant", "content": text}]
    if mode == "tool":
        call = format_tool_call("calculator", {"expression": "40 + 2"})
        turns = [{"role": "assistant", "content": call}, {"role": "tool", "content": "42"}, *turns]
    sample = Sample.create(
        problem_id=problem.id,
        mode="tool_trace" if mode == "tool" else "rationale",
        messages=turns,
        rationale=rationale,
        answer=answer,
        finish_reason="stop",
        usage={},
        sampling={},
        engine="example",
    )
    completion = complete(sample, mode, config.answer.marker)
    assert completion is not None, "a whole sample can be written in its mode"
    prompt = student_messages(problem, mode, config)
    messages = prompt + completion.messages
    return Example(id="example", sample_id=sample.id, mode=mode, messages=messages, spans=completion.after(prompt))


def print_plan(plan: dict[str, Any], console: Console) -> None:
    """The plan as a person reads it."""
    console.print(f"[bold]{escape(plan['name'])}[/bold] -> {escape(plan['run_dir'])}", soft_wrap=True)
    console.print(f"teacher  {plan['teacher']}\nstudent  {plan['student']}", markup=False, soft_wrap=True)
    gold = plan["gold"]
    quarantine = f"gold: {gold['checked']} checked, {gold['quarantined']} to be quarantined"
    console.print(f"problems {plan['problems'].get('splits')}  {quarantine}", markup=False, soft_wrap=True)
    console.print(
        f"budget   at most {plan['teacher_samples_at_most']:,} samples, "
        f"{plan['teacher_tokens_at_most']:,} teacher tokens"
    )
    for warning in plan["warnings"]:
        console.print(f"warning  {warning}", style="yellow", markup=False, soft_wrap=True)
    for stage, state in plan["stages"].items():
        console.print(f"  {stage:<9} {state}", markup=False)
    example = plan["example"]
    if "pieces" not in example:
        console.print(example["note"])
        return
    console.print(
        f"\nOne example ({example['mode']}; the reasoning is a placeholder). Colours are roles, dim is not trained:"
    )
    shown = Text()
    for piece in example["pieces"]:
        shown.append(piece["text"], style=COLOURS[piece["role"]] if piece["weight"] else "dim")
    console.print(shown)
    weights = sorted({(p["role"], p["weight"]) for p in example["pieces"] if p["role"]})
    console.print("weights  " + ", ".join(f"{role} {weight:g}" for role, weight in weights))
