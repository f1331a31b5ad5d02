"""gunicorn's settings for the web role. The one place that knows gevent."""

import gc
import logging
import os
import re
import resource
import signal
import threading
import time

os.environ.setdefault("GEVENT_TRACK_GREENLET_TREE", "0")  # who started whom: 2 KB a socket, and nobody asks
host = os.environ.get("HOST") or "127.0.0.1"
bind = f"{f'[{host}]' if ':' in host else host}:{os.environ.get('PORT') or '8000'}"
worker_class = "gevent"
workers = 1
worker_connections = 12_000
backlog = 2048
graceful_timeout = 10  # the supervisor waits 12 s
timeout = 60
keepalive = 75  # gateways reuse their connections
control_socket_disable = True
accesslog = None  # paths carry tokens; what matters is logged by the product itself
loglevel = "warning"
limit_request_line = 8190
forwarded_allow_ips = ""


QUOTED = re.compile(r"(?s)^(Invalid request from ip=\S*: [^:'\"]*|Error handling request [^?]*).*")
GARBAGE = (2_000, 10, 20)  # a look through the million objects of 10,000 sockets stops everybody for a second: seldom


def on_starting(server):
    """Raise the descriptor limit: each socket of a browser is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = worker_connections + 1000
    if hard == resource.RLIM_INFINITY or hard >= wanted > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


def when_ready(server):
    """End with the supervisor: its pipe reaches EOF when it is gone, however it went.

    The terminal's Ctrl-C is the supervisor's too: gunicorn would drop requests and sockets at once.
    """
    if fd := os.environ.get("ZELADOR_PARENT_FD"):
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        threading.Thread(target=_end_with_parent, args=(int(fd),), daemon=True).start()


def _end_with_parent(fd):
    os.read(fd, 1)
    os.kill(os.getpid(), signal.SIGTERM)


def post_fork(server, worker):
    """Let gunicorn's own lines take the product's way, and say what is wrong with a request without quoting it."""
    errors = logging.getLogger("gunicorn.error")
    errors.handlers.clear()
    errors.propagate = True
    errors.addFilter(_unquoted)


def _unquoted(record):
    """`Invalid HTTP request line: 'GET /ws?ticket=…'` ends before the quotation, a URL before its query."""
    record.msg, record.args = QUOTED.sub(r"\1", record.getMessage()), ()
    return True


def post_worker_init(worker):
    """Let sockets go cleanly: gevent's worker would wait for them until graceful_timeout."""
    gc.freeze()  # what is there now stays
    gc.set_threshold(*GARBAGE)
    if "ZELADOR_PARENT_FD" in os.environ:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_drain, args=(worker,), daemon=True).start()


def _drain(worker):
    while worker.alive:
        time.sleep(0.2)
    import wsgi

    wsgi.system.hub.stop()


def worker_exit(server, worker):
    import wsgi

    wsgi.system.stop()


def child_exit(server, worker):
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        from prometheus_client import multiprocess

        multiprocess.mark_process_dead(worker.pid)
