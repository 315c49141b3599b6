#!/usr/bin/env bash
# a feed-forward block of LLaMA-7B's size with few active neurons, against the dense one and the bound of its bytes
set -euo pipefail
bench=(build/credence bench ffn --threads 1 --cpu-time --layers 7) # 7: kinds take turns by 3, and each meets every layer
for dtype in bf16 q8_0 f16 q4_0; do "${bench[@]}" --dtype "$dtype" --sparsity .89 --calls 15; done
"${bench[@]}" --dtype bf16 --sparsity 0,.5,.8,.95,.99 --calls 9 --plot ci/bench/results/sparse.html
