"""The lab's network: one gateway, an inside wire, an outside host, all in namespaces of their own.

                        bridge "wire"
    pod   10.0.0.5  ----+
    web1  10.0.0.11 ----+---- in0 [gateway] out0 ---- 198.51.100.100  outside
    web2  10.0.0.12 ----+     10.0.0.1      198.51.100.1

Every namespace and host-side name carries this run's id, so that runs stand side by side.
Whatever was made is unmade by `down`, also after a failure; only processes started here are
ended, by their process ids.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

INSIDE, OUTSIDE = "10.0.0.1", "198.51.100.1"
POD, POD_SHARED, POD_DENIED = "10.0.0.5", "10.0.0.6", "10.0.0.7"
WEB = {"web1": "10.0.0.11", "web2": "10.0.0.12"}
REMOTE, FORBIDDEN = "198.51.100.100", "198.51.100.99"
# Addresses for which the outside host has a route through the gateway.
ROUTED = "203.0.113.0/24"


class LabError(Exception):
    """Something that stops a run; its text says what and, where known, what to do."""


def run(*command, check=True, timeout=60, **kwargs):
    """One command to its end; its output is in the error when it fails."""
    try:
        done = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=timeout, **kwargs)
    except subprocess.TimeoutExpired:
        raise LabError(f"{' '.join(map(str, command))}: still running after {timeout:g} s") from None
    if check and done.returncode:
        raise LabError(f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stdout}{done.stderr}".rstrip())
    return done


class Lab:
    """Namespaces and the processes in them. `with Lab() as lab:` leaves nothing behind."""

    def __init__(self, keep=False):
        self.keep = keep
        self.id = f"sl{os.getpid()}"
        self.folder = Path(tempfile.mkdtemp(prefix=f"sluice-lab-{os.getpid()}-"))
        self.namespaces = []
        self.processes = []

    def __enter__(self):
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
        try:
            self.up()
        except BaseException:
            self.keep = False
            self.down()
            raise
        return self

    def __exit__(self, *_):
        if not self.keep:
            self.down()

    # --- namespaces -----------------------------------------------------------------------

    def namespace(self, host):
        return f"{self.id}-{host}"

    def add_host(self, host):
        name = self.namespace(host)
        run("ip", "netns", "add", name)
        self.namespaces.append(name)
        self.ip(host, "link", "set", "lo", "up")
        # Addresses and routes are the lab's own; nothing else may appear on its wires.
        self.run(host, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1",
                 check=False)

    def ip(self, host, *args):
        return run("ip", "-n", self.namespace(host), *args)

    def join(self, host, interface, other, other_interface):
        """A veth pair between two hosts. Checksums are finished by the senders: a packet that
        leaves a veth with tx offload has none yet, and AF_XDP and AF_PACKET would see it so."""
        self.ip(host, "link", "add", interface, "type", "veth", "peer", "name", other_interface,
                "netns", self.namespace(other))
        for h, i in ((host, interface), (other, other_interface)):
            self.run(h, "ethtool", "-K", i, "tx", "off")
            self.ip(h, "link", "set", i, "up")

    def up(self):
        for host in ("gw", "wire", "pod", *WEB, "out"):
            self.add_host(host)
        self.ip("wire", "link", "add", "br0", "type", "bridge", "forward_delay", "0")
        self.ip("wire", "link", "set", "br0", "up")
        self.join("gw", "in0", "wire", "gw")
        self.join("gw", "out0", "out", "eth0")
        for host in ("pod", *WEB):
            self.join(host, "eth0", "wire", host)
        for port in ("gw", "pod", *WEB):
            self.ip("wire", "link", "set", port, "master", "br0")
        for host, addresses in {"pod": (POD, POD_SHARED, POD_DENIED), **{h: (a,) for h, a in WEB.items()}}.items():
            for address in addresses:
                self.ip(host, "addr", "add", f"{address}/24", "dev", "eth0")
            self.ip(host, "route", "add", "default", "via", INSIDE)
        for address in (REMOTE, FORBIDDEN):
            self.ip("out", "addr", "add", f"{address}/24", "dev", "eth0")
        self.ip("out", "route", "add", ROUTED, "via", OUTSIDE)
        # Ten thousand short connections: a closed one must not keep its port for a minute.
        for host in ("pod", *WEB, "out"):
            self.run(host, "sysctl", "-qw", "net.ipv4.ip_local_port_range=10000 65000", "net.ipv4.tcp_tw_reuse=1",
                     "net.core.somaxconn=65535", "net.ipv4.tcp_max_syn_backlog=65535", check=False)

    def down(self):
        # Whoever ends us may say so twice; taking down goes on to its end.
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        for process in reversed(self.processes):
            self.end(process, patience=5)
        self.processes.clear()
        # A wire's ends vanish with the last namespace; processes in it that the lab did not start are not its own.
        for name in reversed(self.namespaces):
            run("ip", "netns", "del", name, check=False)
        self.namespaces.clear()
        shutil.rmtree(self.folder, ignore_errors=True)

    # --- processes ------------------------------------------------------------------------

    def command(self, host, *command):
        return ["ip", "netns", "exec", self.namespace(host), *map(str, command)]

    def run(self, host, *command, **kwargs):
        return run(*self.command(host, *command), **kwargs)

    def start(self, host, *command, log, stdin=subprocess.DEVNULL, env=None):
        """A process that stays; its output goes to the lab's folder as LOG.log."""
        path = self.folder / f"{log}.log"
        with open(path, "ab") as out:
            process = subprocess.Popen(self.command(host, *command), stdin=stdin, stdout=out, stderr=subprocess.STDOUT,
                                       start_new_session=True, env={**os.environ, **(env or {})})
        process.log = path
        self.processes.append(process)
        return process

    def end(self, process, number=signal.SIGTERM, patience=15):
        """Ends one process started here and what it started; its exit code, None if it had to be killed."""
        code = process.poll()
        if code is None:
            os.killpg(process.pid, number)
            try:
                code = process.wait(patience)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if process in self.processes:
            self.processes.remove(process)
        return code


def wait_until(what, condition, seconds=10.0, every=0.05):
    """The first true value of `condition`; LabError naming `what` when it never comes."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise LabError(f"{what}: not within {seconds:g} s")
        time.sleep(every)
