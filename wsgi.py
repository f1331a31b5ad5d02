"""The web role for WSGI servers: `gunicorn wsgi:app` (gunicorn.conf.py beside this file is found by itself)."""

import atexit

from bootstrap.system import build, database
from bootstrap.web import build_app
from core.logs import configure
from core.settings import Settings

settings = Settings.from_env()
configure(settings.log_level, settings.log_file)
url, let_go = database(settings)
system = build(settings, url)
app = build_app(system)
system.start("web")
atexit.register(let_go, False)
