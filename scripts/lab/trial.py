"""The frame of an end-to-end test: a lab, services, a gateway with the demo's objects, checks.

A test is a script that reads from top to bottom as a manual would; it ends with how many of its
checks passed, and exits 1 when one did not.
"""

import sys
import traceback
from contextlib import contextmanager

import net
from checks import Checks, say
from demo import services
from gateway import OBJECTS, Gateway


@contextmanager
def lab_with_gateway(objects=True, start=True, with_services=True, wires=net.Lab, **options):
    """(lab, gateway, checks) of a running lab; ends the script with its exit code."""
    checks, gw = Checks(), None
    try:
        with wires() as lab:
            if with_services:
                services(lab)
            gw = Gateway(lab, **options)
            if start:
                seconds = gw.start()
                say(f"sluiced is ready after {seconds:.1f} s on {gw.device_seen()}, workers {list(gw.workers)}, idle {gw.idle}")
                if objects:
                    gw.apply(OBJECTS / "demo.yaml")
            yield lab, gw, checks
            if gw.process:
                code = gw.stop()
                checks.check("SIGTERM ends sluiced clean", code == 0, f"exit {code}")
            log = gw.log()
            if start:
                checks.check("nothing panicked", "panicked" not in log, "no panic in the log" if "panicked" not in log else log[-2000:])
            if not checks.ok:
                say("the end of sluiced's log:\n" + "\n".join(log.splitlines()[-40:]))
    except (Exception, KeyboardInterrupt) as error:
        if not isinstance(error, net.LabError):
            traceback.print_exc()
        checks.check("the test", False, f"{type(error).__name__}: {error}")
    sys.exit(checks.finish())
