#!/usr/bin/env bash
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=examples/exec.sh
source ../exec.sh
binary=$(mktemp)
trap 'rm -f "$binary"' EXIT
go build -o "$binary" .
check "$binary"
