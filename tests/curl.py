"""Curl lines as people write them, sent with their method, headers, cookie and body: not every machine has curl."""

import argparse
import shlex
from typing import Any

import requests

LINE = argparse.ArgumentParser(prog="curl")
LINE.add_argument("url")
LINE.add_argument("-X", dest="method")
LINE.add_argument("-H", dest="headers", action="append", default=[])
LINE.add_argument("-b", dest="cookie")
LINE.add_argument("-d", dest="data")


def send(line: str, **words: object) -> tuple[int, Any]:
    """Status and JSON of the answer. `words` stand in the line as `{name}`. No redirect is followed."""
    for name, meant in words.items():
        line = line.replace(f"{{{name}}}", str(meant))
    said = LINE.parse_args(shlex.split(line)[1:])
    headers = {"Accept": "*/*", "User-Agent": "curl/8.14.1"}
    if said.data is not None:
        headers["Content-Type"] = "application/x-www-form-urlencoded"
    if said.cookie:
        headers["Cookie"] = said.cookie
    headers |= dict(one.split(": ", 1) for one in said.headers)
    method = said.method or ("GET" if said.data is None else "POST")
    body = None if said.data is None else said.data.encode()
    answer = requests.request(method, said.url, headers=headers, data=body, timeout=60, allow_redirects=False)
    assert answer.headers["Content-Type"].startswith("application/json"), answer.text
    return answer.status_code, answer.json()
