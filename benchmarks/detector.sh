#!/bin/sh
# Train the shipped detector again, all four parts, and take the mean of the last two, into runs/detector:
# `make detector`, which also makes the manifest. benchmarks/ship.py puts it into the package.
# A part that is whole is taken as it is; a part that was stopped goes on.
set -eu
: "${MENINX_DATA:?set it to the folder of the data}"
meninx=.venv/bin/meninx

part() {  # part NAME [--weights FILE]
    name=$1
    shift
    [ ! -f "runs/$name/detector.safetensors" ] || return 0
    [ ! -d "runs/$name/checkpoints" ] || set -- "$@" --resume
    $meninx train runs/curated.csv --recipe "$name" --output "runs/$name" \
        --heads "$MENINX_DATA/templates/colin27-t1.nii.gz" \
        --heads "$MENINX_DATA/dicom/healthy-child-t1" "$@"
}

part meninx-first
part meninx-second --weights runs/meninx-first/detector.safetensors
part meninx-third --weights runs/meninx-second/detector.safetensors
part meninx --weights runs/meninx-third/detector.safetensors
.venv/bin/python benchmarks/finish.py runs/curated.csv runs/meninx-third/detector.safetensors \
    runs/meninx/detector.safetensors --output runs/detector \
    --heads "$MENINX_DATA/templates/colin27-t1.nii.gz" --heads "$MENINX_DATA/dicom/healthy-child-t1"
