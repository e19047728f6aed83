"""Frames of one series become scans, and a scan that lacks slices of its series says so."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from meninx._errors import UnsupportedScan
from meninx._scan.completeness import Incomplete
from meninx._scan.frame import Frame
from meninx._scan.sequence import Acquisition
from meninx._scan.series import Stack, contradictions, have_repeated_numbers, stacks_of
from meninx._scan.source import Source

SLICES = 12
GAP = 5.5
TURNED = (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0)


def frame(index: int, height: float | None = None, **values) -> Frame:
    """Return an axial slice of 256 x 256 pixels of 0.9 mm."""
    name = f"scans/{values.pop('name', index)}.dcm"
    height = GAP * index if height is None else height
    found = Frame(
        source=Source(name, Path(name), 1000),
        number=0,
        patient="a",
        person=("a", "b", "c", "d"),
        study_uid="1.2",
        series_uid="1.2.3",
        instance_uid=f"1.2.3.{name}",
        series_number=3,
        shape=(256, 256),
        pixel_spacing=(0.9, 0.9),
        position=(-115.0, -115.0, height),
        orientation=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
        thickness=5.0,
        spacing=GAP,
        contrast=(1.0, None, ("M", "ND")),
        weighting=(100.0, 2500.0, None),
        moments=(1.0, None, None),
        acquisition=Acquisition(9000.0, 100.0, 2500.0),
        frame_of_reference="1.2.9",
        instance_number=index + 1,
    )
    return replace(found, **values)


def series(count: int = SLICES, **values) -> list[Frame]:
    return [frame(index, name=f"{sorted(values)}{index}", **values) for index in range(count)]


def changed(frames, chosen, **values):
    """Return frames, of which those of some indices have other values."""
    indices = range(len(frames))[chosen]
    return [
        replace(found, **values) if index in indices else found
        for index, found in enumerate(frames)
    ]


def lengths(stacks: list[Stack]) -> list[int]:
    return sorted(len(stack.frames) for stack in stacks)


def words(stack: Stack) -> tuple[str, ...]:
    frames, *_ = stack.placed()
    return contradictions(frames)


UPPER, ODD, LAST_THIRD = slice(5, None), slice(1, None, 2), slice(8, None)


SLABS = "ImageType, time point or stack"


@pytest.mark.parametrize("chosen", [UPPER, ODD, LAST_THIRD])
@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"contrast": (1.0, None, ("M", "ND", "FM3_2"))}, SLABS),
        ({"contrast": (1.0, 2.0, ("M", "ND"))}, SLABS),
        ({"contrast": ("2", 1.0, ("M", "ND"), "")}, SLABS),
        ({"weighting": (102.0, 2500.0, None)}, "EchoTime"),
        ({"weighting": (100.0, None, None)}, None),
        ({"pixel_spacing": (0.9004, 0.9004)}, None),
    ],
)
def test_parts_of_one_weighting_that_only_together_are_a_stack_are_one_scan(chosen, values, name):
    (stack,) = stacks_of(changed(series(), chosen, **values))
    assert len(stack.frames) == SLICES
    assert (stack.incomplete, stack.warnings) == ((), ())
    # Values of `contrast` that alternate from slice to slice are jitter.
    is_said = name is not None and (name != SLABS or chosen != ODD)
    assert words(stack) == (name,) * is_said


@pytest.mark.parametrize("chosen", [UPPER, ODD, LAST_THIRD])
@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"weighting": (100.0, 200.0, None)}, "InversionTime"),
        ({"weighting": (20.0, 2500.0, None)}, "EchoTime"),
        ({"weighting": (100.0, 2500.0, 1000.0)}, None),
        ({"shape": (512, 512), "pixel_spacing": (0.45, 0.45)}, "Rows or Columns and PixelSpacing"),
        ({"pixel_spacing": (0.8, 0.8)}, "PixelSpacing"),
        ({"orientation": TURNED}, "ImageOrientationPatient"),
    ],
)
def test_parts_that_can_not_be_one_scan_are_incomplete(chosen, values, name):
    frames = series()
    if name is None:
        frames = changed(frames, slice(None), weighting=(100.0, 2500.0, 0.0))
        name = "DiffusionBValue"
    frames = changed(frames, chosen, **values)
    if "orientation" in values:
        frames = [
            replace(found, position=(115.0, 115.0, found.position[2]))
            if found.orientation == TURNED
            else found
            for found in frames
        ]
    stacks = stacks_of(frames)
    assert len(stacks) == 2
    what = f"slices of the series (the others differ in {name})"
    for stack in stacks:
        assert stack.incomplete == (Incomplete(what, SLICES, len(stack.frames)),)


def tilted(frames, degrees, around=(0.0, 0.0, 0.0)):
    """Return slices turned around the axis from left to right."""
    angle = np.radians(degrees)
    turn = np.array(
        [
            [1.0, 0.0, 0.0],
            [0.0, np.cos(angle), -np.sin(angle)],
            [0.0, np.sin(angle), np.cos(angle)],
        ]
    )
    turned = []
    for found in frames:
        place = turn @ (np.array(found.position) - around) + around
        cosines = np.reshape(found.orientation, (2, 3)) @ turn.T
        turned.append(replace(found, position=tuple(place), orientation=tuple(cosines.ravel())))
    return turned


@pytest.mark.parametrize("degrees", [3, -8, 15, -15, 30])
@pytest.mark.parametrize("values", [{}, {"shape": (240, 200)}])
@pytest.mark.parametrize("placed", ["turned", "kept"])
def test_a_half_that_tilted_slices_continue_is_incomplete(degrees, values, placed):
    frames = series()
    middle = (0.0, 0.0, GAP * UPPER.start)
    upper = tilted(changed(frames[UPPER], slice(None), **values), degrees, middle)
    if placed == "kept":
        upper = [
            replace(found, position=before.position)
            for found, before in zip(upper, frames[UPPER], strict=True)
        ]
    stacks = stacks_of([*frames[: UPPER.start], *upper])
    assert len(stacks) == 2
    for stack in stacks:
        (count,) = stack.incomplete
        assert "ImageOrientationPatient" in count.what
        assert count.received == len(stack.frames) < count.expected


@pytest.mark.parametrize("degrees", [15, 30, 60, 90])
def test_two_whole_heads_with_a_tilt_between_are_whole(degrees):
    first = series()
    middle = (0.0, 0.0, GAP * (SLICES - 1) / 2)
    second = tilted([frame(index, name=f"t{index}") for index in range(SLICES)], degrees, middle)
    stacks = stacks_of([*first, *second])
    assert lengths(stacks) == [SLICES, SLICES]
    assert [stack.incomplete for stack in stacks] == [(), ()]


@pytest.mark.parametrize(("count", "degrees"), [(1, 15), (4, 25), (1, -15)])
def test_few_oblique_slices_beside_a_whole_head_leave_it_whole(count, degrees):
    middle = (0.0, 0.0, GAP * (SLICES - 2))
    oblique = [
        frame(index, GAP * (SLICES - 2 + index), name=f"o{index}", instance_uid=f"o{index}")
        for index in range(count)
    ]
    stacks = stacks_of([*series(), *tilted(oblique, degrees, middle)])
    assert sorted(lengths(stacks)) == [count, SLICES]
    assert [stack.incomplete for stack in stacks] == [(), ()]


def test_a_reformatted_volume_is_whole_beside_its_source():
    fine = {"thickness": GAP / 4, "spacing": GAP / 4}
    source = [
        frame(index, GAP / 4 * index, name=f"s{index}", instance_uid=f"s{index}", **fine)
        for index in range(4 * SLICES)
    ]
    derived = series(contrast=(1.0, None, ("MPR",)))
    stacks = stacks_of([*source, *derived])
    assert lengths(stacks) == [SLICES, 4 * SLICES]
    assert [(stack.incomplete, stack.warnings) for stack in stacks] == [((), ())] * 2
    short = stacks_of([*source, *derived[3:9]])
    assert [stack.incomplete for stack in short] == [(), ()]
    codes = {len(stack.frames): [found.code for found in stack.warnings] for stack in short}
    assert codes == {4 * SLICES: [], 6: ["part_of_head"]}


def test_every_third_slice_of_another_matrix_is_incomplete():
    frames = series()
    for start, side in ((1, 200), (2, 300)):
        frames = changed(frames, slice(start, None, 3), shape=(side, side))
    stacks = stacks_of(frames)
    assert lengths(stacks) == [4, 4, 4]
    assert [stack.incomplete[0].expected for stack in stacks] == [SLICES] * 3


def test_a_time_point_that_was_broken_off_is_incomplete():
    points = [series(contrast=(1.0, float(point), ())) for point in range(3)]
    for point, frames in enumerate(points):
        points[point] = [
            replace(found, instance_uid=f"{point}.{index}") for index, found in enumerate(frames)
        ]
    stacks = stacks_of([*points[0], *points[1], *points[2][:7]])
    counts = {len(stack.frames): stack.incomplete for stack in stacks}
    what = f"slices of the series (the others differ in {SLABS})"
    assert counts == {SLICES: (), 7: (Incomplete(what, SLICES, 7),)}


def test_time_points_of_several_packages_are_whole():
    frames = [
        frame(
            index,
            name=f"{point}-{index}",
            moments=(float(2 * point + index % 2), f"2026010110{point}{index:02}", None),
        )
        for point in range(3)
        for index in range(SLICES)
    ]
    stacks = stacks_of(frames)
    assert lengths(stacks) == [SLICES] * 3
    assert [(stack.incomplete, stack.warnings) for stack in stacks] == [((), ())] * 3


def test_a_single_slice_of_another_matrix_is_missing():
    stacks = stacks_of(changed(series(20), slice(9, 10), shape=(512, 512)))
    (most,) = (stack for stack in stacks if len(stack.frames) > 1)
    assert (most.incomplete, [warning.code for warning in most.warnings]) == (
        (),
        ["missing_slices"],
    )


def test_halves_tilted_against_each_other_are_incomplete():
    tilt = np.radians(3)
    cosines = (1.0, 0.0, 0.0, 0.0, float(np.cos(tilt)), float(np.sin(tilt)))
    frames = series()
    frames = [
        *frames[:6],
        *(
            replace(
                found,
                orientation=cosines,
                position=(
                    -115.2,
                    0.0 - 115.2 * cosines[4],
                    GAP * index + 6 * GAP - 115.2 * cosines[5],
                ),
            )
            for index, found in enumerate(frames[6:])
        ),
    ]
    assert [stack.incomplete[0].received for stack in stacks_of(frames)] == [6, 6]


@pytest.mark.parametrize(("chosen", "is_incomplete"), [(ODD, True), (slice(3, 4), False)])
def test_slices_without_a_position_are_counted(chosen, is_incomplete):
    frames = changed(series(), chosen, position=None, orientation=None)
    placed = next(stack for stack in stacks_of(frames) if stack.frames[0].is_placed)
    what = "slices of the series (the others have no position)"
    count = (Incomplete(what, SLICES, len(placed.frames)),)
    assert placed.incomplete == count * is_incomplete
    assert [warning.code for warning in placed.warnings] == ["missing_slices"] * (not is_incomplete)


def echoes(**values):
    """Return a series with two echoes at each place, the second with these values."""
    second = series(contrast=(2.0, None, ("M", "ND")), weighting=(20.0, 2500.0, None))
    return [*series(), *(replace(found, **values) for found in second)]


def dual_stack():
    """Two stacks, as of both knees: the second lies 60 mm beyond the first."""
    return [
        *series(),
        *(
            frame(index, GAP * (index + SLICES) + 60, name=f"b{index}", contrast=("2",))
            for index in range(SLICES)
        ),
    ]


def three_planes():
    """Axial, sagittal and coronal slices in one series."""
    cosines = [(1.0, 0, 0, 0, 1, 0), (0.0, 1, 0, 0, 0, -1), (1.0, 0, 0, 0, 0, -1)]
    axes = (2, 0, 1)
    return [
        frame(
            index,
            name=f"{axis}{index}",
            orientation=plane,
            position=tuple(GAP * index if side == axis else -60.0 for side in range(3)),
        )
        for plane, axis in zip(cosines, axes, strict=True)
        for index in range(SLICES)
    ]


def with_a_saved_screen():
    screen = UnsupportedScan("a saved screen", reason="derived")
    return [*series(), frame(SLICES, exclusion=screen, name="screen", shape=(512, 512))]


@pytest.mark.parametrize(
    ("frames", "counts"),
    [
        (echoes(), [SLICES, SLICES]),
        (echoes(shape=(128, 128), pixel_spacing=(1.8, 1.8)), [SLICES, SLICES]),
        (dual_stack(), [SLICES, SLICES]),
        (three_planes(), [SLICES] * 3),
        (with_a_saved_screen(), [1, SLICES]),
    ],
    ids=["echoes", "echoes of two matrices", "dual stack", "three planes", "saved screen"],
)
def test_ordinary_series_of_several_scans_are_complete(frames, counts):
    stacks = stacks_of(frames)
    assert lengths(stacks) == counts
    assert [stack.incomplete for stack in stacks] == [()] * len(stacks)


def test_a_slab_says_that_the_series_has_slices_beyond_it():
    stacks = stacks_of(dual_stack())
    assert [[warning.code for warning in stack.warnings] for stack in stacks] == [
        ["part_of_head"],
        ["part_of_head"],
    ]
    assert [stack.warnings for stack in stacks_of(echoes())] == [(), ()]


@pytest.mark.parametrize("chosen", [UPPER, ODD])
def test_two_frames_of_reference_in_one_stack_are_said(chosen):
    (stack,) = stacks_of(changed(series(), chosen, frame_of_reference="1.2.10"))
    assert words(stack) == ("FrameOfReferenceUID",)
    (stack,) = stacks_of(changed(series(), chosen, frame_of_reference=""))
    assert words(stack) == ()


def test_two_contrasts_in_one_stack_are_said():
    after = Acquisition(600.0, 10.0, contrast_agent=True)
    frames = changed(series(), slice(None), acquisition=replace(after, contrast_agent=False))
    (stack,) = stacks_of(changed(frames, UPPER, acquisition=after))
    assert words(stack) == ("the sequence that they describe",)


OTHER_NAME, OTHER_BIRTH, OTHER_SEX = (
    ("a", "z", "c", "d"),
    ("a", "b", "z", "d"),
    ("a", "b", "c", "z"),
)


@pytest.mark.parametrize("person", [OTHER_NAME, OTHER_BIRTH, OTHER_SEX])
@pytest.mark.parametrize("chosen", [UPPER, ODD])
def test_slices_of_another_person_are_another_scan(person, chosen):
    stacks = stacks_of(changed(series(), chosen, person=person))
    assert len(stacks) == 2
    what = "slices of the series (the others name another patient, study or number)"
    for stack in stacks:
        assert stack.incomplete == (Incomplete(what, SLICES, len(stack.frames)),)


@pytest.mark.parametrize("name", ["b dr", "b e f", ""])
@pytest.mark.parametrize("chosen", [UPPER, ODD])
def test_a_name_with_more_words_is_the_same(name, chosen):
    (stack,) = stacks_of(changed(series(), chosen, person=("a", name, "c", "d")))
    assert (len(stack.frames), stack.incomplete) == (SLICES, ())


def test_a_name_that_fits_two_people_is_neither():
    frames = changed(series(), slice(0, 4), person=("a", "b e", "c", "d"))
    assert (
        lengths(stacks_of(changed(frames, slice(4, 8), person=("a", "b f", "c", "d")))) == [4] * 3
    )


@pytest.mark.parametrize("person", [("a", "", "c", "d"), ("a", "b", "", ""), ("", "b", "", "")])
def test_a_person_of_whom_less_is_written_is_the_same(person):
    (stack,) = stacks_of(changed(series(), UPPER, person=person))
    assert (len(stack.frames), stack.incomplete) == (SLICES, ())


def in_folder(name, height=0.0, **values):
    """Return a series without UIDs in a folder of its own."""
    values = {"study_uid": "", "series_uid": "", "instance_uid": "", **values}
    return [
        frame(index, GAP * index + height, name=f"{name}/{index}", **values)
        for index in range(SLICES)
    ]


@pytest.mark.parametrize("height", [GAP / 2, 2.3, 1.0, GAP * SLICES, 0.0])
@pytest.mark.parametrize("person", [("a", "b", "c", "d"), OTHER_NAME, OTHER_SEX])
def test_two_people_without_uids_are_two_scans(height, person):
    stacks = stacks_of([*in_folder("p1"), *in_folder("p2", height, person=person)])
    assert lengths(stacks) == [SLICES, SLICES]
    assert [stack.incomplete for stack in stacks] == [(), ()]
    for stack in stacks:
        assert len({found.source.name[:8] for found in stack.frames}) == 1


@pytest.mark.parametrize("chosen", [UPPER, ODD])
def test_one_series_without_uids_may_lie_in_two_folders(chosen):
    other = in_folder("p2")
    frames = in_folder("p1")
    frames[chosen] = other[chosen]
    (stack,) = stacks_of(frames)
    assert (len(stack.frames), stack.incomplete) == (SLICES, ())
    unnumbered = stacks_of(changed(frames, slice(None), instance_number=None))
    what = "slices of the series (the others lie in another folder or name the patient otherwise)"
    assert [stack.incomplete for stack in unnumbered] == [
        (Incomplete(what, SLICES, len(stack.frames)),) for stack in unnumbered
    ]


@pytest.mark.parametrize("numbered", [True, False])
def test_a_name_written_in_two_ways_is_one_person_without_uids_too(numbered):
    frames = changed(in_folder("p"), UPPER, patient="b")
    if not numbered:
        frames = changed(frames, slice(None), instance_number=None)
    stacks = stacks_of(frames)
    assert lengths(stacks) == ([SLICES] if numbered else [5, 7])
    assert all(bool(stack.incomplete) != numbered for stack in stacks)


def test_slices_that_share_numbers_are_said():
    mixed = [
        *in_folder("p"),
        *(
            replace(found, source=replace(found.source, name=f"{number}"))
            for number, found in enumerate(in_folder("p", GAP / 2))
        ),
    ]
    (stack,) = stacks_of([replace(found, series_uid="1") for found in mixed])
    assert len(stack.frames) == 2 * SLICES
    assert have_repeated_numbers(stack.frames)
    assert not have_repeated_numbers(series())
    assert not have_repeated_numbers(changed(series(), slice(None), instance_number=7))


def thinned(every, echoes=1, by_echo=False, **values):
    """Return a series of echoes in which only one of several slices is left, and its scans."""
    frames = []
    for echo in range(echoes):
        for index in range(0, SLICES * every, every):
            number = echo * SLICES * every + index if by_echo else index * echoes + echo
            own = {"contrast": (float(echo), None, ()), "instance_number": number + 1}
            frames.append(frame(index, name=f"{echo}-{index}", **own | values))
    return stacks_of(frames)


@pytest.mark.parametrize("every", [2, 3])
@pytest.mark.parametrize(
    "values",
    [
        {},
        {"spacing": -GAP},
        {"spacing": GAP, "thickness": None},
        {"spacing": None},  # Siemens in 3-D
        {"spacing": 0.5},  # the gap itself
        {"spacing": GAP, "thickness": GAP},
        {"spacing": GAP, "thickness": 11.0},  # slices overlap
    ],
)
@pytest.mark.parametrize(("echoes", "by_echo"), [(1, False), (2, False), (2, True)])
def test_slices_between_those_of_a_thinned_series_are_missing(every, values, echoes, by_echo):
    stacks = thinned(every, echoes, by_echo, **values)
    assert len(stacks) == echoes
    for stack in stacks:
        if "spacing" in values and values["spacing"] is None and echoes > 1 and not by_echo:
            (warning,) = stack.warnings
            assert warning.code == "missing_slices"
        elif values.get("thickness") == 11 and every == 3:
            # Three times the distance is also the thickness and a gap of that size.
            (warning,) = stack.warnings
            assert warning.code == "missing_slices"
        else:
            (count,) = stack.incomplete
            assert (count.expected, count.received) == ((SLICES - 1) * every + 1, SLICES)
            assert f"{every * GAP:.4g} mm apart" in count.what


@pytest.mark.parametrize(
    ("gap", "values"),
    [
        (11.0, {}),
        (16.5, {}),
        (10.0, {"spacing": 5.0}),
        (11.0, {"spacing": None}),
        (9.5, {"spacing": None}),
        (9.0, {"spacing": 0.5}),
        (10.5, {}),  # a gap of 5.5 mm between slices of 5 mm is unusual
        (11.0, {"spacing": 0.0}),
    ],
)
def test_distances_that_no_header_states_are_a_warning(gap, values):
    (stack,) = stacks_of([frame(index, gap * index, **values) for index in range(SLICES)])
    assert stack.incomplete == ()
    (warning,) = stack.warnings
    assert warning.code == "missing_slices"
    assert f"{gap:.4g} mm apart" in warning.text


@pytest.mark.parametrize(
    ("gap", "step", "values"),
    [
        (5.5, 1, {}),
        (5.5, 2, {}),  # one of two echoes
        (5.51, 2, {}),
        (5.5, 1, {"spacing": -5.5}),
        (5.5, 2, {"spacing": 0.5}),  # the gap, as some vendors write it
        (5.0, 1, {"spacing": 0.0}),
        (7.5, 1, {"spacing": 2.5}),
        (6.5, 1, {"spacing": None}),
        (5.5, 2, {"spacing": None}),
        (5.5, 1, {"spacing": None, "thickness": None}),
        (0.5, 1, {"spacing": 0.5, "thickness": 1.0}),  # overlapping slices in 3-D
        (1.0, 1, {"spacing": 0.5, "thickness": 1.0}),
        (1.0, 2, {"spacing": None, "thickness": 1.0}),
        (1.0, 1, {"spacing": 1.0, "thickness": 5.0}),
        (5.0, 1, {"spacing": 1.0}),  # reformatted
        (4.5, 1, {}),
        (1.0, 1, {"spacing": None}),
    ],
)
def test_usual_distances_are_not_doubted(gap, step, values):
    frames = [
        frame(index, gap * index, **{"instance_number": index * step + 1} | values)
        for index in range(SLICES)
    ]
    (stack,) = stacks_of(frames)
    assert (stack.incomplete, stack.warnings) == ((), ())


@pytest.mark.parametrize("spacing", [None, 2 * GAP])
def test_numbers_alone_are_a_warning(spacing):
    (stack,) = thinned(2, spacing=spacing, thickness=spacing and 5.0)
    assert [warning.code for warning in stack.warnings] == ["missing_slices"]


def test_slices_nearer_than_their_spacing_are_said():
    (stack,) = stacks_of([frame(index, GAP / 2 * index) for index in range(SLICES)])
    (warning,) = stack.warnings
    assert warning.code == "headers_contradict"
    assert "2.75 mm apart, but SpacingBetweenSlices is 5.5 mm" in warning.text
