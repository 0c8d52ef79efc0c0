"""From a record to a published page: papermill runs the notebook, its sections become one HTML file."""

from __future__ import annotations

import logging
import os
import re
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from markupsafe import Markup

from toolkit.errors import DataError, StorageError, ToolkitError
from toolkit.readout.page import page_of
from toolkit.readout.record import as_json
from toolkit.readout.spreadsheet import as_csv

__all__ = ["DOWNLOADS", "ReadoutFailed", "publish"]

NOTEBOOK = Path(__file__).resolve().parents[2] / "notebooks" / "weekly_readout.ipynb"
PARAMETERS = {"record": str}
KEY = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
LEFT = re.compile(r"\.(\d{4}-\d{2}-\d{2})\.(old\.)?.+")
"""What a run that was killed leaves: a report in the making, or the one that it was about to replace."""
DOWNLOADS = (("JSON", "readout.json"), ("CSV", "readout.csv"))
"""What lies beside a page, and is linked from it."""


class ReadoutFailed(ToolkitError):
    """A cell of the notebook failed; nothing was published."""

    exit_status = 3


def publish(
    record: Mapping[str, Any],
    reports: Path,
    *,
    notebook: Path = NOTEBOOK,
    kernel: str = "python3",
    parameters: Mapping[str, Any] | None = None,
    shown_as: str | None = None,
) -> Path:
    """Write `reports/<key>/<as_of>/{readout.json, readout.csv, readout.ipynb, index.html}` and return the page's path.

    Everything is made beside its place and then moved there whole: nobody sees half a report. A failed cell
    leaves what was published before as it was. What was left by runs that were killed is removed, or put back.
    `shown_as` is what a message calls `reports`, where that is only a stage for what is published elsewhere.

    Raises:
        ReadoutFailed: a cell failed; the notebook is kept for a look, and the message says where.
        StorageError: the reports folder cannot be written.
    """
    given = {"record": "readout.json"} | dict(parameters or {})
    _known(given)
    _named(record)
    home = reports.resolve() / str(record["experiment"])
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as refused:
        raise StorageError(f"{home}: cannot be written: {refused.strerror}") from None
    with _at_work(home):
        _published(record, home, notebook, given, kernel, shown_as or str(reports))
    return reports / str(record["experiment"]) / str(record["as_of"]) / "index.html"


def _published(
    record: Mapping[str, Any], home: Path, notebook: Path, given: Mapping[str, Any], kernel: str, reports: str
) -> None:
    try:
        staging = Path(tempfile.mkdtemp(prefix=f".{record['as_of']}.", dir=home))
    except OSError as refused:
        raise StorageError(f"{home}: cannot be written: {refused.strerror}") from None
    place = home / str(record["as_of"])
    try:
        (staging / "readout.json").write_text(as_json(dict(record)), encoding="utf-8")
        (staging / "readout.csv").write_text(as_csv(record), encoding="utf-8", newline="")
        executed = _run(notebook, staging, given, kernel)
        if isinstance(executed, str):
            kept = home / f"{record['as_of']}.failed"
            shutil.rmtree(kept, ignore_errors=True)
            staging.chmod(0o755)
            staging.rename(kept)
            raise ReadoutFailed(
                f"{record['experiment']}: the notebook failed, nothing was published: {executed} "
                f"(kept in {reports}/{home.name}/{kept.name}/readout.ipynb)"
            )
        sections = [Markup(html) for html in executed]  # noqa: S704 (escaped where it was made)
        title = f"{record['design']['name']}, {record['as_of']}"
        page = page_of(sections, title, up="../../index.html", downloads=DOWNLOADS)
        (staging / "index.html").write_text(page, encoding="utf-8")
        staging.chmod(0o755)
        _move(staging, place)
    except OSError as refused:
        raise StorageError(f"{place}: cannot be written: {refused.strerror}") from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)


@contextmanager
def _at_work(home: Path) -> Iterator[None]:
    """Hold an experiment's folder, beside others who publish there; who comes first puts in order what was left there.

    Raises:
        StorageError: the folder cannot be read.
    """
    import fcntl  # noqa: PLC0415 (not on every system)

    try:
        held = os.open(home, os.O_RDONLY)
    except OSError as refused:
        raise StorageError(f"{home}: cannot be read: {refused.strerror}") from None
    try:
        with suppress(OSError):  # somebody is at work there, or the file system knows no locks
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _put_in_order(home)
        with suppress(OSError):
            fcntl.flock(held, fcntl.LOCK_SH)
        yield
    finally:
        os.close(held)


def _put_in_order(home: Path) -> None:
    """Remove what was left in the making; a report that was about to be replaced, and was not, is put back."""
    for each in list(home.iterdir()):
        left = LEFT.fullmatch(each.name)
        if left and left[2] and not (home / left[1]).exists():
            each.rename(home / left[1])
        elif left:
            shutil.rmtree(each, ignore_errors=True)


def _known(given: Mapping[str, Any]) -> None:
    """Refuse what papermill would let pass: unknown names and wrong types."""
    for name, value in given.items():
        if name not in PARAMETERS:
            raise ToolkitError(
                f"the readout's notebook has no parameter {name!r}; it has {', '.join(PARAMETERS)}"
            )
        if not isinstance(value, PARAMETERS[name]):
            raise ToolkitError(
                f"the readout's parameter {name} must be {PARAMETERS[name].__name__}, and is {type(value).__name__}"
            )


def _named(record: Mapping[str, Any]) -> None:
    """Refuse a record whose name or date would lead out of the reports folder."""
    key, as_of = str(record["experiment"]), str(record["as_of"])
    if not KEY.fullmatch(key) or not DATE.fullmatch(as_of):
        raise DataError(
            f"the record is of {key!r} as of {as_of!r}; an experiment's key is a-z, 0-9 and -, its date YYYY-MM-DD"
        )


def _literal(path: Path) -> str:
    """Return `path` so that papermill, which fills in braces, leaves it as it is."""
    return str(path).replace("{", "{{").replace("}", "}}")


def _run(notebook: Path, staging: Path, parameters: Mapping[str, Any], kernel: str) -> list[str] | str:
    """Run the notebook in `staging`; return its cells' HTML in order, or why it failed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import nbformat  # noqa: PLC0415 (slow to import, and only needed here)
        import papermill  # noqa: PLC0415

    logging.getLogger("papermill").setLevel(logging.ERROR)
    target = staging / "readout.ipynb"
    failure = None
    try:
        papermill.execute_notebook(
            _literal(notebook),
            _literal(target),
            parameters=dict(parameters),
            kernel_name=kernel,
            cwd=str(staging),
            progress_bar=False,
            log_output=False,
            extra_arguments=["--IPKernelApp.log_level=50"],
        )
    except papermill.exceptions.PapermillExecutionError as wrong:
        failure = f"{wrong.ename}: {wrong.evalue}"
    read = nbformat.read(target, as_version=4)
    read.metadata.pop("papermill", None)  # holds paths of this machine and times of this run
    for cell in read.cells:
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell.id = "parameters-given"  # papermill draws a new one at each run
    nbformat.write(read, target)
    if failure:
        return failure
    return [
        str(output.data["text/html"])
        for cell in read.cells
        if cell.cell_type == "code" and "notebook-only" not in cell.metadata.get("tags", [])
        for output in cell.outputs
        if "text/html" in output.get("data", {})
    ]


def _move(staging: Path, place: Path) -> None:
    """Put `staging` where `place` is; what was there goes once the new one stands."""
    if not place.exists():
        staging.rename(place)
        return
    old = place.with_name(f".{place.name}.old.{os.getpid()}")
    place.rename(old)
    try:
        staging.rename(place)
    except OSError:
        old.rename(place)
        raise
    shutil.rmtree(old, ignore_errors=True)
