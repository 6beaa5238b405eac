# shellcheck shell=bash
# Sourced by the scripts beside it, in the project's folder, with the scratch folder as $1: builds the yardstick and the program, and says how to call it.
# shellcheck disable=SC2034
folder=${1:-${TMPDIR:-/tmp}/kpay-sandbox-yardstick}
source=$PWD/../shared/limits
[ -f "$source/setup.sh" ] || { echo "there is no yardstick at ../shared/limits" >&2; exit 2; }
[ -x "$folder/bin/kload" ] || "$source/setup.sh" "$folder"
cargo build --release --locked --quiet
program=$(cd "${CARGO_TARGET_DIR:-target}" && pwd)/release/kpay-sandbox
serve="$program --listen 127.0.0.1:19443 --certs $folder/own-certs"
auth='auth=Basic eW91cl91c2VybmFtZTp5b3VyX3Bhc3N3b3Jk'
body='{"action":"pay","msisdn":"0780000005","email":"customer@example.rw","details":"order","refid":"REFID","amount":5000,"currency":"RWF","cname":"Jane_Customer","cnumber":"CUST-000123","pmethod":"momo","retailerid":"01","returl":"http://127.0.0.1:9/cb","redirecturl":"https://shop.example/thanks?order=12345","bankid":"63510","logourl":"https://shop.example/logo.png"}'
# own NAME BODY [COMMAND]: the program as one of the yardstick's servers, which is asked with this body.
own() { printf '%s|https://127.0.0.1:19443/|%s/own-certs/ca.pem|%s|maxrss=16000|args=%s;body=%s' "$1" "$folder" "${3:-$serve}" "$auth" "$2"; }
