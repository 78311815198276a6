"""How asking can end without an answer."""

from __future__ import annotations

from curation.errors import DataError


class Left(Exception):  # noqa: N818 - not a fault: the next run asks again
    """A question without an answer in this run, and why: the endpoint failed, or the budget is spent."""


class Denied(Exception):  # noqa: N818
    """The endpoint will not answer this question, whenever it is asked."""


class Halt(DataError):  # noqa: N818
    """The endpoint will not answer any question as things are."""


class Turned(Exception):  # noqa: N818
    """One attempt failed in a way that may pass."""

    def __init__(self, why: str, wait: float | None = None) -> None:
        super().__init__(why)
        self.wait = wait
