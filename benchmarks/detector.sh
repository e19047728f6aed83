#!/bin/sh
# Train the shipped detector again, both parts, into runs/meninx: `make detector`.
# A part that is whole is taken as it is; a part that was stopped goes on.
set -eu
mkdir -p runs
: "${MENINX_DATA:?set it to the folder of the data}"
meninx=.venv/bin/meninx
heads="--heads $MENINX_DATA/templates/colin27-t1.nii.gz --heads $MENINX_DATA/dicom/healthy-child-t1"

first=runs/meninx-simulated
if [ ! -f $first/detector.safetensors ]; then
    resume=
    [ ! -d $first/checkpoints ] || resume=--resume
    # shellcheck disable=SC2086  # several options in one variable
    $meninx train "$MENINX_DATA/curated" --recipe meninx-simulated --output $first $heads $resume
fi
# The collection's folds part some copies of a slice: these are moved together first.
[ -f runs/curated.csv ] ||
    $meninx prepare "$MENINX_DATA/curated" --split mended --output runs/curated.csv
# shellcheck disable=SC2086
$meninx crossvalidate runs/curated.csv --recipe meninx --output runs/meninx \
    --weights $first/detector.safetensors $heads --merge
