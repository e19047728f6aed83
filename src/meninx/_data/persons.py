"""Find the person and the time point in names of folders and files.

A person may have several names, such as BraTS-GLI-00005-100 and -101, or be a folder of dates.
Time points of one person in several folds are a leak. Two people under one name are none; they only
make the folds less even.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from meninx._data.items import Item, label_of, normal_sequence

# Words for one of several exams of a person, followed by a number. The weak words have other
# meanings too, and count only beside a number of the person.
_NUMBER = r"[-_ ]?[mwdy]?\d+(?:[-_]\d+)?d?"
_YEAR, _MONTH, _DAY = r"(?:19|20)\d\d", r"(?:0[1-9]|1[0-2])", r"(?:0[1-9]|[12]\d|3[01])"
_MONTH_NAME = r"(?:jan|feb|mar|mrz|apr|may|mai|jun|jul|aug|sep|oct|okt|nov|dec|dez)[a-z]*\.?"
# Year first as in ISO 8601, day or month first with separators, or with the name of the month.
_DATE = (
    rf"(?:{_YEAR}[-_.]?{_MONTH}[-_.]?{_DAY}"
    rf"|(?:{_DAY}|[1-9])[-_.](?:{_DAY}|[1-9])[-_.]{_YEAR}|{_DAY}\.{_DAY}\.\d\d"
    rf"|(?:{_DAY}|[1-9])[-_. ]?{_MONTH_NAME}[-_. ]?(?:{_YEAR}|\d\d)"
    rf"|{_YEAR}[-_. ]?{_MONTH_NAME}(?:[-_. ]?{_DAY})?)"
)
_CLOCK = r"(?:[-_ .T]?[0-2]\d[-_:.h]?[0-5]\d(?:[-_:.m]?[0-5]\d(?:\.\d+)?)?s?)?"
_UNIT = r"(?:mos?|months?|mths?|monate?|wks?|weeks?|wochen?|days?|tage?|yrs?|years?|jahre?)"
_TIME = re.compile(
    rf"(?:ses(?:sion)?|visit|tp|time(?:[-_ ]?point)?|week|wk|month|mth|day|year|yr|fu"
    rf"|follow[-_ ]?up|baseline){_NUMBER}"
    r"|baseline|bl|follow[-_ ]?up|fu|(?:pre|post)[-_ ]?(?:op|surg\w*|treat\w*|rt|therapy)?"
    rf"|{_DATE}{_CLOCK}|\d+(?:[-_ .]\d+)?[-_ ]?{_UNIT}|ses-[a-z0-9]+",
    re.IGNORECASE,
)
_WEAK_TIME = re.compile(
    rf"(?:scan|exam|study|mr|t|v|m|w|d|y){_NUMBER}|\d+[mwdy]|{_YEAR}(?:[-_.]{_MONTH})?"
    rf"|{_DAY}{_DAY}{_YEAR}",
    re.IGNORECASE,
)
# A folder of a study: it begins with a date, as the downloader of The Cancer Imaging Archive names
# it, or is named by a UID.
_STUDY = re.compile(rf"{_DATE}[-_ ].+|\d+(?:\.\d+){{4,}}", re.IGNORECASE)
# The number of an exam as the name of a folder.
_BARE_NUMBER = re.compile(r"\d{1,2}")
_SEPARATED = re.compile(r"[-_ .]+")
# Words that identify no person by themselves, so that a number behind them is no time point.
_NOBODY = re.compile(
    r"(?:patient|pat|person|subject|subj|sub|case|study|brain|tumou?r|mri|mr|scan|image|img|volume|"
    r"data|dataset|control|healthy|glioma|p|s)s?",
    re.IGNORECASE,
)
# Suffixes that exports append to a folder's name.
_EXPORTED = re.compile(r"[-_ .](?:nifti|nii|dicom|dcm)$", re.IGNORECASE)
# Folders below a person's that order files by kind.
_ORDER = re.compile(r"anat|perf|nifti|nii|dicom|dcm|images?|raw|mri|mr|volumes?", re.IGNORECASE)
# An identifier and a shorter number behind it.
_NUMBERED = re.compile(r"(?P<before>.*?)(?P<id>\d{3,})(?P<sep>[-_])(?P<number>\d{1,3})")
# Number of digits, with leading zeros, by which collections number people; sites have fewer.
_PADDED_DIGITS = 4
# Largest number of exams of one person; more are several people, numbered within each site.
_MAX_TIMES = 6
_SITE_NUMBER = re.compile(
    r"(?:site|center|centre|hospital|clinic|scanner|cohort|fold|batch|group|zentrum|part|set|split)"
    r"[-_ ]*\d+",
    re.IGNORECASE,
)
_SITE = re.compile(
    r"(?:site|center|centre|hospital|clinic|scanner|cohort|fold|batch|group|zentrum|inst\w*)"
    r"[-_ ]*$",
    re.IGNORECASE,
)
# Names of persons in well-known collections, wherever they stand in a file's name.
_KNOWN = re.compile(
    r"(?<![A-Za-z0-9])(BraTS-[A-Za-z]+-\d{4,6}(?=-\d{3})|UCSD-[A-Z]+-\d{4}|UPENN-[A-Z]+-\d{5}"
    r"|UCSF-[A-Z]+-\d{4}|TCGA-[A-Z0-9]{2}-[A-Z0-9]{4}|OAS\d_\d{4}|sub-[A-Za-z0-9]+(?=[_/]))"
)


def known_person(name: str) -> str:
    """Return the person in a name of a well-known collection; empty for other names."""
    found = _KNOWN.search(name)
    return found[1] if found else ""


def persons_of(names: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Return the person and the time point behind each name.

    Args:
        names: Names of exams in one collection: folders, relative and with `/` between them, or
            stems of files.

    Returns:
        By name: the person and the time point, which may be empty.
    """
    parts = {name: _parts_of_person(name) for name in set(names)}
    studies = _study_folders(parts)
    worded = {name: _without_time_words(name, parts[name], studies[name]) for name in parts}
    folders = _numbered_folders({person for person, _ in worded.values()})
    worded = {
        name: (folders[person][0], "/".join(filter(None, [folders[person][1], time])))
        if person in folders
        else (person, time)
        for name, (person, time) in worded.items()
    }
    numbered = _numbered_times({person for person, _ in worded.values()})
    found = {}
    for name, (person, time) in worded.items():
        shorter, number = numbered.get(person, (person, ""))
        found[name] = (shorter, " ".join(filter(None, (number, time))))
    return found


def _study_folders(parts: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Return which folder of each name is that of a study, or the number of its folders if none is.

    What lies above a study is a person's if it has a number or is another one in other names. The
    `data` of `data/2019-03-01_export/anna` is none, and the person lies below.
    """
    beginnings: dict[int, set[tuple[str, ...]]] = defaultdict(set)
    for folders in parts.values():
        for depth in range(1, len(folders) + 1):
            beginnings[depth].add(tuple(folders[:depth]))

    def study_of(folders: Sequence[str]) -> int:
        found = (place for place, part in enumerate(folders) if place and _STUDY.fullmatch(part))
        place = next(found, len(folders))
        above = "/".join(folders[:place])
        is_numbered = any(map(str.isdigit, _SITE_NUMBER.sub("", above)))
        return place if is_numbered or len(beginnings[place]) > 1 else len(folders)

    return {name: study_of(folders) for name, folders in parts.items()}


def _without_time_words(name: str, parts: list[str], study: int) -> tuple[str, str]:
    """Return a name without the folders and endings that are a time point, and the time point.

    Args:
        name: Name of an exam.
        parts: Its folders that may identify a person.
        study: Which of them is a study's; their number if none is.

    Returns:
        The person and the time point, which may be empty.
    """
    for place, part in enumerate(parts):
        # "sub-01" may be another person in another folder; numbers of other collections are unique.
        if (known := known_person(part)) and not known.startswith("sub-"):
            return known, "/".join([part.partition(known)[2], *parts[place + 1 :]]).strip("/")
    parts, below = parts[:study], parts[study:]
    kept: list[str] = []
    times: list[str] = []
    for place, part in enumerate(parts):
        rest = "/".join(parts[:place] + parts[place + 1 :])
        (times if _is_time(part, rest) else kept).append(part)
    if not kept:
        return name, ""
    last, ending = _without_ending(kept[-1])
    return "/".join([*kept[:-1], last]), "/".join([*ending, *times, *below])


def _parts_of_person(name: str) -> list[str]:
    """Return the folders of a name that may identify a person, without those that order files."""
    parts = [_EXPORTED.sub("", part) for part in name.split("/")]
    named = [part for part in parts if not _ORDER.fullmatch(part) and not normal_sequence(part)]
    return named or parts


def _is_time(text: str, person: str) -> bool:
    """Return whether a text is a time point, given the rest of the name."""
    if _TIME.fullmatch(text):
        return True
    numbered = any(character.isdigit() for character in _SITE_NUMBER.sub("", person))
    return numbered and _WEAK_TIME.fullmatch(text) is not None


def _without_ending(name: str) -> tuple[str, list[str]]:
    """Return a name without the time point at its end, and the time point with its separator."""
    for separator in _SEPARATED.finditer(name):
        person, ending = name[: separator.start()], name[separator.end() :]
        # "1" is the label of a folder, and here a person's number.
        is_label = not person.isdecimal() and label_of(person) is not None
        if not person or _NOBODY.fullmatch(person) or is_label:
            continue
        if _is_time(ending, person):
            return person, [name[separator.start() :]]
    return name, []


def _numbered_folders(names: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Return names that end in a folder with a bare number, as of a time point, split.

    In `RHUH-0001/0` the number is a time point's: the folder above has a number, too, and no more
    folders below it than one person has exams. In `site1/07` and `glioma_2/1` it is a person's.
    """
    split: dict[str, dict[str, str]] = defaultdict(dict)
    for name in names:
        above, _, last = name.rpartition("/")
        own = above.rpartition("/")[2]
        is_person = any(map(str.isdigit, _SITE_NUMBER.sub("", own))) and label_of(own) is None
        if is_person and _BARE_NUMBER.fullmatch(last):
            split[above][name] = last
    if len(split) < 2:
        return {}
    return {
        name: (above, number)
        for above, numbers in split.items()
        if len(numbers) <= _MAX_TIMES
        for name, number in numbers.items()
    }


def _numbered_times(names: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Return names that end in the numbers of a person and of a time point, split.

    The longer number is the person's if it is padded with zeros to four digits, or if it has at
    least twice as many values as the shorter one.
    """
    split = {}
    for matches in _numbered_alike(names):
        if _number_persons_and_times(matches):
            for found in matches:
                person = found["before"] + found["id"]
                split[found[0]] = (person, found["sep"] + found["number"])
    return split


def _numbered_alike(names: Iterable[str]) -> Iterable[list[re.Match[str]]]:
    """Return names that end in two numbers, in groups that differ only in the numbers."""
    alike: dict[tuple[str, int, str], list[re.Match[str]]] = defaultdict(list)
    for name in names:
        found = _NUMBERED.fullmatch(name)
        if found and len(found["id"]) > len(found["number"]) and not _SITE.search(found["before"]):
            alike[found["before"], len(found["id"]), found["sep"]].append(found)
    return alike.values()


def _number_persons_and_times(matches: Sequence[re.Match[str]]) -> bool:
    """Return whether the two numbers of names are a person's and a time point's."""
    people = {found["id"] for found in matches}
    numbers = {found["number"] for found in matches}
    is_padded = (
        len(matches[0]["id"]) >= _PADDED_DIGITS
        and any(person[0] == "0" for person in people)
        and len(numbers) <= max(len(people), _MAX_TIMES)
    )
    repeats = len(matches) > len(people) >= 2 * len(numbers)
    return is_padded or repeats


def with_persons(items: Sequence[Item]) -> tuple[list[Item], str]:
    """Return items with one person for all time points, and a sentence about the persons.

    Args:
        items: Items of one collection; `person` is the name of an exam, or empty.

    Returns:
        The items, and a sentence; empty where no person is known.
    """
    persons = persons_of(item.person for item in items if item.person)
    named = [
        replace(item, person=persons[item.person][0]) if item.person else item for item in items
    ]
    return named, _sentence(persons)


def _sentence(persons: Mapping[str, tuple[str, str]]) -> str:
    if not persons:
        return ""
    times: dict[str, list[str]] = defaultdict(list)
    for _, (person, time) in sorted(persons.items()):
        times[person] += [time] if time else []
    example = max(times, key=lambda person: (len(times[person]), -list(times).index(person)))
    text = f"persons: {len(times)}, from names such as {example}"
    if not times[example]:
        return text
    listed = ", ".join(times[example][:3])
    verb = "is taken as a time point" if len(times[example]) == 1 else "are taken as time points"
    return f"{text} ({listed} {verb})"


def exam_of_stem(stem: str) -> str:
    """Return the exam that the name of a volume in a class's folder gives.

    Args:
        stem: Name of the file without its ending, such as `P012_t1`.

    Returns:
        The name without words of sequences; empty where it has no other word.
    """
    words = re.split(r"([-_ .]+)", stem)
    while words and (normal_sequence(words[-1]) or not words[-1].strip("-_ .")):
        words.pop()
    return "".join(words)
