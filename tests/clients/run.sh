#!/usr/bin/env bash
# Starts the sandbox as a user would and lets small clients in several languages pay with it.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=tests/with-sandbox.sh
source tests/with-sandbox.sh
start_sandbox --postback-retries 0
clients=$PWD/tests/clients
try bash "$clients/pay.sh"
try php "$clients/pay.php"
try node "$clients/pay.mjs"
try python3 "$clients/pay.py"
tell
