"""The command line.

Exit codes: 0 done, 2 bad config or input, 3 a prerequisite is missing, 4 a stage failed, 130 interrupted.
"""

import json
import os
import sys
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rdistill import __version__
from rdistill.errors import ConfigError, RdistillError, first_cause
from rdistill.sandbox.levels import SANDBOXED, Consent, Level, forget_granted

app = typer.Typer(
    help="Distil a teacher's verified reasoning and preferences into a small, concise student.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
verifiers_app = typer.Typer(
    help="List verifiers, write a new one, or test one on labelled cases.", no_args_is_help=True
)
sandbox_app = typer.Typer(help="Use or check the sandbox that model-written code runs in.", no_args_is_help=True)
app.add_typer(verifiers_app, name="verifiers")
app.add_typer(sandbox_app, name="sandbox")

out, err = Console(highlight=False), Console(stderr=True, highlight=False)
debug = False
INTERRUPTED = 130

ConfigPath = Annotated[Path, typer.Argument(help="A YAML config, e.g. configs/quickstart.yaml.")]
Overrides = Annotated[list[str] | None, typer.Argument(help="Changes to it, e.g. dpo.beta=0.2 teacher.max_samples=4.")]
RunDir = Annotated[Path | None, typer.Option("--run-dir", help="Where the run lives (default: the config's run_dir).")]
AllowWeak = Annotated[
    bool,
    typer.Option(
        "--allow-weak-sandbox", help="Accept the best sandbox of this machine, where it is below sandbox.require."
    ),
]
Untrusted = Annotated[
    bool,
    typer.Option(
        "--i-understand-untrusted-code", help="Let code that a model wrote run at level weak: behind limits alone."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ServiceUrl = Annotated[
    str | None, typer.Option("--url", help="Of a service that runs code, in place of this machine's sandbox.")
]


@app.callback(invoke_without_command=True)
def common(
    context: typer.Context,
    show_version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    with_debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    """Options that come before the command."""
    global debug
    debug = with_debug
    if show_version:
        out.print(f"rdistill {__version__}")
    elif context.invoked_subcommand is None:
        out.print(context.get_help(), markup=False)


@app.command()
def init(path: Annotated[Path, typer.Argument(help="The file to write.")] = Path("rdistill.yaml")) -> None:
    """Write a commented config to start from."""
    from rdistill.starter import STARTER

    if path.exists():
        raise ConfigError(f"{path} exists; name another file, or move it away")
    try:
        path.write_text(STARTER)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written ({error.strerror}); name another file") from None
    print(f"{path} written. Edit it, then: rdistill check {path}; rdistill run {path}")


@app.command()
def check(
    config: ConfigPath,
    overrides: Overrides = None,
    run_dir: RunDir = None,
    as_json: AsJson = False,
    allow_weak: AllowWeak = False,
    untrusted: Untrusted = False,
) -> None:
    """Validate everything, load nothing big; print the plan and one training example with its weights."""
    from rdistill.check import check_all, print_plan

    plan = check_all(_load(config, overrides, run_dir), Consent(allow_weak, untrusted))
    out.print_json(json.dumps(plan)) if as_json else print_plan(plan, out)


@app.command()
def run(
    config: ConfigPath,
    overrides: Overrides = None,
    run_dir: RunDir = None,
    until: Annotated[str | None, typer.Option("--until", help="Stop after this stage.")] = None,
    from_stage: Annotated[str | None, typer.Option("--from", help="Run this stage and what follows again.")] = None,
    allow_weak: AllowWeak = False,
    untrusted: Untrusted = False,
) -> None:
    """Run all stages; those that are done and unchanged are skipped."""
    from rdistill.pipeline import run_pipeline

    loaded = _load(config, overrides, run_dir)
    run_pipeline(loaded, err, until=until, from_stage=from_stage, consent=Consent(allow_weak, untrusted))
    if until in (None, "evaluate", "report"):
        _print_outcome(loaded)


def _stage_command(stage: str, help_text: str) -> None:
    def command(config: ConfigPath, overrides: Overrides = None, run_dir: RunDir = None) -> None:
        from rdistill.pipeline import run_pipeline

        run_pipeline(_load(config, overrides, run_dir), err, only=stage)

    def sandboxed_command(
        config: ConfigPath,
        overrides: Overrides = None,
        run_dir: RunDir = None,
        allow_weak: AllowWeak = False,
        untrusted: Untrusted = False,
    ) -> None:
        from rdistill.pipeline import run_pipeline

        loaded = _load(config, overrides, run_dir)
        run_pipeline(loaded, err, only=stage, consent=Consent(allow_weak, untrusted))
        if stage == "evaluate":
            _print_outcome(loaded)

    app.command(name=stage, help=help_text)(sandboxed_command if stage in SANDBOXED else command)


for _stage, _help in {
    "generate": "Sample the teacher until each problem has what training needs.",
    "verify": "Judge every sample that lacks a verdict.",
    "select": "Choose the training examples from the verified samples.",
    "pair": "Build the preference pairs.",
    "sft": "Train stage 1, span-weighted SFT, under DeepSpeed.",
    "dpo": "Train stage 2, DPO, under DeepSpeed.",
    "evaluate": "Measure base, sft, dpo and teacher on held-out problems.",
    "report": "Write report.html.",
}.items():
    _stage_command(_stage, _help)


@app.command()
def ask(
    run_or_model: Annotated[str, typer.Argument(help="A run's folder (its student answers), or a model.")],
    question: Annotated[
        str | None, typer.Argument(help="The question; '-' or nothing reads JSON lines from stdin.")
    ] = None,
    mode: Annotated[str, typer.Option(help="concise, direct, hidden, explain or tool.")] = "concise",
    as_json: AsJson = False,
    allow_weak: AllowWeak = False,
    untrusted: Untrusted = False,
) -> None:
    """Answer with the student: the answer alone by default.

    JSON lines on stdin hold {"question": ...} or {"messages": [...]}, and optionally "id" and "mode".
    """
    from rdistill.infer.ask import answer_all, read_questions
    from rdistill.process import prepare_this_process

    prepare_this_process()
    is_piped = question in (None, "-")
    stdin = getattr(sys.stdin, "buffer", None)
    questions = read_questions(None if is_piped else question, mode, stdin)
    with closing(answer_all(run_or_model, questions, Consent(allow_weak, untrusted))) as answers:
        for item in answers:
            if as_json or is_piped:
                print(json.dumps(item, ensure_ascii=False), flush=True)
            elif not item["fault"]:
                if not item["finished"]:
                    err.print("warning: the answer is not finished, it ended at its token limit", soft_wrap=True)
                print(item["answer"], flush=True)


@app.command()
def serve(
    run_or_model: Annotated[str, typer.Argument(help="A run's folder (its student answers), or a model.")],
    host: Annotated[
        str, typer.Option(help="Address to listen on; any but this machine's own needs $RDISTILL_API_KEY.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 8000,
    mode: Annotated[str, typer.Option(help="What the bare model name means.")] = "concise",
    max_requests: Annotated[
        int, typer.Option(min=1, max=4096, help="Answered at once; as many again wait, more get HTTP 429.")
    ] = 64,
    timeout_s: Annotated[float, typer.Option("--timeout", min=1, help="Seconds for one request.")] = 300,
    allow_weak: AllowWeak = False,
    untrusted: Untrusted = False,
) -> None:
    """Serve the student as an OpenAI-compatible chat-completions server."""
    from rdistill.infer.serve import Place
    from rdistill.infer.serve import serve as serve_student
    from rdistill.process import prepare_this_process

    prepare_this_process()
    place = Place(host, port, max_requests, timeout_s)
    if code := serve_student(run_or_model, mode, place, Consent(allow_weak, untrusted)):
        raise SystemExit(code)


@app.command()
def show(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder.")],
    row_id: Annotated[str, typer.Argument(metavar="ID", help="Id of any row, or its first digits.")],
    as_json: AsJson = False,
) -> None:
    """Walk a row's lineage: prompt, samples, each verdict with its reason, examples and pairs."""
    from rdistill.lineage import lineage, print_lineage

    found = lineage(run_dir, row_id)
    out.print_json(json.dumps(found)) if as_json else print_lineage(found, out)


@app.command()
def export(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder.")],
    file_format: Annotated[
        Literal["trl", "parquet", "jsonl"], typer.Option("--format", help="trl, parquet or jsonl.")
    ] = "trl",
    folder: Annotated[Path | None, typer.Option("--out", help="Folder to write (default: RUN/export/FORMAT).")] = None,
) -> None:
    """Write the training sets for other tools."""
    from rdistill.run import RunFolder
    from rdistill.select import export_run

    for path in export_run(RunFolder(run_dir), file_format, folder or run_dir / "export" / file_format):
        print(path)


@verifiers_app.command("list")
def verifiers_list(as_json: AsJson = False) -> None:
    """The verifiers that are installed, without importing them."""
    from rdistill.verifiers.cases import list_verifiers

    rows = [dict(zip(("name", "package", "version"), row, strict=True)) for row in list_verifiers()]
    if as_json:
        out.print_json(json.dumps(rows))
        return
    table = Table("name", "package", "version", box=None)
    for row in rows:
        table.add_row(*row.values())
    out.print(table)


@verifiers_app.command("test")
def verifiers_test(
    name: Annotated[
        str | None, typer.Argument(help="A verifier's name, or path/to/file.py:Class; default: all that are installed.")
    ] = None,
    cases: Annotated[
        Path | None, typer.Option(help="JSONL rows {id, gold, answer, expected}; default: its own.")
    ] = None,
    option: Annotated[
        list[str] | None, typer.Option("--option", help="Of the verifier, e.g. strict=true; may be given many times.")
    ] = None,
    timeout_s: Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds for one check.")] = 5,
    as_json: AsJson = False,
    allow_weak: AllowWeak = False,
    untrusted: Untrusted = False,
) -> None:
    """Measure a verifier on labelled answers: right ones accepted, wrong ones accepted, rate.

    Without a name: all that need no options, each on its own cases.
    """
    from rdistill.overrides import apply_override
    from rdistill.verifiers.cases import run_cases

    if allow_weak:
        _settle("strong", Consent(allow_weak, untrusted), None)
    if name is None:
        if cases or option:
            raise ConfigError("--cases and --option are of one verifier; give its name too")
        _test_all_verifiers(timeout_s, as_json)
        return
    options: dict[str, Any] = {}
    for text in option or []:
        apply_override(options, text)
    found = run_cases(name, cases, options, timeout_s=timeout_s)
    if as_json:
        out.print_json(json.dumps(found))
        return
    why, unreadable = found.pop("why"), found.pop("unreadable")
    for key, value in found.items():
        out.print(_printable(f"{key:<16} {value}"), markup=False)
    for row_id, said in why.items():
        out.print(_printable(f"  {row_id}: {said}"), markup=False, soft_wrap=True)
    for row_id, said in unreadable.items():
        out.print(_printable(f"  not read: {row_id}: {said}"), markup=False, soft_wrap=True)


def _test_all_verifiers(timeout_s: float, as_json: bool) -> None:
    """One table, or {name: result}; on stderr what could not be tested, and why."""
    from rdistill.verifiers.cases import run_all_cases

    results, left_out = run_all_cases(timeout_s=timeout_s)
    if as_json:
        out.print_json(json.dumps(results))
    else:
        columns = ("n", "true_accepted", "false_accepted", "unverifiable", "wrong", "per_s")
        table = Table("name", *columns, box=None)
        for name, found in results.items():
            shown = found | {"wrong": len(found["wrong"])}
            table.add_row(name, *(str(shown[column]) for column in columns))
        out.print(table)
    for name, why in left_out.items():
        err.print(f"not tested: {name}: {_printable(why)}", markup=False, soft_wrap=True)


@verifiers_app.command("new")
def verifiers_new(name: Annotated[str, typer.Argument(help="Its name, e.g. iso_date; a folder of that name.")]) -> None:
    """Write a folder with a working verifier, labelled cases and a test."""
    from rdistill.verifiers.skeleton import write_skeleton

    written = write_skeleton(name, Path())
    out.print(f"{name}/ written. Edit it, then: rdistill verifiers test {written}", soft_wrap=True)


@sandbox_app.command("run")
def sandbox_run(
    file: Annotated[str, typer.Argument(help="A Python file; '-' reads the program from stdin.")],
    stdin: Annotated[Path | None, typer.Option("--stdin", help="A file that the program reads as its stdin.")] = None,
    timeout_s: Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds for the program.")] = 5,
    url: ServiceUrl = None,
    as_json: AsJson = False,
    allow_weak: AllowWeak = False,
    untrusted: Untrusted = False,
) -> None:
    """Run a Python program in the sandbox. The exit code is about the sandbox; the program's own is in the output."""
    from rdistill.errors import PrerequisiteError
    from rdistill.report.words import reveal
    from rdistill.sandbox import Sandbox

    code = _read_bytes(Path("/dev/stdin" if file == "-" else file))
    lowest: Level = "external" if _checked(url) else "strong"
    if allow_weak or url:
        _settle(lowest, Consent(allow_weak, untrusted), url)
    result = Sandbox(timeout_s=timeout_s).run(code, stdin=_read_bytes(stdin) if stdin else b"")
    if as_json:
        shown = ("status", "exit_code", "stdout", "stderr", "seconds", "level")
        print(json.dumps({key: getattr(result, key) for key in shown}, indent=1))
    else:
        print(reveal(result.stdout), end="")
        print(reveal(result.stderr), end="", file=sys.stderr)
        err.print(f"{result.status}, exit status {result.exit_code}, {result.seconds:.2f} s, level {result.level}")
    if result.status == "sandbox_error":
        test = "rdistill sandbox selftest" + (f" --url {url}" if url else "")
        raise PrerequisiteError(f"the sandbox itself failed; see what is wrong with: {test}")


@sandbox_app.command("selftest")
def sandbox_selftest(url: ServiceUrl = None, as_json: AsJson = False, allow_weak: AllowWeak = False) -> None:
    """Find this machine's sandbox level by attacking the best first; exit code 3 if it is below `strong`.

    With --url the service there is attacked instead; exit code 3 if anything gets through.
    """
    from rdistill.errors import PrerequisiteError
    from rdistill.sandbox import LOCAL, self_test
    from rdistill.sandbox.levels import remedy

    rows: list[dict[str, Any]] = []
    levels: tuple[Level, ...] = ("external",) if _checked(url) else LOCAL
    for level in levels:
        probes = self_test(level, url)
        rows += [{"level": level, "name": p.name, "ok": p.ok, "detail": p.detail} for p in probes]
        if is_found := all(p.ok for p in probes):
            break
    found = level if is_found else None
    if as_json:
        out.print_json(json.dumps({"ok": found in ("strong", "external"), "level": found, "probes": rows}))
    else:
        for row in rows:
            out.print(
                f"{'ok  ' if row['ok'] else 'FAIL'} {row['level']:<14} {row['name']:<24} {row['detail']}", markup=False
            )
        out.print(f"level {found}", markup=False)
    if url and not found:
        failed = [f"{row['name']}: {' '.join(row['detail'].split())[:160]}" for row in rows if not row["ok"]]
        what = f"failed {len(failed)} of {len(rows)} probes ({'; '.join(failed[:3])})"
        raise PrerequisiteError(f"the service {url} is no sandbox, it {what}; {remedy('external')}")
    if found not in ("strong", "external") and not (found and allow_weak):
        raise PrerequisiteError(
            f"this machine's sandbox level is {found}; a run needs strong, unless its config says less in "
            "sandbox.require, or --allow-weak-sandbox is typed"
        )


def _settle(lowest: Level, consent: Consent, url: str | None) -> None:
    """Find the sandbox level of this command by attacking, and warn where it is a low one."""
    from rdistill.sandbox import require, sandbox_warnings

    for warning in sandbox_warnings(require(lowest, consent, url), lowest):
        err.print(f"warning: {warning}", markup=False, soft_wrap=True)


def _checked(url: str | None) -> str | None:
    from rdistill.sandbox.levels import url_fault

    if url is not None and (fault := url_fault(url)):
        raise ConfigError(f"--url: {fault}")
    return url


def _load(path: Path, overrides: list[str] | None, run_dir: Path | None) -> Any:
    from rdistill.config import load_config

    return load_config(path, [*(overrides or []), *([f"run_dir={json.dumps(str(run_dir))}"] if run_dir else [])])


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); name an existing file") from None


def _print_outcome(config: Any) -> None:
    from rdistill.report.table import print_scorecard
    from rdistill.run import RunFolder

    folder = RunFolder(config.run_dir)
    if folder.scorecard.exists():
        print_scorecard(folder, out)


def main() -> None:
    """Run the command line; every error the user can mend is one sentence and an exit code."""
    forget_granted()
    try:
        code = app(standalone_mode=False, prog_name="rdistill")
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except SystemExit as stop:
        if not isinstance(stop.__context__, BrokenPipeError):
            raise
        code = 0  # whoever reads our output has had enough of it
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    except Exception as error:
        if debug:
            raise
        code = _report(first_cause(error))
    if code == INTERRUPTED:
        err.print("interrupted; what was finished is kept, the same command goes on from there", soft_wrap=True)
    sys.exit(code)


def _report(error: BaseException) -> int:
    """Print an error in one line; returns the exit code."""
    if hasattr(error, "show") and hasattr(error, "exit_code"):
        error.show()  # a usage error: typer words it
        return error.exit_code
    text, code = str(error), getattr(error, "exit_code", 4)
    if not isinstance(error, RdistillError):
        text = f"{type(error).__name__}: {error} (a fault of rdistill; rdistill --debug ... shows the traceback)"
    # Messages may quote model text: no markup, no control characters, no line breaks.
    err.print(Text.assemble(("error", "red"), ": ", _printable(" ".join(text.split()))), soft_wrap=True)
    return code


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)


if __name__ == "__main__":
    main()
