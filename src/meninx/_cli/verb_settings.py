"""The options of a verb as a typed object."""

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, get_type_hints

Settings = TypeVar("Settings")


def takes_settings(
    settings: type[Settings],
) -> Callable[[Callable[[Settings], None]], Callable[..., None]]:
    """Make every field of a settings class an option of the verb.

    Typer makes options from the parameters of a function. An object of sixteen options can be
    passed on, and a function with sixteen parameters is hard to read.

    Args:
        settings: Dataclass whose fields are annotated like Typer's parameters.

    Returns:
        A decorator of a function of the settings.
    """

    def decorate(verb: Callable[[Settings], None]) -> Callable[..., None]:
        @wraps(verb)
        def run(**options: Any) -> None:
            verb(settings(**options))

        run.__signature__ = inspect.signature(settings)  # type: ignore[attr-defined]
        run.__annotations__ = get_type_hints(settings, include_extras=True)
        return run

    return decorate
