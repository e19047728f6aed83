"""Messages that name the extra of a package that is not installed."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from meninx._errors import OptionError


@contextmanager
def needs_extra(extra: str, *packages: str) -> Iterator[None]:
    """Turn a missing package into an error of one line.

    Args:
        extra: Extra that brings the package.
        *packages: Packages that are not imported inside, but in another process later.

    Yields:
        Nothing; imports go inside.

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
