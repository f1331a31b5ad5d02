"""`python -m sandbox`: the stand-in as a process of its own. Settings come from the environment:

SANDBOX_PORT (8081), SANDBOX_KEY (generated and kept), SANDBOX_DATA_DIR (none: memory only),
SANDBOX_TIME_SCALE (1.0), SANDBOX_METRICS (on), SANDBOX_PARENT_FD (none: a pipe's read end; its EOF ends the
process).
"""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Mapping

from sandbox.server import Sandbox

OFF = frozenset({"0", "false", "no", "off"})
WRONG_SETTING = 78  # EX_CONFIG


def main(environ: Mapping[str, str]) -> int:
    """Run until a signal comes or the parent is gone. Prints one line, once requests are answered."""
    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
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
        _watch(int(environ["SANDBOX_PARENT_FD"]), over)
    sys.stdout.write(f"sandbox {box.url}\n")
    sys.stdout.flush()
    over.wait()
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


def _watch(parent_fd: int, over: threading.Event) -> None:
    """A read from the parent's pipe returns nothing when the parent is gone."""

    def wait() -> None:
        with contextlib.suppress(OSError):
            while os.read(parent_fd, 1024):
                pass
        over.set()

    threading.Thread(target=wait, name="sandbox-parent", daemon=True).start()


if __name__ == "__main__":
    sys.exit(main(os.environ))
