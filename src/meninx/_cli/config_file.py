"""One configuration for all services: `meninx.toml`, the environment, and options.

An option overrides the environment, which overrides the file, which overrides the defaults. A key
is the name of an option with underscores: `keep_hours` for `--keep-hours`.
"""

import inspect
import os
import tomllib
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property, wraps
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from meninx._cli.sections import VERB_OF_SECTION
from meninx._errors import OptionError
from meninx._system_errors import words_of

# Variable that names the file, for services whose command lines nobody types.
FILE_VARIABLE = "MENINX_CONFIG"
_FILE_OPTION, _HELP_OPTION = "config", "help"
# A value as TOML has it, and as an option takes it.
Text = str | list[str]


def variable_of(section: str, key: str) -> str:
    """Return the variable of the environment for a key, such as MENINX_RECEIVE_KEEP_HOURS."""
    return f"MENINX_{section}_{key}".upper().replace("-", "_")


def read_file(path: Path) -> Mapping[str, Mapping[str, Any]]:
    """Read a configuration.

    Args:
        path: TOML file.

    Returns:
        A table for each section.

    Raises:
        OptionError: If it can't be read, is no TOML, or has an unknown section.
    """
    try:
        with path.open("rb") as file:
            found = tomllib.load(file)
    except OSError as error:
        raise OptionError(f"--config {path}: {words_of(error, named=False)}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise OptionError(f"--config {path}: {error}; expected TOML") from error
    expected = ", ".join(f"[{section}]" for section in VERB_OF_SECTION)
    for section, table in found.items():
        if section not in VERB_OF_SECTION or not isinstance(table, dict):
            raise OptionError(f"{path}: {section}: no such section; expected {expected}")
    return found


@dataclass(frozen=True)
class Section:
    """The keys of a section that are options of a verb.

    Args:
        name: Name of the section.
        options: Typer's parameters by key.
    """

    name: str
    options: Mapping[str, Any]

    @classmethod
    def of(cls, name: str, command: Any) -> "Section":
        """Return a section with the options of a command that reads it."""
        taken = {
            option.name: option
            for option in command.params
            if option.name not in (_FILE_OPTION, _HELP_OPTION)
            and not getattr(option, "hidden", False)
        }
        return cls(name, taken)

    @cached_property
    def more(self) -> frozenset[str]:
        """Keys that are read from the environment only, which no option has."""
        return _web_keys() - self.options.keys() if self.name == "web" else frozenset()

    def read(self, table: Mapping[str, Any], context: Any) -> tuple[dict[str, Text], list[str]]:
        """Return the values of a table as options take them, and what is wrong with it.

        Args:
            table: Table of this section.
            context: Typer's context of the command.

        Returns:
            Values by key without the wrong ones; and a line for each wrong key.
        """
        values, faults = {}, []
        for key, value in table.items():
            if key not in self.options:
                if key not in self.more:
                    faults.append(f"{key}: no such key{self._meant(key)}")
                    continue
                fault, text = _scalar(value), _text_of(value)
            else:
                text = _text_of(value)
                fault = _fault_of(self.options[key], value, text, context)
            if fault:
                faults.append(f"{key} = {_shown(key, value)}: {fault}")
            else:
                values[key] = text
        return values, faults

    def _meant(self, key: str) -> str:
        close = get_close_matches(key, [*self.options, *self.more], 1)
        return f"; did you mean {close[0]}?" if close else ""


def _web_keys() -> frozenset[str]:
    """Return the settings of the web application; none where its extra is not installed."""
    with suppress(ModuleNotFoundError):
        from meninx._web.store.settings import Settings

        return frozenset(Settings.model_fields)
    return frozenset()


def _shown(key: str, value: Any) -> str:
    """Return a value for a message: never a secret, nor a password of an address."""
    from meninx._quiet import without_passwords

    return "..." if "secret" in key or "key" in key else without_passwords(str(value))


def _text_of(value: Any) -> Text:
    """Return a value as it would be typed: it is then read as the option would be."""
    if isinstance(value, list):
        return [str(item) for item in value]
    return str(value).lower() if isinstance(value, bool) else str(value)


def _scalar(value: Any) -> str:
    is_scalar = isinstance(value, str | int | float)
    return "" if is_scalar else "expected a string, a number, true or false"


def _fault_of(option: Any, value: Any, text: Text, context: Any) -> str:
    """Return why a value is none for an option; empty if it is one."""
    if getattr(option, "multiple", False) != isinstance(value, list):
        return "expected a list" if getattr(option, "multiple", False) else "expected one value"
    if bool(getattr(option, "is_flag", False)) != isinstance(value, bool):
        return "expected true or false" if option.is_flag else "expected no true or false"
    try:
        option.process_value(context, text)
    except typer.BadParameter as error:
        return error.message.rstrip(".")
    return ""


def with_config(verb: Callable[..., None], section: str) -> Callable[..., None]:
    """Give a verb the option `--config`, whose values become the defaults of its other options.

    Args:
        verb: Function of the verb.
        section: Section that it reads.

    Returns:
        The verb with one more option.
    """

    @wraps(verb)
    def run(**options: Any) -> None:
        options.pop(_FILE_OPTION)
        verb(**options)

    def apply(context: typer.Context, path: Path | None) -> Path | None:
        if path is not None:
            _apply(path, section, context)
        return path

    hint = Annotated[
        Path | None,
        typer.Option(
            "--config",
            envvar=FILE_VARIABLE,
            is_eager=True,
            callback=apply,
            show_default=False,
            help=f"File with defaults of all options, in its section [{section}]; "
            "`meninx config check` tries it.",
        ),
    ]
    signature = inspect.signature(verb)
    file = inspect.Parameter(
        _FILE_OPTION, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=hint
    )
    run.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[*signature.parameters.values(), file]
    )
    run.__annotations__ = {**get_type_hints(verb, include_extras=True), _FILE_OPTION: hint}
    return run


def name_variables(command: Any, section: str) -> None:
    """Let each option that is a key of a section be set in the environment, too.

    Args:
        command: Command of a verb, such as `worker`, whose other options have no variable.
        section: Section that it reads.
    """
    keys = _keys_of(section, command)
    for key, option in Section.of(section, command).options.items():
        if key in keys:
            option.envvar = variable_of(section, key)


def _keys_of(section: str, command: Any) -> Collection[str]:
    """Return the names of the options that are a section's keys."""
    verb = VERB_OF_SECTION[section]
    if command.name == verb:
        return Section.of(section, command).options.keys()
    return inspect.signature(_function_of(verb)).parameters.keys()


def _function_of(verb: str) -> Callable[..., None]:
    """Return the function of a verb, without `--config`."""
    name = verb.replace("-", "_")
    found: Callable[..., None] = getattr(import_module(f"meninx._cli.{name}"), name)
    return found


def _apply(path: Path, section: str, context: Any) -> None:
    """Make a file's values the defaults of a command.

    Settings without an option go into the environment, which the settings of the web application
    are read from, by this process and by its worker.
    """
    table = read_file(path).get(section, {})
    # A verb beside the one that has all options of its section takes only those that it knows.
    known = Section.of(section, _command_of(section, context))
    values, faults = known.read(table, context)
    if faults:
        raise OptionError(f"{path}: [{section}] {faults[0]}{_others(faults)}")
    context.default_map = {key: value for key, value in values.items() if key in known.options}
    for key in values.keys() - known.options.keys():
        os.environ.setdefault(variable_of(section, key), str(values[key]))


def _others(faults: list[str]) -> str:
    if len(faults) == 1:
        return ""
    return f" (and {len(faults) - 1} more; `meninx config check` lists all)"


def _command_of(section: str, context: Any) -> Any:
    """Return the command whose options are a section's keys."""
    from meninx._cli import Verbs

    verb = VERB_OF_SECTION[section]
    return context.command if context.info_name == verb else Verbs().get_command(context, verb)


def configured_options(path: Path) -> Iterator[tuple[str, list[str], dict[str, Any]]]:
    """Yield each section of a file, what is wrong with it, and what its verb would get.

    Args:
        path: TOML file.

    Yields:
        Name of the section; a line for each wrong key or variable of the environment; and the
        options of its verb by name, from the environment, the file, or by default.

    Raises:
        OptionError: If the file can't be read.
    """
    from meninx._cli import Verbs

    for name, table in read_file(path).items():
        verb = VERB_OF_SECTION[name]
        command = Verbs().get_command(None, verb)
        context = command.context_class(command, info_name=verb)
        section = Section.of(name, command)
        values, faults = section.read(table, context)
        context.default_map = {key: values[key] for key in values.keys() & section.options.keys()}
        options: dict[str, Any] = {}
        for key, option in section.options.items():
            value, _ = option.consume_value(context, {})
            try:
                options[key] = option.process_value(context, value)
            except typer.BadParameter as error:
                # An argument such as the source of `score-archive` is given on the command line.
                options[key] = None
                if value is not None:
                    faults.append(f"{variable_of(name, key)}: {error.message.rstrip('.')}")
        yield name, faults, as_the_verb_gets(verb, options)


def as_the_verb_gets(verb: str, options: dict[str, Any]) -> dict[str, Any]:
    """Return options as a verb gets them: Typer turns texts into paths on calling it.

    Args:
        verb: Name of the verb.
        options: Options as Typer parsed them, by name.

    Returns:
        The options in the types of the verb's parameters.
    """
    from meninx._cli import command_of

    @wraps(_function_of(verb))
    def given(**converted: Any) -> dict[str, Any]:
        return converted

    found: dict[str, Any] = command_of(verb, given).callback(**options)
    return found
