#!/usr/bin/env bash
# SDM: models and data to and from reexpress_sdm, another program of the same formats, every field compared
set -euo pipefail
environment=build/venv-sdm # outside git; made once, a large download (torch)
if [[ ! -x $environment/bin/python ]]; then
  python3 -m venv "$environment"
  if ! "$environment/bin/pip" install --quiet reexpress-sdm; then
    rm -rf "$environment"
    echo "skipped: pip could not install reexpress-sdm"
    exit
  fi
fi
"$environment/bin/python" ci/bench/sdm_interchange.py check build/credence
