#!/usr/bin/env bash
# "Why not the tool I have": stubs of `pay` in Mockoon, WireMock and Express beside the program, in one interleaved run.
#
#     benches/compare.sh [FOLDER]
#
# A stub answers the same fixed text to everybody; it knows no refid, sends no postback and settles nothing. Needs the yardstick
# in ../shared/limits, Node with npm, and Java. FOLDER is a scratch folder.
set -euo pipefail
cd "$(dirname "$0")/.."
command -v java >/dev/null || { echo "java is missing: WireMock needs it" >&2; exit 2; }
# shellcheck source=benches/common.sh
. benches/common.sh "${1:-}"
mkdir -p "$folder/tools"
cd "$folder/tools"
[ -d node_modules/express ] || npm install --prefix . --no-audit --no-fund --silent @mockoon/cli wiremock express

certs=$folder/certs
answer='{"reply":"PENDING","url":"https://pay.example.rw/checkout/A00000000001","success":1,"authkey":"0123456789abcdef","tid":"E6970011769860805","refid":"R1","retcode":0}'
cat >express.js <<JS
const express = require("express"), https = require("https"), fs = require("fs")
const app = express()
app.use(express.json())
app.post("/", (request, response) => response.json({ ...$answer, refid: request.body.refid }))
https.createServer({ key: fs.readFileSync("$certs/leaf.key"), cert: fs.readFileSync("$certs/leaf.pem") }, app).listen(18551, "127.0.0.1")
JS
python3 - "$certs" "$answer" <<'PY'
import json, os, sys
certs, answer = sys.argv[1:]
route = {"uuid": "r", "type": "http", "method": "post", "endpoint": "", "responseMode": None, "responses": [{
    "uuid": "a", "body": answer, "latency": 0, "statusCode": 200, "headers": [{"key": "Content-Type", "value": "application/json"}],
    "bodyType": "INLINE", "filePath": "", "databucketID": "", "sendFileAsBody": False, "rules": [], "rulesOperator": "OR",
    "disableTemplating": True, "fallbackTo404": False, "default": True, "crudKey": "id", "callbacks": [], "label": ""}]}
tls = {"enabled": True, "type": "CERT", "pfxPath": "", "certPath": certs + "/leaf.pem", "keyPath": certs + "/leaf.key", "caPath": "", "passphrase": ""}
json.dump({"uuid": "e", "lastMigration": 33, "name": "kpay", "port": 18552, "hostname": "127.0.0.1", "endpointPrefix": "", "latency": 0,
           "routes": [route], "rootChildren": [{"type": "route", "uuid": "r"}], "folders": [], "data": [], "headers": [], "proxyMode": False,
           "proxyHost": "", "proxyRemovePrefix": False, "tlsOptions": tls, "cors": False, "proxyReqHeaders": [], "proxyResHeaders": [],
           "callbacks": []}, open("mockoon.json", "w"))
os.makedirs("wiremock/mappings", exist_ok=True)
json.dump({"request": {"method": "POST", "urlPath": "/"}, "response": {"status": 200, "body": answer,
           "headers": {"Content-Type": "application/json"}}}, open("wiremock/mappings/pay.json", "w"))
PY
[ -f wiremock/keys.p12 ] || openssl pkcs12 -export -in "$certs/leaf.pem" -inkey "$certs/leaf.key" -out wiremock/keys.p12 -passout pass:password
jar=$(find "$PWD/node_modules/wiremock" -name '*.jar' | head -1)
cd "$folder"
stub() { printf '%s|https://127.0.0.1:%s/|certs/ca.pem|%s|maxrss=3000' "$1" "$2" "$3"; }
python3 bench.py "${COMPARE:-load}" --cells "${CELLS:-k1,k16,n1,n16}" --secs 1.5 --refsecs 1.5 --rounds 5 --runs 5 --pair --ref kpay-sandbox --only 'kpay-sandbox,express,mockoon,wiremock' \
  --add "$(own kpay-sandbox "$body")" \
  --add "$(stub express 18551 "node $folder/tools/express.js")" \
  --add "$(stub mockoon 18552 "node $folder/tools/node_modules/.bin/mockoon-cli start --data $folder/tools/mockoon.json --disable-log-to-file")" \
  --add "$(stub wiremock 18553 "java -jar $jar --disable-http --https-port 18553 --bind-address 127.0.0.1 --root-dir $folder/tools/wiremock --https-keystore $folder/tools/wiremock/keys.p12 --keystore-type PKCS12 --keystore-password password --no-request-journal --disable-banner")"
