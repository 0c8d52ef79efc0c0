"""What sqlglot does not know of DuckDB's SQL, per dialect: functions from a node of a query's tree to another.

They are applied from the inside out, each to nodes whose own parts are rewritten already.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import sqlglot
from sqlglot import exp

__all__ = ["INSTANT", "NUMBER", "RULES"]

TEXT_KEYS = frozenset({"attributes", "event_id", "id"})
"""Columns that rows are put in order by, as texts: byte by byte, whatever the collation of a database."""
NUMBER = r"^\s*[+-]?(([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|[iI][nN][fF]([iI][nN][iI][tT][yY])?|[nN][aA][nN])\s*$"
DAY = r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}"
CLOCK = r"[0-9]{1,2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?"
ZONE = r"(Z|[+-][0-9]{2}(:?[0-9]{2})?| ?(UTC|utc))"
INSTANT = rf"^\s*{DAY}([ T]{CLOCK})?{ZONE}?\s*$"
"""What is read as an instant everywhere; engines differ on anything else, so that it is refused."""

Rule = Callable[[exp.Expression], exp.Expression]


def _sql(template: str, **parts: exp.Expression) -> exp.Expression:
    """Return a tree made of an SQL text whose `:names` are filled in."""
    tree = sqlglot.parse_one(template, dialect="duckdb")
    return exp.replace_placeholders(tree, **{name: part.copy() for name, part in parts.items()})


def _call(name: str, *arguments: exp.Expression) -> exp.Expression:
    return exp.Anonymous(this=name, expressions=list(arguments))


def _text(value: str) -> exp.Literal:
    return exp.Literal.string(value)


def _first(node: exp.Expression) -> exp.Expression:
    return node.expressions[0]


def _finite(node: exp.Expression) -> exp.Expression:
    """Say isfinite(x) by comparing, where NaN equals itself."""
    x = _first(node)
    strange = [exp.cast(_text(each), "double") for each in ("NaN", "Infinity", "-Infinity")]
    return exp.paren(exp.not_(exp.In(this=x, expressions=strange)))


def _no_row_in(node: exp.Expression) -> exp.Expression:
    """Say `x NOT IN (SELECT …)` as NOT EXISTS, which engines run as an anti join.

    The two agree because keys are never NULL where the toolkit asks this.
    """
    found = node.this.unnest()
    if not (isinstance(found, exp.In) and found.args.get("query")):
        return node
    query = found.args["query"].this.copy()
    (column,) = query.selects
    column.replace(exp.alias_(column.unalias().copy(), "k", quoted=False))
    one = exp.select("1").from_(query.subquery("n")).where(exp.column("k", "n").eq(found.this.copy()))
    return exp.not_(exp.Exists(this=one))


def _case_for_filter(node: exp.Expression) -> exp.Expression:
    """Say `f(x) FILTER (WHERE c)` as `f(CASE WHEN c THEN x END)`."""
    aggregate, condition = node.this.copy(), node.expression.this.copy()
    what = aggregate.this
    kept = exp.Literal.number(1) if isinstance(what, exp.Star) else what.copy()
    aggregate.set("this", exp.Case().when(condition, kept))
    return aggregate


def _double(node: exp.Expression) -> exp.Expression:
    """Say a number with an exponent as a double; some engines read it as a decimal."""
    if node.args.get("is_string") or "e" not in node.name.lower():
        return node
    return exp.cast(_text(node.name), "double")


def _ordered_bytes(node: exp.Expression) -> exp.Expression:
    """Put texts in order byte by byte."""
    column = node.this
    if not (isinstance(column, exp.Column) and column.name in TEXT_KEYS):
        return node
    plain = exp.Collate(this=exp.cast(column.copy(), "text"), expression=exp.to_identifier("C", quoted=True))
    return exp.Ordered(this=plain, desc=node.args.get("desc"), nulls_first=node.args.get("nulls_first"))


def _path(node: exp.Expression) -> list[str]:
    """Return the names of a JSON pointer (RFC 6901)."""
    pointer = node.expression.name
    return [each.replace("~1", "/").replace("~0", "~") for each in pointer.split("/")[1:]]


# Spark


def _spark_micros(node: exp.Expression) -> exp.Expression:
    return _call("unix_micros", exp.cast(_first(node).copy(), "timestamptz"))


def _spark_zone(node: exp.Expression) -> exp.Expression:
    """Say timezone(z, t): the instant at which clocks in z show t; where they do so twice, the second time.

    Spark takes the first, so an hour later is looked at (Lord Howe's half hour is not).
    """
    zone, clock = node.expressions
    return _sql(
        "CASE WHEN from_utc_timestamp(to_utc_timestamp(:t, :z) + INTERVAL 1 HOUR, :z) = CAST(:t AS TIMESTAMPTZ) "
        "THEN to_utc_timestamp(:t, :z) + INTERVAL 1 HOUR ELSE to_utc_timestamp(:t, :z) END",
        t=clock,
        z=zone,
    )


def _spark_try(node: exp.Expression) -> exp.Expression:
    """Parse only what every engine parses alike: Spark's own casts know more forms."""
    form = _form(node)
    if form is None:
        return node
    said = node.this
    clean = _call("trim", said.copy())
    if form is INSTANT:
        clean = _call("replace", clean, _text("utc"), _text("UTC"))
    matches = exp.RegexpLike(this=said.copy(), expression=_text(form))
    return exp.Case().when(matches, exp.TryCast(this=clean, to=node.args["to"].copy(), safe=True))


def _spark_json(node: exp.Expression) -> exp.Expression:
    found = node.this.copy()
    for name in _path(node):  # a map takes any name; get_json_object's path does not
        found = exp.Bracket(
            this=_call("from_json", found, _text("map<string,string>")), expressions=[_text(name)], safe=True
        )
    return found


# PostgreSQL


def _postgres_micros(node: exp.Expression) -> exp.Expression:
    seconds = exp.Extract(this=exp.var("EPOCH"), expression=_first(node).copy())
    return exp.cast(exp.Mul(this=seconds, expression=exp.Literal.number(1_000_000)), "bigint")


def _postgres_try(node: exp.Expression) -> exp.Expression:
    """Call the functions of `postgres.py`: the language itself has no cast that may fail."""
    names = {"DOUBLE": "try_double", "TIMESTAMPTZ": "try_instant"}
    return _call(f"pg_temp.{names.get(node.args['to'].this.name, 'try_timestamp')}", node.this.copy())


def _postgres_json(node: exp.Expression) -> exp.Expression:
    names = exp.Array(expressions=[_text(name) for name in _path(node)])
    return _call("jsonb_extract_path_text", exp.cast(node.this.copy(), "jsonb"), *names.expressions)


def _postgres_sha1(node: exp.Expression) -> exp.Expression:
    said = _call("convert_to", node.this.copy(), _text("UTF8"))
    return _call("encode", _call("digest", said, _text("sha1")), _text("hex"))


# BigQuery and Snowflake


def _bigquery_finite(node: exp.Expression) -> exp.Expression:
    strange = exp.or_(_call("IS_NAN", _first(node).copy()), _call("IS_INF", _first(node).copy()))
    return exp.paren(exp.not_(strange))


def _bigquery_micros(node: exp.Expression) -> exp.Expression:
    return _call("UNIX_MICROS", exp.cast(_first(node).copy(), "timestamptz"))


def _bigquery_zone(node: exp.Expression) -> exp.Expression:
    zone, clock = node.expressions
    return _call("TIMESTAMP", clock.copy(), zone.copy())


def _bigquery_json(node: exp.Expression) -> exp.Expression:
    names = "".join(f".{_json_name(name)}" for name in _path(node))
    return _call("JSON_VALUE", node.this.copy(), _text(f"${names}"))


def _bigquery_sha1(node: exp.Expression) -> exp.Expression:
    return _call("TO_HEX", _call("SHA1", node.this.copy()))


def _snowflake_micros(node: exp.Expression) -> exp.Expression:
    return _call("DATE_PART", exp.var("EPOCH_MICROSECOND"), _first(node).copy())


def _snowflake_zone(node: exp.Expression) -> exp.Expression:
    zone, clock = node.expressions
    return _call("CONVERT_TIMEZONE", zone.copy(), _text("UTC"), clock.copy())


def _snowflake_try(node: exp.Expression) -> exp.Expression:
    names = {"DOUBLE": "TRY_TO_DOUBLE", "TIMESTAMPTZ": "TRY_TO_TIMESTAMP_TZ"}
    return _call(names.get(node.args["to"].this.name, "TRY_TO_TIMESTAMP_NTZ"), node.this.copy())


def _snowflake_json(node: exp.Expression) -> exp.Expression:
    names = "".join(f"[{_json_name(name)}]" for name in _path(node))
    return _call("JSON_EXTRACT_PATH_TEXT", node.this.copy(), _text(names))


def _snowflake_like(node: exp.Expression) -> exp.Expression:
    """Say a pattern as Snowflake knows it: flags stand apart, and the whole text has to match."""
    pattern, flags = node.expression.name, ""
    if pattern.startswith("(?i)"):
        pattern, flags = pattern.removeprefix("(?i)"), "i"
    more = [_text(flags)] if flags else []
    return _call("REGEXP_LIKE", node.this.copy(), _text(pattern), *more)


def _json_name(name: str) -> str:
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _form(node: exp.Expression) -> str | None:
    name = node.args["to"].this.name
    return NUMBER if name == "DOUBLE" else INSTANT if name.startswith("TIMESTAMP") else None


_EVERYWHERE: Mapping[object, Rule] = {"isfinite": _finite, exp.Not: _no_row_in}
RULES: Mapping[str, Mapping[object, Rule]] = {
    "duckdb": {},
    "spark": {
        **_EVERYWHERE,
        "epoch_us": _spark_micros,
        "timezone": _spark_zone,
        exp.TryCast: _spark_try,
        exp.JSONExtractScalar: _spark_json,
    },
    "postgres": {
        **_EVERYWHERE,
        "epoch_us": _postgres_micros,
        exp.TryCast: _postgres_try,
        exp.JSONExtractScalar: _postgres_json,
        exp.SHA: _postgres_sha1,
        exp.Literal: _double,
        exp.Ordered: _ordered_bytes,
    },
    "bigquery": {
        **_EVERYWHERE,
        "isfinite": _bigquery_finite,
        "epoch_us": _bigquery_micros,
        "timezone": _bigquery_zone,
        exp.JSONExtractScalar: _bigquery_json,
        exp.SHA: _bigquery_sha1,
        exp.Filter: _case_for_filter,
    },
    "snowflake": {
        **_EVERYWHERE,
        "epoch_us": _snowflake_micros,
        "timezone": _snowflake_zone,
        exp.TryCast: _snowflake_try,
        exp.JSONExtractScalar: _snowflake_json,
        exp.RegexpLike: _snowflake_like,
        exp.Literal: _double,
        exp.Filter: _case_for_filter,
    },
}
