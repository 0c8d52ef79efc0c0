"""Where an experiment's people, events, deliveries and exposures come from: parts of the experiment file."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from toolkit.design.metrics import Part
from toolkit.design.people_filter import problem_of

__all__ = [
    "AssignmentSource",
    "Cohort",
    "Deliveries",
    "EventColumns",
    "Events",
    "Exposures",
    "Fraction",
    "Key",
    "OrderEvent",
    "Outcomes",
    "RefundEvent",
]

Key = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=100)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
Named = Annotated[str, Field(min_length=1)]


class UniversalHoldout(Part):
    """Customers who are in no experiment at all."""

    key: Key
    share: Fraction


class Cohort(Part):
    """Who qualifies, and when they enrol.

    With `source: warehouse` people come from a SQL file, or from the folder `path` of the warehouse sync: all of
    them, those for whom the SQL condition `where` holds, or what the SQL file makes of the folder's tables.
    """

    source: Literal["customerio", "warehouse", "files"]
    segment: int | None = None
    filter: dict[str, Any] | None = None
    sql: str | None = None
    path: str | None = None
    where: Named | None = None
    entry: Literal["snapshot", "rolling"] = "snapshot"
    universal_holdout: UniversalHoldout | None = None
    layer: Key | None = None

    @model_validator(mode="after")
    def _what_the_source_needs(self) -> Cohort:
        given = {
            name for name in ("segment", "filter", "sql", "path", "where") if getattr(self, name) is not None
        }
        allowed = {
            "customerio": {"segment", "filter"},
            "warehouse": {"sql", "path", "where"},
            "files": {"path"},
        }[self.source]
        if given - allowed:
            named = " and ".join(f"`{each}`" for each in sorted(given - allowed))
            kept = " or ".join(f"`{each}`" for each in sorted(allowed))
            raise ValueError(f"{named} cannot go with `source: {self.source}`, which takes {kept}")
        if self.source == "customerio" and len(given) != 1:
            raise ValueError(
                "`source: customerio` needs `filter` or `segment`" + (", and only one" if given else "")
            )
        if self.source == "warehouse":
            if not given & {"sql", "path"}:
                raise ValueError("`source: warehouse` needs `sql`, or the folder of its sync as `path`")
            if self.where and (self.sql or not self.path):
                raise ValueError("`where` goes with `path`, and not with `sql`, which can say it itself")
        return self

    @model_validator(mode="after")
    def _a_filter_customerio_understands(self) -> Cohort:
        wrong = None if self.filter is None else problem_of(self.filter)
        if wrong:
            raise ValueError(wrong)
        return self

    @property
    def file(self) -> str:
        """Return the file of people, for `source: files`."""
        return self.path or "people.parquet"


class AssignmentSource(Part):
    """Whether customers are assigned here (`hash`) or were by someone else (`files`)."""

    source: Literal["hash", "files"] = "hash"
    path: str | None = None
    timezone: str | None = None

    @model_validator(mode="after")
    def _path_only_with_files(self) -> AssignmentSource:
        if self.source == "hash" and self.path:
            raise ValueError("`path` goes with `source: files`; with `source: hash` remove it")
        return self

    @property
    def file(self) -> str:
        """Return the file of assignments, for `source: files`."""
        return self.path or "assignments.parquet"


class OrderEvent(Part):
    """The event that is an order, and where its parts stand among the event's properties."""

    name: str = "Order Completed"
    id: str = "order_id"
    amount: str = "amount"
    currency: str = "currency"


class RefundEvent(Part):
    """The event that takes an order back, wholly or in part."""

    name: str = "Order Refunded"
    id: str = "order_id"
    amount: str = "amount"


class EventColumns(Part):
    """What the columns of files of events are called; where nothing is said, the usual names are looked for.

    `person` is a column of Customer.io's internal ids, by which the sync's people tell who the customer is.
    """

    event_id: Named | None = None
    id: Named | None = None
    person: Named | None = None
    name: Named | None = None
    timestamp: Named | None = None
    properties: Named | None = None


class Events(Part):
    """Where what customers did comes from.

    `warehouse` is the folder of Customer.io's warehouse sync, `pipelines` one of Segment-style track files: both
    are pulled into the lake, as Customer.io's activities are. A file (`files`) is read where it is.
    """

    source: Literal["customerio", "files", "warehouse", "pipelines"]
    path: str | None = None
    timezone: str | None = None
    columns: EventColumns = EventColumns()
    order: OrderEvent = OrderEvent()
    refund: RefundEvent = RefundEvent()

    @model_validator(mode="after")
    def _what_the_source_needs(self) -> Events:
        if self.source == "customerio" and self.path:
            raise ValueError("`path` goes with `source: files`; with `source: customerio` remove it")
        if self.from_folder and not self.path:
            raise ValueError(f"`source: {self.source}` needs `path`, the folder of its files")
        if not self.from_folder and self.columns != EventColumns():
            raise ValueError("`columns` goes with `source: warehouse` or `source: pipelines`")
        return self

    @property
    def from_folder(self) -> bool:
        """Return whether events come from a folder to which others add files."""
        return self.source in {"warehouse", "pipelines"}

    @property
    def in_lake(self) -> bool:
        """Return whether events are measured from the lake, into which they are pulled; a file is read itself."""
        return self.source != "files"

    @property
    def file(self) -> str:
        """Return the file or folder of events."""
        return self.path or "events.parquet"


class Outcomes(Part):
    """A table with one row per customer, made by the team."""

    source: Literal["files"] = "files"
    path: str = "outcomes.parquet"

    @property
    def file(self) -> str:
        """Return the file of outcomes."""
        return self.path


class Deliveries(Part):
    """Which of Customer.io's messages are this experiment's, and who tells to whom they went.

    `webhooks`: nothing is pulled, `lift receive` brings them.
    """

    campaigns: tuple[int, ...] = ()
    newsletters: tuple[int, ...] = ()
    source: Literal["customerio", "warehouse", "files", "webhooks"] = "customerio"
    path: str | None = None

    @model_validator(mode="after")
    def _what_the_source_needs(self) -> Deliveries:
        if not self.campaigns and not self.newsletters:
            raise ValueError("needs `campaigns` or `newsletters`: the numbers of this experiment's messages")
        files = self.source in {"warehouse", "files"}
        if files != bool(self.path):
            raise ValueError(
                f"`source: {self.source}` " + ("needs `path`" if files else "takes no `path`; remove it")
            )
        return self


class Exposures(Part):
    """The folder of flag evaluations: LaunchDarkly's Data Export, or what the toolkit's SDK hook wrote.

    `control` are the values that show nothing of the offer, where they are not the traits' defaults.
    """

    path: Named
    control: tuple[bool | str, ...] = ()
