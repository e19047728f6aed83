"""Say which extra a verb needs where it is not installed."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from meninx.errors import OptionError


@contextmanager
def needs_extra(extra: str, *packages: str) -> Iterator[None]:
    """Turn a missing package into one line.

    Args:
        extra: That brings the package.
        *packages: That are not imported in here, but will be in another process.

    Yields:
        Nothing; import in here.

    Raises:
        OptionError: If a package is missing.
    """
    try:
        for package in packages:
            if find_spec(package) is None:
                raise ModuleNotFoundError(name=package)
        yield
    except ModuleNotFoundError as error:
        raise OptionError(
            f"this needs the package {error.name}: pip install 'meninx[{extra}]'"
        ) from error
