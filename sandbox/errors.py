"""What goes wrong, in Evolution's envelope for its routes and in one sentence for the control routes."""

from http import HTTPStatus

TITLES = {status.value: status.phrase for status in HTTPStatus}

LENGTH_OF_UNDEFINED = "Cannot read properties of undefined (reading 'length')"


class ApiError(Exception):
    """An Evolution error. `message` goes into the envelope as it is; its type differs from error to error:
    a string, a list of strings, a list holding a list, a list of objects."""

    def __init__(self, status: int, message: object, title: str | None = None) -> None:
        super().__init__(status, message)
        self.status = status
        self.message = message
        self.title = title or TITLES.get(status, "Error")

    def body(self) -> dict[str, object]:
        """`{"status": 404, "error": "Not Found", "response": {"message": ["Cannot GET /nope"]}}`."""
        return {"status": self.status, "error": self.title, "response": {"message": self.message}}


class ControlError(Exception):
    """A control route cannot do what was asked; `status` is 400, 403, 404 or 409."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


def unauthorized() -> ApiError:
    return ApiError(401, "Unauthorized")


def unknown_instance(name: str) -> ApiError:
    return ApiError(404, [f'The "{name}" instance does not exist'])


def name_in_use(name: str) -> ApiError:
    return ApiError(403, [f'This name "{name}" is already in use.'])


def invalid(*findings: str) -> ApiError:
    """Schema findings come as a list inside a list."""
    return ApiError(400, [list(findings)])
