"""Rules that put all of a site, a person or another column's value into a fold."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from meninx._data.manifest import Picture
from meninx._errors import OptionError

# Attributes of a picture that a rule may name; other names are further columns.
_ATTRIBUTES = ("person", "site", "source", "sequence")


@dataclass(frozen=True)
class FoldRule:
    """A fold for all pictures whose value in one column matches a pattern.

    Args:
        column: Name of the column: `person`, `site`, `source`, `sequence` or a further one.
        pattern: Shell pattern of the whole value, as in `fnmatch`; case matters.
        fold: Number of the fold: 1, 2, ...
    """

    column: str
    pattern: str
    fold: int

    def __str__(self) -> str:
        return f"{self.column}={self.pattern}:{self.fold}"

    def matches(self, picture: Picture) -> bool:
        """Return whether a picture has the column, with a value that matches."""
        if self.column in _ATTRIBUTES:
            return fnmatchcase(getattr(picture, self.column), self.pattern)
        value = picture.extra.get(self.column)
        return value is not None and fnmatchcase(value, self.pattern)


def parse_fold_rule(text: str) -> FoldRule:
    """Return the rule that an option gives.

    Args:
        text: Text of the option, `COLUMN=VALUE:N`, such as `site=HT:6`; VALUE may hold further `=`
            and `:`.

    Returns:
        The rule.

    Raises:
        OptionError: If the text is not of that form.
    """
    column, equals, rest = text.partition("=")
    pattern, colon, fold = rest.rpartition(":")
    if not (column and equals and colon and fold.isdecimal() and int(fold) >= 1):
        raise OptionError(
            f"--fold {text}: expected COLUMN=VALUE:N with a fold from 1 on, such as site=HT:6"
        )
    return FoldRule(column, pattern, int(fold))


def apply_fold_rules(pictures: Sequence[Picture], rules: Sequence[FoldRule]) -> list[Picture]:
    """Return pictures with the folds of the rules.

    Args:
        pictures: Rows of a manifest.
        rules: Rules; later ones win. They may put a group into several folds, which
            `manifest.leaks_of` finds.

    Returns:
        All pictures; those that no rule matches keep their fold.

    Raises:
        OptionError: If a rule matches no picture.
    """
    folds = [picture.fold for picture in pictures]
    for rule in rules:
        matched = [index for index, picture in enumerate(pictures) if rule.matches(picture)]
        if not matched:
            raise OptionError(
                f"--fold {rule}: no picture matches; {_values(pictures, rule.column)}"
            )
        for index in matched:
            folds[index] = rule.fold
    return [replace(picture, fold=fold) for picture, fold in zip(pictures, folds, strict=True)]


def _values(pictures: Sequence[Picture], column: str) -> str:
    """Return the columns or values that a rule could have named."""
    further = {name for picture in pictures for name in picture.extra}
    if column in _ATTRIBUTES:
        values = {getattr(picture, column) for picture in pictures}
    elif column in further:
        values = {picture.extra[column] for picture in pictures if column in picture.extra}
    else:
        return "columns: " + ", ".join([*_ATTRIBUTES, *sorted(further)])
    return f"{column}: {_shortened(sorted(values))}"


def _shortened(values: Sequence[str]) -> str:
    """Return the first eight values as a list."""
    shown = [value or "(empty)" for value in values[:8]]
    return ", ".join([*shown, "..."] if len(values) > 8 else shown)
