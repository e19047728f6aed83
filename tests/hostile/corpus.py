"""Make inputs that lie, break off or blow up, by code: no bad file is kept in the repository.

Each case is a function that writes a file or folder and returns its path, with the outcomes that
are right for it: `scored`, or the reason of a refusal or failure. None allows any typed outcome,
where decoders may mend what is broken.
"""

import gzip
import io
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import nibabel
import numpy as np
import pydicom
from PIL import Image, PngImagePlugin
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence

from meninx._scan.geometry import affine_of_stack
from meninx._scan.scan import Scan
from meninx._synthesis.phantom import grid_of
from meninx._synthesis.phantom_studies import make_study
from meninx._synthesis.writing import dicom_slice

WIDTH, HEIGHT, SLICES = 96, 88, 4
SHARE_STEPS = (0.2, 0.5, 0.8, 0.99)
ANY = None
BROKEN = ("unreadable",)


@dataclass(frozen=True)
class Case:
    """Hold one bad input.

    Args:
        make: Writes it into an empty folder and returns the path to score.
        right: Allowed outcomes; None for any that is typed.
    """

    make: Callable[[Path], Path]
    right: tuple[str, ...] | None


def file(name: str, data: bytes | Callable[[], bytes]) -> Callable[[Path], Path]:
    """Return what writes a file; data that take long to make are a function."""

    def make(folder: Path) -> Path:
        path = folder / name
        path.write_bytes(data if isinstance(data, bytes) else data())
        return path

    return make


@cache
def head() -> Scan:
    """Return a head that the detector scores."""
    grid = grid_of("axial", (WIDTH, HEIGHT, SLICES), (2.1, 2.2, 12.0))
    scan = make_study("head", 7, None, "T1", "axial", grid).scan
    affine = affine_of_stack((0, 0, 0), (1, 0, 0, 0, 1, 0), (2.0, 1.9), 6.0)
    return Scan("head", np.clip(scan.voxels, 0, 4000).astype(np.float32), affine, "T1")


@cache
def picture() -> Image.Image:
    """Return its middle slice as an 8-bit picture."""
    gray = head().voxels[:, :, SLICES // 2].T / 4
    return Image.fromarray(np.clip(gray, 0, 255).astype(np.uint8))


def saved(kind: str, image: Image.Image | None = None, **options: object) -> bytes:
    buffer = io.BytesIO()
    (image or picture()).save(buffer, kind, **options)
    return buffer.getvalue()


def cuts(name: str, data: bytes, places: dict[str, int]) -> Iterator[tuple[str, Case]]:
    """Yield a file cut at each place."""
    for place, end in places.items():
        suffix = name.split(".", 1)[1]
        yield f"{suffix} cut {place}", Case(file(name, data[:end]), (*BROKEN, "nothing_found"))


# --- PNG -------------------------------------------------------------------------------------


def chunk(kind: bytes, data: bytes, crc: int | None = None, length: int | None = None) -> bytes:
    check = zlib.crc32(kind + data) if crc is None else crc
    size = len(data) if length is None else length
    return struct.pack(">I", size) + kind + data + struct.pack(">I", check)


def png(
    width: int = WIDTH,
    height: int = HEIGHT,
    depth: int = 8,
    color: int = 0,
    *,
    interlace: int = 0,
    data: bytes | None = None,
    before: bytes = b"",
    after: bytes = b"",
    end: bytes | None = None,
) -> bytes:
    """Return a PNG with the values given in its header."""
    if data is None:
        rows = np.asarray(picture())
        data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    ihdr = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, interlace)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", ihdr)
        + before
        + chunk(b"IDAT", data)
        + after
        + (chunk(b"IEND", b"") if end is None else end)
    )


def bomb(kind: bytes, start: bytes) -> bytes:
    """Return a PNG with a chunk that holds 80 MB of packed zeros."""
    return png(before=chunk(kind, start + zlib.compress(bytes(80 * 2**20), 9)))


def png_cases() -> Iterator[tuple[str, Case]]:
    whole = png()
    idat = whole.index(b"IDAT")
    yield from cuts(
        "x.png",
        whole,
        {
            "in its signature": 5,
            "after its signature": 8,
            "in IHDR": 20,
            "before IDAT": idat - 4,
            "in IDAT's head": idat + 2,
            "early in IDAT": idat + 30,
            "in the middle": len(whole) // 2,
            "late in IDAT": len(whole) - 30,
        },
    )
    yield "png without its end", Case(file("x.png", png(end=b"")), ANY)
    lies = {
        "65535 x 65535 with ten bytes": (
            png(65535, 65535, data=b"0123456789"),
            ("limit_exceeded",),
        ),
        "2 billion wide": (png(2**31 - 1, 1, data=b"0123456789"), ("limit_exceeded", "unreadable")),
        "no width": (png(0), BROKEN),
        "no height": (png(height=0), BROKEN),
        "twice the height of its data": (png(height=2 * HEIGHT), ANY),
        "half the height of its data": (png(height=HEIGHT // 2), ("too_small", "unreadable")),
        "3 bits deep": (png(depth=3), BROKEN),
        "32 bits deep": (png(depth=32), BROKEN),
        "color type 7": (png(color=7), BROKEN),
        "color without its bytes": (png(color=2), ANY),
        "palette that is missing": (png(color=3), ANY),
        "interlace 9": (png(interlace=9), ANY),
        "interlaced data that are not": (png(interlace=1), ANY),
        "data that are no zlib": (png(data=b"garbage" * 20), BROKEN),
        "no data": (png(data=b""), BROKEN),
        "palette of 4 bytes": (png(color=3, before=chunk(b"PLTE", b"abcd")), ANY),
        "transparency of 3 bytes": (png(before=chunk(b"tRNS", b"abc")), ANY),
        "IHDR twice": (png(before=whole[8:33]), ANY),
        "an unknown critical chunk": (png(before=chunk(b"ABCD", b"x")), ANY),
        "a chunk of negative length": (png(before=chunk(b"tEXt", b"x", length=2**32 - 1)), BROKEN),
        "a chunk of 2 GB in name": (png(before=chunk(b"tEXt", b"x", length=2**31 - 1)), BROKEN),
        "IDAT with a wrong CRC": (
            whole[: idat - 4] + chunk(b"IDAT", zlib.compress(b"\0" * 97 * 88), crc=1),
            ANY,
        ),
        "IHDR with a wrong CRC": (whole[:29] + b"\0\0\0\0" + whole[33:], BROKEN),
        "a text bomb": (lambda: bomb(b"zTXt", b"k\0\0"), ANY),
        "an international text bomb": (lambda: bomb(b"iTXt", b"k\0\1\0\0\0"), ANY),
        "an ICC bomb": (lambda: bomb(b"iCCP", b"k\0\0"), ANY),
        "2 MB of text": (png(before=chunk(b"tEXt", b"k\0" + b"x" * 2**21)), ANY),
        "10,000 text chunks": (png(before=chunk(b"tEXt", b"k\0v") * 10_000), ANY),
        "a physical size of 0": (png(before=chunk(b"pHYs", bytes(9))), ANY),
        "a pixel bomb": (
            png(30_000, 30_000, data=zlib.compress(bytes(2**20), 9)),
            ("limit_exceeded",),
        ),
        "one row of a limit's width": (png(32_769, 1), ("limit_exceeded",)),
        "animation of two frames": (
            saved("PNG", save_all=True, append_images=[Image.new("L", (WIDTH, HEIGHT), 9)]),
            ("several_pages",),
        ),
        "one gray": (
            saved("PNG", Image.new("L", (WIDTH, HEIGHT), 77)),
            ("blank", "few_levels", "empty"),
        ),
        "one pixel": (saved("PNG", Image.new("L", (1, 1), 77)), ("blank", "too_small")),
        "black and white": (
            saved("PNG", picture().point(lambda v: 255 * (v > 90)).convert("1")),
            ("few_levels",),
        ),
        "a heat map of our own": (saved("PNG", pnginfo=_marked()), ("derived",)),
    }
    for name, (data, right) in lies.items():
        yield f"png {name}", Case(file("x.png", data), right)


def _marked() -> PngImagePlugin.PngInfo:
    mark = PngImagePlugin.PngInfo()
    mark.add_text("meninx heat map", "x")
    return mark


# --- JPEG, TIFF, BMP, WebP ------------------------------------------------------------------


def jpeg_cases() -> Iterator[tuple[str, Case]]:
    whole = saved("JPEG", quality=80)
    markers = {
        "before its tables": b"\xff\xdb",
        "before its frame": b"\xff\xc0",
        "before its codes": b"\xff\xc4",
        "before its scan": b"\xff\xda",
    }
    places = {name: whole.index(marker) for name, marker in markers.items()}
    yield from cuts("x.jpg", whole, places | {"after its start": 3, "in its first marker": 8})
    for share in SHARE_STEPS:
        yield f"jpg cut at {share:.0%}", Case(file("x.jpg", whole[: int(len(whole) * share)]), ANY)
    frame = places["before its frame"]

    def framed(offset: int, data: bytes) -> bytes:
        return whole[: frame + offset] + data + whole[frame + offset + len(data) :]

    lies = {
        "65535 x 65535": (framed(5, b"\xff\xff\xff\xff"), ("limit_exceeded",)),
        "no height": (framed(5, b"\0\0"), BROKEN),
        "no width": (framed(7, b"\0\0"), BROKEN),
        "twelve bits": (framed(4, b"\x0c"), BROKEN),
        "lossless": (framed(1, b"\xc3"), BROKEN),
        "arithmetic coding": (framed(1, b"\xc9"), ANY),
        "200 components": (framed(9, b"\xc8"), BROKEN),
        "a marker of length 0": (whole[:2] + b"\xff\xe0\0\0" + whole[2:], ANY),
        "a marker beyond the end": (whole[:2] + b"\xff\xe1\xff\xff" + whole[2:], ANY),
        "EXIF that is garbage": (
            whole[:2] + b"\xff\xe1\0\x20Exif\0\0" + b"\x2a" * 24 + whole[2:],
            ANY,
        ),
        "a scan of noise": (
            whole[: places["before its scan"] + 12] + np.random.default_rng(0).bytes(4000),
            ANY,
        ),
        "four inks": (saved("JPEG", picture().convert("CMYK")), ANY),
        "its end twice": (whole + whole[-2:], ANY),
    }
    for name, (data, right) in lies.items():
        yield f"jpg {name}", Case(file("x.jpg", data), right)


def other_picture_cases() -> Iterator[tuple[str, Case]]:
    tiff = saved("TIFF")
    webp, bmp = saved("WEBP", lossless=True), saved("BMP")
    ifd = struct.unpack("<I", tiff[4:8])[0]
    floats = np.asarray(picture(), np.float32)
    holed = floats.copy()
    holed[40, 40] = np.nan
    endless = floats.copy()
    endless[40, 40] = np.inf

    def pointed(offset: int) -> bytes:
        return tiff[:4] + struct.pack("<I", offset) + tiff[8:]

    cyclic = bytearray(tiff)
    count = struct.unpack("<H", tiff[ifd : ifd + 2])[0]
    after = ifd + 2 + 12 * count
    cyclic[after : after + 4] = struct.pack("<I", ifd)
    lies = {
        "tif cut in its head": (tiff[:6], BROKEN),
        "tif cut in the middle": (tiff[: len(tiff) // 2], BROKEN),
        "tif directory beyond the end": (pointed(2**31), BROKEN),
        "tif directory in the head": (pointed(2), BROKEN),
        "tif directories in a circle": (bytes(cyclic), ANY),
        "tif 300 pages": (
            lambda: saved("TIFF", save_all=True, append_images=[Image.new("L", (8, 8))] * 299),
            ("several_pages",),
        ),
        "tif not a number": (saved("TIFF", Image.fromarray(holed)), ("not_finite",)),
        "tif infinite": (saved("TIFF", Image.fromarray(endless)), ("not_finite",)),
        "tif packed by fax": (
            saved("TIFF", picture().convert("1"), compression="group4"),
            ("few_levels",),
        ),
        "bmp cut": (bmp[:100], BROKEN),
        "bmp 2 billion high": (
            bmp[:22] + struct.pack("<i", 2**31 - 1) + bmp[26:],
            ("limit_exceeded", "unreadable"),
        ),
        "bmp of a negative width": (
            bmp[:18] + struct.pack("<i", -96) + bmp[22:],
            ("limit_exceeded", "unreadable"),
        ),
        "bmp of 7 bits": (bmp[:28] + b"\7" + bmp[29:], BROKEN),
        "bmp packing that lies": (bmp[:30] + b"\1" + bmp[31:], ANY),
        "webp cut": (webp[: len(webp) // 2], BROKEN),
        "webp length that lies": (webp[:4] + b"\xff\xff\xff\x7f" + webp[8:], ANY),
        "webp of nothing": (webp[:12] + bytes(20), BROKEN),
        "gif": (saved("GIF"), ("scored",)),
        "png of another name": (png(), ("scored",)),
        "text": (b"not a picture at all", BROKEN),
        "nothing": (b"", BROKEN),
        "zeros": (bytes(4096), BROKEN),
        "noise": (np.random.default_rng(1).bytes(4096), BROKEN),
    }
    for name, (data, right) in lies.items():
        yield f"picture {name}", Case(file("x.jpg", data), right)


# --- NIfTI -----------------------------------------------------------------------------------


def nifti(**fields: object) -> bytes:
    """Return a NIfTI-1 file; fields by their names in the standard, `voxels` for the data."""
    voxels = fields.pop("voxels", None)
    stored = head().voxels.astype(np.int16) if voxels is None else voxels
    header = np.zeros(
        (),
        np.dtype(
            [
                ("sizeof_hdr", "<i4"),
                ("unused", "S35"),
                ("dim_info", "u1"),
                ("dim", "<i2", 8),
                ("intent", "<f4", 3),
                ("intent_code", "<i2"),
                ("datatype", "<i2"),
                ("bitpix", "<i2"),
                ("slice_start", "<i2"),
                ("pixdim", "<f4", 8),
                ("vox_offset", "<f4"),
                ("scl_slope", "<f4"),
                ("scl_inter", "<f4"),
                ("slice_end", "<i2"),
                ("slice_code", "u1"),
                ("xyzt_units", "u1"),
                ("cal", "<f4", 4),
                ("gl", "<i4", 2),
                ("descrip", "S80"),
                ("aux_file", "S24"),
                ("qform_code", "<i2"),
                ("sform_code", "<i2"),
                ("quatern", "<f4", 6),
                ("srow_x", "<f4", 4),
                ("srow_y", "<f4", 4),
                ("srow_z", "<f4", 4),
                ("intent_name", "S16"),
                ("magic", "S4"),
            ]
        ),
    )
    defaults: dict[str, object] = {
        "sizeof_hdr": 348,
        "dim": [3, *stored.shape, 1, 1, 1, 1][:8],
        "datatype": 4,
        "bitpix": 16,
        "pixdim": [1, 2, 1.9, 6, 1, 1, 1, 1],
        "vox_offset": 352,
        "scl_slope": 1,
        "xyzt_units": 2,
        "sform_code": 1,
        "srow_x": [-2, 0, 0, 90],
        "srow_y": [0, -1.9, 0, 90],
        "srow_z": [0, 0, 6, 0],
        "magic": b"n+1\0",
    }
    for name, value in (defaults | fields).items():
        header[name] = value
    return header.tobytes() + bytes(4) + np.asfortranarray(stored).tobytes(order="F")


def _stored() -> np.ndarray:
    return head().voxels.astype(np.int16)


def mgh() -> bytes:
    """Return the head as FreeSurfer writes it."""
    image = nibabel.MGHImage(_stored(), np.diag([2.0, 1.9, 6.0, 1]))
    return bytes(image.to_bytes())


def nrrd() -> bytes:
    """Return the head as 3D Slicer writes it."""
    stored = _stored()
    text = (
        f"NRRD0004\ntype: short\ndimension: 3\nspace: left-posterior-superior\n"
        f"sizes: {' '.join(map(str, stored.shape))}\nspace directions: (2,0,0) (0,1.9,0) (0,0,6)\n"
        "kinds: domain domain domain\nendian: little\nencoding: gzip\nspace origin: (0,0,0)\n\n"
    )
    return text.encode() + gzip.compress(stored.tobytes(order="F"))


def metaimage() -> bytes:
    """Return the head as ITK writes it."""
    stored = _stored()
    packed = zlib.compress(stored.tobytes(order="F"))
    text = (
        "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\n"
        f"CompressedData = True\nCompressedDataSize = {len(packed)}\n"
        "TransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = 0 0 0\nElementSpacing = 2 1.9 6\n"
        f"DimSize = {' '.join(map(str, stored.shape))}\nElementType = MET_SHORT\n"
        "ElementDataFile = LOCAL\n"
    )
    return text.encode() + packed


def nifti_cases() -> Iterator[tuple[str, Case]]:
    whole = nifti()
    yield from cuts("x.nii", whole, {"in its size": 2, "in its header": 200, "at its magic": 345})
    for name, end in {
        "before its voxels": 352,
        "in its voxels": len(whole) // 2,
        "a byte short": len(whole) - 1,
    }.items():
        yield f"nii cut {name}", Case(file("x.nii", whole[:end]), BROKEN)
    packed = gzip.compress(whole)
    for share in (0.01, *SHARE_STEPS):
        data = packed[: int(len(packed) * share)]
        yield f"nii.gz cut at {share:.0%}", Case(file("x.nii.gz", data), BROKEN)
    holed, endless = head().voxels.copy(), head().voxels.copy()
    brain = np.unravel_index(np.argmax(holed[:, :, 1]), holed.shape[:2])
    holed[(*brain, 1)], endless[(*brain, 1)] = np.nan, np.inf
    huge = [3, 32767, 32767, 32767, 1, 1, 1, 1]
    lies = {
        "no dimension": (nifti(dim=[0, WIDTH, HEIGHT, SLICES, 1, 1, 1, 1]), ANY),
        "nine dimensions": (
            nifti(dim=[9, WIDTH, HEIGHT, SLICES, 1, 1, 1, 1]),
            ("unreadable", "several_volumes"),
        ),
        "a negative side": (nifti(dim=[3, -WIDTH, HEIGHT, SLICES, 1, 1, 1, 1]), BROKEN),
        "a side of 0": (nifti(dim=[3, WIDTH, 0, SLICES, 1, 1, 1, 1]), BROKEN),
        "35 trillion voxels": (nifti(dim=huge), ("limit_exceeded",)),
        "a time of 3": (nifti(dim=[4, WIDTH, HEIGHT, 1, 3, 1, 1, 1]), ("several_volumes",)),
        "voxels of no type": (nifti(datatype=0), ("not_gray", "unreadable")),
        "voxels of an unknown type": (nifti(datatype=999), BROKEN),
        "voxels in color": (nifti(datatype=128, bitpix=24), ("not_gray", "unreadable")),
        "complex voxels": (nifti(datatype=32, bitpix=64), ("not_gray", "unreadable")),
        "voxels said to be wider": (nifti(datatype=64, bitpix=64), BROKEN),
        "a slope that is no number": (nifti(scl_slope=np.nan), ANY),
        "an infinite slope": (nifti(scl_slope=np.inf), ANY),
        "a slope of 0": (nifti(scl_slope=0), ("scored",)),
        "an intercept that is no number": (nifti(scl_inter=np.nan), ANY),
        "a slope of 1e38": (nifti(scl_slope=1e38), ANY),
        "a voxel that is no number": (nifti(voxels=holed, datatype=16, bitpix=32), ("not_finite",)),
        "an infinite voxel": (nifti(voxels=endless, datatype=16, bitpix=32), ("not_finite",)),
        "voxels that start at 0": (nifti(vox_offset=0), ANY),
        "voxels that start before the file": (nifti(vox_offset=-352), BROKEN),
        "voxels that start beyond the file": (nifti(vox_offset=1e9), BROKEN),
        "voxels that start nowhere": (nifti(vox_offset=np.nan), BROKEN),
        "a singular affine": (nifti(srow_z=[0, 0, 0, 0]), ("scored",)),  # by its qform
        "a singular affine alone": (nifti(srow_z=[0, 0, 0, 0], qform_code=0), ("geometry",)),
        "an affine of zeros": (
            nifti(srow_x=[0] * 4, srow_y=[0] * 4, srow_z=[0] * 4),
            ("scored",),
        ),  # by its qform
        "an affine that is no number": (
            nifti(srow_x=[np.nan] * 4, qform_code=0),
            ("geometry", "not_finite", "unreadable"),
        ),
        "a sheared affine": (nifti(srow_x=[-2, 1.5, 0, 90]), ("scored",)),  # by its qform
        "a sheared affine alone": (nifti(srow_x=[-2, 1.5, 0, 90], qform_code=0), ("geometry",)),
        "spacing of 0 and no affine": (nifti(sform_code=0, pixdim=[1] + [0] * 7), ANY),
        "a quaternion longer than 1": (
            nifti(sform_code=0, qform_code=1, quatern=[2, 2, 2, 0, 0, 0]),
            ANY,
        ),
        "its voxels elsewhere": (nifti(magic=b"ni1\0"), BROKEN),
        "one gray": (nifti(voxels=np.full((96, 88, 4), 7, np.int16)), ("blank", "few_levels")),
        "nothing but two values": (
            nifti(voxels=(head().voxels > 400).astype(np.int16)),
            ("few_levels",),
        ),
        "one row": (
            nifti(voxels=np.arange(96, dtype=np.int16).reshape(96, 1, 1)),
            ("too_small", "geometry"),
        ),
    }
    for name, (data, right) in lies.items():
        yield f"nii {name}", Case(file("x.nii", data), right)
    swapped = bytearray(whole)
    swapped[:4] = swapped[3::-1]
    yield "nii a swapped size", Case(file("x.nii", bytes(swapped)), ANY)
    wrong_crc = packed[:-8] + bytes(8)
    yield "nii.gz wrong CRC", Case(file("x.nii.gz", wrong_crc), ANY)
    yield (
        "nii.gz bomb behind a small header",
        Case(file("x.nii.gz", lambda: gzip.compress(nifti()[:352] + bytes(300 * 2**20), 1)), ANY),
    )
    promised = nifti(dim=[3, 1000, 1000, 500, 1, 1, 1, 1])[:352]
    yield "nii.gz a gigabyte promised", Case(file("x.nii.gz", gzip.compress(promised)), BROKEN)
    yield "nii.gz packed twice", Case(file("x.nii.gz", gzip.compress(packed)), BROKEN)


# --- DICOM -----------------------------------------------------------------------------------


def dicom(change: Callable[[Dataset], object] | None = None, index: int = 0) -> bytes:
    """Return one slice as a DICOM file, changed."""
    dataset = dicom_slice(head(), index, 1)
    if change is not None:
        change(dataset)
    return written(dataset)


def written(dataset: Dataset) -> bytes:
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def with_raw(tag: int, vr: bytes, value: bytes) -> bytes:
    """Return a slice in which an element has bytes that its type does not allow."""
    dataset = dicom_slice(head(), 0, 1)
    if tag in dataset:
        del dataset[tag]
    data = written(dataset)
    found = pydicom.dcmread(io.BytesIO(data))
    following = found.get_item(min(other for other in found.keys() if other > tag))  # noqa: SIM118
    long_form = following.VR in ("OB", "OW", "SQ", "UN", "UT")
    place = following.value_tell - (12 if long_form else 8)
    element = struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr, len(value))
    return data[:place] + element + value + data[place:]


def setting(**values: object) -> Callable[[Dataset], None]:
    """Return what sets elements by keyword, None taking them out."""

    def change(dataset: Dataset) -> None:
        for name, value in values.items():
            if value is None:
                delattr(dataset, name)
            else:
                setattr(dataset, name, value)

    return change


def series(folder: Path, changes: dict[int, Callable[[Dataset], object]]) -> Path:
    """Write all slices, some changed."""
    for index in range(SLICES):
        (folder / f"{index}.dcm").write_bytes(dicom(changes.get(index), index))
    return folder


def compressed(syntax: str, fragments: list[bytes]) -> Callable[[Dataset], None]:
    def change(dataset: Dataset) -> None:
        dataset.PixelData = encapsulate(fragments)
        dataset["PixelData"].VR = "OB"
        dataset.file_meta.TransferSyntaxUID = syntax

    return change


def nested(depth: int) -> Callable[[Dataset], None]:
    def change(dataset: Dataset) -> None:
        inner = Dataset()
        for _ in range(depth):
            outer = Dataset()
            outer.ReferencedStudySequence = Sequence([inner])
            inner = outer
        dataset.ReferencedStudySequence = Sequence([inner])

    return change


def dicom_cases() -> Iterator[tuple[str, Case]]:
    whole = dicom()
    pixels = whole.rindex(b"\xe0\x7f\x10\x00")
    places = {
        "in its preamble": 64,
        "at its magic": 130,
        "in its meta group": 180,
        "in its header": 500,
        "in a tag": 601,
        "before its pixels": pixels,
        "in the tag of its pixels": pixels + 6,
        "at its first pixel": pixels + 12,
        "in its pixels": (pixels + len(whole)) // 2,
        "a byte short": len(whole) - 1,
    }
    for name, end in places.items():
        right = (*BROKEN, "nothing_found", "not_mr") if end != len(whole) - 1 else None
        yield f"dcm cut {name}", Case(file("x.dcm", whole[:end]), right)
    changes = {
        "no rows": (setting(Rows=None), BROKEN),
        "no photometric interpretation": (setting(PhotometricInterpretation=None), ("scored",)),
        "65535 x 65535 with ten bytes": (
            setting(Rows=65535, Columns=65535, PixelData=b"0123456789"),
            ("limit_exceeded",),
        ),
        "no row": (setting(Rows=0), BROKEN),
        "more rows than pixels": (setting(Rows=HEIGHT * 2), BROKEN),
        "fewer rows than pixels": (setting(Rows=HEIGHT - 4), ANY),
        "12 bits allocated": (setting(BitsAllocated=12), ANY),
        "no bits allocated": (setting(BitsAllocated=0), BROKEN),
        "64 bits allocated": (setting(BitsAllocated=64), ANY),
        "more bits stored than allocated": (setting(BitsStored=40), ANY),
        "high bit beyond": (setting(HighBit=99), ANY),
        "pixel representation 7": (setting(PixelRepresentation=7), ANY),
        "three samples in gray": (setting(SamplesPerPixel=3), ("color", "unreadable")),
        "color in one sample": (setting(PhotometricInterpretation="RGB"), ("color",)),
        "a palette that is missing": (
            setting(PhotometricInterpretation="PALETTE COLOR"),
            ("color",),
        ),
        "an unknown photometric interpretation": (
            setting(PhotometricInterpretation="MONOCHROME9"),
            ("scored",),
        ),
        "ten frames of one": (setting(NumberOfFrames=10), ("several_frames", "unreadable")),
        "no frames": (setting(NumberOfFrames=0), ANY),
        "a million frames": (
            setting(NumberOfFrames=1_000_000),
            ("limit_exceeded", "several_frames"),
        ),
        "orientation of zeros": (
            setting(ImageOrientationPatient=[0] * 6),
            ("geometry", "unreadable"),
        ),
        "spacing of 0": (setting(PixelSpacing=[0, 0]), ("geometry", "unreadable")),
        "negative spacing": (setting(PixelSpacing=[-1, -1]), ("geometry", "unreadable")),
        "a slope of 0": (setting(RescaleSlope="0"), ("blank", "few_levels", "not_finite")),
        "a CT": (setting(SOPClassUID=pydicom.uid.CTImageStorage, Modality="CT"), ("not_mr",)),
        "a report": (
            setting(SOPClassUID=pydicom.uid.ComprehensiveSRStorage, Modality="SR"),
            ("not_mr",),
        ),
        "a knee": (setting(BodyPartExamined="KNEE"), ("not_brain",)),
        "a localizer": (setting(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]), ("localizer",)),
        "a mosaic": (setting(ImageType=["ORIGINAL", "PRIMARY", "M", "MOSAIC"]), ("mosaic",)),
        "no pixels": (setting(PixelData=None), BROKEN),
        "pixels of nothing": (setting(PixelData=b""), BROKEN),
        "an odd number of bytes": (setting(PixelData=b"abc"), BROKEN),
        "sequences 40 deep": (nested(40), ANY),
        "a private transfer syntax": (
            lambda d: setattr(d.file_meta, "TransferSyntaxUID", "1.2.3.4.5"),
            BROKEN,
        ),
        "a name with line breaks": (setting(SeriesDescription="T1\nFAKE\r\nLOG LINE"), ANY),
    }
    for name, (change, right) in changes.items():
        yield f"dcm {name}", Case(file("x.dcm", dicom(change)), right)
    raw: dict[str, tuple[int, bytes, bytes, tuple[str, ...] | None]] = {
        "minus one frames": (0x00280008, b"IS", b"-1", ANY),
        "frames in words": (0x00280008, b"IS", b"many", ("scored",)),
        "rows in words": (0x00280010, b"US", b"abc", BROKEN),
        "orientation of two numbers": (0x00200037, b"DS", b"1\\0 ", ANY),
        "orientation in words": (0x00200037, b"DS", b"a\\b\\c\\d\\e\\f ", ("scored",)),
        "spacing that is no number": (
            0x00280030,
            b"DS",
            b"nan\\nan ",
            ("geometry", "unreadable", "not_finite"),
        ),
        "spacing of one number": (0x00280030, b"DS", b"2 ", ("geometry",)),
        "position that is no number": (
            0x00200032,
            b"DS",
            b"nan\\nan\\nan ",
            ("scored",),
        ),
        "a slope that is no number": (0x00281053, b"DS", b"nan ", ("scored",)),
        "an infinite slope": (0x00281053, b"DS", b"inf ", ("scored",)),
        "a slope of 1e300": (0x00281053, b"DS", b"1e300 ", ANY),
        "an identity with line breaks": (0x0020000E, b"UI", b"1.2\n3.4 ", ANY),
        "a text of 60,000 letters": (0x0008103E, b"LO", b"x" * 60_000, ANY),
        "text in no encoding": (0x00080005, b"CS", b"NO_SUCH ", ANY),
    }
    for name, (tag, vr, value, right) in raw.items():
        yield f"dcm {name}", Case(file("x.dcm", with_raw(tag, vr, value)), right)
    noise = np.random.default_rng(2).bytes(600)
    jpeg = saved("JPEG")
    jpeg12 = jpeg.replace(b"\xff\xc0\x00\x0b\x08", b"\xff\xc1\x00\x0b\x0c", 1)
    syntaxes = {
        "JPEG": pydicom.uid.JPEGBaseline8Bit,
        "JPEG of 12 bits": pydicom.uid.JPEGExtended12Bit,
        "lossless JPEG": pydicom.uid.JPEGLosslessSV1,
        "JPEG-LS": pydicom.uid.JPEGLSLossless,
        "JPEG 2000": pydicom.uid.JPEG2000Lossless,
        "HTJ2K": pydicom.uid.HTJ2KLossless,
        "RLE": pydicom.uid.RLELossless,
    }
    starts = {
        "JPEG-LS": b"\xff\xd8\xff\xf7",
        "JPEG 2000": b"\xff\x4f\xff\x51",
        "HTJ2K": b"\xff\x4f\xff\x51",
    }
    for name, syntax in syntaxes.items():
        start = starts.get(name, b"\xff\xd8\xff\xc3")
        for what, frame in {
            "noise": noise,
            "nothing": bytes(2),
            "noise behind a good start": start + noise,
            "half a picture": jpeg[: len(jpeg) // 2],
        }.items():
            case = Case(file("x.dcm", dicom(compressed(syntax, [frame]))), ANY)
            if what in ("noise", "nothing"):
                case = Case(case.make, BROKEN)
            yield f"dcm {name} of {what}", case
    yield (
        "dcm JPEG extended that is baseline",
        Case(file("x.dcm", dicom(compressed(pydicom.uid.JPEGExtended12Bit, [jpeg]))), ANY),
    )
    yield (
        "dcm JPEG extended said to be of 12 bits",
        Case(file("x.dcm", dicom(compressed(pydicom.uid.JPEGExtended12Bit, [jpeg12]))), ANY),
    )
    segments = struct.pack("<16I", 200, *[2**31] * 15)
    yield (
        "dcm RLE of 200 segments",
        Case(file("x.dcm", dicom(compressed(pydicom.uid.RLELossless, [segments + noise]))), BROKEN),
    )
    unended = dicom(compressed(pydicom.uid.RLELossless, [noise]))[:-8]
    yield "dcm without the end of its fragments", Case(file("x.dcm", unended), BROKEN)
    deep = b"".join(
        struct.pack("<HH2sHI", 0x0008, 0x1110, b"SQ", 0, 0xFFFFFFFF)
        + struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
        for _ in range(5000)
    )
    header = whole[:pixels]
    yield "dcm sequences 5,000 deep", Case(file("x.dcm", header + deep + whole[pixels:]), ANY)
    long = struct.pack("<HH2sHI", 0x0009, 0x1010, b"OB", 0, 0xFFFFFFF0)
    yield "dcm an element of 4 GB", Case(file("x.dcm", header + long), BROKEN)
    yield (
        "dcm a type that is none",
        Case(
            file(
                "x.dcm", header + struct.pack("<HH2sH", 0x0009, 0x1010, b"\0\0", 4) + whole[pixels:]
            ),
            ANY,
        ),
    )
    yield (
        "dcm deflated with 100 MB of zeros",
        Case(file("x.dcm", lambda: _deflated(100 * 2**20)), ANY),
    )


def _deflated(padding: int) -> bytes:
    """Return a slice in the deflated syntax with zeros behind, which pack to almost nothing."""
    dataset = dicom_slice(head(), 0, 1)
    dataset.add_new(0x00091010, "OB", bytes(padding))
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    return written(dataset)


def series_cases() -> Iterator[tuple[str, Case]]:
    changes: dict[str, tuple[dict[int, Callable[[Dataset], object]], tuple[str, ...] | None]] = {
        "one slice twice": (
            {
                2: lambda d: setattr(
                    d, "ImagePositionPatient", dicom_slice(head(), 1, 1).ImagePositionPatient
                )
            },
            ("geometry",),
        ),
        "one slice turned": ({2: setting(ImageOrientationPatient=[0, 1, 0, 1, 0, 0])}, ANY),
        "one slice of another size": (
            {2: setting(Rows=HEIGHT // 2, PixelData=bytes(WIDTH * HEIGHT))},
            ANY,
        ),
        "one slice without pixels": ({2: setting(PixelData=None)}, BROKEN),
        "one slice without a position": ({2: setting(ImagePositionPatient=None)}, ANY),
        "one slice of half its pixels": ({2: setting(PixelData=bytes(WIDTH * HEIGHT))}, BROKEN),
        "one slice far away": ({3: setting(ImagePositionPatient=[0, 0, 500])}, ("geometry",)),
        "one identity for all": ({n: setting(SOPInstanceUID="1.2.3") for n in range(SLICES)}, ANY),
        "one slice a report": (
            {1: setting(SOPClassUID=pydicom.uid.ComprehensiveSRStorage, Modality="SR")},
            ANY,
        ),
    }
    for name, (change, right) in changes.items():
        yield f"series {name}", Case(lambda folder, c=change: series(folder, c), right)


# --- folders and zips ----------------------------------------------------------------------------


def zipped(entries: dict[str, bytes], **options: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, **options) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def tarred(entries: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in entries.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def zip_cases() -> Iterator[tuple[str, Case]]:
    good = zipped({"a.png": png(), "b.png": png()})
    directory = good.index(b"PK\x01\x02")
    linked = zipfile.ZipInfo("link.png")
    linked.external_attr = 0o120777 << 16
    link = io.BytesIO()
    with zipfile.ZipFile(link, "w") as archive:
        archive.writestr(linked, "/etc/passwd")
    single = zipped({"a.png": png()})
    entry = single.index(b"PK\x01\x02")
    flagged, sized = bytearray(single), bytearray(single)
    flagged[6] |= 1
    flagged[entry + 8] |= 1
    sized[entry + 24 : entry + 28] = struct.pack("<I", 2**31)
    crc = bytearray(good)
    crc[directory + 16 : directory + 20] = b"\1\2\3\4"
    lies = {
        "cut in its first entry": (good[:60], BROKEN),
        "cut before its directory": (good[:directory], BROKEN),
        "cut in its directory": (good[: directory + 20], BROKEN),
        "of nothing": (zipped({}), ("nothing_found", "unreadable")),
        "a bomb": (
            lambda: zipped({"x.dcm": bytes(60 * 2**20)}, compresslevel=9),
            ("limit_exceeded",),
        ),
        "a zip in a zip": (zipped({"inner.zip": good}), ("nested_zip", "nothing_found")),
        "a path to the root": (zipped({"/tmp/meninx-was-here.png": png()}), ("unsafe_path",)),
        "a path upwards": (zipped({"../../meninx-was-here.png": png()}), ("unsafe_path",)),
        "a path upwards for Windows": (zipped({"..\\..\\was-here.png": png()}), ("unsafe_path",)),
        "a drive": (zipped({"C:was-here.png": png()}), ("unsafe_path",)),
        "a link": (link.getvalue(), ("unsafe_path",)),
        "encrypted": (bytes(flagged), ("encrypted",)),
        "an entry of 2 GB in name": (bytes(sized), ("limit_exceeded", "unreadable")),
        "a wrong CRC": (bytes(crc), ANY),
        "50,001 entries": (
            lambda: zipped(dict.fromkeys(map(str, range(50_001)), b"")),
            ("limit_exceeded",),
        ),
        "one name twice": (good.replace(b"b.png", b"a.png"), ANY),
        "a name with a line break": (zipped({"a\nb.png": png()}), ("scored",)),
        "a name of 60,000 letters": (zipped({"x" * 60_000 + ".png": png()}), ANY),
        "hidden files alone": (zipped({".a.png": png()}), ("nothing_found",)),
    }
    for name, (data, right) in lies.items():
        yield f"zip {name}", Case(file("x.zip", data), right)


def folder_cases() -> Iterator[tuple[str, Case]]:
    def of(entries: dict[str, bytes]) -> Callable[[Path], Path]:
        def make(folder: Path) -> Path:
            for name, data in entries.items():
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
            return folder

        return make

    def linked_out(folder: Path) -> Path:
        (folder / "inside").mkdir()
        (folder / "outside.png").write_bytes(png())
        (folder / "inside" / "link.png").symlink_to(folder / "outside.png")
        return folder / "inside"

    def looped(folder: Path) -> Path:
        (folder / "round").symlink_to(folder)
        (folder / "a.png").write_bytes(png())
        return folder

    def dangling(folder: Path) -> Path:
        (folder / "gone.png").symlink_to(folder / "nowhere.png")
        return folder

    deep = "/".join(["d"] * 200)
    yield "folder of nothing", Case(of({}), ("nothing_found",))
    yield "folder of empty files", Case(of({"a.dcm": b"", "b.png": b"", "c.nii": b""}), BROKEN)
    yield "folder of text", Case(of({"a.txt": b"x", "b": b"y"}), ("nothing_found",))
    yield "folder of hidden files", Case(of({".a.png": png()}), ("nothing_found",))
    yield "folder with a link out of it", Case(linked_out, ("scored",))
    yield "folder with a link to itself", Case(looped, ("scored",))
    yield "folder with a link to nowhere", Case(dangling, ("not_found",))
    yield "folder 200 deep", Case(of({f"{deep}/a.png": png()}), ("scored",))
    yield "folder of names with line breaks", Case(of({"a\nb\r.png": png()}), ("scored",))
    yield "folder of names that are markup", Case(of({"[red]a[-].png": png()}), ("scored",))
    yield "folder that is not there", Case(lambda folder: folder / "none", ("not_found",))
    yield (
        "folder of a thousand broken files",
        Case(
            of({f"{n}.png": b"\x89PNG\r\n\x1a\n" + bytes([n % 256]) for n in range(1000)}), BROKEN
        ),
    )


def all_cases() -> dict[str, Case]:
    """Return every case by its name."""
    found: dict[str, Case] = {}
    for kind in (
        png_cases,
        jpeg_cases,
        other_picture_cases,
        nifti_cases,
        dicom_cases,
        series_cases,
        zip_cases,
        folder_cases,
    ):
        for name, case in kind():
            assert name not in found, name
            found[name] = case
    return found
