"""A moment as people read it."""

from datetime import UTC, datetime


def local_time(seconds: float) -> str:
    """Return Unix seconds as local date and time; what is no date stays a number."""
    try:
        moment = datetime.fromtimestamp(int(seconds), UTC).astimezone()
    except (OverflowError, ValueError, OSError):
        return str(seconds)
    return moment.isoformat(sep=" ")
