"""Print the rows of docs/requirements-status.md that have neither a test nor a reason.

A row is `| A003 | shown | tests/store/test_migrations.py |`, `| C001 | open | issue 3 |` or `| K012 | no | why not |`.
Exit 1 when a row names a file that is not there.
"""

import re
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ROW = re.compile(r"^\| ([A-MX]\d+) \| (shown|part|open|no) \| (.*?) \|$", re.MULTILINE)
STATES = ("shown", "part", "open", "no")


def main() -> int:
    rows = ROW.findall((ROOT / "docs/requirements-status.md").read_text())
    counts = Counter(state for _, state, _ in rows)
    print(", ".join(f"{counts[state]} {state}" for state in STATES))
    for number, state, where in rows:
        if state in ("open", "part"):
            print(f"{number} {state}: {where}")
    lost = [(number, path) for number, _, where in rows for path in _paths(where) if not (ROOT / path).exists()]
    for number, path in lost:
        print(f"{number}: {path} is not there", file=sys.stderr)
    return 1 if lost else 0


def _paths(where: str) -> list[str]:
    return re.findall(r"`((?:tests|docs)/[\w./-]+)`", where)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BrokenPipeError:  # somebody has seen enough of it
        sys.exit(141)
