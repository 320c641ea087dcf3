#!/usr/bin/env python3
"""An HTTP proxy that injects faults in front of a ClickHouse server.

    faults.py --port 8124 --upstream-port 8123

Without a fault it relays requests and responses byte for byte, streaming. Faults are set
and seen on the same port (or on --admin-port, which stays reachable during `refuse`):

    POST   /_fault   a fault, or a list of faults, as JSON; each answer names its id
    GET    /_fault   the faults still armed
    DELETE /_fault   disarm all
    GET    /_stats   counters and the latest requests

The kinds of fault are told in ../README.md. Needs only the standard library.
"""
import argparse
import asyncio
import collections
import itertools
import json
import random
import re
import signal
import socket
import struct
import tempfile
import time
from urllib.parse import parse_qs, urlsplit

CHUNK = 256 * 1024
MAX_HEAD = 4 * 1024 * 1024
PEEK = 4096
TAG = "faultinjectedtag"
VERSION = "26.7.2.1 (official build)"  # clients know old exceptions by the closing `))\n`

# code: (HTTP status, name, message), as the server itself answers
EXCEPTIONS = {
    159: (408, "TIMEOUT_EXCEEDED", "Timeout exceeded: elapsed 30000.1 ms, maximum: 30000 ms"),
    202: (500, "TOO_MANY_SIMULTANEOUS_QUERIES", "Too many simultaneous queries. Maximum: 100"),
    210: (500, "NETWORK_ERROR", "I/O error: Broken pipe, while writing to socket"),
    241: (500, "MEMORY_LIMIT_EXCEEDED", "(total) memory limit exceeded: would use 21.60 GiB, maximum: 21.60 GiB"),
    242: (500, "TABLE_IS_READ_ONLY", "Table is in readonly mode"),
    252: (500, "TOO_MANY_PARTS", "Too many parts (3000 with average size of 1.00 KiB) in table. "
                                 "Merges are processing significantly slower than inserts"),
    319: (500, "UNKNOWN_STATUS_OF_INSERT", "Unknown status of INSERT, client must retry"),
    394: (500, "QUERY_WAS_CANCELLED", "Query was cancelled"),
    516: (403, "AUTHENTICATION_FAILED", "default: Authentication failed: password is incorrect, "
                                        "or there is no user with such name"),
    999: (500, "KEEPER_EXCEPTION", "Coordination error: Session expired"),
}

KINDS = {
    "status", "exception", "reset_request", "hang",                       # not applied
    "drop_response", "half_response", "slow_response", "delay_response",  # applied
    "late", "exception_in_200", "refuse",
}


class Fault:
    ids = itertools.count(1)

    def __init__(self, spec):
        self.spec = dict(spec)
        self.kind = spec["kind"]
        if self.kind not in KINDS:
            raise ValueError(f"unknown kind {self.kind!r}; known: {', '.join(sorted(KINDS))}")
        self.id = next(self.ids)
        self.left = int(spec.get("count", 1))
        self.skip = int(spec.get("skip", 0))
        self.chance = float(spec.get("probability", 1))
        self.match = re.compile(spec.get("match", ""), re.I | re.S)

    def get(self, name, default):
        return self.spec.get(name, default)

    def takes(self, query):
        if self.left <= 0 or not self.match.search(query):
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        if random.random() >= self.chance:
            return False
        self.left -= 1
        return True

    def describe(self):
        return {**self.spec, "id": self.id, "left": self.left}


class Head:
    """The first line and the headers of a request or a response."""

    def __init__(self, raw):
        self.raw = raw
        lines = raw.decode("latin-1").split("\r\n")
        self.first = lines[0].split(" ", 2)
        self.headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            if name:
                self.headers[name.strip().lower()] = value.strip()

    def without(self, name):
        """The raw head less one header."""
        lines = self.raw.split(b"\r\n")
        return b"\r\n".join(x for x in lines if not x.lower().startswith(name.encode() + b":"))

    @property
    def status(self):
        return int(self.first[1])

    @property
    def closes(self):
        connection = self.headers.get("connection", "").lower()
        return connection == "close" or ("HTTP/1.0" in self.first and connection != "keep-alive")


async def read_head(reader):
    """The next head, or None where the peer closed before one began."""
    try:
        return Head(await reader.readuntil(b"\r\n\r\n"))
    except asyncio.IncompleteReadError as e:
        if e.partial:
            raise ConnectionResetError from e
        return None


async def read_body(reader, head, response_to=None):
    """The body's bytes as they are on the wire, framing included."""
    if response_to == "HEAD" or (response_to and head.status in (204, 304)):
        return
    if "chunked" in head.headers.get("transfer-encoding", "").lower():
        while True:
            line = await reader.readuntil(b"\r\n")
            yield line
            size = int(line.split(b";")[0], 16)
            left = size + 2 if size else 0
            while left:
                piece = await reader.read(min(left, CHUNK))
                if not piece:
                    raise ConnectionResetError
                left -= len(piece)
                yield piece
            if not size:
                while (line := await reader.readuntil(b"\r\n")) != b"\r\n":
                    yield line
                yield line
                return
    elif "content-length" in head.headers:
        left = int(head.headers["content-length"])
        while left:
            piece = await reader.read(min(left, CHUNK))
            if not piece:
                raise ConnectionResetError
            left -= len(piece)
            yield piece
    elif response_to:
        while piece := await reader.read(CHUNK):
            yield piece


def reset(writer):
    """Close with a TCP RST."""
    sock = writer.get_extra_info("socket")
    if sock is not None:
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except OSError:
            pass
    writer.transport.abort()


def exception_text(code, message=None):
    status, name, default = EXCEPTIONS.get(code, (500, "UNKNOWN_EXCEPTION", "Injected"))
    return status, f"Code: {code}. DB::Exception: {message or default}. ({name}) (version {VERSION})\n"


def response(status, body, headers=()):
    body = body.encode() if isinstance(body, str) else body
    reasons = {200: "OK", 400: "Bad Request", 403: "Forbidden", 404: "Not Found", 408: "Request Time-out",
               429: "Too Many Requests", 500: "Internal Server Error", 502: "Bad Gateway",
               503: "Service Unavailable", 504: "Gateway Time-out"}
    lines = [f"HTTP/1.1 {status} {reasons.get(status, 'Status')}", "Content-Type: text/plain; charset=UTF-8",
             f"Content-Length: {len(body)}", *(f"{k}: {v}" for k, v in dict(headers).items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Dropped(Exception):
    """The fault has ended the client's connection."""


class Front:
    def __init__(self, opt):
        self.opt = opt
        self.faults = []
        self.clients = set()
        self.background = set()
        self.listener = None
        self.started = time.time()
        self.count = collections.Counter()
        self.recent = collections.deque(maxlen=opt.keep)

    # -- life cycle

    async def listen(self):
        self.listener = await asyncio.start_server(
            self.client, self.opt.host, self.opt.port, limit=MAX_HEAD, reuse_address=True)

    async def run(self):
        await self.listen()
        if self.opt.admin_port:
            await asyncio.start_server(self.admin_client, self.opt.host, self.opt.admin_port)
        print(f"ready http://{self.opt.host}:{self.opt.port}", flush=True)
        stop = asyncio.Event()
        for signum in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(signum, stop.set)
        await stop.wait()

    def spawn(self, coroutine):
        task = asyncio.ensure_future(coroutine)
        self.background.add(task)
        task.add_done_callback(self.background.discard)

    async def refuse(self, seconds):
        self.listener.close()
        for writer in list(self.clients):
            reset(writer)
        await asyncio.sleep(seconds)
        await self.listen()

    # -- administration

    async def administer(self, head, body):
        method, path = head.first[0], urlsplit(head.first[1]).path
        if path == "/_stats" and method == "GET":
            answer = {"uptime_s": round(time.time() - self.started, 3), "connections": len(self.clients),
                      "armed": len(self.live()), "count": self.count, "recent": list(self.recent)}
        elif path == "/_fault" and method == "GET":
            answer = [f.describe() for f in self.live()]
        elif path == "/_fault" and method == "DELETE":
            self.faults.clear()
            answer = []
        elif path == "/_fault" and method == "POST":
            try:
                specs = json.loads(body)
                faults = [Fault(s) for s in (specs if isinstance(specs, list) else [specs])]
            except (ValueError, KeyError, TypeError, AttributeError) as e:
                return response(400, f"bad fault: {e!r}\n")
            for fault in faults:
                if fault.kind == "refuse":
                    self.count["fault:refuse"] += 1
                    asyncio.get_running_loop().call_later(
                        0.05, lambda f=fault: self.spawn(self.refuse(float(f.get("seconds", 1)))))
                else:
                    self.faults.append(fault)
            answer = [f.describe() for f in faults]
        else:
            return response(404, "no such administrative request\n")
        return response(200, json.dumps(answer, indent=1) + "\n", {"Content-Type": "application/json"})

    def live(self):
        self.faults = [f for f in self.faults if f.left > 0]
        return self.faults

    async def admin_client(self, reader, writer):
        await self.client(reader, writer, admin_only=True)

    # -- proxying

    async def client(self, reader, writer, admin_only=False):
        if not admin_only:
            self.clients.add(writer)
            self.count["connections"] += 1
        try:
            while head := await read_head(reader):
                if admin_only or head.first[1].startswith("/_"):
                    body = b"".join([p async for p in read_body(reader, head)])
                    writer.write(await self.administer(head, body))
                    await writer.drain()
                elif not await self.exchange(reader, writer, head):
                    break
                if head.closes:
                    break
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            self.count["broken_connections"] += 1
            reset(writer)
        except Dropped:
            pass
        finally:
            self.clients.discard(writer)
            writer.close()

    async def exchange(self, reader, writer, head):
        """One request and its response; false where the connection must not be used again."""
        if "100-continue" in head.headers.get("expect", "").lower():
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            head = Head(head.without("expect"))
        body = read_body(reader, head)
        peeked = b""  # enough to know the query: one piece of data, after a chunk's size line if any
        async for piece in body:
            peeked += piece
            if len(peeked) >= PEEK or not piece.endswith(b"\r\n"):
                break
        url = parse_qs(urlsplit(head.first[1]).query, encoding="latin-1")
        query = "".join(url.get("query", [])) + "\n" + peeked[:PEEK].decode("latin-1")
        fault = next((f for f in self.faults if f.takes(query)), None)

        record = {"at": round(time.time(), 3), "method": head.first[0], "query": query.strip()[:160],
                  "token": url.get("insert_deduplication_token", [None])[0],
                  "fault": fault and fault.kind, "request_bytes": 0, "status": None}
        self.recent.append(record)
        self.count["requests"] += 1
        if fault:
            self.count["fault:" + fault.kind] += 1
        began = time.monotonic()

        async def whole_body():
            if peeked:
                yield peeked
            async for more in body:
                yield more

        request = Request(head, whole_body(), record)
        try:
            if fault:
                return await getattr(self, "do_" + fault.kind)(fault, request, writer)
            return await self.relay(request, writer)
        finally:
            record["ms"] = round((time.monotonic() - began) * 1000, 1)
            self.count["request_bytes"] += record["request_bytes"]

    async def upstream(self):
        return await asyncio.open_connection(
            self.opt.upstream_host, self.opt.upstream_port, limit=MAX_HEAD)

    async def forward(self, request):
        """Send the request upstream; yield the response's head, then the pieces of its body."""
        reader, writer = await self.upstream()
        sending = asyncio.ensure_future(request.send(writer))
        try:
            head = await read_head(reader)
            while head and head.status == 100:
                head = await read_head(reader)
            if head is None:
                raise ConnectionResetError
            request.record["status"] = head.status
            yield head
            async for piece in read_body(reader, head, response_to=request.head.first[0]):
                yield piece
        finally:
            request.sent = sending.done() and not sending.cancelled() and sending.exception() is None
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            writer.close()

    async def relay(self, request, writer):
        closes = False
        async for part in self.forward(request):
            if isinstance(part, Head):
                closes = part.closes
                part = part.raw
            writer.write(part)
            await writer.drain()
        return request.sent and not closes

    async def collect(self, request):
        """The whole response as bytes."""
        parts = [p.raw if isinstance(p, Head) else p async for p in self.forward(request)]
        return b"".join(parts)

    def drop(self, writer, fault, default="reset"):
        if fault.get("how", default) == "reset":
            reset(writer)
        else:
            writer.close()
        raise Dropped

    # -- faults whose request the server never sees

    async def answer(self, request, writer, status, raw):
        await request.discard()
        request.record["status"] = status
        writer.write(raw)
        await writer.drain()
        return True

    async def do_status(self, fault, request, writer):
        status = int(fault.get("status", 503))
        raw = response(status, fault.get("body", "injected\n"), fault.get("headers", {}))
        return await self.answer(request, writer, status, raw)

    async def do_exception(self, fault, request, writer):
        code = int(fault.get("code", 252))
        status, text = exception_text(code, fault.get("message", None))
        status = int(fault.get("status", status))
        raw = response(status, text, {"X-ClickHouse-Exception-Code": code, "X-ClickHouse-Exception-Tag": TAG})
        return await self.answer(request, writer, status, raw)

    async def do_reset_request(self, fault, request, writer):
        await request.discard(limit=int(fault.get("after_bytes", 0)))
        self.drop(writer, fault)

    async def do_hang(self, fault, request, writer):
        await request.discard()
        await asyncio.sleep(float(fault.get("seconds", 60)))
        self.drop(writer, fault)

    # -- faults after the server has applied the request

    async def do_drop_response(self, fault, request, writer):
        await self.collect(request)
        self.drop(writer, fault)

    async def do_half_response(self, fault, request, writer):
        raw = await self.collect(request)
        writer.write(raw[:int(len(raw) * float(fault.get("fraction", 0.5)))])
        await writer.drain()
        self.drop(writer, fault, default="close")

    async def do_slow_response(self, fault, request, writer):
        raw = await self.collect(request)
        pieces = int(fault.get("pieces", 10))
        step = max(1, -(-len(raw) // pieces))
        for at in range(0, len(raw), step):
            await asyncio.sleep(float(fault.get("seconds", 5)) / pieces)
            writer.write(raw[at:at + step])
            await writer.drain()
        return True

    async def do_delay_response(self, fault, request, writer):
        raw = await self.collect(request)
        await asyncio.sleep(float(fault.get("seconds", 5)))
        writer.write(raw)
        await writer.drain()
        return True

    # -- others

    async def do_late(self, fault, request, writer):
        """Apply `seconds` later; meanwhile the client's connection is dropped, unless `wait` is true."""
        stored = await request.store()

        async def apply():
            await asyncio.sleep(float(fault.get("seconds", 5)))
            raw = await self.collect(stored)
            self.count["applied_late"] += 1
            return raw

        async def apply_unattended():
            try:
                await apply()
            except (OSError, EOFError):  # the server is down
                self.count["late_lost"] += 1

        if fault.get("wait", False):
            writer.write(await apply())
            await writer.drain()
            return True
        self.spawn(apply_unattended())
        self.drop(writer, fault)

    async def do_exception_in_200(self, fault, request, writer):
        """Status 200, then an exception in the body.

        style "tagged": the frame that servers since 25.11 end a broken stream with, then a cut
        connection; "plain": the bare text of older servers, in a complete response; "header": a
        complete response with X-ClickHouse-Exception-Code, as with send_progress_in_http_headers=1.
        """
        code, style = int(fault.get("code", 241)), fault.get("style", "tagged")
        _, text = exception_text(code, fault.get("message", None))
        if fault.get("apply", False):
            await self.collect(request)
        else:
            await request.discard()
        request.record["status"] = 200
        if style != "tagged":
            headers = {"X-ClickHouse-Exception-Tag": TAG, "X-ClickHouse-Exception-Code": code}
            headers = headers if style == "header" else {}
            writer.write(response(200, fault.get("before", "") + text, headers))
            await writer.drain()
            return True
        frame = f"\r\n__exception__\r\n{TAG}\r\n{text}{len(text)} {TAG}\r\n__exception__\r\n".encode()
        pieces = [p for p in (fault.get("before", "").encode(), frame) if p]
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-ClickHouse-Exception-Tag: "
                     + TAG.encode() + b"\r\n\r\n" + b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in pieces))
        await writer.drain()
        self.drop(writer, fault, default="close")


class Request:
    def __init__(self, head, body, record):
        self.head, self.body, self.record = head, body, record
        self.sent = False

    async def pieces(self):
        async for piece in self.body:
            self.record["request_bytes"] += len(piece)
            yield piece

    async def send(self, writer):
        writer.write(self.head.raw)
        async for piece in self.pieces():
            writer.write(piece)
            await writer.drain()
        await writer.drain()

    async def discard(self, limit=None):
        async for _ in self.pieces():
            if limit is not None and self.record["request_bytes"] >= limit:
                return

    async def store(self):
        """Take the body in (to disk where it is large), so that it can be sent later."""
        spool = tempfile.SpooledTemporaryFile(max_size=8 * 1024 * 1024)
        async for piece in self.pieces():
            spool.write(piece)
        spool.seek(0)

        async def replay():
            with spool:
                while piece := spool.read(CHUNK):
                    yield piece

        return Request(self.head, replay(), {"request_bytes": 0, "status": None})


def main():
    cli = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    cli.add_argument("--host", default="127.0.0.1")
    cli.add_argument("--port", type=int, default=8124)
    cli.add_argument("--admin-port", type=int, help="a second port, for /_fault and /_stats only")
    cli.add_argument("--upstream-host", default="127.0.0.1")
    cli.add_argument("--upstream-port", type=int, default=8123)
    cli.add_argument("--keep", type=int, default=200, help="how many requests /_stats remembers")
    asyncio.run(Front(cli.parse_args()).run())


if __name__ == "__main__":
    main()
