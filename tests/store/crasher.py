"""A worker with a toy owner that "crash" ends: `python -m tests.store.crasher DATABASE_URL`."""

import sys
from uuid import uuid4

from core.db import make_engine, transactions
from tests.store.toys import Register, owners_of
from webhooks.worker import Worker


def main() -> None:
    engine = make_engine(sys.argv[1], statement_timeout_ms=10_000)
    worker = Worker(transactions(engine), owners_of(Register(deadly=True)), lambda _: None, name=uuid4().hex)
    while worker.work():
        pass


if __name__ == "__main__":
    main()
