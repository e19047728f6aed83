"""Say which extra a verb needs where it is not installed."""

from collections.abc import Iterator
from contextlib import contextmanager

from meninx.errors import OptionError


@contextmanager
def needs_extra(extra: str) -> Iterator[None]:
    """Turn a missing package into one line.

    Args:
        extra: That brings the package.

    Yields:
        Nothing; import in here.

    Raises:
        OptionError: If a package is missing.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise OptionError(
            f"this needs the package {error.name}: pip install 'meninx[{extra}]'"
        ) from error
