#!/usr/bin/env bash
# Every built-in scenario with curl: chosen by the payer's number, driven by the control API.
set -euo pipefail
api() { curl --silent --show-error --fail-with-body --max-time 30 --request "$1" "$KPAY_CONTROL/$2" "${@:3}"; }
json() { python3 -c 'import json, sys; value = json.load(sys.stdin); print('"$1"')'; }
pay() { # REFID MSISDN SECONDS: the retcode, or what went wrong instead
  local body answer code=0
  body='{"msisdn":"'$2'","email":"customer@example.rw","details":"order","refid":"'$1'","amount":5000,"cname":"Jane Customer","cnumber":"1","pmethod":"momo","retailerid":"02","returl":"'$SHOP_URL'","redirecturl":"https://shop.example/thanks","bankid":"63510"}'
  answer=$(curl --silent --http1.1 --max-time "$3" --cacert "$KPAY_CA" --user "$KPAY_USERNAME:$KPAY_PASSWORD" "$KPAY_URL/" --data "$body" --write-out '\n%{http_code}') || code=$?
  case $code in 0) ;; 28) echo timeout; return ;; 56) echo reset; return ;; 18) echo cut; return ;; *) echo "curl $code"; return ;; esac
  case $answer in
    *$'\n'200) answer=${answer%$'\n'*} ;;
    *) echo "${answer##*$'\n'}"; return ;;
  esac
  if [ -z "$answer" ]; then echo empty; return; fi
  json 'value["retcode"]' <<<"$answer" 2>/dev/null || echo malformed
}
status() {
  curl --silent --cacert "$KPAY_CA" --user "$KPAY_USERNAME:$KPAY_PASSWORD" "$KPAY_URL/" \
    --data '{"action":"checkstatus","refid":"'"$1"'"}' | json 'value["statusid"]'
}
told='
def told(delivery):
    try: return json.loads(delivery["body"])["statusid"]
    except ValueError: return "unreadable"
print(",".join(told(one) for one in reversed(json.load(sys.stdin)["deliveries"])) or "-")'

while IFS=$'\t' read -r scenario msisdn answer posted statuses; do
  api POST reset >/dev/null
  patience=10
  [ "$answer" != timeout ] || patience=1
  got=$(pay "$scenario" "$msisdn" "$patience")
  case $scenario in
    reordered-postbacks) pay "$scenario-2" "$msisdn" 10 >/dev/null ;;
    approve-at-third-try)
      for number in 2 3; do
        api POST clock/settle >/dev/null
        pay "$scenario-$number" "$msisdn" 10 >/dev/null
      done ;;
    await-payer) api POST "transactions/$scenario/settle" --data '{"statusid": "01"}' >/dev/null ;;
  esac
  api POST clock/settle >/dev/null
  got+=$'\t'$(api GET deliveries | python3 -c "import json, sys$told")
  first=$(status "$scenario")
  second=$(status "$scenario")
  api POST clock/advance --data '{"by": "1m"}' >/dev/null
  got+=$'\t'$first,$second,$(status "$scenario")
  [ "$got" = "$answer"$'\t'"$posted"$'\t'"$statuses" ] || { echo "curl: $scenario: got $got"; exit 1; }
done <"$(dirname "$0")/expected.tsv"
echo "curl: every scenario"
