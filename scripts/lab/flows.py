#!/usr/bin/env python3
"""Opens UDP flows by the hundred thousand: one small packet each, written to the wire as frames.

    flows.py INTERFACE NEXT_HOP_MAC FIRST_ADDRESS SUBSCRIBERS PORTS REMOTE REMOTE_PORT [PER_SECOND]

Each of SUBSCRIBERS addresses from FIRST_ADDRESS sends from each of PORTS ports, in rounds over the
addresses so that no subscriber comes in a burst. Checksums are those of IP; UDP's is 0 (none).
"""

import ipaddress
import socket
import struct
import sys
import time

interface, mac, first, subscribers, ports, remote, remote_port = sys.argv[1:8]
rate = float(sys.argv[8]) if len(sys.argv) > 8 else 250_000
FIRST_PORT, BURST = 1024, 64

wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
wire.bind((interface, 0))
wire.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
own = open(f"/sys/class/net/{interface}/address").read().strip()
ethernet = bytes.fromhex(mac.replace(":", "")) + bytes.fromhex(own.replace(":", "")) + b"\x08\x00"
payload = b"sluice"


def frame(source):
    """A frame from `source`, its source port still 0."""
    total = 20 + 8 + len(payload)
    words = struct.pack("!BBHHHBBH4s4s", 0x45, 0, total, 0, 0x4000, 64, 17, 0, source.packed, ipaddress.ip_address(remote).packed)
    sum_ = sum(struct.unpack("!10H", words))
    sum_ = (sum_ & 0xFFFF) + (sum_ >> 16)
    sum_ = ~((sum_ & 0xFFFF) + (sum_ >> 16)) & 0xFFFF
    return bytearray(ethernet + words[:10] + struct.pack("!H", sum_) + words[12:] + struct.pack("!HHHH", 0, int(remote_port), 8 + len(payload), 0)
                     + payload)


frames = [frame(ipaddress.ip_address(first) + i) for i in range(int(subscribers))]
sent, refused, began = 0, 0, time.monotonic()
for port in range(FIRST_PORT, FIRST_PORT + int(ports)):
    high, low = port >> 8, port & 255
    for buffer in frames:
        buffer[34], buffer[35] = high, low
        while True:
            try:
                wire.send(buffer)
                break
            except OSError:  # ENOBUFS: the wire's queue is full
                refused += 1
                time.sleep(0.001)
        sent += 1
        if sent % BURST == 0 and (ahead := sent / rate - (time.monotonic() - began)) > 0.0005:
            time.sleep(ahead)
seconds = time.monotonic() - began
print(f'{{"sent": {sent}, "seconds": {seconds:.2f}, "per_second": {sent / seconds:.0f}, "queue_full": {refused}}}')
