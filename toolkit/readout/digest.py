"""A digest of a weekly run for e-mail or a chat channel: Markdown, short, with links and what has changed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from toolkit.readout import words
from toolkit.readout.readout import Readout

__all__ = ["Entry", "changes_of", "digest_of"]

MARKDOWN = re.compile(
    r"[\\`*\[\]<>~]"  # code, emphasis, links, HTML, strikes
    r"|(?<![^\W_])_|_(?![^\W_])"  # emphasis; not within a name
    r"|&(?=[#\w]+;)|[#@](?=\w)|\|(?=\|)"  # entities, mentions and channels, spoilers
    r"|:(?=//|\w+:)|(?<=www)\."  # addresses, emoji
)
"""What Markdown, or a chat program, would take for a command, a link or a mention within a line."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One experiment of a weekly run.

    Attributes:
        spec: the experiment file.
        record: its readout; None where there is none.
        before: the readout that was kept last before this run; None where this is the first.
        link: its page, relative to the reports folder.
        error: why there is no readout, or no fresh data.
    """

    spec: str
    record: Mapping[str, Any] | None
    before: Mapping[str, Any] | None
    link: str | None
    error: str | None


def changes_of(record: Mapping[str, Any], before: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Return what is worth an alert: a check that has turned red, a verdict that has changed; once, not every week.

    Of an experiment without an earlier readout only red checks are worth one.
    """
    red = _red(record)
    known = _red(before) if before else set()
    found = [f"check {words.CHECKS.get(name, (name,))[0]} has failed" for name in sorted(red - known)]
    if before is None:
        return tuple(found)
    found += [f"check {words.CHECKS.get(name, (name,))[0]} is no longer red" for name in sorted(known - red)]
    then, now = before["verdict"]["status"], record["verdict"]["status"]
    if then != now:
        found.append(f"the verdict was {_status(then)} and is {_status(now)}")
    return tuple(found)


def digest_of(entries: Sequence[Entry], *, as_of: str, base: str = "") -> str:
    """Return the digest as Markdown: what has changed first, then a line per experiment.

    `base` is where the reports folder can be opened, such as `https://…/reports`; links are relative without it.
    """
    lines = [f"# Retention experiments, week to {as_of}", ""]
    shown = [each for each in entries if each.record]
    if shown and all(_simulated(each.record) for each in shown):
        lines += [f"**{words.SIMULATED}**", ""]
    alerts = [
        f"- {_named(each, base)}: {_plain(change)}."
        for each in entries
        if each.record
        for change in changes_of(each.record, each.before)
    ]
    alerts += [f"- {_named(each, base)}: {_plain(each.error)}" for each in entries if each.error]
    lines += (
        ["## Needs a look", "", *alerts, ""]
        if alerts
        else ["Nothing needs a look that did not last week.", ""]
        if any(each.before for each in entries)
        else ["Nothing needs a look.", ""]
    )
    if shown:
        lines += ["## Where they stand", ""]
        lines += [f"- {_named(each, base)}: {_plain(_said(each.record))}" for each in shown if each.record]
        lines.append("")
    lines.append(f"All weeks: {_link('all experiments', 'index.html', base)}")
    return "\n".join(lines) + "\n"


def _said(record: Mapping[str, Any]) -> str:
    """Return the verdict's status and its sentence, which may begin with it."""
    status, said = _status(record["verdict"]["status"]), words.prose(record["verdict"]["text"], record)
    if Readout(record).at_a_loss:
        return f"{words.AT_A_LOSS.lower()}. {said}"
    return said if said.lower().startswith(f"{status}:") else f"{status}. {said}"


def _red(record: Mapping[str, Any]) -> set[str]:
    return {str(each["name"]) for each in record["checks"] if each["status"] == "fail"}


def _status(status: str) -> str:
    return str(words.STATUS.get(status, (status,))[0]).lower()


def _named(entry: Entry, base: str) -> str:
    name = entry.record["design"]["name"] if entry.record else PurePosixPath(entry.spec).stem
    named = _link(str(name), entry.link, base) if entry.link else f"**{_plain(str(name))}**"
    return f"{named} (simulated)" if _simulated(entry.record) else named


def _simulated(record: Mapping[str, Any] | None) -> bool:
    return bool(record and Readout(record).simulated)


def _link(name: str, path: str, base: str) -> str:
    return f"[{_plain(name)}]({base.rstrip('/') + '/' if base else ''}{path})"


def _plain(text: str | None) -> str:
    """Return a text in which Markdown finds nothing of its own."""
    return MARKDOWN.sub(r"\\\g<0>", " ".join((text or "").split()))
