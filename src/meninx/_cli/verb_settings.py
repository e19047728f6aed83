"""The many options of a verb as one typed object."""

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, get_type_hints

Settings = TypeVar("Settings")


def takes_settings(
    settings: type[Settings],
) -> Callable[[Callable[[Settings], None]], Callable[..., None]]:
    """Make every field of a settings class an option of the verb.

    Typer makes options from a function's parameters; sixteen of them hide what the function does,
    and can be passed on only one by one.

    Args:
        settings: Dataclass whose fields are annotated as Typer's parameters are.

    Returns:
        A decorator of a function that takes the settings alone.
    """

    def decorate(verb: Callable[[Settings], None]) -> Callable[..., None]:
        @wraps(verb)
        def run(**options: Any) -> None:
            verb(settings(**options))

        run.__signature__ = inspect.signature(settings)  # type: ignore[attr-defined]
        run.__annotations__ = get_type_hints(settings, include_extras=True)
        return run

    return decorate
