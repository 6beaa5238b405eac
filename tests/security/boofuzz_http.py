#!/usr/bin/env python3
"""Sends boofuzz's mutations of HTTP/1.1 requests to a sandbox on loopback, over plain HTTP; tests/security/suites.sh runs it.

    python3 tests/security/boofuzz_http.py GROUP --port PORT --cases N --findings FOLDER

boofuzz supplies the mutations. Its session is not used: it keeps a database and a web server, and its bound on the number of
cases takes the first ones only. Here N cases are spread evenly over all mutations of the group, so each field gets its share,
and the same N gives the same cases. Start the sandbox with --offline: a mutated CONNECT names other hosts.

The exit code is 1 when the sandbox stops responding, sends a 5xx response that is not KPay's, does not end a connection, or
does not respond to a whole request. The bytes of such a case are saved in FOLDER.
"""
import argparse, itertools, os, re, socket, sys, time

from boofuzz import Delim, Group, Request, Static, String
from boofuzz.mutation_context import MutationContext

# Longer than the sandbox waits for any part of a request.
PATIENCE = 15
BATCH = 50
# The sandbox reads this much of a request's head, and of the head of a CONNECT. It resets the connection of a longer CONNECT.
HEAD_LIMIT, CONNECT_LIMIT = 64 * 1024, 16 * 1024
FAULTS_SHOWN = 5
# `verify` reads a body and changes nothing; this one always holds.
BODY = '{"expect":[{"for":"transaction","match":{"refid":"NONE"},"count":0}]}'


def fields(*parts):
    """Text is fixed; a pair of a class and a default value is mutated."""
    return tuple(
        Static(f"fixed{index}", default_value=part) if isinstance(part, str) else part[0](f"field{index}", default_value=part[1])
        for index, part in enumerate(parts))


def words(*values):
    """A field that takes each of these values; the first is the default."""
    return (lambda name, default_value: Group(name, values=list(values), default_value=default_value)), values[0]


LINE_END = (Delim, "\r\n")
GROUPS = {
    "request-line": fields(
        words("GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "PRI", "get", ""), (Delim, " "),
        (String, "/__sandbox/livez"), (Delim, "?"), (String, "a"), (Delim, "="), (String, "b"), (Delim, " "),
        (String, "HTTP"), (Delim, "/"), (String, "1.1"), LINE_END, "Host: localhost\r\n\r\n"),
    "headers": fields(
        "GET /__sandbox/api/info HTTP/1.1\r\nHost", (Delim, ":"), " ", (String, "localhost"), LINE_END,
        (String, "X-Name"), (Delim, ":"), (String, "value"), LINE_END,
        "Authorization: ", (String, "Basic eW91cl91c2VybmFtZTp5b3VyX3Bhc3N3b3Jk"), LINE_END,
        "Origin: ", (String, "http://localhost"), "\r\nContent-Length: ", (String, "0"), "\r\nConnection: ", (String, "close"),
        "\r\nExpect: ", (String, "100-continue"), "\r\n\r\n"),
    "chunked": fields(
        "POST ", words("/__sandbox/api/verify", "/", "/api/"), " HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: ",
        words("chunked", "Chunked", "chunked, chunked", "gzip, chunked", "identity", "x"), "\r\n\r\n",
        (String, f"{len(BODY):x}"), (Delim, ";"), (String, "extension"), LINE_END, (String, BODY), LINE_END,
        (String, "0"), LINE_END, (String, "Trailer"), (Delim, ":"), (String, "value"), LINE_END, "\r\n"),
    "connect": fields(
        words("CONNECT", "connect", "CONNECTED"), (Delim, " "), (String, "pay.esicia.com"), (Delim, ":"), (String, "443"),
        (Delim, " "), (String, "HTTP"), (Delim, "/"), (String, "1.1"), LINE_END, "Host: ", (String, "pay.esicia.com:443"),
        LINE_END, "Proxy-Authorization: ", (String, "Basic YTpi"), "\r\n\r\n",
        "GET /__sandbox/livez HTTP/1.1\r\nHost: pay.esicia.com\r\n\r\n"),
}


def cases(name, count):
    """Yields the unchanged request, then `count` mutated ones at most."""
    request = Request(name, children=GROUPS[name])
    yield request.render()
    total = request.get_num_mutations()
    wanted = {index * total // count for index in range(count)}
    for index, mutations in enumerate(request.get_mutations()):
        if index in wanted:
            yield request.render(MutationContext(mutations))


def send(port, data):
    """Sends a request, then the end of the stream. Returns the response and how it ended: "closed", "reset" or "open"."""
    response = b""
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as own:
        end = time.monotonic() + PATIENCE
        try:
            own.sendall(data)
            own.shutdown(socket.SHUT_WR)
        except (BrokenPipeError, ConnectionResetError):
            # The sandbox may have responded and closed before it had read everything.
            pass
        except OSError as error:
            if isinstance(error, TimeoutError):
                return response, "open"
        try:
            while piece := own.recv(65536):
                response += piece
                if time.monotonic() > end:
                    return response, "open"
            return response, "closed"
        except TimeoutError:
            return response, "open"
        except OSError:
            return response, "reset"


def whole(data):
    """Returns true if the head of the request is whole and no body has to follow it, or the body is whole too."""
    head, end, body = data.lstrip(b"\r\n").partition(b"\r\n\r\n")
    if not end:
        return False
    if re.search(rb"(?im)^transfer-encoding *:", head):
        size = len(BODY)
        chunks = rf"(?s){size:x}(;[^\r\n]*)?\r\n.{{{size}}}\r\n0\r\n([^\r\n]+\r\n)*\r\n"
        return re.fullmatch(chunks.encode(), body) is not None
    length = re.search(rb"(?im)^content-length *: *([0-9]+) *\r?$", head)
    return length is None or int(length[1]) <= len(body)


def fault(name, data, response, ended):
    """Returns what is wrong with a response, or None."""
    if ended == "open":
        return f"the connection was not ended within {PATIENCE} s"
    for status, rest in re.findall(rb"(?s)HTTP/1\.[01] (5[0-9][0-9])(.*?)(?=HTTP/1\.[01] |\Z)", response):
        if b'"retcode":' not in rest:
            return f"a {status.decode()} that is not KPay's"
    limit = CONNECT_LIMIT if data.startswith(b"CONNECT") else HEAD_LIMIT
    if not response and whole(data) and len(data) <= limit:
        return f"a whole request got no response (the connection was {ended})"
    return None


def alive(port):
    try:
        response, ended = send(port, b"GET /__sandbox/livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    except OSError:
        return False
    return response.startswith(b"HTTP/1.1 200 ") and ended == "closed"


def run(name, port, count, folder):
    faults, tally, batch = [], {"sent": 0, "responses": 0, "ended without one": 0}, []

    def keep(index, data, why):
        path = os.path.join(folder, f"{name}-{index}.bin")
        with open(path, "wb") as file:
            file.write(data)
        faults.append(f"{name} {index}: {why}: {path}")

    sent = cases(name, count)
    for first in itertools.count(0, BATCH):
        batch = list(itertools.islice(sent, BATCH))
        if not batch:
            break
        for index, data in enumerate(batch, first):
            try:
                response, ended = send(port, data)
            except OSError as error:
                keep(index, data, f"no connection: {error}")
                return tally, faults
            tally["sent"] += 1
            tally["responses" if response else "ended without one"] += 1
            why = fault(name, data, response, ended)
            if index == 0 and b"HTTP/1.1 200 " not in response:
                why = f"the unchanged request was refused: {response[:80]!r}"
            if why:
                keep(index, data, why)
        if not alive(port):
            for index, data in enumerate(batch, first):
                keep(index, data, "one of these stopped the sandbox")
            break
    return tally, faults


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("group", choices=GROUPS, metavar="GROUP", help=", ".join(GROUPS))
    arguments.add_argument("--port", type=int, required=True)
    arguments.add_argument("--cases", type=int, required=True)
    arguments.add_argument("--findings", required=True)
    given = arguments.parse_args()
    os.makedirs(given.findings, exist_ok=True)
    tally, faults = run(given.group, given.port, given.cases, given.findings)
    for line in faults[:FAULTS_SHOWN]:
        print(line, file=sys.stderr)
    if len(faults) > FAULTS_SHOWN:
        print(f"and {len(faults) - FAULTS_SHOWN} more", file=sys.stderr)
    print(f"{tally['responses']} responses, {tally['ended without one']} ended without one, {len(faults)} faults")
    sys.exit(1 if faults else 0)


main()
