"""The command `lift`: one command per step. Results go to standard output, messages to standard error."""

from __future__ import annotations

import atexit
import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta, timezone, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from toolkit.errors import SpecError, StorageError, ToolkitError
from toolkit.processor import prepare

if TYPE_CHECKING:
    from toolkit.steps.workspace import Spec, Workspace

__all__ = ["app", "main"]

EARLIEST = timezone(timedelta(hours=14))
"""Where a day begins before it begins anywhere else."""

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Retention experiments whose message and on-site experience match, and what they caused.",
)

SpecPath = Annotated[str, typer.Argument(metavar="SPEC", help="The experiment file (.yml).")]
AsOf = Annotated[
    str | None,
    typer.Option(
        "--as-of", metavar="DATE", help="Count until the end of this date (2026-11-23); default today."
    ),
]
Rebuild = Annotated[
    bool,
    typer.Option(
        "--rebuild", help="Make the readout kept for that date anew, from the tables' versions of then."
    ),
]
Json = Annotated[
    str | None,
    typer.Option(
        "--json", metavar="FILE", help="Write JSON to FILE; `-` is standard output, and nothing else there."
    ),
]


@app.command()
def demo(
    seed: Annotated[int, typer.Option(help="Another seed, another simulated world.")] = 1,
    weeks: Annotated[int, typer.Option(min=1, max=12, help="Simulated weeks.")] = 8,
) -> None:
    """Run the whole loop against simulated vendors and shoppers, and write readouts. Needs no account."""
    from toolkit.demo import run_demo

    with _progress() as progress:
        told = run_demo(seed=seed, weeks=weeks, progress=progress)
    print(told)


@app.command()
def check(spec: SpecPath) -> None:
    """Say what an experiment file would do, or what is wrong with it. Exit status 2 where a command would refuse it."""
    from toolkit.show.preview import preview_text
    from toolkit.steps.check import check as run

    workspace, read = _open(spec)
    found = run(workspace, read)
    print(preview_text(read.experiment, found))
    raise typer.Exit(2 if found.failures else 0)


@app.command()
def traits(
    folder: Annotated[
        str, typer.Argument(metavar="DIR", help="The folder of experiment files.")
    ] = "experiments",
    write: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write the document (Markdown) to FILE.")
    ] = None,
) -> None:
    """List the traits of all experiments of a folder: values, owner, age, flag, and where they clash."""
    from toolkit.show.traits import traits_markdown, traits_text
    from toolkit.steps.traits import traits as run

    found = run(folder)
    if write:
        _write(write, traits_markdown(found))
    print(traits_text(found))


@app.command()
def lookup(
    spec: SpecPath,
    out: Annotated[str, typer.Option(metavar="FILE", help="The file: .parquet, .json or .csv.")],
    allow_removals: Annotated[
        int,
        typer.Option(
            metavar="N", help="Let N customers of the file before be missing even if they are a large part."
        ),
    ] = 0,
) -> None:
    """Write trait values by customer to a file that an application loads, whole or not at all."""
    from toolkit.show.lookup import lookup_text
    from toolkit.steps.lookup import lookup as run

    workspace, read = _open(spec)
    print(lookup_text(run(workspace, read, out, allow_removals=allow_removals)))


@app.command()
def design(
    spec: SpecPath,
    as_of: AsOf = None,
    lift: Annotated[
        str | None,
        typer.Option(metavar="PCT", help="Plan for this relative lift in percent; else for 5, 10 and 20."),
    ] = None,
    pace: Annotated[
        float | None,
        typer.Option(metavar="N", min=0, help="Customers who newly qualify per week, where nothing tells."),
    ] = None,
    as_json: Json = None,
    picture: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write the power curves as an SVG picture to FILE.")
    ] = None,
) -> None:
    """Say how large the effects are that an experiment can find, from its cohort's own history."""
    from toolkit.show.designed import design_text
    from toolkit.steps.design import design as run

    workspace, read = _open(spec)
    found = run(workspace, read, as_of=_date(as_of), lift=_percent(lift), pace=pace or None)
    if picture:
        _write(picture, found.picture().svg)
    if as_json:
        _write_json(as_json, found.record())
    if as_json != "-":
        print(design_text(found))


@app.command()
def assign(spec: SpecPath) -> None:
    """Assign new customers of the cohort to arms; who is assigned stays so."""
    from toolkit.steps.ahead import open_ahead

    open_ahead()
    from toolkit.show.assigned import assigned_text
    from toolkit.steps.assign import assign as run

    workspace, read = _open(spec)
    with _progress() as progress:
        done = run(workspace, read, progress=progress)
    print(assigned_text(read.experiment, done))


@app.command()
def push(
    spec: SpecPath,
    apply: Annotated[
        bool, typer.Option("--apply", help="Write; without it the plan is shown and nothing changes.")
    ] = False,
    allow_removals: Annotated[
        int,
        typer.Option(metavar="N", help="Let N memberships end even if that is a large part of a segment."),
    ] = 0,
    retry_refused: Annotated[
        bool, typer.Option("--retry-refused", help="Try keys again that LaunchDarkly did not take.")
    ] = False,
    as_json: Json = None,
) -> None:
    """Show what would change in LaunchDarkly; with --apply do it, read it back, and release the messages."""
    from toolkit.show.pushing import plan_record, plan_text, pushed_record, pushed_text
    from toolkit.steps.plan import refuse_blocked
    from toolkit.steps.push import open_launchdarkly, plan_push
    from toolkit.steps.push import push as run

    workspace, read = _open(spec)
    done = None
    with open_launchdarkly(workspace, read) as client:
        plan = plan_push(workspace, read, client, retry_refused=retry_refused)
        if as_json != "-":
            print(plan_text(plan, read.experiment, applied=apply))
        if apply:
            with _progress() as progress:
                done = run(workspace, read, client, plan, allow_removals=allow_removals, progress=progress)
    if as_json:
        record = plan_record(plan, read.experiment)
        _write_json(as_json, record | {"applied": pushed_record(done)} if done else record)
    if done is None:
        refuse_blocked(plan)
        return
    if as_json != "-":
        print(pushed_text(done))
    if done.refused or done.not_taken:
        raise typer.Exit(3)


@app.command()
def audit(
    spec: SpecPath,
    scaffold: Annotated[
        bool, typer.Option("--scaffold", help="Print the requests that make safe flags and their segments.")
    ] = False,
    apply: Annotated[
        bool, typer.Option("--apply", help="With --scaffold: make them, off, and audit what was made.")
    ] = False,
    turn_on: Annotated[
        bool, typer.Option("--turn-on", help="With --apply: turn flags on once they are read back and safe.")
    ] = False,
    as_json: Json = None,
) -> None:
    """Prove by rules and by LaunchDarkly's own SDK that flags are safe. Exit status 1 where one is not."""
    from toolkit.show.audited import audit_record, audit_text, scaffolded_text
    from toolkit.steps.audit import audit as run
    from toolkit.steps.audit import open_flags
    from toolkit.steps.scaffold import requests_of
    from toolkit.steps.scaffold import scaffold as make

    workspace, read = _open(spec)
    if (apply and not scaffold) or (turn_on and not apply):
        raise SpecError("--apply goes with --scaffold, and --turn-on with both")
    if scaffold and not apply:
        _write_json(as_json or "-", requests_of(workspace, read))
        return
    with open_flags(workspace, read) as client:
        if scaffold:
            print(scaffolded_text(make(read, client, turn_on=turn_on)), file=sys.stderr)
        found = run(workspace, read, client)
    if as_json:
        _write_json(as_json, audit_record(found))
    if as_json != "-":
        print(audit_text(found))
    raise typer.Exit(int(not found.safe))


@app.command()
def pull(spec: SpecPath) -> None:
    """Bring new events into the lake."""
    from toolkit.show.pulled import pulled_text
    from toolkit.steps.pull import pull as run

    workspace, read = _open(spec)
    with _progress() as progress:
        done = run(workspace, read, progress=progress)
    print(pulled_text(done))


@app.command()
def measure(spec: SpecPath, as_of: AsOf = None, as_json: Json = None) -> None:
    """Measure what the experiment caused. Exit status 1 where a check forbids a verdict."""
    from toolkit.steps.ahead import open_ahead

    open_ahead()
    from toolkit.readout.record import record_of
    from toolkit.steps.measure import measure as run

    workspace, read = _open(spec)
    found = run(workspace, read, as_of=_date(as_of))
    simulated = workspace.simulated(read.experiment)
    record = record_of(read.experiment, found, spec_digest=read.digest, simulated=simulated)
    record["notes"] += _notes(workspace, read, found.as_of)
    if as_json:
        _write_json(as_json, record)
    if as_json != "-":
        from toolkit.show.measured import record_text

        print(record_text(record))
    raise typer.Exit(int(record["verdict"]["status"] == "not_readable"))


@app.command()
def readout(spec: SpecPath, as_of: AsOf = None, rebuild: Rebuild = False) -> None:
    """Measure and write the page, the notebook and the record of one experiment."""
    from toolkit.readout.reports import write_index
    from toolkit.steps.readout import readout as run

    workspace, read = _open(spec)
    if not rebuild:
        _tell_ahead(workspace, _date(as_of), read.experiment.zone)
    record, page = run(workspace, read, as_of=_date(as_of), rebuild=rebuild)
    write_index(workspace.reports)
    print(page)
    raise typer.Exit(int(record["verdict"]["status"] == "not_readable"))


@app.command()
def weekly(
    folder: Annotated[
        str, typer.Argument(metavar="DIR", help="The folder of experiment files.")
    ] = "experiments",
    as_of: AsOf = None,
    rebuild: Rebuild = False,
    digest: Annotated[
        str | None, typer.Option(metavar="FILE.md", help="Write a digest for e-mail or chat to FILE.md.")
    ] = None,
    base: Annotated[
        str,
        typer.Option(metavar="URL", help="Where the reports can be opened, for the digest's links."),
    ] = "",
) -> None:
    """Pull, measure and publish every experiment of a folder, and the index of all."""
    from toolkit.show.published import outcomes_text
    from toolkit.steps.weekly import weekly as run
    from toolkit.steps.weekly import write_digest
    from toolkit.steps.workspace import Workspace

    workspace = Workspace.open()
    if not rebuild:
        _tell_ahead(workspace, _date(as_of), EARLIEST)
    with _progress() as progress:
        outcomes = run(workspace, folder, as_of=_date(as_of), rebuild=rebuild, progress=progress)
    if digest:
        write_digest(outcomes, digest, workspace.reports, base=base)
    print(outcomes_text(outcomes, workspace.reports))
    raise typer.Exit(max(each.exit_status for each in outcomes))


@app.command()
def receive(
    folder: Annotated[
        str, typer.Argument(metavar="DIR", help="The folder of experiment files.")
    ] = "experiments",
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 takes a free one.")] = 8080,
    keep_only: Annotated[
        bool, typer.Option("--keep-only", help="Only keep what comes; another process applies it.")
    ] = False,
    once: Annotated[
        bool, typer.Option("--once", help="Take nothing in: apply what is kept, then stop.")
    ] = False,
    quarantined: Annotated[
        bool, typer.Option("--quarantined", help="Say what was put aside as unusable, and why.")
    ] = False,
    retry: Annotated[
        bool, typer.Option("--retry", help="Look once more at what was put aside, then stop.")
    ] = False,
) -> None:
    """Take webhooks in: who enters or leaves a cohort, and what became of messages. Applied within seconds."""
    from toolkit.receiver.chores import apply_once, held, retry_held
    from toolkit.receiver.serve import log_to_standard_error, serve
    from toolkit.show.received import held_text, listening_text, once_text, retried_text
    from toolkit.steps.inbox import Folder
    from toolkit.steps.workspace import Workspace

    workspace, files = Workspace.open(), Folder(folder)
    if retry:
        print(retried_text(retry_held(workspace, files)))
    if quarantined:
        print(held_text(held(workspace)))
    if once:
        done = apply_once(workspace, files)
        print(once_text(done))
        raise typer.Exit(max((each.exit_status for each in done.refused), default=0))
    if not (retry or quarantined):
        log_to_standard_error()
        serve(
            workspace,
            files,
            host=host,
            port=port,
            apply=not keep_only,
            listening=lambda url, inbox: print(
                listening_text(url, inbox, files), file=sys.stderr, flush=True
            ),
        )


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def sandbox(
    context: typer.Context,
    seed: Annotated[int, typer.Option(help="Another seed, another simulated world.")] = 1,
    weeks: Annotated[
        int, typer.Option(min=0, max=12, help="Weeks to live through first, as the demo does.")
    ] = 0,
) -> None:
    """Serve simulated vendors and shoppers; with `-- COMMAND …` run COMMAND against them, then stop."""
    from toolkit.demo import serve

    raise typer.Exit(serve(context.args, seed=seed, weeks=weeks))


def main() -> NoReturn:
    """Run the command line; a user's mistake ends in one clear message and an exit status, not a traceback."""
    prepare()
    gc.set_threshold(100_000, 10, 10)  # loading modules makes many objects and no garbage
    atexit.register(gc.freeze)  # what is left goes with the process: to look for what may go takes 60 ms
    try:
        app(standalone_mode=True)
    except ToolkitError as wrong:
        _fail(wrong)
    except OSError as refused:
        _fail(StorageError(f"{refused.filename or 'the system'}: {refused.strerror or refused}"))
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(130)
    except Exception as fault:  # noqa: BLE001 (nothing that we know of, so it is not told as a check's answer)
        import traceback

        traceback.print_exc()
        print(
            f"lift: this is a fault of lift itself ({type(fault).__name__}), not of your files; report it with the lines above",
            file=sys.stderr,
        )
        sys.exit(3)
    sys.exit(0)


def _fail(wrong: ToolkitError) -> NoReturn:
    print(f"lift: {wrong}", file=sys.stderr)
    sys.exit(wrong.exit_status)


def _open(path: str) -> tuple[Workspace, Spec]:
    from toolkit.steps.workspace import Spec, Workspace

    return Workspace.open(), Spec.read(path)


def _notes(workspace: Workspace, spec: Spec, as_of: date) -> list[str]:
    """Return what to know of a measurement that pages say in another way."""
    said = ["simulated: made-up shoppers and vendors"] if workspace.simulated(spec.experiment) else []
    ahead = workspace.ahead(as_of, spec.experiment.zone)
    return [*said, ahead] if ahead else said


def _tell_ahead(workspace: Workspace, as_of: date | None, zone: tzinfo) -> None:
    if ahead := workspace.ahead(as_of, zone):
        print(f"lift: {ahead}", file=sys.stderr)


def _date(value: str | None) -> date | None:
    from toolkit.steps.workspace import day_of

    return None if value is None else day_of(value, "--as-of")


def _percent(value: str | None) -> float | None:
    if value is None:
        return None
    try:
        share = float(value.strip().removesuffix("%")) / 100
    except ValueError:
        share = float("nan")
    if not -1 < share < 100 or share == 0:
        raise SpecError(f"--lift {value}: is no lift to plan for; write percent of the base, such as 5")
    return share


def _write_json(target: str, record: dict[str, Any]) -> None:
    from toolkit.readout.record import as_json

    if target == "-":
        sys.stdout.write(as_json(record))
        return
    _write(target, as_json(record))


def _write(target: str, content: str) -> None:
    try:
        Path(target).write_text(content, encoding="utf-8")
    except OSError as refused:
        raise StorageError(f"{target}: cannot be written: {refused.strerror}") from None


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """Show what long work is at, on standard error, where somebody is watching."""
    if not sys.stderr.isatty():
        yield lambda *_: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        tasks: dict[str, Any] = {}

        def tell(what: str, done: int, of: int) -> None:
            if what not in tasks:
                tasks[what] = shown.add_task(what, total=of or None)
            shown.update(tasks[what], completed=done, total=of or None)

        yield tell


if __name__ == "__main__":
    main()
