#!/usr/bin/env bash
# Orders from the shop at http://127.0.0.1:$PORT through each kind of trouble; run under `kpay-sandbox exec --clock paused`, which
# sends what is meant for https://shop.example to that port. The arguments start the shop.
set -euo pipefail
shop=http://127.0.0.1:$PORT
kpay() { "${KPAY_SANDBOX:-kpay-sandbox}" "$@"; }
log=$(mktemp)
"$@" >"$log" 2>&1 &
server=$!
trap 'kill $server 2>/dev/null || true; wait $server 2>/dev/null || true; rm -f "$log"' EXIT
until curl --silent --output /dev/null "$shop/orders/none"; do
  kill -0 $server 2>/dev/null || { cat "$log"; exit 1; }
  sleep 0.1
done

# Says whether what was found is what it should be.
judge() {
  if [ "$2" = "$3" ]; then
    echo "ok    $1: $2"
  else
    echo "WRONG $1: '$2' instead of '$3'"
    failed=1
  fi
}

# number, scenario, what the shop says of the order in the end: its state, and how often it was credited
failed=0
while read -r order scenario expected; do
  kpay next "$scenario" >/dev/null
  curl --silent --fail --output /dev/null "$shop/orders" --data "id=$order&amount=5000&msisdn=0783300000" || true
  kpay advance 1h >/dev/null
  judge "$scenario" "$(curl --silent "$shop/orders/$order")" "$expected"
done <<'ORDERS'
A1 approve paid 1
A2 decline failed 0
A3 duplicate-postback paid 1
A4 form-labelled-postback paid 1
A5 contradicting-postback failed 0
A6 insufficient-funds failed 0
A7 malformed-postback pending 0
A8 lost-postback pending 0
A9 extra-fields paid 1
B1 unknown-tid-postback paid 1
B2 answer-malformed paid 1
ORDERS
# A postback that was lost is found by asking.
curl --silent --fail --output /dev/null --request POST "$shop/orders/A8/ask"
judge "asked for the lost one" "$(curl --silent "$shop/orders/A8")" "paid 1"
[ $failed = 0 ] || cat "$log"
exit $failed
