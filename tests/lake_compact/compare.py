"""Reads Parquet files with DuckDB and compares them with the lines of a lake.

usage: compare.py LAKE DEST TEMPLATE

Every line must be in exactly one row, under the day of its time, and every column must be the field of its line. The names of
the fields are those of the mappings in the template. Prints the number of rows.
"""

import collections
import gzip
import json
import pathlib
import re
import sys

import duckdb

lake, dest, template = pathlib.Path(sys.argv[1]), sys.argv[2], pathlib.Path(sys.argv[3]).read_text()
names_of_columns = dict(re.findall(r"^ +mapping\.(\w+): (\w+)$", template, re.MULTILINE))
assert names_of_columns["eventid"] == "eventID"

expected = collections.Counter()
arrived = {}
for path in lake.glob("events/dt=*/*.jsonl.gz"):
    for line in gzip.decompress(path.read_bytes()).split(b"\n"):
        if line:
            expected[line.decode()] += 1
            arrived[line.decode()] = path.parent.name.removeprefix("dt=")

rows = duckdb.sql(f"SELECT * FROM read_parquet('{dest}/day=*/*.parquet', hive_partitioning = true, hive_types = {{'day': VARCHAR}})")
names = rows.columns
found = collections.Counter()


def text(value):
    """The text of a column: a string without quotes, and the JSON of anything else."""
    return value if isinstance(value, str) else value.raw


class Raw:
    """A value with its own JSON text."""

    def __init__(self, raw):
        self.raw = raw


def members(line):
    """The members of an object, each as a string, None or its own JSON text. The last of two equal keys is used."""
    decoder = json.JSONDecoder()
    result, at = {}, 1
    while True:
        while line[at] in " ,\t":
            at += 1
        if line[at] == "}":
            return result
        key, at = decoder.raw_decode(line, at)
        while line[at] in " :\t":
            at += 1
        value, end = decoder.raw_decode(line, at)
        result[key] = value if isinstance(value, str) or value is None else Raw(line[at:end])
        at = end


STRUCTS = {"useridentity", "sessioncontext", "sessionissuer", "attributes", "webidfederationdata", "onbehalfof", "tlsdetails",
           "trailhose", "oversize"}


def is_object(member):
    return isinstance(member, Raw) and member.raw.startswith("{")


def check(column, value, parents, where):
    """Compares a column with its member."""
    member = parents.get(names_of_columns.get(column, column))
    if isinstance(value, dict):
        inner = members(member.raw)
        for name, nested in value.items():
            check(name, nested, inner, where)
    elif member is None or column in STRUCTS:
        # A member that is no object has no place in a struct.
        assert value is None and not is_object(member), (column, value, where)
    else:
        assert value == text(member), (column, value, where)


for row in rows.fetchall():
    row = dict(zip(names, row))
    line, day = row.pop("line"), row.pop("day")
    found[line] += 1
    try:
        parents = members(line) if isinstance(json.loads(line), dict) else {}
    except ValueError:
        parents = {}
    window = parents.get("timeWindow")
    time = parents.get("eventTime") or (members(window.raw).get("windowStart") if window else None)
    is_time = isinstance(time, str) and time[4:5] == "-"
    assert day == (time[:10] if is_time else arrived[line]), (day, line)
    for column, value in row.items():
        check(column, value, parents, line[:200])

assert found == expected, f"{len(found)} different lines, expected {len(expected)}"
print(sum(found.values()))
