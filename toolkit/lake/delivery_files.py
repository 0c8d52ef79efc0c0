"""Files of deliveries: what became of messages, as Customer.io's exports tell it, or as a team writes it down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from toolkit.design.experiment import Experiment
from toolkit.design.sources import Deliveries
from toolkit.errors import DataError
from toolkit.lake.arrivals import Arrival, Kept, Taken, endings_of, files_beside, reader_of, take_new
from toolkit.lake.deliveries import FAILED, REACHED, keep_new_deliveries, of_messages
from toolkit.lake.engine import Engine, connect, instant, quoted, text
from toolkit.lake.event_files import first_of, instant_of, need_columns, text_of
from toolkit.lake.tables import Lake

__all__ = ["keep_deliveries_of_files"]

MEND = "Rename the column, or write a Parquet file with these columns"
DELIVERY = ("delivery_id", "deliveryId", "id")
CUSTOMER: Mapping[str, tuple[str, ...]] = {
    "id": ("customer_id", "customerId"),
    "email": ("email", "recipient"),
    "cio_id": ("cio_id", "internal_customer_id"),
}
NUMBERS: Mapping[str, tuple[str, ...]] = {
    "campaign_id": ("campaign_id", "campaignId"),
    "newsletter_id": ("newsletter_id", "newsletterId"),
}
AT = ("timestamp", "created_at")


def keep_deliveries_of_files(
    lake: Lake, path: str, source: str, experiment: Experiment, ours: Deliveries, *, at: datetime
) -> Taken:
    """Keep what became of this experiment's messages: a file, or the files of a folder that came since.

    A file has a row per message with a column for each thing that can happen to it (`sent`, `bounced`, …), which
    holds when it did; or a row per thing with its `metric` and `timestamp`. Both name `delivery_id`, the customer
    and `campaign_id` or `newsletter_id`.

    Raises:
        DataError: there is no such file.
    """
    what = "`deliveries` names it as files of deliveries (.parquet, .csv, .jsonl)"
    files = files_beside(path, what=what)
    done = Taken(0, Kept(), ())
    for form in ("parquet", "csv", "jsonl"):

        def keep(some: Sequence[Arrival], form: str = form) -> Kept:
            with connect() as con:
                _read(con, some, form, experiment.identity.key, at)
                con.view(
                    "ours",
                    f"SELECT * FROM told WHERE {of_messages(ours.campaigns, ours.newsletters)} AND id <> ''",
                )
                added = keep_new_deliveries(con, lake, "ours")
                seen, nobody = con.one(
                    "SELECT count(*), count(*) FILTER (WHERE coalesce(id, '') = '') FROM told"
                )
                return Kept(int(seen), added, without_key=int(nobody))

        done += take_new(lake, source, [each for each in files if endings_of(each.name) == form], keep, at=at)
    return done


def _read(con: Engine, files: Sequence[Arrival], form: str, key: str, at: datetime) -> None:
    """Create `told` with the columns of the table `deliveries`, a row per thing that happened."""
    metrics = (*REACHED, *FAILED)
    customer = (*CUSTOMER[key], *(("id",) if key == "id" else ()))
    fields = dict.fromkeys(
        [
            *DELIVERY,
            *customer,
            *(n for some in NUMBERS.values() for n in some),
            *AT,
            "metric",
            "event_id",
            *metrics,
        ]
    )
    source = reader_of(files, form, tuple(fields))
    kinds = con.columns(source)
    need_columns(con, files, form, {"message": DELIVERY[:2], "customer": CUSTOMER[key]}, MEND)
    need_columns(
        con,
        files,
        form,
        {"campaign or newsletter": tuple(n for some in NUMBERS.values() for n in some)},
        MEND,
    )
    long = "metric" in kinds if form != "jsonl" else bool(con.one(f"SELECT count(metric) FROM {source}")[0])
    need_columns(
        con, files, form, {"instant": AT, "metric": ("metric",)} if long else {"metrics": metrics}, MEND
    )

    def said(names: Sequence[str]) -> str:
        return first_of([text_of(quoted(each), kinds[each]) for each in names if each in kinds])

    def when(name: str) -> str:
        return instant_of(quoted(name), kinds[name], None)

    numbers = [
        f"TRY_CAST(TRY_CAST({said(names)} AS DOUBLE) AS BIGINT) AS {what}" for what, names in NUMBERS.items()
    ]
    own = f"lower({said(CUSTOMER[key])})" if key == "email" else said(CUSTOMER[key])
    same = f"{said(DELIVERY[:2])} AS delivery_id, {own} AS id, {', '.join(numbers)}"
    if long:
        happened = first_of([when(each) for each in AT if each in kinds])
        told = f"SELECT {same}, {said(['metric'])} AS metric, {happened} AS timestamp, {said(['event_id'])} AS event_id, filename FROM {source}"
    else:
        each = [
            f"SELECT {same}, {text(name)} AS metric, {when(name)} AS timestamp, NULL::VARCHAR AS event_id, filename "
            f"FROM {source}"
            for name in metrics
            if name in kinds
        ]
        told = f"SELECT * FROM ({' UNION ALL '.join(each)}) WHERE timestamp IS NOT NULL"
    con.table("happened", told)
    bad, where = con.one(
        "SELECT count(*), min(filename) FROM happened WHERE delivery_id IS NULL OR metric IS NULL OR timestamp IS NULL"
    )
    if bad:
        raise DataError(
            f"{where}: {bad:,} rows lack the message's id, the metric, or an instant that can be read"
        )
    con.view(
        "told",
        f"SELECT coalesce(event_id, delivery_id || ':' || metric) AS event_id, delivery_id, id, {text(key)} AS id_type, "
        f"metric, campaign_id, newsletter_id, timestamp, 'files' AS source, {instant(at)} AS received_at FROM happened",
    )
