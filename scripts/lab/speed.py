"""TCP through the gateway beside TCP through DPDK's own `testpmd io`, on the same two interfaces.

testpmd copies frames from one port to the other and does nothing else, so that it shows what
the interfaces and the machine give. Both forward on the same core; rounds alternate, since a
shared machine drifts by more than either differs; medians are compared.
"""

import json
import statistics
import subprocess
from contextlib import contextmanager

from gateway import KINDS, cpus
from net import REMOTE, wait_until

# The outside host's address on the pods' own wire, used while testpmd joins the two wires.
BRIDGED = "10.0.0.200"


def iperf3(lab, address, seconds):
    """Gbit/s that the receiver saw, pod to outside, one TCP stream."""
    server = lab.start("out", "iperf3", "-s", "-1", "-B", address, log="iperf3")
    try:
        wait_until("iperf3 listens", lambda: address in lab.run("out", "ss", "-ltn", "sport = :5201").stdout, 5)
        done = lab.run("pod", "iperf3", "-c", address, "-t", seconds, "-O", 1, "-J", timeout=seconds + 30)
        return json.loads(done.stdout)["end"]["sum_received"]["bits_per_second"] / 1e9
    finally:
        lab.end(server)


@contextmanager
def testpmd(lab, device):
    """testpmd joins the two wires. Never without --no-pci: it would take hold of the machine's own NICs."""
    main, worker = cpus()[0], cpus()[-1]
    lab.ip("out", "addr", "add", f"{BRIDGED}/24", "dev", "eth0")
    devices = [x for i, name in enumerate(("in0", "out0")) for x in ("--vdev", f"{device}{i},iface={name}")]
    process = lab.start(
        "gw", "dpdk-testpmd", "--no-huge", "--no-shconf", f"--file-prefix={lab.id}", "--no-pci", "--no-telemetry", "-m", 512,
        "--lcores", f"0@{main},1@{worker}", "--main-lcore", 0, *devices, "--", "--forward-mode=io", "--nb-cores=1", "--rxd=2048",
        "--txd=2048", "--total-num-mbufs=16384", "--stats-period=3600", log="testpmd", stdin=subprocess.DEVNULL)
    try:
        wait_until("testpmd forwards", lambda: process.poll() is not None or not lab.run(
            "pod", "ping", "-c1", "-W1", BRIDGED, check=False).returncode, 20)
        yield
    finally:
        lab.end(process)
        lab.ip("out", "addr", "del", f"{BRIDGED}/24", "dev", "eth0")
        lab.ip("pod", "neigh", "flush", "dev", "eth0")


def testpmd_round(lab, device, seconds):
    with testpmd(lab, device):
        return iperf3(lab, BRIDGED, seconds)


def gateway_round(lab, gateway, seconds):
    gateway.start()
    try:
        wait_until("the gateway forwards", lambda: not lab.run("pod", "ping", "-c1", "-W1", REMOTE, check=False).returncode, 10)
        return iperf3(lab, REMOTE, seconds)
    finally:
        gateway.stop()


def compare(lab, gateway, rounds=3, seconds=4, on_round=lambda *_: None):
    """Medians (gateway, testpmd) in Gbit/s of alternating rounds; `gateway` is set up with one worker and not running."""
    device = gateway.device_seen()
    device = device if device in KINDS.values() else "net_af_xdp"
    ours, theirs = [], []
    for number in range(1, rounds + 1):
        theirs.append(testpmd_round(lab, device, seconds))
        ours.append(gateway_round(lab, gateway, seconds))
        on_round(number, ours[-1], theirs[-1])
    return statistics.median(ours), statistics.median(theirs)
