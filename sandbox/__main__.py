"""`python -m sandbox`: the stand-in as a process of its own. Arguments win over the environment:

--port SANDBOX_PORT (8081), --key SANDBOX_KEY (generated and kept), --profile SANDBOX_PROFILE (2.3.6),
--data SANDBOX_DATA_DIR (none: memory only), --time-scale SANDBOX_TIME_SCALE (1.0), --qr-limit SANDBOX_QR_LIMIT
(30), --licensed SANDBOX_LICENSED (off), --cors-origin SANDBOX_CORS_ORIGIN (*); only in the environment:
SANDBOX_METRICS (on), SANDBOX_METRICS_USER and SANDBOX_METRICS_PASSWORD, and SANDBOX_PARENT_FD (none: a pipe's
read end; its EOF ends the process).
"""

import argparse
import os
import select
import signal
import sys
from collections.abc import Mapping, Sequence

from sandbox.profiles import PROFILES
from sandbox.server import Sandbox

OFF = frozenset({"0", "false", "no", "off"})
WRONG_SETTING = 78  # EX_CONFIG


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run until a signal comes or the parent is gone. Prints one line, once requests are answered."""
    waited_for = [_signals()]
    try:
        box = _sandbox(_parser(environ).parse_args(arguments), environ)
    except ValueError as error:
        sys.stderr.write(f"sandbox: {error}\n")
        return WRONG_SETTING
    try:
        box.start()
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


def _parser(environ: Mapping[str, str]) -> argparse.ArgumentParser:
    """Values stay text here: what is wrong in them is said in one line, wherever it came from."""
    ours = ((name.removeprefix("SANDBOX_"), value) for name, value in environ.items() if name.startswith("SANDBOX_"))
    given = {name.lower(): value for name, value in ours if value}
    parser = argparse.ArgumentParser(prog="python -m sandbox", description="An Evolution API server without WhatsApp.")
    parser.add_argument("--port", default=given.get("port", "8081"), help="8081; 0 takes a free one")
    parser.add_argument("--key", default=given.get("key"), help="the global apikey; made once without it")
    parser.add_argument("--profile", default=given.get("profile", "2.3.6"), help=", ".join(PROFILES))
    parser.add_argument("--data", default=given.get("data_dir"), help="a folder for what survives a restart")
    parser.add_argument("--time-scale", default=given.get("time_scale", "1.0"), help="0.01 waits 50 ms instead of 5 s")
    parser.add_argument("--qr-limit", default=given.get("qr_limit", "30"), help="QR codes until it gives up")
    parser.add_argument("--cors-origin", default=given.get("cors_origin", "*"), help="other than *: a browser's only")
    licensed = given.get("licensed", "off").lower() not in OFF
    parser.add_argument("--licensed", action="store_true", default=licensed, help="2.4 is activated")
    return parser


def _sandbox(chosen: argparse.Namespace, environ: Mapping[str, str]) -> Sandbox:
    """Raises ValueError in words for a person."""
    try:
        numbers = int(chosen.port), float(chosen.time_scale), int(chosen.qr_limit)
    except ValueError:
        raise ValueError("SANDBOX_PORT, SANDBOX_TIME_SCALE and SANDBOX_QR_LIMIT must be numbers") from None
    port, time_scale, qr_limit = numbers
    return Sandbox(
        key=chosen.key or None,
        port=port,
        time_scale=time_scale,
        data_dir=chosen.data or None,
        metrics=environ.get("SANDBOX_METRICS", "on").lower() not in OFF,
        metrics_user=environ.get("SANDBOX_METRICS_USER") or None,
        metrics_password=environ.get("SANDBOX_METRICS_PASSWORD") or None,
        qr_limit=qr_limit,
        profile=chosen.profile,
        licensed=chosen.licensed,
        cors_origin=chosen.cors_origin,
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
    sys.exit(main(sys.argv[1:], os.environ))
