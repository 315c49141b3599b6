#!/usr/bin/env bash
# every operation's timed cases on the device at hand
set -euo pipefail
build/credence bench ops "$@"
