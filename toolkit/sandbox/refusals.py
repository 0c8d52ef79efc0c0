"""What the stand-in's LaunchDarkly REST API refuses with."""

from __future__ import annotations

from toolkit.sandbox.launchdarkly import object_id
from toolkit.sandbox.wire import Answer

__all__ = ["APPROVAL", "MISSING", "refusal"]


def refusal(status: int, code: str, message: str) -> Answer:
    """Return a refusal in the vendor's body."""
    return Answer(
        status, {"code": code, "message": message, "id": object_id("refusal", status, code, message)}
    )


APPROVAL = refusal(403, "forbidden", "Approval is required to make this change")
MISSING = refusal(404, "not_found", "Invalid resource identifier")
