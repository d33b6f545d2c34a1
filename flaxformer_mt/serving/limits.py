"""What the server lets a request cost, and how it says no."""

import dataclasses
from typing import Any

from flaxformer_mt.errors import InputError

# What this machine may be called by itself.
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds of the server; checked where they are made.

    Raises:
      InputError: a bound that no server could work with.
    """

    characters: int = 1000  # of a text
    sentences: int = 64  # texts of a request
    beam: int = 8  # hypotheses of a beam search
    alternatives: int = 5  # next words; one program finds so many, whatever is asked
    body: int = 64 * 2**10  # bytes
    head: int = 16 * 2**10  # bytes: request line and headers
    path: int = 2048  # bytes
    waiting: int = 64  # requests that wait for the model; beyond, 503
    together: int = 128  # texts that are decoded together, at most
    connections: int = 512
    deadline: float = 30.0  # seconds from a request to its answer; beyond, 504
    patience: float = 15.0  # seconds for a client to send a request, to take an answer
    keep_alive: float = 5.0  # seconds a connection may be idle
    grace: float = 10.0  # seconds that requests have to finish when the server stops

    @property
    def usual_beam(self) -> int:
        """Hypotheses of a beam search that does not say how many."""
        return min(5, self.beam)

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not 0 < value < float("inf"):
                raise InputError(f"{field.name} must be above 0; got {value}.")


class Refusal(Exception):
    """A request that is not answered as it was asked for."""

    def __init__(self, status: int, code: str, message: str, **headers: str) -> None:
        """headers: of the answer, "_" for "-"."""
        super().__init__(message)
        self.status, self.code, self.message = status, code, message
        self.headers = {name.replace("_", "-"): text for name, text in headers.items()}

    def content(self) -> dict[str, Any]:
        """The answer's JSON."""
        return {"error": {"code": self.code, "message": self.message}}


def busy(seconds: int = 1) -> Refusal:
    """Too many wait already."""
    message = "the server is busy: ask again in a moment."
    return Refusal(503, "busy", message, retry_after=str(seconds))


def too_slow(seconds: float) -> Refusal:
    """It took longer than the deadline."""
    message = (
        f"the answer took longer than {seconds:g} seconds and was given up: ask for "
        "less at a time."
    )
    return Refusal(504, "timeout", message)


def stopping() -> Refusal:
    """The server is about to end."""
    message = "the server is stopping: ask again later."
    return Refusal(503, "stopping", message, retry_after="5")


def not_ready(why: str) -> Refusal:
    """No model, or not yet."""
    return Refusal(503, "not_ready", why, retry_after="2")
