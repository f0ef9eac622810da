"""The student's card: what a served model must know of its training, kept inside its folder."""

from pathlib import Path

from rdistill.config import Config, SandboxConfig, StudentConfig, VllmConfig
from rdistill.errors import DataError
from rdistill.outputs import is_input_changed, why_stale
from rdistill.records import Record, StudentMode
from rdistill.run import RunFolder, write_durable

CARD = "rdistill.json"


class Card(Record):
    """The prompt of each mode that was trained, the answer marker, the tools, how many turns may call them and where,
    and the most tokens of prompt and answer.
    """

    prompts: dict[StudentMode, str]
    marker: str
    tools: list[str] = []
    max_turns: int = 4
    sandbox: SandboxConfig = SandboxConfig()
    max_model_len: int = VllmConfig().max_model_len


def make_card(config: Config) -> Card:
    return Card(
        prompts={
            m: p for m, p in config.student.prompts.items() if m in {*config.select.modes, *config.evaluate.modes}
        },
        marker=config.answer.marker,
        tools=list(config.teacher.tools) if "tool" in config.select.modes else [],
        max_turns=config.teacher.max_turns,
        sandbox=config.sandbox,
        max_model_len=config.teacher.vllm.max_model_len,
    )


def write_card(folder: Path, config: Config) -> None:
    write_durable(folder / CARD, make_card(config).model_dump_json(indent=1))


def read_card(folder: Path) -> Card:
    """The card of a trained model; a plain model gets the default prompts."""
    try:
        return Card.model_validate_json((folder / CARD).read_text())
    except OSError:
        return Card(prompts=StudentConfig.model_fields["prompts"].default, marker="####", tools=["calculator"])
    except ValueError as error:
        raise DataError(
            f"{folder / CARD}: not a student card ({type(error).__name__}); train the model again"
        ) from None


def find_student(run_or_model: str) -> tuple[str, Card]:
    """The model to serve and its card, from a run's folder (its last trained model), a model folder, or a model id.

    A DPO model counts if it was trained from the SFT model that is there now.
    Raises: DataError for a run without a student, or with one of other data than it holds now.
    """
    folder = Path(run_or_model)
    if not folder.is_dir():
        return run_or_model, read_card(folder)
    run = RunFolder(folder)
    if run.ledger.exists():
        if not (run.model("sft") / CARD).exists():
            raise DataError(f"{folder} has no trained student yet; finish it with: rdistill run {run.config}")
        if why := why_stale(run, "sft"):
            raise DataError(
                f"the student of {folder} is not of the run as it is now, since {why}; finish it with: rdistill run "
                f"{run.config}, or name the model's own folder, {run.model('sft')}"
            )
        dpo = run.read_manifest("dpo")
        is_preferred = dpo and (run.model("dpo") / CARD).exists() and not is_input_changed(run, dpo, "sft")
        model = run.model("dpo" if is_preferred else "sft")
        return str(model), read_card(model)
    return str(folder), read_card(folder)
