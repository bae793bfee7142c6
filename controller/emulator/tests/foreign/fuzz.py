"""schemathesis against the emulator: every operation of the document that is served.

Started with the folder of the document, the emulator's URL, a token, and a folder to write to. It
writes the document with the deviations that are listed beside it, runs schemathesis with this file
as its hooks, and checks two things of its own: that the operations which are not served are exactly
the listed ones, and that every other one was called as often as it should be.
"""

import fnmatch
import json
import os
import pathlib
import subprocess
import sys
import threading
import urllib.error
import urllib.request

EXAMPLES = 100
SEED = 20261122
ROUNDS = 5
METHODS = ("get", "put", "post", "delete", "patch")


def call(method, path, body=None):
    """One request of our own: its status and its JSON."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(os.environ["EMULATOR_URL"] + path, data=data, method=method)
    request.add_header("Authorization", "Bearer " + os.environ["EMULATOR_TOKEN"])
    try:
        with urllib.request.urlopen(request, timeout=90) as response:
            status, text = response.status, response.read()
    except urllib.error.HTTPError as error:
        status, text = error.code, error.read()
    return status, json.loads(text) if text else None


def operations(document):
    """(operation id, method, path) of all operations. One id stands twice; the method tells them apart."""
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                yield item[method]["operationId"], method, path


def deviate(document, deviations):
    """Changes the document to what is served; returns what is not."""
    schemas = document["components"]["schemas"]
    for name, deviation in deviations["schemas"].items():
        schemas[name] = deviation["schema"]
    for member in deviations["nullable"]["members"]:
        schema, _, name = member.rpartition(".")
        was = schemas[schema]["properties"][name]
        nullable = {"allOf": [was]} if "$ref" in was else was
        schemas[schema]["properties"][name] = {**nullable, "nullable": True}
    error = {"$ref": "#/components/schemas/ErrorResponse"}
    statuses = deviations["statuses"]
    unserved, used = [], set()
    for operation, method, path in list(operations(document)):
        patterns = [name for name in deviations["not_served"] if fnmatch.fnmatch(operation, name)]
        if patterns:
            used.update(patterns)
            unserved.append((operation, method, path))
            del document["paths"][path][method]
            continue
        responses = document["paths"][path][method]["responses"]
        for status, why in {**statuses["everywhere"], **statuses["by_operation"].get(operation, {})}.items():
            content = {"application/json": {"schema": error}}
            responses.setdefault(status, {"description": why, "content": content})
    stale = set(deviations["not_served"]) - used
    assert not stale, f"listed as not served, and not in the document: {stale}"
    return unserved


def check_routes(document, unserved):
    """The router knows exactly what is not listed."""

    def known(method, path):
        filled = path
        while "{" in filled:
            before, _, rest = filled.partition("{")
            filled = before + "x" + rest.partition("}")[2]
        status, body = call(method.upper(), filled + "?timeout=1", None if method == "get" else {})
        return not (body in ({"error": "not found"}, {"error": "method not allowed"}) and status in (404, 405))

    for operation, method, path in unserved:
        assert not known(method, path), f"{operation} is listed as not served, and is"
    for operation, method, path in operations(document):
        assert known(method, path), f"{operation} is not listed as not served, and is not"


def main():
    here, out = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[4]).resolve()
    url, token = sys.argv[2:4]
    os.environ.update(EMULATOR_URL=url, EMULATOR_TOKEN=token, FUZZ_COUNTS=str(out / "counts.json"))
    document = json.loads((here / "machines-openapi.json").read_text())
    deviations = json.loads((here / "foreign/deviations.json").read_text())
    unserved = deviate(document, deviations)
    # What goes in follows the config's schema; what comes out is what went in.
    loosen_answers(document, deviations["echoed"]["schemas"])
    check_routes(document, unserved)
    (out / "document.json").write_text(json.dumps(document))
    status, body = call("POST", "/v1/apps", {"app_name": "fuzz", "org_slug": "local"})
    assert status == 201, body
    command = [
        str(pathlib.Path(sys.executable).parent / "schemathesis"), "run", str(out / "document.json"),
        "--url", url, "--header", f"Authorization: Bearer {token}", "--phases", "fuzzing",
        "--max-examples", str(EXAMPLES), "--workers", "4", "--no-shrink",
        "--checks", "not_a_server_error,status_code_conformance,response_schema_conformance,content_type_conformance",
        "--suppress-health-check", "all", "--continue-on-failure", "--request-timeout", "30", "--warnings", "off",
    ]
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": "fuzz", "PYTHONPATH": str(here / "foreign")}
    constant = deviations["constant"]["operations"]
    counts, short = {}, {operation for operation, _, _ in operations(document)}
    # It ends early with some operations if it takes what it has seen in other answers for all that
    # there is; what was called too seldom is therefore called again, with the next seed.
    for seed in range(SEED, SEED + ROUNDS):
        chosen = [word for operation in sorted(short) for word in ("--include-operation-id", operation)]
        status = subprocess.run([*command, "--seed", str(seed), *chosen], env=environment, cwd=out, check=False).returncode
        assert status == 0, f"schemathesis ended with {status}"
        counts = json.loads((out / "counts.json").read_text())
        short = {
            operation
            for operation, method, path in operations(document)
            if counts.get(f"{method} {path}", 0) < (1 if operation in constant else EXAMPLES)
        }
        if not short:
            break
    assert not short, f"called too seldom: {sorted(short)}: {counts}"
    print(f"{len(counts)} operations, {sum(counts.values())} calls")


def loosen_answers(document, names):
    """Lets answers echo whatever was sent: requests keep the strict form under another name."""
    schemas = document["components"]["schemas"]
    strict = {name: name + ".Sent" for name in names}
    text = json.dumps({name: schemas[name] for name in names})
    for name, sent in strict.items():
        text = text.replace(f'"#/components/schemas/{name}"', f'"#/components/schemas/{sent}"')
    for name, schema in json.loads(text).items():
        schemas[strict[name]] = schema
    for name in names:
        schemas[name] = {"type": "object"}
    bodies = [name for name in schemas if name.endswith("Request")]
    for name in bodies:
        body = json.dumps(schemas[name])
        for loose, sent in strict.items():
            body = body.replace(f'"#/components/schemas/{loose}"', f'"#/components/schemas/{sent}"')
        schemas[name] = json.loads(body)


# From here on: the hooks, when schemathesis imports this file.


def install_hooks():
    import atexit
    import itertools
    import random

    import schemathesis

    lock = threading.Lock()
    written = pathlib.Path(os.environ["FUZZ_COUNTS"])
    counts = json.loads(written.read_text()) if written.exists() else {}
    # Names that no earlier round has given.
    numbers = itertools.count(sum(counts.values()))
    draw = random.Random(SEED + sum(counts.values()))

    def make(kind):
        if kind == "app":
            name = f"fuzz-{next(numbers)}"
            call("POST", "/v1/apps", {"app_name": name, "org_slug": "local"})
            return name
        if kind == "volume":
            body = {"name": "data", "region": "ord", "size_gb": 1}
            return call("POST", "/v1/apps/fuzz/volumes", body)[1]["id"]
        return call("POST", "/v1/apps/fuzz/machines", {"config": {"image": "nginx:1"}})[1]["id"]

    def takes_long(query):
        """Whether a wait may take longer than is waited for an answer: its default is a minute."""
        try:
            return 1 < int((query or {}).get("timeout", 60)) <= 60
        except (TypeError, ValueError):
            return False

    @schemathesis.hook
    def before_call(context, case, kwargs):
        """Two in three calls meet something that exists: their own machine, so that none waits for another's lease."""
        with lock:
            is_real, is_limited = draw.random() < 0.67, draw.random() < 0.9
        parameters = case.path_parameters or {}
        if case.operation.method == "delete" and case.operation.path == "/v1/apps/{app_name}":
            # Names that answers have shown are tried too, and the others need theirs.
            if is_real or parameters.get("app_name") == "fuzz":
                parameters["app_name"] = make("app")
        elif is_real and "app_name" in parameters:
            parameters["app_name"] = "fuzz"
            if "machine_id" in parameters:
                parameters["machine_id"] = make("machine")
            if "volume_id" in parameters:
                parameters["volume_id"] = make("volume")
        if is_real and "org_slug" in parameters:
            parameters["org_slug"] = "local"
        query = case.query
        if is_real and query and "org_slug" in query:
            query["org_slug"] = "local"
        body = case.body
        if is_real and isinstance(body, dict):
            if "org_slug" in body:
                body["org_slug"] = "local"
            if isinstance(body.get("config"), dict):
                body["config"].pop("mounts", None)
                body["config"].pop("containers", None)
        if case.operation.path.endswith("/wait") and (is_limited or takes_long(query)):
            # A wait that ends in 408 takes its timeout.
            case.query = {**(query or {}), "timeout": 1}

    @schemathesis.hook
    def after_call(context, case, response):
        with lock:
            name = f"{case.operation.method.lower()} {case.operation.path}"
            counts[name] = counts.get(name, 0) + 1

    atexit.register(lambda: written.write_text(json.dumps(counts)))


if __name__ == "__main__":
    main()
else:
    install_hooks()
