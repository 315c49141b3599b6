#!/usr/bin/env bash
# SDM: a training epoch against the same loop in PyTorch and FAISS in turn, and single rows scored from 64 goroutines
set -euo pipefail
environment=build/venv # outside git; made once, a large download
if [[ ! -x $environment/bin/python ]]; then python3 -m venv "$environment"; fi
"$environment/bin/python" -c 'import torch, numpy, faiss' 2>/dev/null || "$environment/bin/pip" install --quiet torch numpy faiss-cpu
go test -c -o build/sdm.test ./models/sdm
"$environment/bin/python" ci/bench/sdm_train.py "$PWD/build/sdm.test" "$@"
