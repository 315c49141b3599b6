#!/usr/bin/env bash
# convolutions of the grey 32 x 32 network against PyTorch (pip install torch), on one thread
set -euo pipefail
python3 ci/bench/conv_torch.py "$@"
