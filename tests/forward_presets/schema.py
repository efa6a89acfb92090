"""Decodes requests of OpenTelemetry with the protobuf schema, and prints their log records as JSON lines.

The arguments are `json` or `protobuf` and files with requests. An unknown field is an error.
"""

import json
import sys

from google.protobuf import json_format
from google.protobuf.unknown_fields import UnknownFieldSet
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest


def check_known(message):
    if len(UnknownFieldSet(message)):
        sys.exit(f"unknown fields in {message.DESCRIPTOR.full_name}")
    for field, value in message.ListFields():
        if field.type != field.TYPE_MESSAGE:
            continue
        for child in value if hasattr(value, "add") else [value]:
            check_known(child)


def attributes(message):
    return {pair.key: pair.value.string_value for pair in message.attributes}


encoding, *paths = sys.argv[1:]
for path in paths:
    with open(path, "rb") as file:
        content = file.read()
    if encoding == "json":
        request = json_format.Parse(content, ExportLogsServiceRequest())
    else:
        request = ExportLogsServiceRequest.FromString(content)
    check_known(request)
    for resource_logs in request.resource_logs:
        for scope_logs in resource_logs.scope_logs:
            for record in scope_logs.log_records:
                print(json.dumps({
                    "resource": attributes(resource_logs.resource),
                    "scope": scope_logs.scope.name,
                    "time": record.time_unix_nano,
                    "observed": record.observed_time_unix_nano,
                    "severity": record.severity_number,
                    "body": record.body.string_value,
                    "attributes": attributes(record),
                    "name": record.event_name,
                }))
