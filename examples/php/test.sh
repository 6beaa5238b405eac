#!/usr/bin/env bash
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=examples/exec.sh
source ../exec.sh
SHOP_FILE=$(mktemp)
export SHOP_FILE
trap 'rm -f "$SHOP_FILE"' EXIT
check php -S "127.0.0.1:$PORT" "${1:-shop.php}"
