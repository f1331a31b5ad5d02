"""`/openapi/`: the interface to read and to try out, with everything it needs from here, and the document itself."""

import json
from functools import cache
from importlib.metadata import distribution
from pathlib import Path

from flask import Blueprint, current_app, render_template, send_from_directory
from flask.typing import ResponseReturnValue

from api.openapi.document import document

SWAGGER, FOLDER = "flask-openapi-swagger", "flask_openapi_swagger/templates/swagger"  # its code is not imported
OURS = Path(__file__).with_name("templates")


def make_blueprint() -> Blueprint:
    blueprint = Blueprint("openapi", __name__, url_prefix="/openapi", template_folder=OURS)
    swagger = str(distribution(SWAGGER).locate_file(FOLDER))

    @cache
    def written() -> bytes:
        return json.dumps(document(current_app), ensure_ascii=False).encode()

    @blueprint.get("/")
    def page() -> ResponseReturnValue:
        return render_template("openapi.html")

    @blueprint.get("/openapi.json")
    def openapi_json() -> ResponseReturnValue:
        return current_app.response_class(written(), mimetype="application/json")

    @blueprint.get("/page.js")
    def script() -> ResponseReturnValue:
        return send_from_directory(OURS, "page.js")

    @blueprint.get("/swagger/<path:asset>")
    def assets(asset: str) -> ResponseReturnValue:
        return send_from_directory(swagger, asset)

    return blueprint
