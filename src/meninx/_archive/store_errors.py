"""Errors of file systems and services, which may be of any type, as text or as OSError."""

from collections.abc import Iterator
from contextlib import contextmanager

from meninx._quiet import without_passwords


@contextmanager
def as_os_error(place: str) -> Iterator[None]:
    """Turn any error into an OSError.

    Args:
        place: Name of the file or series, for the message.

    Yields:
        Nothing; the call to a driver or a service goes inside.

    Raises:
        OSError: If anything is raised inside.
    """
    try:
        yield
    except Exception as error:
        raise OSError(f"{place}: {error_text(error)}") from error


def error_text(error: Exception) -> str:
    """Return type and message of an error, without the passwords of addresses."""
    return f"{type(error).__name__}: {without_passwords(str(error))}"
