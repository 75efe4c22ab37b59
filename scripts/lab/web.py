#!/usr/bin/env python3
"""A host's services: HTTP over TCP and echo over UDP, which tell the caller what they saw.

    web.py NAME PORT      GET / on PORT answers {"server", "client", "to"}; UDP on PORT answers the same
                          GET /count answers how many connections there were, by address called
                          GET /healthz answers 200, or 503 while FILE given by --sick exists
"""

import asyncio
import collections
import json
import os
import socket
import sys

NAME, PORT = sys.argv[1], int(sys.argv[2])
SICK = sys.argv[sys.argv.index("--sick") + 1] if "--sick" in sys.argv else None
calls = collections.Counter()


def seen(client, to):
    return json.dumps({"server": NAME, "client": client[0], "client_port": client[1], "to": to[0]}).encode()


class Http(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.request = transport, b""
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        calls[transport.get_extra_info("sockname")[0]] += 1

    def data_received(self, data):
        self.request += data
        if len(self.request) > 65536:
            self.transport.abort()
        while b"\r\n\r\n" in self.request:
            head, self.request = self.request.split(b"\r\n\r\n", 1)
            self.answer(head.split(b" ")[1:2], b"connection: keep-alive" in head.lower())

    def answer(self, path, keep):
        status, body = b"200 OK", seen(self.transport.get_extra_info("peername"), self.transport.get_extra_info("sockname"))
        if path == [b"/count"]:
            body = json.dumps(calls).encode()
        elif path == [b"/healthz"] and SICK and os.path.exists(SICK):
            status, body = b"503 Service Unavailable", b"sick"
        self.transport.write(b"HTTP/1.1 %s\r\nContent-Length: %d\r\nConnection: %s\r\n\r\n%s"
                             % (status, len(body), b"keep-alive" if keep else b"close", body))
        if not keep:
            self.transport.close()


class Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, client):
        self.transport.sendto(seen(client, ("", 0)) + b"\n" + data, client)


async def main():
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(Echo, local_addr=("0.0.0.0", PORT))
    server = await loop.create_server(Http, "0.0.0.0", PORT, backlog=4096)
    print("ready", flush=True)
    await server.serve_forever()


asyncio.run(main())
