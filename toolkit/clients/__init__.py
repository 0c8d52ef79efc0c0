"""Who we talk to: Customer.io and LaunchDarkly over one wire that paces, retries and explains refusals."""

from __future__ import annotations

from toolkit.clients.customerio import (
    Activity,
    ActivityPage,
    BatchResult,
    CustomerIO,
    CustomerIOTrack,
    Failed,
    Identifiers,
    Message,
    MessagePage,
    Person,
    Segment,
)
from toolkit.clients.launchdarkly import (
    MAX_TARGETS_PER_PATCH,
    MAX_TARGETS_PER_SEGMENT,
    LaunchDarkly,
    LdSegment,
)

__all__ = [
    "MAX_TARGETS_PER_PATCH",
    "MAX_TARGETS_PER_SEGMENT",
    "Activity",
    "ActivityPage",
    "BatchResult",
    "CustomerIO",
    "CustomerIOTrack",
    "Failed",
    "Identifiers",
    "LaunchDarkly",
    "LdSegment",
    "Message",
    "MessagePage",
    "Person",
    "Segment",
]
