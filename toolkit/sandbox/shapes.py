"""What the stand-in's LaunchDarkly REST API says: its JSON shapes."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from toolkit.sandbox.big_segments import GENERATION, BigStore, Import
from toolkit.sandbox.launchdarkly import ENVIRONMENT, PROJECT, Flag, Segment, object_id, targets

__all__ = ["access", "environment", "flag", "link", "project", "segment", "segment_import", "variation_id"]


def link(href: str) -> dict[str, str]:
    """Return a link to a JSON resource."""
    return {"href": href, "type": "application/json"}


def millis(at: datetime) -> int:
    """Return an instant in epoch milliseconds."""
    return int(at.timestamp() * 1000)


def access() -> dict[str, list[Any]]:
    """Return that nothing in particular is allowed or denied."""
    return {"denied": [], "allowed": []}


def segment(value: Segment, big: BigStore) -> dict[str, Any]:
    """Return a segment as REST tells it; a big one without its members."""
    parent = f"/api/v2/segments/{PROJECT}/{ENVIRONMENT}"
    told = {"description": value.description} if value.description else {}
    return {
        "name": value.name,
        **told,
        "tags": list(value.tags),
        "creationDate": millis(value.created_at),
        "lastModifiedDate": millis(value.changed_at),
        "key": value.key,
        **targets(value),
        "_links": {
            "parent": link(parent),
            "self": link(f"{parent}/{value.key}"),
            "site": {"href": f"/{PROJECT}/{ENVIRONMENT}/segments/{value.key}", "type": "text/html"},
        },
        "rules": [dict(rule) for rule in value.rules],
        "version": value.version,
        "deleted": False,
        "_access": access(),
        "generation": GENERATION,
        **(unbounded(value, big) if value.kind else {}),
    }


def unbounded(value: Segment, big: BigStore) -> dict[str, Any]:
    """Return what REST tells of a big segment besides."""
    return {
        "unbounded": True,
        "unboundedContextKind": value.kind,
        "_unboundedMetadata": {
            "includedCount": len(big.included.get(value.key, ())),
            "excludedCount": len(big.excluded.get(value.key, ())),
            "version": value.version,
            "lastModified": millis(value.changed_at),
            "deleted": False,
        },
        "_importInProgress": big.look(value.key),
    }


def segment_import(value: Import, at: datetime) -> dict[str, Any]:
    """Return an import of a file into a big segment, asked about at an instant."""
    path = f"/api/v2/segments/{PROJECT}/{ENVIRONMENT}/{value.segment}"
    return {
        "id": value.number,
        "segmentKey": value.segment,
        "creationTime": millis(at),
        "mode": value.mode,
        "status": value.status,
        "files": [{"filename": "members.csv", "status": value.status}],
        "_links": {"self": link(f"{path}/imports/{value.number}"), "parent": link(path)},
    }


def flag(value: Flag, *, with_targeting: bool = True) -> dict[str, Any]:
    """Return a flag as REST tells it; lists may leave the environments out."""
    parent = f"/api/v2/flags/{PROJECT}"
    boolean = all(isinstance(each, bool) for each in value.values)
    available = {"usingMobileKey": False, "usingEnvironmentId": False}
    told: dict[str, Any] = {
        "name": value.name,
        "kind": "boolean" if boolean else "multivariate",
        "description": value.description,
        "key": value.key,
        "_version": value.version,
        "creationDate": millis(value.created_at),
        "includeInSnippet": False,
        "clientSideAvailability": available,
        "variations": [
            {"_id": variation_id(value.key, place), "value": each, **_named(value, place)}
            for place, each in enumerate(value.values)
        ],
        "temporary": value.temporary,
        "tags": list(value.tags),
        "_links": {"parent": link(parent), "self": link(f"{parent}/{value.key}")},
        "experiments": {"baselineIdx": 0, "items": []},
        "customProperties": {},
        "archived": False,
        "defaults": {"onVariation": 0, "offVariation": value.targeting["offVariation"] or 0},
    }
    if with_targeting:
        told["environments"] = {ENVIRONMENT: targeting(value)}
    return told


def _named(value: Flag, place: int) -> dict[str, str]:
    """Return a variation's name, if it has one."""
    name = value.names[place] if place < len(value.names) else ""
    return {"name": name} if name else {}


def variation_id(key: str, place: int) -> str:
    """Return the identifier of a variation, in the form of a UUID."""
    digits = object_id("variation", key, place) + object_id(key, place)[:8]
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def targeting(value: Flag) -> dict[str, Any]:
    """Return a flag's configuration in the environment."""
    return {
        **value.targeting,
        "archived": False,
        "salt": object_id("salt", value.key),
        "sel": object_id("sel", value.key),
        "lastModified": millis(value.changed_at),
        "version": value.version,
        "_site": {"href": f"/{PROJECT}/{ENVIRONMENT}/features/{value.key}", "type": "text/html"},
        "_environmentName": ENVIRONMENT.title(),
        "trackEventsFallthrough": bool(value.targeting.get("trackEventsFallthrough")),
    }


def environment(sdk_key: str, *, approvals: bool) -> dict[str, Any]:
    """Return the environment."""
    return {
        "_links": {"self": link(f"/api/v2/projects/{PROJECT}/environments/{ENVIRONMENT}")},
        "_id": object_id("environment"),
        "key": ENVIRONMENT,
        "name": ENVIRONMENT.title(),
        "apiKey": sdk_key,
        "mobileKey": "mob-sandbox",
        "color": "417505",
        "defaultTtl": 0,
        "secureMode": False,
        "_access": access(),
        "defaultTrackEvents": False,
        "requireComments": False,
        "confirmChanges": False,
        "tags": [],
        "critical": True,
        "approvalSettings": {
            "required": approvals,
            "bypassApprovalsForPendingChanges": False,
            "minNumApprovals": 1,
            "canReviewOwnRequest": False,
            "canApplyDeclinedChanges": False,
            "serviceKind": "launchdarkly",
            "serviceConfig": {},
            "requiredApprovalTags": [],
        },
    }


def project() -> dict[str, Any]:
    """Return the project."""
    return {
        "_links": {
            "self": link(f"/api/v2/projects/{PROJECT}"),
            "environments": link(f"/api/v2/projects/{PROJECT}/environments"),
        },
        "_id": object_id("project"),
        "key": PROJECT,
        "name": PROJECT.title(),
        "includeInSnippetByDefault": False,
        "tags": [],
        "_access": access(),
    }
