"""The web role with one route more, for gunicorn: `benchmarks.app:app`. Never part of the product.

The route is what is compared with: the same application, framework and server, reading and parsing the same
body, and storing nothing.
"""

from flask import jsonify, request
from flask.typing import ResponseReturnValue

from benchmarks.traffic import NOTHING_STORED
from wsgi import app


@app.post(NOTHING_STORED)
def nothing_stored() -> ResponseReturnValue:
    document = request.get_json()
    return jsonify(success=True, status="stored", id=len(document))
