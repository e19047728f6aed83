#!/bin/sh
# Train the shipped detector again, calibrate it and make its file: `make detector`, which packs its
# training data first. Finished steps are not repeated, stopped ones resume. On a machine with a GPU
# and only Python and its wheels, run just the first command, with the packs. Networks that are
# finished, or in parts, lie in lab/release/detectors/: commit them.
# detector.sh RECIPE RUNS DATA DETECTORS MINUTES PACK ...; DATA is the folder of people.csv and their
# heads, and after MINUTES no further epoch begins; empty for no limit.
set -eu
python=.venv/bin/python
recipe=$1 runs=$2 data=$3 detectors=$4 minutes=$5
shift 5
$python -m lab.release.detector "$@" --recipe "$recipe" --output "$runs" \
    --detectors "$detectors" ${minutes:+--minutes "$minutes"}

finish() {  # finish NAME FOLDS PACK ...: weights of a training to a detector file
    name=$1 folds=$2
    shift 2
    [ ! -f "$detectors/$name.onnx" ] && [ -f "$runs/$name/weights.safetensors" ] || return 0
    $python -m lab.release.finish "$@" --recipe "$recipe" \
        --weights "$runs/$name/weights.safetensors" --manifest "$data/people.csv" --heads "$data/heads" \
        --unpacked "$runs/unpacked" --leave-out $folds --output "$runs/$name"
    mkdir -p "$detectors"
    cp "$runs/$name/detector.onnx" "$detectors/$name.onnx"
    rm -f "$detectors/$name.part.safetensors"
}

finish half-a "1 5 6" "$@"
finish half-b "1 5 7" "$@"
finish all-0 "1" "$@"
[ -f "$detectors/half-a.onnx" ] && [ -f "$detectors/half-b.onnx" ] || exit 0
$python -m lab.release.held_out_people "$data/people.csv" "$detectors/half-a.onnx" \
    "$detectors/half-b.onnx" --heads "$data/heads" --json "$runs/people.json" \
    --calibration "$runs/calibration.json"
echo "lab/release/ship.py puts the detector of all people, all-0, into the package; then recognize.py"
echo "adds what recognizes sequence, plane, skull and turn:"
echo "$python -m lab.release.recognize $data/people.csv --heads $data/heads --json docs/evidence/recognition.json"
