"""Runs SQL of Athena over files of the lake with DuckDB, after sqlglot has translated it.

Reads JSON from standard input:
    {"tables": {"NAME": {"files": [PATH, ...], "columns": [[NAME, TYPE], ...], "mappings": {NAME: KEY}}},
     "queries": [{"sql": SQL, "tables": {"NAME": [PATH, ...]}}, ...]}
Prints a list with one result per query: {"rows": [[TEXT or null, ...], ...]} or {"error": TEXT}. `tables` of a query
replaces the files of a table.

The table "store" is an event data store of CloudTrail Lake: eventTime is a timestamp, readOnly and managementEvent are
booleans, parameters are maps of texts, and eventJson is the whole event.

A table with columns is read as the OpenX SerDe reads it: a column of the type string contains the JSON text of an object,
a name with capital letters is found only through its mapping, and keys are compared exactly. A table without columns has
one column, line, as with LazySimpleSerDe. The folder dt=DAY of a file is the column dt.
"""

import json
import sys

import duckdb
import sqlglot
from sqlglot import exp

# Trino's json_extract_scalar returns NULL for objects and arrays. sqlglot translates it to DuckDB's ->>, which returns their
# text.
MACROS = """
CREATE MACRO scalar_at(document, path) AS
    CASE WHEN json_type(document::JSON, path) IN ('OBJECT', 'ARRAY', 'NULL') THEN NULL ELSE document::JSON ->> path END;
CREATE MACRO json_at(document, path) AS (document::JSON -> path)::VARCHAR;
CREATE MACRO value_of(document, name) AS
    coalesce(scalar_at(document, '$."' || name || '"'), nullif((document::JSON -> ('$."' || name || '"'))::VARCHAR, 'null'));
"""


def duckdb_type(hive_type, mappings):
    if not hive_type.startswith("struct<"):
        assert hive_type == "string", hive_type
        return "VARCHAR"
    fields, depth, start, inner = [], 0, 0, hive_type[len("struct<") : -1] + ","
    for index, character in enumerate(inner):
        depth += {"<": 1, ">": -1}.get(character, 0)
        if character == "," and depth == 0:
            name, field_type = inner[start:index].split(":", 1)
            fields.append(f'"{mappings.get(name, name)}" {duckdb_type(field_type, mappings)}')
            start = index + 1
    return f"STRUCT({', '.join(fields)})"


def quoted(values):
    return ", ".join("'" + value.replace("'", "''") + "'" for value in values)


def relation(table, files):
    if not files:
        raise ValueError("a table without files")
    # All files of a table are in folders dt=DAY, or none is.
    partitioned = "hive_partitioning = true, hive_types_autocast = false" if "/dt=" in files[0] else "hive_partitioning = false"
    dt = ", dt" if "/dt=" in files[0] else ""
    if "columns" not in table:
        read = f"read_csv([{quoted(files)}], header = false, auto_detect = false, delim = '\\x01', quote = '', escape = '', columns = {{'line': 'VARCHAR'}}, max_line_size = 10000000, {partitioned})"
        return f"SELECT line{dt} FROM {read}"
    mappings = table["mappings"]
    columns = {mappings.get(name, name): duckdb_type(hive_type, mappings) for name, hive_type in table["columns"]}
    declared = ", ".join(f"'{key}': '{value}'" for key, value in columns.items())
    names = ", ".join(f'"{mappings.get(name, name)}" AS "{name}"' for name, _ in table["columns"])
    read = f"read_json([{quoted(files)}], format = 'newline_delimited', columns = {{{declared}}}, {partitioned})"
    return f"SELECT {names}{dt} FROM {read}"


def event_data_store(files, columns, mappings):
    events = relation({"columns": columns, "mappings": mappings}, files)
    changed = {
        "eventtime": "eventtime::TIMESTAMP",
        "readonly": "readonly::BOOLEAN",
        "managementevent": "managementevent::BOOLEAN",
    }
    selected = ", ".join(f'{changed.get(name, name)} AS "{mappings.get(name, name)}"' for name, _ in columns)
    lines = relation({}, files)
    return (
        f"SELECT {selected}, line AS eventJson FROM (SELECT *, row_number() OVER () AS n FROM ({events})) "
        f"JOIN (SELECT line, row_number() OVER () AS n FROM ({lines})) USING (n)"
    )


def json_path(node):
    """Returns the text of a path with a quoted name for each step."""
    steps = []
    for part in node.expressions:
        if isinstance(part, exp.JSONPathKey):
            steps.append('."' + str(part.this).replace("\\", "\\\\").replace('"', '\\"') + '"')
        elif isinstance(part, exp.JSONPathSubscript):
            steps.append(f"[{part.this}]")
    return exp.Literal.string("$" + "".join(steps))


def translated(sql):
    def change(node):
        if isinstance(node, exp.JSONExtractScalar):
            return exp.Anonymous(this="scalar_at", expressions=[node.this, json_path(node.expression)])
        if isinstance(node, exp.JSONExtract):
            return exp.Anonymous(this="json_at", expressions=[node.this, json_path(node.expression)])
        if isinstance(node, exp.Anonymous) and node.name.lower() == "element_at" or isinstance(node, exp.Bracket):
            document, name = node.expressions if isinstance(node, exp.Anonymous) else (node.this, node.expressions[0])
            return exp.Anonymous(this="value_of", expressions=[document, name])
        # json_format of what json_at returns, which is text.
        if isinstance(node, exp.JSONFormat):
            return change(node.this)
        if isinstance(node, exp.Table):
            # Athena's database is DuckDB's default schema.
            return exp.Table(this=node.this, alias=node.args.get("alias"))
        return node

    return sqlglot.parse_one(sql, read="athena").transform(change).sql(dialect="duckdb")


def text(value):
    return value if value is None or isinstance(value, str) else json.dumps(value) if isinstance(value, (bool, dict)) else str(value)


def run(connection, tables, query):
    sql = translated(query["sql"])
    if "FROM store" in sql:
        columns, mappings = tables["events"]["columns"], tables["events"]["mappings"]
        view = event_data_store(tables["events"]["files"], columns, mappings)
        connection.execute(f"CREATE OR REPLACE VIEW store AS {view}")
    for name, table in tables.items():
        if name in sql and table["files"]:
            files = query.get("tables", {}).get(name, table["files"])
            connection.execute(f'CREATE OR REPLACE VIEW "{name}" AS {relation(table, files)}')
    try:
        return {"rows": [[text(value) for value in row] for row in connection.execute(sql).fetchall()]}
    except duckdb.Error as error:
        return {"error": f"{error}\n{sql}"}


def main():
    request = json.load(sys.stdin)
    results = []
    connection = duckdb.connect(":memory:", config={"threads": 1})
    connection.execute(MACROS)
    for query in request["queries"]:
        try:
            results.append(run(connection, request["tables"], query))
        except (sqlglot.errors.SqlglotError, ValueError) as error:
            results.append({"error": f"{error}\n{query['sql']}"})
    json.dump(results, sys.stdout)


main()
