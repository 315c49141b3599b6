#!/usr/bin/env bash
# decoding of a random LLaMA of 1.1 billion parameters, dense and sparse, against llama.cpp (pip install torch safetensors llama-cpp-python) on the same file
set -euo pipefail
python3 ci/bench/lm.py "$@"
