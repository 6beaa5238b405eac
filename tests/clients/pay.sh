#!/usr/bin/env bash
# A payment with curl: paid, refused twice, asked for until it is settled.
set -euo pipefail
call() { curl --silent --show-error --max-time 10 --cacert "$KPAY_CA" --user "$KPAY_USERNAME:${2:-$KPAY_PASSWORD}" "$KPAY_URL/" --data "$1" "${@:3}"; }
expect() { case $1 in *"$2"*) ;; *) echo "curl: $1 has no $2"; exit 1 ;; esac }
refid=SH-$$
pay='{"msisdn":"0783300000","email":"customer@example.rw","details":"order","refid":"'$refid'","amount":5000,"currency":"RWF","cname":"Jane Customer","cnumber":"123456789","pmethod":"momo","retailerid":"02","returl":"http://127.0.0.1:9/","redirecturl":"https://shop.example/thanks","bankid":"63510"}'
accepted=$(call "$pay")
expect "$accepted" '"reply":"PENDING"'
expect "$accepted" '"retcode":0'
expect "$(call "$pay")" '"retcode":608'
refused=$(call "$pay" wrong --write-out ' HTTP %{http_code}')
expect "$refused" '"retcode":600'
expect "$refused" ' HTTP 200' # a refusal is in the body, not in the HTTP status
expect "$(curl --silent --max-time 10 --cacert "$KPAY_CA" --interface 127.0.0.2 --user "$KPAY_USERNAME:$KPAY_PASSWORD" "$KPAY_URL/" --data "$pay")" '"retcode":602'
expect "$(curl --silent --max-time 10 "${KPAY_URL/https/http}/" --data "$pay")" '"retcode":500'
for _ in $(seq 50); do
  status=$(call '{"action":"checkstatus","refid":"'$refid'"}')
  case $status in *'"statusid":"03"'*) sleep 0.1 ;; *) break ;; esac # a client has nothing to wait on
done
expect "$status" '"statusid":"01"'
echo "curl: ok"
