#!/usr/bin/env bash
# Prob-PSENN: joint training and prediction against PyTorch and ONNX Runtime in turn, and how time grows with S, K, D and batch
set -euo pipefail
environment=build/venv # outside git; made once, a large download
if [[ ! -x $environment/bin/python ]]; then
  python3 -m venv "$environment"
  "$environment/bin/pip" install --quiet torch numpy onnx onnxruntime
fi
go test -c -o build/probpsenn.test ./models/probpsenn
"$environment/bin/python" ci/bench/probpsenn.py build/probpsenn.test "$@"
