"""What a run looked at and what it saw: printed as it happens, as a table, and as JSON."""

import sys
import time

from net import LabError


class Checks:
    def __init__(self):
        self.rows = []

    def check(self, name, ok, saw):
        """One thing looked at. `saw` is what was there, whether it was right or not."""
        row = {"name": name, "ok": bool(ok), "saw": str(saw)}
        self.rows.append(row)
        print(f"{time.strftime('%H:%M:%S')}  {'ok  ' if ok else 'FAIL'}  {name}: {row['saw']}", file=sys.stderr, flush=True)
        return row["ok"]

    def attempt(self, name, look):
        """`look()` gives (ok, saw); an error while looking is a failure that says what happened."""
        try:
            ok, saw = look()
        except (LabError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            ok, saw = False, f"{type(error).__name__}: {error}"
        return self.check(name, ok, saw)

    @property
    def ok(self):
        return bool(self.rows) and all(row["ok"] for row in self.rows)

    def table(self):
        width = max((len(row["name"]) for row in self.rows), default=0)
        return "\n".join(f"{'ok  ' if row['ok'] else 'FAIL'}  {row['name']:<{width}}  {first_line(row['saw'])}" for row in self.rows)

    def finish(self):
        """The closing lines of a test: the counts, and the exit code."""
        failed = sum(not row["ok"] for row in self.rows)
        print(f"checks: {len(self.rows) - failed} passed, {failed} failed", flush=True)
        return 0 if self.ok else 1


def first_line(text):
    line = text.split("\n")[0]
    return line if len(line) <= 200 else line[:197] + "..."


def say(text):
    print(f"{time.strftime('%H:%M:%S')}  {text}", file=sys.stderr, flush=True)
