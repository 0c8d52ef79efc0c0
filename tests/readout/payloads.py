"""Two hundred hostile names: ways out of where a name stands, times what would then be done."""

from __future__ import annotations

from itertools import product

__all__ = ["FORMULAS", "PAYLOADS", "planted"]

WAYS_OUT = ("", '">', "'>", "</title></svg>", "</style>", "</script>", "-->", "]]>", "&quot;&gt;", '" ')
DEEDS = (
    "<script>window.struck=1</script>",
    "<img src=x onerror=window.struck=1>",
    "<svg onload=window.struck=1>",
    "<svg><animate onbegin=window.struck=1 attributeName=x dur=1s>",
    "<iframe src=https://evil.example></iframe>",
    "<iframe srcdoc='<script>parent.struck=1</script>'>",
    "<a href=javascript:window.struck=1 autofocus onfocus=window.struck=1>x</a>",
    "<link rel=stylesheet href=//evil.example/x.css>",
    "<meta http-equiv=refresh content='0;url=https://evil.example'>",
    "<base href=https://evil.example/>",
    "<form action=https://evil.example><button>go</button></form>",
    "<object data=https://evil.example/x.swf></object>",
    "<style>@import 'https://evil.example/x.css';</style>",
    "onmouseover=window.struck=1 x=",
    "tabindex=1 onfocus=window.struck=1 autofocus x=",
    "<details open ontoggle=window.struck=1>",
    "<math><mtext><table><mglyph><style><img src=x onerror=window.struck=1>",
    "{{ 7*7 }}{% include 'page.html.j2' %}",
    "<!--<img src='--><img src=x onerror=window.struck=1>'>",
    "\u202e<noscript><p title='</noscript><img src=x onerror=window.struck=1>'>",
)
PAYLOADS = tuple(f"{way}{deed}" for way, deed in product(WAYS_OUT, DEEDS))

FORMULAS = (
    "=1+1",
    "+1",
    "-1+1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    " =1",
    "'=1",
    '"=1',
    "|calc",
    "%0A=1",
    "＝1",
    "＠x",
)

KEPT = {
    "status", "role", "kind", "decision", "corrects", "as_of", "answer", "harm", "looks", "start", "end",
    "complete_on", "boundary", "method",
}  # fmt: skip
"""What is one of few words, or a date: no person writes it."""


def planted(value, text):
    """Return the record with `text` in every text that a person, or a vendor, could have written."""
    if isinstance(value, dict):
        return {
            key: each if key in KEPT and not isinstance(each, (dict, list)) else planted(each, text)
            for key, each in value.items()
        }
    if isinstance(value, list):
        return [planted(each, text) for each in value]
    return f"{value}{text}" if isinstance(value, str) else value
