#!/bin/sh
# Train the shipped detector again, calibrate it, and put it into the package with all that belongs
# to it: `make detector`, which packs its training data first. Finished steps are not repeated,
# stopped ones resume. A machine with a GPU and only Python and its wheels runs just the first
# command, with the packs (`make detector DEVICE=cuda`); afterwards this goes on from its RUNS.
# Networks that are finished, or in parts, lie in lab/release/detectors/: commit them.
# detector.sh RECIPE RUNS DATA DETECTORS WEIGHTS MINUTES PACK ...; DATA is the folder of people.csv
# and heads, WEIGHTS that of the package, and after MINUTES no further epoch begins; empty for no
# limit.
set -eu
python=.venv/bin/python
recipe=$1 runs=$2 data=$3 detectors=$4 weights=$5 minutes=$6
shift 6
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
for name in half-a half-b; do
    [ -f "$detectors/$name.onnx" ] || { echo "$name is not finished: run this again"; exit 0; }
done
# A calibration that is younger than both networks is theirs.
if [ ! "$runs/calibration.json" -nt "$detectors/half-a.onnx" ] \
    || [ ! "$runs/calibration.json" -nt "$detectors/half-b.onnx" ]; then
    $python -m lab.release.held_out_people "$data/people.csv" "$detectors/half-a.onnx" \
        "$detectors/half-b.onnx" --heads "$data/heads" --json "$runs/people.json" \
        --calibration "$runs/calibration.json"
fi
[ -f "$runs/all-0/detector.safetensors" ] || {
    echo "all-0, the network of all people, was not finished here: run this where its weights lie"
    exit 0
}
$python -m lab.release.ship "$runs/all-0/detector.onnx" "$data/people.csv" --fold 1 \
    --calibration "$runs/calibration.json" --packs "$@" --unpacked "$runs/unpacked" \
    --heads "$data/heads" --weights "$weights"
$python -m lab.release.recognize "$data/people.csv" --heads "$data/heads" \
    --json "$runs/recognition.json" --weights "$weights"
$python -m lab.release.other_planes "$data/people.csv" "$weights/meninx-int8.onnx" \
    --halves "$detectors/half-a.onnx" "$detectors/half-b.onnx" --json "$runs/other-planes.json"
echo "$weights has the new detector, and $runs its figures: look at them before you commit either"
