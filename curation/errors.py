"""The errors a user can meet.

AutodriveError            one line: where, what, the fix
├── DataError             the data has problems          exit 1
│   └── Refused           one item is not taken; becomes a Refusal
└── UsageError            called wrongly, bad recipe     exit 2

Anything else that escapes is a defect of ours and keeps its traceback.
"""

from __future__ import annotations


class AutodriveError(Exception):
    """A problem told in one line; `exit_code` is what the command returns."""

    exit_code = 1


class DataError(AutodriveError):
    """The data (or a service that holds it) has a problem."""


class Refused(DataError):  # noqa: N818 - named for what becomes of it
    """One row, file or answer cannot be taken. `reason` is a short code, `detail` one line for a person."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail

    def __str__(self) -> str:
        return self.detail


class UsageError(AutodriveError):
    """The command or the recipe is wrong."""

    exit_code = 2


def missing_extra(extra: str, what: str) -> UsageError:
    """The one line for an optional dependency that is not installed."""
    return UsageError(f"{what} needs the extra '{extra}': pip install 'vlm-autodrive[{extra}]'")
