#!/usr/bin/env bash
# Reproduces every built-in scenario against a paused clock, in four languages, each as a new user would write it.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=tests/with-sandbox.sh
source tests/with-sandbox.sh
start_sandbox --clock paused --seed 1
here=$PWD/tests/reproduce
python3 "$here/shop.py" "$work/shop" &
children+=($!)
await_file "$work/shop" $!
SHOP_URL=$(cat "$work/shop")
export SHOP_URL
try bash "$here/reproduce.sh"
try php "$here/reproduce.php"
try node "$here/reproduce.mjs"
try python3 "$here/reproduce.py"
tell
