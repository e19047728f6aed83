"""The columns of the table of findings, and the statements that make its ledger."""

import zlib

import pyarrow as pa

from meninx._labels import TYPE_NAMES

TEXT, REAL = pa.string(), pa.float64()


def _struct(**fields: pa.DataType) -> pa.StructType:
    return pa.struct(list(fields.items()))


SCHEMA = pa.schema(
    {
        "content_hash": TEXT,
        "scan": TEXT,
        "files": pa.int32(),
        "bytes": pa.int64(),
        "gone": pa.bool_(),
        "identity": _struct(study_instance_uid=TEXT, series_instance_uid=TEXT, patient=TEXT),
        "month": TEXT,
        "scanner": TEXT,
        "field_strength": REAL,
        "sequence": TEXT,
        "recognized": _struct(sequence=TEXT, plane=TEXT, skull=TEXT, turn=pa.int32()),
        "kind": TEXT,
        "status": TEXT,
        "reason": TEXT,
        "message": TEXT,
        "decision": TEXT,
        "probability": REAL,
        "borders": _struct(no_tumor_below=REAL, tumor_from=REAL),
        "prevalence": REAL,
        "logit": REAL,
        "p_values": _struct(tumor=REAL, no_tumor=REAL),
        "coverage": REAL,
        "reference": _struct(
            scans=TEXT, tumor=pa.int32(), tumor_free=pa.int32(), borrowed=pa.int32()
        ),
        "types": _struct(**dict.fromkeys(TYPE_NAMES, REAL)),
        "slices": pa.list_(_struct(index=pa.int32(), probability=REAL, peak=pa.list_(pa.int32()))),
        "warnings": pa.list_(_struct(code=TEXT, text=TEXT)),
        "incomplete": pa.list_(_struct(what=TEXT, expected=pa.int64(), received=pa.int64())),
        "model": _struct(name=TEXT, sha256=TEXT),
        "milliseconds": _struct(read=REAL, preprocess=REAL, infer=REAL),
        "heatmap": pa.binary(),
        "heatmap_withheld": TEXT,
    }
)

# Without statistics SQLite nearly always uses the primary key, and scans all rows of a detector:
# statements therefore name their index.
TABLES = """
create table if not exists findings (
    detector text not null, content_hash text not null, unit text not null, place text not null,
    detail text not null, part integer, row text, moved integer not null default 0,
    gone integer not null default 0, primary key (detector, content_hash)
) without rowid;
create index if not exists findings_of_units on findings (detector, unit);
create index if not exists findings_waiting on findings (detector, content_hash) where part is null;
create index if not exists findings_moved on findings (detector, part) where moved;
create index if not exists findings_gone on findings (detector, unit) where gone;
create table if not exists units (
    detector text not null, stamp text not null, archive text not null, folder text not null,
    content text not null, place text not null, primary key (detector, stamp)
) without rowid;
create index if not exists units_of_contents on units (detector, content);
create table if not exists joins (
    detector text not null, joined text not null, part text not null,
    primary key (detector, joined, part)
) without rowid;
create table if not exists folders (
    detector text not null, stamp text not null, units integer not null, done integer not null,
    primary key (detector, stamp)
) without rowid;
create table if not exists series (
    detector text not null, series text not null, folder text not null, unit text not null,
    uid text not null, primary key (detector, series, folder, unit)
) without rowid;
create table if not exists parts (
    detector text not null, part integer not null, primary key (detector, part)
) without rowid;
"""

# Number of the layout: an older ledger or part lacks columns, and cannot be continued.
LAYOUT = zlib.crc32("\0".join([TABLES, *SCHEMA.names]).encode()) >> 1
