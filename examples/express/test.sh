#!/usr/bin/env bash
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=examples/exec.sh
source ../exec.sh
[ -d node_modules/express ] || npm install --no-package-lock --no-audit --no-fund --silent
check node shop.js
