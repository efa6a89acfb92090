"""Answers requests of AWS's SDKs for services that no emulator has.

usage: stand_in.py PORT ANSWERS

ANSWERS is a JSON file: {"SERVICE": {"OPERATION": OUTPUT, ...}, ...}, with the names of botocore. Each request is parsed and
validated with botocore's model of the service, and each output is validated with it before it is sent. A request or an
output that does not match the model is answered with 400 and the reason, and listed by GET /violations. An output
{"Error": {"Code": ..., "Message": ...}} is an error of the service. A list of outputs is the sequence of answers, whose last
one is repeated. GET /requests lists the operations that were called, with their bodies.

Supports the protocols json (operation in X-Amz-Target), query (operation in the form) and rest-json (operation in the path).
Runs in the environment of moto, whose parsers and serializers it uses.
"""

import json
import re
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl

from botocore.validate import ParamValidator
from moto.core.parse import PROTOCOL_PARSERS
from moto.core.serialize import SERIALIZERS
from moto.core.utils import get_service_model
from werkzeug.datastructures import MultiDict

violations = []
requests = []


def load(answers):
    return {name: get_service_model(name) for name in answers}


def operation_of(models, headers, form):
    """Returns the service and the operation of a request, or the reason why it has none."""
    target = headers.get("X-Amz-Target", "")
    name = target.rsplit(".", 1)[-1] or form.get("Action", "")
    for service, model in models.items():
        # SDKs may omit the namespace of the service, as that for Rust does for CloudTrail.
        prefix = model.metadata.get("targetPrefix", "").rsplit(".", 1)[-1]
        matches = f".{target}".endswith(f".{prefix}.{name}") if target else form.get("Version") == model.metadata["apiVersion"]
        if matches and name in model.operation_names:
            return service, model.operation_model(name)
    raise ValueError(f"no operation of {', '.join(models)} in the path, the target {target!r} or the action {name!r}")


def operation_of_path(models, method, path):
    """Returns the service, the operation and the parameters in the path of a request of a REST protocol."""
    for service, model in models.items():
        if not model.protocol.startswith("rest-"):
            continue
        for operation in map(model.operation_model, model.operation_names):
            template = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(operation.http["requestUri"]))
            found = re.fullmatch(template, path.split("?")[0])
            if found and operation.http["method"] == method:
                return service, operation, found.groupdict()
    return None


def check(value, shape, what):
    report = ParamValidator().validate(value, shape) if shape is not None else None
    if report is not None and report.has_errors():
        raise ValueError(f"{what}: {report.generate_report()}")


def main(port, path):
    with open(path, encoding="utf-8") as file:
        answers = json.load(file)
    models = load(answers)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def send(self, status, body, content_type="application/json"):
            body = body.encode() if isinstance(body, str) else body
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self):
            self.send(200, json.dumps(requests if self.path == "/requests" else violations))

        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            is_form = "form" in self.headers.get("Content-Type", "")
            form = dict(parse_qsl(body.decode())) if is_form else {}
            try:
                of_path = operation_of_path(models, "POST", self.path)
                service, operation, parameters = of_path or (*operation_of(models, self.headers, form), {})
                protocol = operation.service_model.protocol
                request = {"body": body, "headers": self.headers, "method": "POST", "url_path": self.path}
                request |= {"values": MultiDict(form), "url_params": parameters}
                if not is_form:
                    # The parser ignores unknown members, so they are compared first.
                    unknown = set(json.loads(body or b"{}")) - set(operation.input_shape.members)
                    if unknown:
                        raise ValueError(f"{operation.name}: unknown members {sorted(unknown)}")
                check(PROTOCOL_PARSERS[protocol](operation).parse(request), operation.input_shape, operation.name)
                output = answers[service].get(operation.name)
                if output is None:
                    raise ValueError(f"{operation.name}: no answer is configured")
                requests.append([operation.name, form or json.loads(body or b"{}")])
                if isinstance(output, list):
                    output = output.pop(0) if len(output) > 1 else output[0]
                if "Error" in output:
                    error = {"__type": output["Error"]["Code"], "message": output["Error"]["Message"]}
                    return self.send(400, json.dumps(error))
                check(output, operation.output_shape, f"output of {operation.name}")
            except ValueError as error:
                violations.append(str(error))
                return self.send(400, json.dumps({"__type": "ValidationException", "message": str(error)}))
            reply = SERIALIZERS[protocol](operation).serialize(output)
            self.send(reply["status_code"], reply["body"], reply["headers"].get("Content-Type", "application/json"))

    ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()


main(int(sys.argv[1]), sys.argv[2])
