"""Errors that name the extra of a missing package."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from meninx._errors import OptionError
from meninx._extras import install_command


@contextmanager
def needs_extra(extra: str, *packages: str) -> Iterator[None]:
    """Turn a missing package into an error that names its extra.

    Args:
        extra: Extra that installs the package.
        *packages: Further packages to check, which are imported later in another process.

    Yields:
        Nothing; the imports go inside.

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
            f"this needs the package {error.name}: {install_command(extra)}"
        ) from error
