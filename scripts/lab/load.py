#!/usr/bin/env python3
"""Calls a URL again and again, each request on a new connection, and tells how it went.

    load.py HOST PORT [--requests N | --seconds S] [--workers C] [--from ADDRESS] [--timeout S]

Prints one JSON object: requests, failed, errors (by kind), failed_at (seconds at which those began), servers (by name), clients (addresses
that the servers saw), seconds, per_second, p50_ms, p99_ms, max_ms. Exit 1 when a request failed.
"""

import argparse
import asyncio
import collections
import json
import sys
import time

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("host")
parser.add_argument("port", type=int)
parser.add_argument("--requests", type=int, default=1000)
parser.add_argument("--seconds", type=float, help="until then, however many requests it takes")
parser.add_argument("--workers", type=int, default=16)
parser.add_argument("--from", dest="source")
parser.add_argument("--timeout", type=float, default=10.0)
args = parser.parse_args()

servers, clients, errors, times = collections.Counter(), collections.Counter(), collections.Counter(), []
failed_at, began = [], time.monotonic()
left = args.requests


async def one(stage):
    reader, writer = await asyncio.open_connection(args.host, args.port, local_addr=(args.source, 0) if args.source else None)
    try:
        stage.append("reading")
        writer.write(b"GET / HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n")
        answer = await reader.read(65536)
        while chunk := await reader.read(65536):
            answer += chunk
        head, _, body = answer.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise ValueError("answer " + head[:30].decode(errors="replace"))
        saw = json.loads(body)
        servers[saw["server"]] += 1
        clients[saw["client"]] += 1
    finally:
        writer.close()


async def worker(end):
    global left
    while time.monotonic() < end if end else left > 0:
        left -= 1
        start, stage = time.monotonic(), ["connecting"]
        try:
            await asyncio.wait_for(one(stage), args.timeout)
        except Exception as error:  # every kind of failure counts, whatever its type
            errors[f"{type(error).__name__} {stage[-1]}: {error}"[:120]] += 1
            failed_at.append(round(start - began, 2))
        times.append(time.monotonic() - start)


async def main():
    end = time.monotonic() + args.seconds if args.seconds else None
    start = time.monotonic()
    await asyncio.gather(*(worker(end) for _ in range(args.workers)))
    return time.monotonic() - start


seconds = asyncio.run(main())
times.sort()


def at(share):
    return round(1000 * times[min(len(times) - 1, int(share * len(times)))], 2) if times else None


json.dump({"requests": len(times), "failed": sum(errors.values()), "errors": errors, "failed_at": failed_at, "servers": servers, "clients": clients,
           "seconds": round(seconds, 2), "per_second": round(len(times) / seconds), "p50_ms": at(0.5), "p99_ms": at(0.99),
           "max_ms": at(1)}, sys.stdout)
print()
sys.exit(1 if errors or not times else 0)
