#!/usr/bin/env bash
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=examples/exec.sh
source ../exec.sh
[ -d .packages/flask ] || python3 -m pip install --quiet --disable-pip-version-check --root-user-action ignore --target .packages --requirement requirements.txt
export PYTHONPATH=$PWD/.packages
check python3 shop.py
