"""`python -m sandbox`: the stand-in as a process of its own. Settings come from the environment:

SANDBOX_PORT (8081), SANDBOX_KEY (generated and kept), SANDBOX_DATA_DIR (none: memory only),
SANDBOX_TIME_SCALE (1.0), SANDBOX_METRICS (on), SANDBOX_PARENT_FD (none: a pipe's read end; its EOF ends the
process).
"""

import os
import select
import signal
import sys
from collections.abc import Mapping

from sandbox.server import Sandbox

OFF = frozenset({"0", "false", "no", "off"})
WRONG_SETTING = 78  # EX_CONFIG


def main(environ: Mapping[str, str]) -> int:
    """Run until a signal comes or the parent is gone. Prints one line, once requests are answered."""
    waited_for = [_signals()]
    try:
        port, scale = int(environ.get("SANDBOX_PORT") or 8081), float(environ.get("SANDBOX_TIME_SCALE") or 1.0)
    except ValueError:
        sys.stderr.write("sandbox: SANDBOX_PORT and SANDBOX_TIME_SCALE must be numbers\n")
        return WRONG_SETTING
    try:
        box = _sandbox(environ, port, scale).start()
    except OSError as error:
        sys.stderr.write(f"sandbox: cannot start: {error.strerror}\n")
        return 1
    if environ.get("SANDBOX_PARENT_FD"):
        waited_for.append(int(environ["SANDBOX_PARENT_FD"]))
    sys.stdout.write(f"sandbox {box.url}\n")
    sys.stdout.flush()
    select.select(waited_for, [], [])
    box.stop()
    return 0


def _sandbox(environ: Mapping[str, str], port: int, time_scale: float) -> Sandbox:
    return Sandbox(
        key=environ.get("SANDBOX_KEY") or None,
        port=port,
        time_scale=time_scale,
        data_dir=environ.get("SANDBOX_DATA_DIR") or None,
        metrics=environ.get("SANDBOX_METRICS", "on").lower() not in OFF,
    )


def _signals() -> int:
    """A descriptor that can be read once SIGTERM or Ctrl-C came.

    A handler that takes a lock may interrupt the code that holds it, and then both wait for ever.
    """
    heard, tell = os.pipe()
    os.set_blocking(tell, False)
    signal.set_wakeup_fd(tell, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    return heard


if __name__ == "__main__":
    sys.exit(main(os.environ))
