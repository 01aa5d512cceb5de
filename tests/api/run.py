#!/usr/bin/env python3
"""Holds the running server against its own description.

    run.py BINARY [SECONDS]

Starts BINARY on free ports, checks that what it serves at /api/openapi.json is OpenAPI 3.1, and has
Schemathesis ask it for everything that is described there, in sense and in nonsense: once as a server
that is open, once as one that wants a token, and once as a manager of two nodes. SECONDS are for all of
them together.
"""

import contextlib
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

from openapi_spec_validator import OpenAPIV31SpecValidator

HERE = pathlib.Path(__file__).resolve().parent
TOKEN = "a-token-of-the-tests-that-is-long-enough"
READY_S = 20
STOP_S = 15
# Requests come much faster than clients' do, and most of them are for sessions that are not there.
SETTINGS = [
    "limits.source_requests_per_second=0",
    "limits.token_requests_per_second=0",
    "limits.source_misses_per_minute=0",
    "limits.sessions_half_open_max=20000",
    # The description says that a token is needed where tokens are asked for at all.
    "auth.metrics=manage",
]


def free_port(kind):
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


# What is started, with its address for media.
NODE = ["serve", "--udp"]
MANAGER = ["manager", "--embedded", "2", "--set"]


@contextlib.contextmanager
def server(binary, folder, tokens=(), kind=NODE):
    """A server on loopback; gives its URL, and checks in the end that it is still well."""
    port, udp = free_port(socket.SOCK_STREAM), free_port(socket.SOCK_DGRAM)
    media = f"127.0.0.1:{udp}" if kind is NODE else f"media.udp=127.0.0.1:{udp}"
    base = f"http://127.0.0.1:{port}"
    # The server refuses variables it does not know.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WHITEWATER_")}
    if tokens:
        environment["WHITEWATER_AUTH_TOKENS"] = ",".join(tokens)
    command = [binary, *kind, media, "--listen", f"127.0.0.1:{port}"]
    for setting in SETTINGS:
        command += ["--set", setting]
    log = open(folder / "server.log", "ab")
    process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + READY_S
        while not is_ready(base):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit("the server did not become ready")
            time.sleep(0.1)
        yield base
        if process.poll() is not None:
            raise SystemExit(f"the server ended with code {process.returncode}")
        if not is_ready(base):
            raise SystemExit("the server is not ready any more")
        process.terminate()
        if process.wait(STOP_S) != 0:
            raise SystemExit(f"the server ended with code {process.returncode}")
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        log.close()


def is_ready(base):
    try:
        return fetch(f"{base}/readyz").status == 200
    except (urllib.error.URLError, OSError):
        return False


def fetch(url):
    return urllib.request.urlopen(url, timeout=5)


def operations(document):
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method != "parameters":
                yield path, method, operation


def endless(document):
    """The operations whose answers do not end; tests/http has them."""
    for _, method, operation in operations(document):
        content = operation["responses"].get("200", {}).get("content", {})
        if method == "get" and "text/event-stream" in content:
            yield operation["operationId"]


def examine(base, document, folder, seconds, headers=()):
    path = folder / "openapi.json"
    path.write_text(json.dumps(document))
    command = [
        str(pathlib.Path(sys.executable).parent / "schemathesis"),
        "--config-file", str(HERE / "schemathesis.toml"),
        "run", str(path), "--url", base,
        "--max-time", str(seconds), "--request-timeout", "10",
        # The same requests in every run; what they meet may differ.
        "--seed", "9725", "--generation-database", "none", "--no-color", "--warnings", "off",
    ]
    for operation in endless(document):
        command += ["--exclude-operation-id", operation]
    for header in headers:
        command += ["--header", header]
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": "hooks", "PYTHONPATH": str(HERE)}
    result = subprocess.run(command, cwd=folder, env=environment, check=False)
    return result.returncode == 0


def main(binary, seconds="60"):
    binary, seconds = str(pathlib.Path(binary).resolve()), max(4, int(seconds))
    good = True
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        with server(binary, folder) as base:
            document = json.load(fetch(f"{base}/api/openapi.json"))
            OpenAPIV31SpecValidator(document).validate()
            print(f"the description is OpenAPI {document['openapi']}: {len(list(operations(document)))} operations")
            good &= examine(base, document, folder, seconds // 2)
        with server(binary, folder, [TOKEN]) as base:
            document = json.load(fetch(f"{base}/api/openapi.json"))
            # Here nobody does without.
            document["security"] = [{"bearer": []}]
            good &= examine(base, document, folder, seconds // 4, [f"Authorization: Bearer {TOKEN}"])
        with server(binary, folder, kind=MANAGER) as base:
            document = json.load(fetch(f"{base}/api/openapi.json"))
            OpenAPIV31SpecValidator(document).validate()
            print(f"the manager's is OpenAPI {document['openapi']}: {len(list(operations(document)))} operations")
            good &= examine(base, document, folder, seconds // 4)
        if not good:
            sys.stderr.write((folder / "server.log").read_text(errors="replace")[-4000:])
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
