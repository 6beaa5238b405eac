#!/usr/bin/env bash
# As ../php, with the postback taken by the controller.
set -euo pipefail
exec "$(dirname "$0")/../php/test.sh" ../laravel/shop.php
