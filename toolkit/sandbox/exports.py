"""Customer.io's exports of people and deliveries: started, ready at the next look, fetched as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from typing import Any

from toolkit.sandbox.customerio import CustomerIO, as_text
from toolkit.sandbox.filters import FilterError, matching
from toolkit.sandbox.wire import Answer, Call

__all__ = ["Exports"]

LINK_SECONDS = 900
HAPPENED = ("created", "attempted", "sent", "delivered")
ID_LESS = ("newsletter_id", "transactional_message_id", "action_id")


class Exports:
    """Handlers of exports. `url` tells the server's address, `clock` real time in epoch seconds."""

    def __init__(self, state: CustomerIO, url: Callable[[], str], clock: Callable[[], float]) -> None:
        self._state = state
        self._url = url
        self._clock = clock

    def start(self, call: Call) -> Answer:
        """Begin an export of the people whom `filters` fits; it is pending at first."""
        said = call.mapping()
        try:
            numbers = matching(self._state, said.get("filters"))
        except FilterError as wrong:
            return _refused(str(wrong))
        names = [str(each) for each in said.get("attributes") or ("ltv_90d", "ltv_tier")]
        people = [self._state.people[number] for number in numbers]
        rows = [
            [each.id, each.email, each.cio_id, *(as_text(each.attributes.get(name)) for name in names)]
            for each in people
        ]
        return self._begun("customers", ["id", "email", "cio_id", *names], rows)

    def start_deliveries(self, call: Call) -> Answer:
        """Begin an export of what became of a campaign's messages between `start` and `end`."""
        said = call.mapping()
        campaign = said.get("campaign_id")
        if not isinstance(campaign, int):
            other = next((name for name in ID_LESS if name in said), None)
            return self._begun("deliveries", _columns(), []) if other else _refused("campaign_id is missing")
        first, last = said.get("start", 0), said.get("end", self._state.epoch)
        rows = []
        for place, message in enumerate(self._state.sent):
            at = int(message.at.timestamp())
            if message.campaign_id == campaign and first <= at <= last:
                person = self._state.people[message.person]
                identity = self._state.opaque("delivery", place)
                rows.append([identity, person.id, person.email, str(campaign), *[str(at)] * len(HAPPENED)])
        return self._begun("deliveries", _columns(), rows)

    def export(self, call: Call) -> Answer:
        """Tell how an export stands."""
        number = int(call.parts["id"])
        if not 1 <= number <= len(self._state.exports):
            return Answer(404, {"errors": [{"detail": "not found", "status": "404"}]})
        return Answer(200, {"export": self._shape(number, "done")})

    def download(self, call: Call) -> Answer:
        """Tell where the file is, for 15 minutes."""
        known = self.export(call)
        until = int(self._clock()) + LINK_SECONDS
        return (
            Answer(200, {"url": f"{self._url()}/_sandbox/exports/{call.parts['id']}.csv?until={until}"})
            if known.status == 200
            else known
        )

    def file(self, call: Call) -> Answer:
        """Return an export's file as CSV; it is somebody else's address, to which no key is to be sent."""
        if "authorization" in call.headers or self._clock() > float(call.params.get("until", "0")):
            return Answer(403, "Request has expired", {"Content-Type": "text/plain"})
        with self._state.lock:
            wanted = self._state.exports[int(call.parts["id"]) - 1]
            text = io.StringIO()
            rows = csv.writer(text)
            rows.writerow(wanted["columns"])
            rows.writerows(wanted["rows"])
        return Answer(200, text.getvalue(), {"Content-Type": "text/csv"})

    def _begun(self, kind: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Answer:
        self._state.exports.append({"type": kind, "columns": columns, "rows": rows})
        return Answer(200, {"export": self._shape(len(self._state.exports), "pending")})

    def _shape(self, number: int, status: str) -> dict[str, Any]:
        at, about = self._state.epoch, self._state.exports[number - 1]
        return {
            "id": number,
            "deduplicate_id": f"{number}:{at}",
            "type": about["type"],
            "total": len(about["rows"]) if status == "done" else 0,
            "failed": False,
            "status": status,
            "created_at": at,
            "updated_at": at,
        }


def _columns() -> list[str]:
    return ["delivery_id", "customer_id", "email", "campaign_id", *HAPPENED]


def _refused(detail: str) -> Answer:
    return Answer(400, {"errors": [{"detail": detail, "status": "400"}]})
