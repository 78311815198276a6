"""The errors a user can meet.

AutodriveError            one line: where, what, the fix
├── DataError             the data has problems          exit 1
└── UsageError            called wrongly, bad recipe     exit 2

Anything else that escapes is a defect of ours and keeps its traceback.
"""

from __future__ import annotations


class AutodriveError(Exception):
    """A problem told in one line; `exit_code` is what the command returns."""

    exit_code = 1


class DataError(AutodriveError):
    """The data (or a service that holds it) has a problem."""


class UsageError(AutodriveError):
    """The command or the recipe is wrong."""

    exit_code = 2


def missing_extra(extra: str, what: str) -> UsageError:
    """The one line for an optional dependency that is not installed."""
    return UsageError(f"{what} needs the extra '{extra}': pip install 'vlm-autodrive[{extra}]'")
