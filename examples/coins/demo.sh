#!/usr/bin/env bash
# The main job on coins: render a labelled synthetic dataset, cut real crops, then the four commands of the README.
# Everything lands in examples/coins/demo.
set -euo pipefail
cd "$(dirname "$0")"
export PATH="$PWD/../../.venv/bin:$PATH"
rm -rf demo
mkdir demo
cd demo

echo "== simulate: 1,000 synthetic coin images with labels, 1,000 crops of the real photograph"
python ../simulate.py synth --count 1000 --seed 0
python ../real.py real --count 1000 --seed 0

echo "== train"
refinery train --real ./real --synthetic ./synth --steps 900

echo "== refine"
refinery refine ./synth --out ./refined || [ $? -eq 3 ] # 3: done, and some labels did not hold; the report counts them

echo "== export"
refinery export runs/* --out ./coins.onnx

echo "== inspect"
refinery inspect ./refined --real ./real --picture ./before-after.png
echo
echo "before and after: examples/coins/demo/before-after.png"
