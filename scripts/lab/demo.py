"""The demonstration: real programs in namespaces, and between them nothing but sluiced.

Started by scripts/demo, which installs and builds first. Each thing shown is a check with what
was seen; the exit code is 0 only if all were as they should be.
"""

import argparse
import json
import os
import signal
import sys
import time
from pathlib import Path

import speed
from checks import Checks, say
from gateway import KINDS, OBJECTS, Gateway, cpus, load, load_in_background, program, serve
from net import FORBIDDEN, OUTSIDE, POD, POD_SHARED, REMOTE, WEB, Lab, LabError, run, wait_until

POOL = {"203.0.113.1", "203.0.113.2"}
VIP = "203.0.113.10"

# UDP as a program speaks it: send, wait for the answer, three tries.
UDP = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(1)
for _ in range(3):
    s.sendto(b"hello", (sys.argv[1], int(sys.argv[2])))
    try: print(s.recv(2000).split(b"\\n")[0].decode()); break
    except OSError as e: error = e
else: sys.exit(f"no answer: {error}")
"""


def http(lab, host, address, port=80, *args):
    """One page fetched by a program on `host`, as the server saw it; LabError when it fails."""
    saw = load(lab, host, address, port, "--requests", 1, "--workers", 1, "--timeout", 5, *args)
    if saw["failed"]:
        raise LabError(", ".join(saw["errors"]))
    return saw


def udp(lab, host, address, port):
    return json.loads(lab.run(host, "python3", "-c", UDP, address, port).stdout)


def ping(lab, host, address):
    done = lab.run(host, "ping", "-c", 3, "-i", "0.2", "-W", 2, address, check=False)
    lines = [line for line in done.stdout.splitlines() if "received" in line]
    return done.returncode == 0, lines[0] if lines else (done.stdout + done.stderr).strip()


def services(lab):
    for name in WEB:
        serve(lab, name, name, 8080)
    serve(lab, "out", "outside", 80)
    for host, port in (*((name, 8080) for name in WEB), ("out", 80)):
        wait_until(f"the web server on {host} listens",
                   lambda h=host, p=port: str(p) in lab.run(h, "ss", "-ltn", f"sport = :{p}").stdout)


# --- what is shown -------------------------------------------------------------------------


def page_outside(lab, gw):
    saw = http(lab, "pod", REMOTE)
    return set(saw["clients"]) <= POOL, f"a page from {REMOTE}, which saw {', '.join(saw['clients'])} and not {POD}"


def forbidden(lab, gw):
    began = time.monotonic()
    saw = load(lab, "pod", FORBIDDEN, 80, "--requests", 1, "--workers", 1, "--timeout", 5)
    seconds = time.monotonic() - began
    count = json.loads(lab.run("out", "curl", "-sS", "-m", 5, f"http://{REMOTE}/count").stdout)
    reached = count.get(FORBIDDEN, 0)
    return (saw["failed"] == 1 and not reached and seconds < 4,
            f"refused ({', '.join(saw['errors']) or 'no error!'}); {reached} connections reached {FORBIDDEN}")


def through_vip(lab, gw):
    saw = load(lab, "out", VIP, 80, "--requests", 200)
    return (not saw["failed"] and set(saw["servers"]) == set(WEB) and set(saw["clients"]) == {REMOTE},
            f"{saw['requests']} requests, {saw['failed']} failed, answered by {saw['servers']}, which saw {', '.join(saw['clients'])}")


def udp_out(lab, gw):
    saw = udp(lab, "pod", REMOTE, 80)
    return saw["client"] in POOL, f"echo from {saw['server']}, which saw {saw['client']}"


def udp_vip(lab, gw):
    saw = udp(lab, "out", VIP, 53)
    return saw["server"] in WEB and saw["client"] == REMOTE, f"echo from {saw['server']}, which saw {saw['client']}"


def shared_address(lab, gw):
    answers, text = ping(lab, "out", OUTSIDE)
    out = http(lab, "pod", REMOTE, 80, "--from", POD_SHARED)
    into = load(lab, "out", OUTSIDE, 80, "--requests", 40)
    return (answers and set(out["clients"]) == {OUTSIDE} and not into["failed"] and set(into["servers"]) == set(WEB),
            f"{OUTSIDE}: own: {text}; pool: {REMOTE} saw {', '.join(out['clients'])}; VIP: {into['servers']}, {into['failed']} failed")


def session_table(lab, gw):
    sessions = gw.json("sessions")
    out = [s for s in sessions if s["inside"].split(":")[0] == POD and s["remote"].split(":")[0] == REMOTE]
    balanced = [s for s in sessions if s["outside"].split(":")[0] == VIP]
    ok = out and balanced and all(s["outside"].split(":")[0] in POOL for s in out) and all(
        s["inside"].split(":")[0] in WEB.values() for s in balanced)
    show = "; ".join(f"{s['protocol']} {s['inside']} as {s['outside']} to {s['remote']} {s['state']} worker {s['worker']}"
                     for s in (*out[:1], *balanced[:1]))
    return ok, f"{len(sessions)} sessions, such as {show}"


def change_backends(lab, gw):
    """Under load web2 drains, leaves and comes back, each by a call of sluicectl; nobody notices but the backends."""
    text = (OBJECTS / "demo.yaml").read_text()
    web = next(part for part in text.split("---") if "name: web}" in part)
    drained = web.replace("{address: 10.0.0.12}", "{address: 10.0.0.12, state: Draining}")
    removed = "\n".join(line for line in web.splitlines() if "10.0.0.12" not in line)
    finish = load_in_background(lab, "out", VIP, 80, "--seconds", 6, "--workers", 8)
    seen = []
    time.sleep(1)
    for step, change in (("both", None), ("web2 draining", drained), ("web2 removed", removed), ("both again", web)):
        if change:
            gw.apply(change)
        saw = load(lab, "out", VIP, 80, "--requests", 60, "--workers", 4)
        seen.append((step, saw))
        time.sleep(0.3)
    whole = finish()
    expected = [set(WEB), {"web1"}, {"web1"}, set(WEB)]
    ok = not whole["failed"] and whole["requests"] > 100 and all(
        not saw["failed"] and set(saw["servers"]) == servers for (_, saw), servers in zip(seen, expected))
    return ok, (f"{whole['requests']} requests meanwhile, {whole['failed']} failed {(whole['errors'], whole['failed_at']) if whole['failed'] else ''}; "
                + "; ".join(f"{step}: {', '.join(sorted(saw['servers']))}" for step, saw in seen))


def explain(lab, gw):
    ask = ("explain", "--from", f"{POD}:4000", "--to")
    print("\n".join(f"          | {line}" for line in gw.ctl(*ask, f"{REMOTE}:80/tcp").stdout.rstrip().splitlines()), file=sys.stderr)
    way, drop = gw.json(*ask, f"{REMOTE}:80/tcp"), gw.json(*ask, f"{FORBIDDEN}:80/tcp")
    ok = (way["verdict"], way["policy"], way["pool"], way["egress_port"]) == ("forward", "default", "internet", "out0") and (
        drop["verdict"], drop["drop_reason"]) == ("drop", "egress_denied")
    return ok, (f"to {REMOTE}: {way['verdict']} by policy {way['policy']}, pool {way['pool']}, port {way['egress_port']}; "
                f"to {FORBIDDEN}: {drop['verdict']} {drop['drop_reason']} by {drop['policy']}")


def conservation(lab, gw):
    error = wait_until("workers are quiet", lambda: (e := gw.conservation_error()) == 0 and "0" or None, 5)
    return True, f"packet_conservation_error {error}"


STEPS = [
    ("a pod fetches a page outside", page_outside),
    ("a forbidden destination is refused", forbidden),
    ("an outside client reaches both backends through the VIP", through_vip),
    ("UDP from the pod", udp_out),
    ("UDP through the VIP", udp_vip),
    ("ping from the pod", lambda lab, gw: ping(lab, "pod", REMOTE)),
    ("ping of the VIP", lambda lab, gw: ping(lab, "out", VIP)),
    ("one address is own, pool and VIP", shared_address),
    ("the session table", session_table),
    ("backends change under load, no request fails", change_backends),
    ("explain", explain),
    ("every packet is accounted for", conservation),
]


def ratio(lab, gw, checks, minimum, seconds):
    """One worker on the core that testpmd forwards on, three rounds each, alternating."""
    code = gw.stop()
    checks.check("SIGTERM ends sluiced clean", code == 0, f"exit {code}")
    gw.workers, gw.idle = gw.workers[-1:], "spin"
    gw.write_node()
    ours, theirs = speed.compare(lab, gw, seconds=seconds, on_round=lambda n, o, t: say(
        f"          round {n}: sluiced {o:.2f} Gbit/s, testpmd io {t:.2f} Gbit/s"))
    share = ours / theirs if theirs else 0
    checks.check(f"iperf3 through SNAT at least {minimum:g} of testpmd io", share >= minimum,
                 f"{ours:.2f} Gbit/s, testpmd {theirs:.2f} Gbit/s, ratio {share:.2f} (one worker, medians of 3 rounds)")
    return ours, theirs


def left_behind(lab):
    """Namespaces, folders and processes of this run that are still there."""
    there = [line.split()[0] for line in run("ip", "netns", "list").stdout.splitlines() if line.startswith(lab.id + "-")]
    there += [str(lab.folder)] if lab.folder.exists() else []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(lab.folder).encode() in entry.read_bytes():
                there.append(f"process {entry.parent.name}")
        except OSError:
            pass
    return there


def keep_note(lab):
    (lab.folder / "lab.json").write_text(json.dumps({"namespaces": lab.namespaces, "pids": [p.pid for p in lab.processes]}))
    enter = f"ip netns exec {lab.id}-"
    print(f"""
The lab stays up.
  a shell on the pod, outside, a backend:   {enter}pod bash    {enter}out bash    {enter}web1 bash
  the gateway:                              {program('sluicectl')} --gateway unix://{lab.folder}/gateway/api.sock sessions
  its log and node file:                    {lab.folder}/gateway.log  {lab.folder}/gateway/sluiced.yaml
  end it:                                   scripts/demo --down {lab.folder}""")


def take_down(folder):
    """Ends a lab that --keep left up."""
    path = Path(folder)
    note = json.loads((path / "lab.json").read_text())
    for pid in reversed(note["pids"]):
        try:
            if str(path).encode() in Path(f"/proc/{pid}/cmdline").read_bytes() or os.getpgid(pid) == pid:
                os.killpg(pid, signal.SIGTERM)
        except (OSError, ProcessLookupError):
            pass
    time.sleep(1)
    for name in note["namespaces"]:
        run("ip", "netns", "del", name, check=False)
    for child in sorted(path.rglob("*"), reverse=True):
        child.rmdir() if child.is_dir() else child.unlink()
    path.rmdir()
    print(f"{path} is down")


def main():
    parser = argparse.ArgumentParser(prog="scripts/demo", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", action="store_true", help="leave the lab up for playing")
    parser.add_argument("--report", metavar="FILE", help="write what was seen as JSON")
    parser.add_argument("--device", choices=sorted(KINDS), help="take this device instead of the best one")
    parser.add_argument("--min-ratio", type=float, default=0.7, help="of testpmd's Gbit/s, below which the demo fails")
    parser.add_argument("--seconds", type=int, default=4, help="of each iperf3 run")
    parser.add_argument("--no-speed", action="store_true", help="leave the comparison with testpmd out")
    parser.add_argument("--down", metavar="FOLDER", help="end a lab that --keep left up")
    args = parser.parse_args()
    if args.down:
        return take_down(args.down)
    checks, device, workers, ours, theirs, gw = Checks(), "none", 0, None, None, None
    lab = Lab(args.keep)
    try:
        with lab:
            say(f"namespaces {lab.id}-* are up: pod, web1, web2, the gateway, the outside host")
            services(lab)
            gw = Gateway(lab, device=args.device)
            seconds = gw.start()
            device = gw.device_seen()
            ports = gw.json("workers")
            workers = len(ports)
            fallback = "" if device == "net_af_xdp" or args.device else " (AF_XDP is not to be had here, so the next best)"
            checks.check("sluiced runs two workers", workers == 2, f"ready after {seconds:.1f} s on {device}{fallback}, {workers} workers")
            gw.apply(OBJECTS / "demo.yaml")
            say("objects applied over gRPC")
            for name, look in STEPS:
                checks.attempt(name, lambda look=look: look(lab, gw))
            whole = speed.iperf3(lab, REMOTE, args.seconds)
            checks.check("iperf3 through two workers", whole > 0, f"{whole:.2f} Gbit/s, one TCP stream, pod to outside through SNAT")
            if not args.no_speed:
                ours, theirs = ratio(lab, gw, checks, args.min_ratio, args.seconds)
            if args.keep:
                if not args.no_speed:
                    gw.workers, gw.idle = cpus(), "adaptive"
                    gw.write_node()
                    gw.start()
            else:
                if args.no_speed:
                    code = gw.stop()
                    checks.check("SIGTERM ends sluiced clean", code == 0, f"exit {code}")
            if not checks.ok:
                say("the end of sluiced's log:\n" + "\n".join(gw.log().splitlines()[-40:]))
    except (LabError, OSError) as error:
        checks.check("the lab", False, error)
    except KeyboardInterrupt:
        checks.check("the lab", False, "interrupted")
    if not args.keep:
        there = left_behind(lab)
        checks.check("nothing is left behind", not there, ", ".join(there) or "no namespace, no process, no file")
    print()
    print(checks.table())
    if ours is not None:
        print(f"\niperf3 {ours:.2f} Gbit/s, testpmd {theirs:.2f} Gbit/s, device {device}, {workers} workers")
    if args.report:
        Path(args.report).write_text(json.dumps({
            "ok": checks.ok, "device": device, "workers": workers, "iperf3_gbits": round(ours, 3) if ours else None,
            "testpmd_gbits": round(theirs, 3) if theirs else None, "checks": checks.rows}, indent=1) + "\n")
    if args.keep and lab.namespaces:
        keep_note(lab)
    return 0 if checks.ok else 1


if __name__ == "__main__":
    sys.exit(main())
