"""A process of its own that clicks "Conectar WhatsApp" some times at once: `python -m tests.flow.clicks URL USER N`.

Waits for a line, so that several start together; prints a JSON list of the codes it got.
"""

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

from bootstrap.system import build
from core.logs import configure
from core.settings import Settings


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    configure("WARNING")
    url, user_id, clicks = sys.argv[1], UUID(sys.argv[2]), int(sys.argv[3])
    system = build(Settings.from_env(), url)
    say("ready")
    sys.stdin.readline()
    with ThreadPoolExecutor(clicks) as pool:
        results = list(pool.map(system.manager.connect_user_whatsapp, [user_id] * clicks))
    pairings = [result.record.standing.pairing for result in results]
    say(json.dumps([pairing.qr if pairing else None for pairing in pairings]))
    system.stop()


if __name__ == "__main__":
    main()
