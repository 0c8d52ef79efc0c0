"""How the toolkit's values show themselves once `activate()` was called: as HTML, and as plain text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from IPython.core.getipython import get_ipython
from IPython.core.interactiveshell import InteractiveShell

from toolkit.design.experiment import Experiment
from toolkit.errors import ToolkitError
from toolkit.notebook import views, views_of_measurement, views_of_push
from toolkit.notebook.panel import Panel
from toolkit.stats.results import Measurement
from toolkit.steps.assign import Assigned
from toolkit.steps.audit import Audit
from toolkit.steps.check import Preview
from toolkit.steps.detectable import Design
from toolkit.steps.pull import Pulled
from toolkit.steps.push import Pushed, PushPlan
from toolkit.steps.workspace import Spec

__all__ = ["activate", "show"]

VIEWS: dict[type, Callable[[Any], Panel]] = {
    Assigned: views.of_assigned,
    Audit: views_of_push.of_audit,
    Design: views.of_design,
    Experiment: views.of_experiment,
    Measurement: views_of_measurement.of_measurement,
    Preview: views.of_preview,
    Pulled: views.of_pulled,
    PushPlan: views_of_push.of_plan,
    Pushed: views_of_push.of_pushed,
    Spec: views.of_spec,
}


def show(value: Any) -> Panel:
    """Return the panel of one of the toolkit's values; a tuple or list of checks is a value, too.

    Raises:
        ToolkitError: it has none.
    """
    if type(value) in VIEWS:
        return VIEWS[type(value)](value)
    if isinstance(value, (tuple, list)):
        return views_of_measurement.of_checks(tuple(value))
    known = ", ".join(sorted(each.__name__ for each in VIEWS))
    raise ToolkitError(f"a {type(value).__name__} has no panel; these have one: {known}, and checks")


def activate(shell: InteractiveShell | None = None) -> None:
    """Let the toolkit's values show themselves in this notebook (or in `shell`); errors are told in a sentence.

    The values themselves know nothing of HTML: IPython asks these views instead.

    Raises:
        ToolkitError: this is no notebook and no IPython.
    """
    target = shell or get_ipython()
    if target is None or target.display_formatter is None:
        raise ToolkitError("activate() is for notebooks and IPython; in a program call show(value)")
    formatters = target.display_formatter.formatters
    for kind, view in VIEWS.items():
        formatters["text/html"].for_type(kind, _html(view))
        formatters["text/plain"].for_type(kind, _plain(view))
    target.set_custom_exc((ToolkitError,), _told)  # type: ignore[no-untyped-call]


def _told(shell: Any, kind: type[BaseException], wrong: BaseException, *_: Any, **__: Any) -> list[str]:
    """Show a user's mistake as what it says, without a traceback; the cell has failed all the same."""
    said = [f"{kind.__name__}: {wrong}"]
    shell._showtraceback(kind, wrong, said)  # noqa: SLF001 (a handler has to show what it says; there is no other way)
    return said


def _html(view: Callable[[Any], Panel]) -> Callable[[Any], str]:
    return lambda value: view(value)._repr_html_()


def _plain(view: Callable[[Any], Panel]) -> Callable[[Any, Any, bool], None]:
    return lambda value, printer, _: printer.text(repr(view(value)))
