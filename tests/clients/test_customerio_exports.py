"""Exports over the real wire: started, waited for, fetched without the key, all or nothing."""

from __future__ import annotations

import csv

import httpx
import pytest

from tests.clients.wiring import Clock, Vendor
from toolkit.clients import CustomerIO
from toolkit.errors import DataError, NotReady, UnexpectedAnswer, Unreachable, VendorError
from toolkit.sandbox import Sandbox

EVERYONE = {"segment": {"id": 1}}
WHOLE = 'id,name\n1,ü\n2,"two\nlines"\n'
LINK = "https://files.example/x.csv?signature=s3cret"


def told(status, **more):
    return {"export": {"id": 3, "status": status, "total": 2, **more}}


@pytest.fixture(scope="module")
def clock():
    return Clock()


@pytest.fixture(scope="module")
def box(clock):
    with Sandbox(seed=3, scale=0.05, limits=False, clock=clock) as served:
        served.advance(1)
        yield served


def customerio(box):
    return CustomerIO(
        box.environment()["CUSTOMERIO_APP_API_KEY"],
        base_url=box.url,
        requests_per_second=1000,
        sleep=lambda _: None,
    )


def test_a_cohort_is_exported_with_its_attributes_and_downloaded_whole(box, tmp_path):
    with customerio(box) as client:
        members = {each.cio_id for each in client.search(EVERYONE)}
        export = client.exports.wait(client.exports.people(EVERYONE, ["ltv_90d"]))
        client.exports.fetch(export, tmp_path / "people.csv")
    with (tmp_path / "people.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["cio_id"] for row in rows} == members
    assert export.total == len(rows) > 100
    assert all(float(row["ltv_90d"]) >= 0 for row in rows)
    assert [path.name for path in tmp_path.iterdir()] == ["people.csv"]


def test_a_link_that_ran_out_is_asked_for_anew(box, clock, tmp_path):
    """The sandbox's own link holds for 15 minutes of its clock; the first look at it comes too late."""
    late = []

    class Slow(httpx.HTTPTransport):
        def handle_request(self, request):
            if request.url.path.endswith(".csv") and not late:
                late.append(request)
                clock.now += 901
            return super().handle_request(request)

    key = box.environment()["CUSTOMERIO_APP_API_KEY"]
    with CustomerIO(
        key, base_url=box.url, transport=Slow(), requests_per_second=1000, sleep=lambda _: None
    ) as client:
        export = client.exports.wait(client.exports.people(EVERYONE, []))
        client.exports.fetch(export, tmp_path / "people.csv")
    assert late
    assert (tmp_path / "people.csv").stat().st_size > 1000


def test_the_key_is_not_sent_to_where_the_file_is(tmp_path):
    vendor = Vendor([{"url": LINK}, httpx.Response(200, text=WHOLE)])
    with vendor.app() as client:
        client.exports.fetch(done(), tmp_path / "x.csv")
    assert "authorization" in vendor.asked[0].headers
    assert "authorization" not in vendor.asked[1].headers


def done():
    from toolkit.clients.customerio_exports import Export

    return Export(3, "done", 2)


def test_a_download_that_breaks_leaves_nothing_and_tells_no_secret(tmp_path):
    def broken(request):
        return httpx.Response(200, stream=Torn())

    vendor = Vendor([{"url": LINK}, broken] * 3)
    with vendor.app() as client, pytest.raises(Unreachable, match="export 3 cannot be downloaded") as refused:
        client.exports.fetch(done(), tmp_path / "x.csv")
    assert list(tmp_path.iterdir()) == []
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize("kept", range(len(WHOLE.encode())))
def test_a_file_of_which_any_end_is_missing_is_asked_for_again_and_never_kept(tmp_path, kept):
    cut = httpx.Response(200, stream=httpx.ByteStream(WHOLE.encode()[:kept]))
    vendor = Vendor([{"url": LINK}, cut, {"url": LINK}, httpx.Response(200, text=WHOLE)])
    with vendor.app() as client:
        client.exports.fetch(done(), tmp_path / "x.csv")
    assert len(vendor.asked) == 4
    assert (tmp_path / "x.csv").read_bytes() == WHOLE.encode()


def test_a_file_whose_length_is_told_need_not_end_its_last_line(tmp_path):
    vendor = Vendor([{"url": LINK}, httpx.Response(200, text=WHOLE[:-1])])
    with vendor.app() as client:
        client.exports.fetch(done(), tmp_path / "x.csv")
    assert (tmp_path / "x.csv").read_text() == WHOLE[:-1]


def test_a_file_that_stays_cut_short_is_refused_with_how_much_came(tmp_path):
    vendor = Vendor([{"url": LINK}, httpx.Response(200, text="id,name\n1,a\n")] * 3)
    with vendor.app() as client, pytest.raises(Unreachable, match=r"\(1 of 2 rows came, 3 times\)"):
        client.exports.fetch(done(), tmp_path / "x.csv")
    assert list(tmp_path.iterdir()) == []


def test_a_large_file_may_take_long_and_one_that_trickles_may_not(tmp_path):
    clock = Clock()

    def at(bytes_a_second):
        class Stream(httpx.SyncByteStream):
            def __iter__(self):
                yield b"id\n"
                for _ in range(5):
                    clock.now += 60
                    yield b"123456789\n" * (bytes_a_second * 6)

        return lambda _: httpx.Response(200, stream=Stream())

    with Vendor([{"url": LINK}, at(20_000)], clock).app() as client:
        client.exports.fetch(done(), tmp_path / "x.csv")
    with (
        Vendor([{"url": LINK}, at(1)] * 3, clock).app() as client,
        pytest.raises(Unreachable, match="ReadTimeout"),
    ):
        client.exports.fetch(done(), tmp_path / "y.csv")


class Torn(httpx.SyncByteStream):
    def __iter__(self):
        yield b"id\n1"
        raise httpx.ReadError("torn")


def test_waiting_grows_and_ends_when_the_export_is_done():
    vendor = Vendor([told("pending")] * 7 + [told("done")])
    with vendor.app() as client:
        assert client.exports.wait(client.exports.people(EVERYONE, [])).status == "done"
    gaps = vendor.gaps()
    assert gaps == sorted(gaps)
    assert 1 <= gaps[0] < 2
    assert gaps[-1] <= 16


def test_an_export_that_is_never_done_is_not_waited_for_for_ever():
    vendor = Vendor([told("pending")])
    with vendor.app() as client, pytest.raises(NotReady, match="export 3 is not done after 30 minutes"):
        client.exports.wait(client.exports.people(EVERYONE, []))
    assert len(vendor.asked) < 140


@pytest.mark.parametrize("answer", [told("failed"), told("done", failed=True)])
def test_an_export_that_failed_says_where_to_look(answer):
    with Vendor([answer]).app() as client, pytest.raises(VendorError, match="export 3 is failed"):
        client.exports.wait(client.exports.people(EVERYONE, []))


def test_a_status_that_is_not_documented_is_unexpected():
    with Vendor([told("sleeping")]).app() as client, pytest.raises(UnexpectedAnswer, match="sleeping"):
        client.exports.people(EVERYONE, [])


@pytest.mark.parametrize(
    ("condition", "place"),
    [
        ({"and": []}, "filter.and: must be a list"),
        (
            {"and": [EVERYONE, {"atribute": {}}]},
            r"filter.and\[1\]: must hold exactly one of .*, not 'atribute'",
        ),
        ({"segment": {"id": "7"}}, "filter.segment: must be"),
        ({"segment": {"id": 7}, "not": EVERYONE}, "filter: must hold exactly one"),
        ({"not": {"attribute": {"name": "x", "operator": "exists"}}}, "filter.not.attribute: needs `field`"),
        ({"attribute": {"field": "x", "operator": "gt", "value": "1"}}, "`operator` must be eq or exists"),
        ({"attribute": {"field": "x", "operator": "eq", "value": True}}, "`value` must be a text"),
        ({"attribute": {"field": "x", "operator": "exists", "value": "1"}}, "takes no `value`"),
        ({"attribute": {"field": "x", "operator": "eq", "value": "1", "valeu": 1}}, "'valeu' is none of"),
    ],
)
def test_a_filter_that_customerio_might_not_understand_is_never_sent(condition, place):
    vendor = Vendor([{"identifiers": [], "ids": [], "next": ""}])
    with vendor.app() as client:
        for ask in (lambda: list(client.search(condition)), lambda: client.exports.people(condition, [])):
            with pytest.raises(DataError, match=place):
                ask()
    assert vendor.asked == []


def test_ten_requests_a_second_are_kept_on_both_regions():
    for address in ("https://api.customer.io", "https://api-eu.customer.io"):
        page = {"identifiers": [{"id": "1"}], "ids": ["1"]}
        vendor = Vendor([{**page, "next": str(n)} for n in range(40)] + [{**page, "next": ""}])
        with vendor.app(base_url=address) as client:
            list(client.search(EVERYONE))
        assert len(vendor.asked) == 41
        for at in range(len(vendor.asked_at) - 10):
            assert vendor.asked_at[at + 10] - vendor.asked_at[at] >= 1.0
