"""Errors of calls that the API does not allow."""


class SessionClosedError(RuntimeError):
    """The session was closed: nothing can be submitted, awaited or read through it."""

    advice = "Build a new FoxSession."


class StreamConsumedError(RuntimeError):
    """The stream has been read or closed; call ``stream()`` of its handle for a new one."""

    advice = "Call stream() of its handle for another stream."


class UnboundHandleError(RuntimeError):
    """The handle was unpickled and belongs to no session yet: call ``handle.bind(fox)``."""

    advice = "Call handle.bind(fox)."
