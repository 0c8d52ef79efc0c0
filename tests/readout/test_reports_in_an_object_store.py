"""Readouts in an object store: the folder's pages, uploaded so that nothing ever links to what is not there."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest

from tests.readout import bucket
from tests.readout.pages import changed, site
from toolkit.errors import StorageError
from toolkit.readout import reports
from toolkit.readout.index import write_index
from toolkit.readout.render import NOTEBOOK, ReadoutFailed
from toolkit.readout.store import FILES, Store

FIRST, SECOND = "2026-01-15", "2026-01-22"


@pytest.fixture(scope="module")
def store_of_the_module():
    with bucket.served() as buckets:
        yield buckets


@pytest.fixture
def buckets(store_of_the_module, monkeypatch):
    for name, value in store_of_the_module.environment().items():
        monkeypatch.setenv(name, value)
    store_of_the_module.refuse = lambda method, path: None
    return store_of_the_module


@pytest.fixture
def url(buckets):
    made = buckets.make()
    buckets.asked.clear()
    return made


def week(record, folder, on):
    """Make a week's files without a kernel, and return their folder."""
    site(folder, [changed(record, as_of=on)])
    made = folder / record["experiment"] / on
    (made / "readout.ipynb").write_text("{}")
    return made


def refusing(buckets, *, method="PUT", after=0, status=500):
    """Let the store refuse from the `after`th request of `method` on."""
    seen = []

    def refuse(asked, path):
        if asked == method:
            seen.append(path)
        return status if asked == method and len(seen) > after else None

    buckets.refuse = refuse


def test_a_page_in_a_store_is_the_folders_page_byte_for_byte(record, buckets, url, tmp_path):
    page = reports.publish(record, url)
    index = reports.write_index(url, {"third": "no network"})
    there = reports.publish(record, tmp_path)
    write_index(tmp_path, {"third": "no network"})
    assert page == f"{url}/on-files/2026-01-22/index.html"
    assert index == f"{url}/index.html"
    assert there == tmp_path / "on-files" / "2026-01-22" / "index.html"
    assert buckets.paths(url) == sorted(
        path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()
    )
    for path in buckets.paths(url):
        got = buckets.get(url, path)
        assert got.content == (tmp_path / path).read_bytes()
        assert got.headers["content-type"] == FILES[Path(path).name]
        assert got.headers["cache-control"] == "no-cache"


def test_a_second_weeks_index_lists_both_weeks_though_nothing_was_kept_here(record, buckets, url, tmp_path):
    for on in (FIRST, SECOND):
        Store(url).upload(week(record, tmp_path / on, on))
        Store(url).write_index()
    shown = buckets.get(url, "index.html").text
    for on in (FIRST, SECOND):
        for name in ("index.html", "readout.json", "readout.csv"):
            assert f'"on-files/{on}/{name}"' in shown


def test_an_index_links_only_what_is_there_and_ignores_what_is_not_ours(record, buckets, url, tmp_path):
    made = week(record, tmp_path, FIRST)
    Store(url).upload(made)
    made.rename(made.with_name(f"{FIRST}.failed"))
    Store(url).upload(made.with_name(f"{FIRST}.failed"))
    for strange in ("on-files/notes", "Other/2026-01-15", f"on-files/{FIRST}/more", "loose"):
        for name in ("readout.json", "index.html"):
            bucket.obstore.put(buckets.client(url), f"{strange}/{name}", b"{")
    buckets.asked.clear()
    Store(url).write_index()
    shown = buckets.get(url, "index.html").text
    links = {each for each in re.findall(r'href="([^"#]+)"', shown) if ":" not in each}
    assert links == {f"on-files/{FIRST}/{name}" for name in ("index.html", "readout.json", "readout.csv")}
    assert "cannot be read" not in shown
    records = [path for method, path in buckets.asked if method == "GET" and path.endswith("readout.json")]
    assert [path.partition("/lift/")[2] for path in records] == [f"on-files/{FIRST}/readout.json"]


def test_a_page_is_uploaded_after_the_files_that_it_links(record, buckets, url, tmp_path):
    Store(url).upload(week(record, tmp_path, FIRST))
    Store(url).write_index()
    written = [path.partition("/lift/")[2] for method, path in buckets.asked if method == "PUT"]
    assert written[-2:] == [f"on-files/{FIRST}/index.html", "index.html"]
    assert {Path(each).name for each in written[:-2]} == set(FILES) - {"index.html"}


@pytest.mark.parametrize("after", [0, 1, 2, 3])
def test_an_upload_cut_off_midway_shows_nothing_of_the_week_and_can_be_run_again(
    record, buckets, url, tmp_path, after
):
    Store(url).upload(week(record, tmp_path / "first", FIRST))
    Store(url).write_index()
    before = buckets.get(url, "index.html").content
    made = week(record, tmp_path / "second", SECOND)
    refusing(buckets, after=after)
    with pytest.raises(
        StorageError, match=rf"^{url}/on-files/{SECOND}/.*: cannot be written: the store answered 500"
    ):
        Store(url, retries=0).upload(made)
    assert buckets.get(url, "index.html").content == before
    buckets.refuse = lambda method, path: None
    Store(url).write_index()
    assert buckets.get(url, "index.html").content == before
    Store(url).upload(made)
    Store(url).write_index()
    assert f'"on-files/{SECOND}/index.html"' in buckets.get(url, "index.html").text


@pytest.mark.parametrize("method", ["PUT", "GET"])
def test_an_index_that_cannot_be_made_leaves_the_old_one(record, buckets, url, tmp_path, method):
    Store(url).upload(week(record, tmp_path / "first", FIRST))
    Store(url).write_index()
    before = buckets.get(url, "index.html").content
    Store(url).upload(week(record, tmp_path / "second", SECOND))
    refusing(buckets, method=method, after=2 if method == "GET" else 0, status=403)
    with pytest.raises(StorageError, match=r"access is denied \(403 Refused\)") as refused:
        Store(url).write_index()
    assert bucket.SECRET not in str(refused.value)
    buckets.refuse = lambda method, path: None
    assert buckets.get(url, "index.html").content == before


def test_a_failed_notebook_is_kept_in_the_store_and_is_no_page(record, buckets, url, tmp_path):
    Store(url).upload(week(record, tmp_path, SECOND))
    before = buckets.get(url, f"on-files/{SECOND}/index.html").content
    broken = nbformat.read(NOTEBOOK, as_version=4)
    broken.cells = [*broken.cells[:4], nbformat.v4.new_code_cell("1 / 0")]
    nbformat.write(broken, tmp_path / "broken.ipynb")
    kept = f"on-files/{SECOND}.failed/readout.ipynb"
    with pytest.raises(ReadoutFailed, match="ZeroDivisionError") as failed:
        Store(url).publish(record, notebook=tmp_path / "broken.ipynb")
    assert f"(kept in {url}/{kept})" in str(failed.value)
    assert "1 / 0" in buckets.get(url, kept).text
    assert f"on-files/{SECOND}.failed/index.html" not in buckets.paths(url)
    assert buckets.get(url, f"on-files/{SECOND}/index.html").content == before


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (301, "the bucket is in another region; set AWS_REGION"),
        (400, "the store answered 400 Refused; check endpoint, region and credentials"),
        (401, r"access is denied \(401 Refused\)"),
        (403, r"access is denied \(403 Refused\)"),
        (503, "the store answered 503 Refused after all retries; run it again later"),
    ],
)
@pytest.mark.parametrize("method", ["PUT", "GET"])
def test_a_refusal_is_told_in_a_sentence_that_names_the_url_and_no_secret(
    record, buckets, url, tmp_path, status, sentence, method
):
    refusing(buckets, method=method, status=status)
    made = week(record, tmp_path, FIRST)
    with pytest.raises(StorageError, match=sentence) as refused:
        Store(url, retries=0).upload(made) if method == "PUT" else Store(url, retries=0).reach()
    told = str(refused.value)
    assert told.startswith(url)
    assert "\n" not in told
    assert bucket.SECRET not in told
    assert "127.0.0.1" not in told
    assert refused.value.exit_status == 3


def test_no_network_and_no_credentials_are_told_apart(buckets, url, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(
        StorageError, match=f"^{url}: cannot be read: it cannot be reached; check the network"
    ):
        Store(url, retries=1).reach()
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(
        StorageError, match=f"^{url}: cannot be read: no usable credentials are in the environment"
    ):
        Store(url, retries=1).reach()


def test_a_bucket_that_is_not_there_is_told_before_anything_is_made(record, buckets, tmp_path):
    url = "s3://nobodys-bucket/lift"
    with pytest.raises(
        StorageError, match=f"^{url}: cannot be read: there is no such bucket or container; create it"
    ):
        reports.reach(url)
    with pytest.raises(StorageError, match=f"^{url}/on-files/.*: cannot be written: there is no such bucket"):
        Store(url).upload(week(record, tmp_path, FIRST))
