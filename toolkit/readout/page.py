"""A whole page: one file that asks the network for nothing, and says so in its policy."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Sequence

from markupsafe import Markup

from toolkit.readout.parts import TEMPLATES, templates

__all__ = ["page_of"]


def page_of(
    sections: Sequence[Markup], title: str, *, up: str = "", downloads: Sequence[tuple[str, str]] = ()
) -> str:
    """Return the page of `sections`.

    Its Content-Security-Policy lets nothing in but this stylesheet and this script, by their hashes. `up` is where
    the index lies, `downloads` (label, address) are files beside the page.
    """
    style = "".join((TEMPLATES / name).read_text(encoding="utf-8") for name in ("readout.css", "page.css"))
    script = (TEMPLATES / "page.js").read_text(encoding="utf-8")
    policy = (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    page = templates().get_template("page.html.j2")
    return page.render(
        sections=sections,
        title=title,
        policy=policy,
        style=Markup(style),  # noqa: S704 (our own stylesheet)
        script=Markup(script),  # noqa: S704 (our own script)
        up=up,
        downloads=downloads,
    )


def _hash(content: str) -> str:
    """Return the name of inline content that a policy knows it by (CSP Level 3, hash-source)."""
    return f"sha256-{b64encode(hashlib.sha256(content.encode()).digest()).decode()}"
