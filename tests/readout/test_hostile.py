"""Names that people write become text everywhere, and nobody's id, address or token gets out."""

from __future__ import annotations

import base64
import csv
import hashlib
import html
import io
import logging
import os
import urllib.parse

import pytest

from tests.readout.pages import Nodes, changed, page
from tests.readout.payloads import FORMULAS, PAYLOADS, planted
from toolkit.readout.render import publish
from toolkit.readout.spreadsheet import as_csv

LONG = os.environ.get("LIFT_LONG") == "1"


@pytest.fixture(scope="module")
def plain_tags(told):
    """Return the elements of a page whose names are harmless."""
    return Nodes(page(planted(told["win"][-1], " x"))).tags


@pytest.mark.parametrize("text", PAYLOADS if LONG else PAYLOADS[::11])
def test_hostile_names_become_text_and_never_nodes(told, plain_tags, text):
    nodes = Nodes(page(planted(told["win"][-1], text)))
    assert nodes.tags == plain_tags
    assert not [name for name, _ in nodes.attributes if name.startswith("on")]
    addresses = {value for name, value in nodes.attributes if name in {"href", "src", "action"}}
    assert addresses == {"../../index.html", "readout.json", "readout.csv"}


@pytest.mark.parametrize("text", FORMULAS)
def test_no_name_starts_a_formula_in_a_spreadsheet(record, text):
    for lift in record["lifts"]:
        lift |= {"metric": text, "level": f"{text}!", "arm": text}
    rows = list(csv.reader(io.StringIO(as_csv(record), newline="")))
    assert {len(row) for row in rows} == {len(rows[0])}
    for cell in (cell for row in rows for cell in row if not _is_number(cell)):
        assert not cell.lstrip().startswith(("=", "+", "-", "@", "|", "%", "＝", "＋", "－", "＠"))
        assert not cell.startswith(("\t", "\r", "\n"))
    assert all(row[2].removeprefix("'") in {text, text.removeprefix("'")} for row in rows[1:])


def _is_number(cell):
    try:
        return cell == repr(float(cell))
    except ValueError:
        return False


def test_a_failed_check_leaves_no_estimate_in_the_spreadsheet(stories):
    failed = changed(stories["win"])
    shown = list(csv.DictReader(io.StringIO(as_csv(failed))))
    assert all(row["difference"] and row["trusted"] == "yes" for row in shown if row["role"] == "primary")
    failed["checks"][0]["status"] = "fail"
    for row in csv.DictReader(io.StringIO(as_csv(failed))):
        numbers = ("difference", "low", "high", "relative", "relative_low", "p_value", "mean_arm")
        assert not any(row[name] for name in numbers)
        assert row["trusted"] == "no"


def traces(secret):
    """Return the forms in which a secret could stand in a file."""
    raw = secret.encode()
    coded = [base64.b64encode(b"\0" * shift + raw).decode()[4 if shift else 0 : -4] for shift in range(3)]
    spelled = {
        secret, raw.hex(), raw.hex().upper(), urllib.parse.quote(secret, safe=""), html.escape(secret),
        "".join(f"&#{ord(each)};" for each in secret), "".join(f"&#x{ord(each):x};" for each in secret),
        "".join(f"\\u{ord(each):04x}" for each in secret), "".join(f"%{byte:02X}" for byte in raw), secret[::-1],
    }  # fmt: skip
    digests = {getattr(hashlib, name)(raw).hexdigest() for name in ("md5", "sha1", "sha256", "sha512")}
    short = {each[:15] for each in digests}
    return {each for each in (*spelled, *coded, *digests, *short) if len(each) > 7}


def found_in(text, secrets):
    """Return the secrets that stand in `text` in any form."""
    lowered = text.lower()
    return [secret for secret in secrets if any(form.lower() in lowered for form in traces(secret))]


def test_the_search_for_canaries_finds_each_form_of_one():
    secret = "cust-004711@shop.example"
    for form in traces(secret):
        assert found_in(f"before {form} after", [secret])
    assert found_in(base64.b64encode(b"id=" + secret.encode() + b"&x=1").decode(), [secret])
    assert not found_in("nothing of it", [secret])


def test_no_customer_address_or_token_gets_into_pages_notebooks_or_logs(
    told, tmp_path, monkeypatch, caplog, capfd
):
    tokens = {
        "CUSTOMERIO_APP_API_KEY": "canary-app-key-7f3a91c2",
        "CUSTOMERIO_TRACK_API_KEY": "canary-track-key-55d0b8e1",
        "LAUNCHDARKLY_ACCESS_TOKEN": "api-canary-0b1c2d3e-launch",
    }
    for name, value in tokens.items():
        monkeypatch.setenv(name, value)
    caplog.set_level(logging.DEBUG)
    target = publish(told["win"][-1], tmp_path)
    customers = [f"cust-{at:06d}" for at in (0, 1, 2, 3, 500, 4711, 11_999)]
    owners = ["ana@example.com", "ben@example.com", "cy@example.com"]
    secrets = [*tokens.values(), *customers, *(f"{each}@shop.example" for each in customers)]
    said = capfd.readouterr()
    everything = {each.name: each.read_text() for each in target.parent.iterdir()}
    everything |= {"log": caplog.text, "out": said.out, "err": said.err}
    assert {"index.html", "readout.ipynb", "readout.csv", "readout.json"} <= set(everything)
    for name, text in everything.items():
        assert found_in(text, secrets) == [], name
        if name != "readout.json":  # which is the file's own words
            assert found_in(text, owners) == [], name
            assert "@shop" not in text
