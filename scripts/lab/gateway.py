"""sluiced in the lab's gateway namespace, and sluicectl talking to it as an operator would."""

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

from net import INSIDE, OUTSIDE, LabError, run

ROOT = Path(__file__).resolve().parent.parent.parent
PROGRAMS = Path(os.environ.get("SLUICE_PROGRAMS") or Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release")
OBJECTS = Path(__file__).resolve().parent / "objects"
KINDS = {"af_xdp": "net_af_xdp", "af_packet": "net_af_packet", "tap": "net_tap"}


def program(name):
    path = PROGRAMS / name
    if not path.exists():
        raise LabError(f"{path} is missing: run scripts/build")
    return path


def cpus():
    """Two CPUs that this process may use, or one on a machine with one."""
    return sorted(os.sched_getaffinity(0))[:2]


class Gateway:
    """One sluiced: a node file, a process, an API socket. Restarted on the same state at will."""

    def __init__(self, lab, workers=None, idle="adaptive", device=None, sessions=131072, routes=(), extra="", prefix=(), name="gateway"):
        self.lab, self.name, self.process = lab, name, None
        self.folder = lab.folder / name
        self.folder.mkdir()
        (self.folder / "config.d").mkdir()
        self.socket = self.folder / "api.sock"
        self.node = self.folder / "sluiced.yaml"
        self.workers, self.idle, self.sessions = workers or cpus(), idle, sessions
        self.routes, self.extra, self.device, self.prefix = routes, extra, device, prefix
        self.write_node()

    def port(self, index, name):
        if self.device:
            return f'device: "{KINDS[self.device]}{index},iface={name}"'
        return f"interface: {name}"

    def write_node(self):
        routes = "".join(f"  - {{to: {to}, via: [{via}]}}\n" for to, via in self.routes)
        self.node.write_text(f"""\
node: lab
workers: {list(self.workers)}
idle: {self.idle}
memory: {{hugepages: auto, sessions: {self.sessions}}}
state: {self.folder}/state
ports:
  - {{name: in0, side: inside, {self.port(0, "in0")}, addresses: [{INSIDE}/24]}}
  - {{name: out0, side: outside, {self.port(1, "out0")}, addresses: [{OUTSIDE}/24]}}
{"routes:" if routes else ""}
{routes}api:
  listen: ["unix://{self.socket}"]
metrics: 127.0.0.1:9441
config: {self.folder}/config.d
{self.extra}""")

    def start(self, wait=30.0):
        """Starts it and waits until it serves; the seconds that took."""
        began = time.monotonic()
        self.process = self.lab.start("gw", *self.prefix, program("sluiced"), "--config", self.node, log=self.name)
        if wait:
            self.ready(wait)
        return time.monotonic() - began

    def ready(self, seconds=30.0):
        end, done = time.monotonic() + seconds, None
        while self.process.poll() is None and time.monotonic() < end:
            done = self.ctl("health", "--wait", "2s", check=False)
            if not done.returncode:
                return
        said = f"{done.stdout}{done.stderr}" if done else ""
        state = "it still runs" if self.process.poll() is None else f"it ended with exit code {self.process.poll()}"
        raise LabError(f"sluiced did not get ready within {seconds:g} s ({state}): {said}\n{self.log()[-3000:]}")

    def stop(self, number=signal.SIGTERM):
        code = self.lab.end(self.process, number)
        self.process = None
        return code

    def restart(self, **changes):
        self.stop()
        for key, value in changes.items():
            setattr(self, key, value)
        self.write_node()
        return self.start()

    def log(self):
        path = self.lab.folder / f"{self.name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def device_seen(self):
        """The kind of device that carries the ports, as sluiced's own log names it."""
        found = re.findall(r"net_(?:af_xdp|af_packet|tap|pcap)", self.log())
        return found[-1] if found else "unknown"

    def rss_kb(self):
        status = Path(f"/proc/{self.pid()}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status).group(1))

    def pid(self):
        """`ip netns exec` becomes the program it starts, so the process is sluiced itself."""
        return self.process.pid

    def cpu_seconds(self):
        fields = Path(f"/proc/{self.pid()}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    # --- sluicectl ------------------------------------------------------------------------

    def ctl(self, *args, check=True, timeout=60, **kwargs):
        return run(program("sluicectl"), "--gateway", f"unix://{self.socket}", *args, check=check, timeout=timeout, **kwargs)

    def json(self, *args, **kwargs):
        out = self.ctl("-o", "json", *args, **kwargs).stdout
        try:
            return json.loads(out)
        except json.JSONDecodeError as error:
            raise LabError(f"sluicectl {' '.join(map(str, args))}: not JSON ({error}): {out[:400]}") from None

    def apply(self, text_or_path, wait=True, **kwargs):
        """Applies objects (a path, or YAML text) and, unless told otherwise, returns when every worker runs them."""
        path = text_or_path
        if not isinstance(path, Path):
            path = self.folder / "objects.yaml"
            path.write_text(text_or_path)
        return self.ctl("apply", "-f", path, *(("--wait", "30s") if wait else ()), **kwargs)

    def metrics(self):
        """The gateway's metrics as {name{labels}: value}."""
        text = self.lab.run("gw", "curl", "-sS", "-m", 10, "http://127.0.0.1:9441/metrics").stdout
        pairs = (line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#"))
        return {name: float(value) for name, value in pairs}

    def conservation_error(self):
        found = [v for k, v in self.metrics().items() if k.split("{")[0] == "sluice_packet_conservation_error"]
        return sum(map(abs, found)) if found else None


def load(lab, host, address, port, *args, timeout=120):
    """What load.py saw from `host`; a command to its end."""
    done = lab.run(host, "python3", ROOT / "scripts/lab/load.py", address, port, *args, check=False, timeout=timeout)
    if not done.stdout:
        raise LabError(f"load.py from {host}: {done.stderr}")
    return json.loads(done.stdout)


def load_in_background(lab, host, address, port, *args):
    """The same as a process; `finish` gives what it saw."""
    process = subprocess.Popen(lab.command(host, "python3", ROOT / "scripts/lab/load.py", address, port, *args),
                               stdout=subprocess.PIPE, text=True, start_new_session=True)
    lab.processes.append(process)

    def finish(timeout=120):
        out, _ = process.communicate(timeout=timeout)
        lab.processes.remove(process)
        return json.loads(out)

    return finish


def serve(lab, host, name, port, *args):
    return lab.start(host, "python3", ROOT / "scripts/lab/web.py", name, port, *args, log=f"web-{name}-{port}")
