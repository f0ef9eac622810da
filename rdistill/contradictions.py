"""Fields that are right by themselves and cannot both be meant: one sentence each, with what to change."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rdistill.config import Config


def contradictions(config: "Config") -> Iterator[str]:
    """What is wrong with a config whose every field is right by itself; nothing, where all agree."""
    teacher, prompts = config.teacher, config.student.prompts
    used = sorted({*config.select.modes, *config.evaluate.modes})
    for mode in used:
        if not prompts.get(mode, "").strip():
            yield f"student.prompts has no prompt for mode {mode!r}; add student.prompts.{mode}"
        same = next((m for m in used if m < mode and prompts.get(m) == prompts.get(mode)), None)
        if same:
            yield f"student.prompts.{same} and .{mode} are equal, so the student cannot tell them apart; change one"
    for section in ("select", "evaluate"):
        if "tool" in getattr(config, section).modes and teacher.mode != "tool_trace":
            yield f"{section}.modes names 'tool' but teacher.mode={teacher.mode}, which calls none; set tool_trace"
    if teacher.max_samples < teacher.want_pass:
        yield f"teacher.max_samples={teacher.max_samples} is below teacher.want_pass={teacher.want_pass}; raise it"
    if config.answer.marker.strip() != config.answer.marker or not config.answer.marker.isprintable():
        yield f"answer.marker={config.answer.marker!r} begins or ends with blanks; use visible text such as '####'"
    yield from _lengths_disagree(config)
    yield from _weights_disagree(config)
    yield from _preferences_disagree(config)
    yield from _pairs_disagree(config)
    yield from _verifiers_disagree(config)
    for field, values in _choices(config).items():
        if twice := next((v for v in values if values.count(v) > 1), None):
            yield f"{field} names {twice!r} twice; take one out"


def _lengths_disagree(config: "Config") -> Iterator[str]:
    limit = config.teacher.vllm.max_model_len
    lengths = {f"evaluate.max_tokens.{mode}": n for mode, n in config.evaluate.max_tokens.items()}
    if config.teacher.engine == "vllm":
        lengths["teacher.sampling.max_tokens"] = config.teacher.sampling.max_tokens
    for field, tokens in lengths.items():
        if tokens >= limit:
            yield f"{field}={tokens} leaves no room for a prompt in teacher.vllm.max_model_len={limit}; raise that"


def _weights_disagree(config: "Config") -> Iterator[str]:
    weights = config.sft.weights
    if not max(weights.rationale, weights.answer, weights.tool_call):
        yield "sft.weights.rationale, .answer and .tool_call are all 0, so nothing is learned; raise one"
    modes = {*config.select.modes}
    if "direct" in modes and not weights.answer:
        yield "sft.weights.answer=0, but mode 'direct' of select.modes consists of the answer alone; raise it"
    if config.sft.multitask_lambda is not None and len({*config.sft.mode_weights.values()}) > 1:
        yield "sft.mode_weights weighs the modes in one mean, sft.multitask_lambda has two; take one of them out"
    if config.sft.multitask_lambda is not None and not {"direct"} < modes:
        yield (
            f"sft.multitask_lambda={config.sft.multitask_lambda:g} weighs mode 'direct' against others, but "
            f"select.modes={sorted(modes)}; add what is missing, or take it out"
        )


def _preferences_disagree(config: "Config") -> Iterator[str]:
    dpo = config.dpo
    if dpo.loss == "robust" and not dpo.label_smoothing:
        yield "dpo.loss=robust with dpo.label_smoothing=0 is sigmoid; set the share of pairs that may be wrong"
    if dpo.loss == "ipo" and dpo.label_smoothing:
        yield f"dpo.label_smoothing={dpo.label_smoothing:g} means nothing with dpo.loss=ipo; take it out"
    if dpo.loss != "simpo" and dpo.simpo_gamma != type(dpo)().simpo_gamma:
        yield f"dpo.simpo_gamma={dpo.simpo_gamma:g} means nothing with dpo.loss={dpo.loss}; take it out"
    if dpo.ld_alpha is not None and dpo.loss in ("ipo", "simpo"):
        yield f"dpo.ld_alpha={dpo.ld_alpha:g} cannot help dpo.loss={dpo.loss}, a mean over tokens; take it out"


def _pairs_disagree(config: "Config") -> Iterator[str]:
    pair, sources = config.pair, [s for s in config.prompts.sources if s.split not in ("dev", "test")]
    if not pair.student_variations:
        return
    if "student" not in pair.sources:
        yield (
            f"pair.student_variations={pair.student_variations} means nothing with pair.sources={[*pair.sources]}; "
            "add student, or take it out"
        )
    elif not any(s.gold_format == "equation" or s.fields.hint for s in sources):  # a hint may be an equation too
        yield (
            f"pair.student_variations={pair.student_variations} needs train problems with an equation, but none of "
            "prompts.sources to train on has gold_format: equation; add one, or set it to 0, which asks the student "
            "the train problems that the teacher solved"
        )


def _verifiers_disagree(config: "Config") -> Iterator[str]:
    specs = config.verify.verifiers
    if not any(spec.required for spec in specs):
        yield "verify.verifiers has none with required: true, so no sample could ever pass; require one"
    verify = config.verify
    is_weighted = "weighted" in (verify.combine, *verify.combine_in.values())
    if is_weighted and verify.threshold is None:
        yield "verify.combine=weighted needs verify.threshold, the share of the votes' weight that has to pass; add it"
    if not is_weighted and verify.threshold is not None:
        yield f"verify.threshold={verify.threshold:g} means nothing with verify.combine={verify.combine}; take it out"
    for number, spec in enumerate(specs):
        if spec.weight != 1 and not (is_weighted and spec.required):
            why = f"verify.combine={verify.combine}" if spec.required else "required: false"
            yield f"verify.verifiers.{number}.weight={spec.weight:g} means nothing with {why}; take it out"
        if spec.name == "agreement":
            yield from _cannot_agree(config, f"verify.verifiers.{number}", spec.options.get("min_votes", 4))
        limit_s, patience_s = spec.timeout_s or verify.timeout_s, spec.options.get("timeout_s", 60)
        if spec.name == "judge" and isinstance(patience_s, int | float) and limit_s <= patience_s:
            yield (
                f"verify.verifiers.{number}: a judge that takes its options.timeout_s={patience_s:g} would be killed "
                f"after timeout_s={limit_s:g}; set timeout_s beside its options above that"
            )
        marker = spec.options.get("marker", "####")
        if spec.name == "format" and marker != config.answer.marker:
            yield (
                f"verify.verifiers.{number}.options.marker={marker!r} but answer.marker={config.answer.marker!r}; "
                "set both to the same"
            )


def _cannot_agree(config: "Config", field: str, min_votes: Any) -> Iterator[str]:
    """Samples that are too few to agree, or one and the same."""
    teacher = config.teacher
    if isinstance(min_votes, int) and teacher.max_samples < min_votes:
        yield f"{field}: agreement wants min_votes={min_votes}, but teacher.max_samples={teacher.max_samples}; raise it"
    if teacher.sampling.temperature == 0:
        yield f"{field}: at teacher.sampling.temperature=0 all samples are one and agreement says nothing; raise it"


def _choices(config: "Config") -> dict[str, list[str]]:
    """The lists in which each value may stand once."""
    domains = {f"verify.verifiers.{n}.domains": [*(s.domains or ())] for n, s in enumerate(config.verify.verifiers)}
    return domains | {
        "select.modes": [*config.select.modes],
        "evaluate.modes": [*config.evaluate.modes],
        "evaluate.models": [*config.evaluate.models],
        "pair.sources": [*config.pair.sources],
        "teacher.tools": [*config.teacher.tools],
        "verify.verifiers": [spec.name for spec in config.verify.verifiers],
    }
