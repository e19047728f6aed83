#!/bin/sh
# Train the shipped detector again, calibrate it and make its file: `make detector`, which packs its
# training data first. Finished steps are not repeated, stopped ones resume. On a machine with a GPU
# and only Python and its wheels, run just the first command, with the packs.
# detector.sh RECIPE RUNS DATA PACK ...; DATA is the folder of people.csv and their heads.
set -eu
python=.venv/bin/python
recipe=$1 runs=$2 data=$3
shift 3
$python -m lab.release.detector "$@" --recipe "$recipe" --output "$runs"

finish() {  # finish NAME FOLDS PACK ...: weights of a training to a detector file
    name=$1 folds=$2
    shift 2
    [ -f "$runs/$name/detector.onnx" ] || $python -m lab.release.finish "$@" --recipe "$recipe" \
        --weights "$runs/$name/weights.safetensors" --manifest "$data/people.csv" --heads "$data/heads" \
        --unpacked "$runs/unpacked" --leave-out $folds --output "$runs/$name"
}

finish half-a "1 5 6" "$@"
finish half-b "1 5 7" "$@"
finish all-0 "1" "$@"
$python -m lab.release.held_out_people "$data/people.csv" "$runs/half-a/detector.onnx" \
    "$runs/half-b/detector.onnx" --heads "$data/heads" --json "$runs/people.json" \
    --calibration "$runs/calibration.json"
echo "$runs/all-0/detector.onnx; lab/release/ship.py puts it into the package, then recognize.py adds"
echo "what recognizes sequence, plane, skull and turn:"
echo "$python -m lab.release.recognize $data/people.csv --heads $data/heads --json docs/evidence/recognition.json"
