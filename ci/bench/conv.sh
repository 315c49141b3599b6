#!/usr/bin/env bash
# convolutions of the grey 32 x 32 network against PyTorch, on one thread
set -euo pipefail
environment=build/venv-conv # outside git; made once, a large download
if ! "$environment/bin/python" -c 'import torch' 2>/dev/null; then
  python3 -m venv "$environment"
  "$environment/bin/pip" install --quiet torch numpy
fi
"$environment/bin/python" ci/bench/conv_torch.py "$@"
