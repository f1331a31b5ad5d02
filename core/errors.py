"""The errors of the whole product. They carry facts; `core.web`, `guarded` and the worker read the facts."""

from typing import Any


class AppError(Exception):
    """An answer somebody must get: `code` for programs, the message for people, never a secret in either."""

    code = "INTERNAL_ERROR"
    http_status = 500
    retryable = False

    def __init__(self, message: str, *, code: str | None = None, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.details = details
        if code:
            self.code = code


class Rejected(AppError):
    """The caller's request is at fault; the same request will fail again."""

    code, http_status = "BAD_REQUEST", 400


class Malformed(Rejected):
    code = "VALIDATION_ERROR"


class Unauthenticated(Rejected):
    code, http_status = "UNAUTHENTICATED", 401


class Forbidden(Rejected):
    code, http_status = "FORBIDDEN", 403


class NotFound(Rejected):
    code, http_status = "NOT_FOUND", 404


class Conflict(Rejected):
    code, http_status = "CONFLICT", 409


class MethodNotAllowed(Rejected):
    code, http_status = "METHOD_NOT_ALLOWED", 405


class TooSlow(Rejected):
    code, http_status = "BODY_TOO_SLOW", 408


class TooLarge(Rejected):
    code, http_status = "BODY_TOO_LARGE", 413


class Unsupported(Rejected):
    code, http_status = "UNSUPPORTED_MEDIA_TYPE", 415


class TooMany(Rejected):
    """As often as this, or as many at once, nobody may."""

    code, http_status = "RATE_LIMITED", 429


class NotNow(AppError):
    """We cannot keep it durably at this moment; the sender must try again."""

    code, http_status, retryable = "NOT_NOW", 503, True


class StorageUnavailable(AppError):
    code, http_status, retryable = "WHATSAPP_STORAGE_UNAVAILABLE", 503, True


class LostRace(AppError):
    """Somebody else wrote the same thing at the same moment; the next try sees it."""

    code, http_status, retryable = "LOST_RACE", 409, True


class NotConfigured(AppError):
    code, http_status = "WHATSAPP_NOT_CONFIGURED", 503


class SwitchedOff(AppError):
    """An operator has switched WhatsApp off."""

    code, http_status = "WHATSAPP_DISABLED", 503


class ProviderError(AppError):
    """The gateway did not do what we asked. `provider_status` is its HTTP status, where it gave one."""

    code, http_status = "PROVIDER_ERROR", 502

    def __init__(self, message: str, *, provider_status: int | None = None, **details: Any) -> None:
        super().__init__(message, **details)
        self.provider_status = provider_status


class BadResponse(ProviderError):
    """It answered, but not with what the contract promises."""


class ProviderRefused(ProviderError):
    """It does not accept our key."""

    code = "PROVIDER_AUTH"


class LicenceRequired(ProviderRefused):
    """Evolution 2.4 does nothing until somebody has activated its licence."""

    code, http_status = "LICENSE_REQUIRED", 503


class NotConnected(ProviderError):
    """No phone is connected to it."""

    code, http_status = "INSTANCE_NOT_CONNECTED", 409


class InvalidRecipient(ProviderError):
    """The number has no WhatsApp, or is none."""

    code, http_status = "INVALID_PHONE_NUMBER", 400


class NotOffered(ProviderError):
    """This gateway cannot do that."""

    code, http_status = "UNSUPPORTED_BY_PROVIDER", 501


class InstanceUnknown(ProviderError):
    code, http_status = "INSTANCE_NOT_FOUND", 404


class NameInUse(ProviderError):
    code, http_status = "INSTANCE_ALREADY_EXISTS", 409


class RateLimited(ProviderError):
    code, http_status, retryable = "RATE_LIMITED", 429, True


class TimedOut(ProviderError):
    """No answer in time: it may or may not have happened."""

    code, http_status = "PROVIDER_TIMEOUT", 504


class Unavailable(ProviderError):
    """It cannot be reached, or says so itself. `sent` is False where not a byte of the request left us."""

    code, http_status, retryable = "PROVIDER_UNAVAILABLE", 503, True

    def __init__(self, message: str, *, sent: bool = True, **facts: Any) -> None:
        super().__init__(message, **facts)
        self.sent = sent


class CircuitOpen(Unavailable):
    """Not asked at all: the gateway has just failed too often."""

    code, retryable = "CIRCUIT_OPEN", False


class Busy(Unavailable):
    """Not asked: too many calls are waiting for the gateway already."""

    code = "PROVIDER_BUSY"

    def __init__(self, message: str, **facts: Any) -> None:
        super().__init__(message, sent=False, **facts)
