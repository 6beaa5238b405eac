#!/usr/bin/env bash
# Somebody who steals the CA's key can vouch for KPay's names and this machine's, and for nothing else: every client refuses
# a certificate of this CA for another name, and takes one for KPay's.
set -euo pipefail
cd "$(dirname "$0")/../.."
program=${KPAY_SANDBOX:-target/debug/kpay-sandbox}
work=$(mktemp -d)
pids=()
trap 'kill "${pids[@]}" 2>/dev/null || true; rm -rf "$work"' EXIT
"$program" --listen 127.0.0.1:0 --certs "$work/certs" --ready-file "$work/ready" --quiet 2>/dev/null & pids+=($!)
until [ -s "$work/ready" ]; do :; done
ca=$work/certs/ca.pem

# serve NAME: a server whose certificate is for NAME, by the sandbox's CA; leaves its port in $port.
serve() {
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$work/$1.key" -out "$work/$1.csr" -subj "/CN=$1" 2>/dev/null
  openssl x509 -req -in "$work/$1.csr" -CA "$ca" -CAkey "$work/certs/ca.key" -days 1 -out "$work/$1.pem" \
    -extfile <(printf 'subjectAltName=DNS:%s\nextendedKeyUsage=serverAuth\n' "$1") 2>/dev/null
  port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
  openssl s_server -accept "127.0.0.1:$port" -www -quiet -key "$work/$1.key" -cert "$work/$1.pem" >/dev/null 2>&1 & pids+=($!)
  until (: <>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do :; done
}

by_openssl() { openssl verify -CAfile "$ca" "$work/$1.pem"; }
by_curl() { curl --silent --show-error --noproxy '*' --cacert "$ca" --resolve "$1:$port:127.0.0.1" "https://$1:$port/"; }
by_node() {
  node -e 'const [name, port, ca] = process.argv.slice(1); require("tls").connect({ host: "127.0.0.1", port, servername: name, ca: require("fs").readFileSync(ca) }, () => process.exit(0)).on("error", e => { console.error(e.message); process.exit(1) })' "$1" "$port" "$ca"
}
by_python() {
  python3 -c 'import socket, ssl, sys; name, port, ca = sys.argv[1:]; ssl.create_default_context(cafile=ca).wrap_socket(socket.create_connection(("127.0.0.1", int(port))), server_hostname=name)' "$1" "$port" "$ca"
}
by_go() { "$work/client" "$1" "$port" "$ca"; }
cat >"$work/client.go" <<'GO'
package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
)

func main() {
	ca, _ := os.ReadFile(os.Args[3])
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	if _, err := tls.Dial("tcp", "127.0.0.1:"+os.Args[2], &tls.Config{RootCAs: roots, ServerName: os.Args[1]}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
GO
go build -o "$work/client" "$work/client.go"

for name in pay.esicia.com bank.example; do
  serve "$name"
  for client in openssl curl node python go; do
    said=$("by_$client" "$name" 2>&1 >/dev/null) && taken=yes || taken=no
    if [ "$name" = pay.esicia.com ]; then wanted=yes; else wanted=no; fi
    [ "$taken" = "$wanted" ] || { echo "$client: $name: taken: $taken, wanted: $wanted: $said" >&2; exit 1; }
    # Refused for its name, and not because the server is away.
    if [ $wanted = no ] && ! grep -qiE 'permitted|constrain' <<<"$said"; then echo "$client refuses $name otherwise: $said" >&2; exit 1; fi
  done
done
# The CA signs for TLS servers only, whatever a certificate says that it is for.
# leaf NAME EXTENSIONS: a certificate of the CA.
leaf() {
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$work/$1.key" -out "$work/$1.csr" -subj "/CN=$1" 2>/dev/null
  openssl x509 -req -in "$work/$1.csr" -CA "$ca" -CAkey "$work/certs/ca.key" -days 1 -out "$work/$1.pem" -extfile <(printf '%b' "$2") 2>/dev/null
}
names='subjectAltName=DNS:localhost\nkeyUsage=digitalSignature,keyAgreement\nextendedKeyUsage='
leaf server "${names}serverAuth"
leaf client "${names}clientAuth"
leaf mail "${names}emailProtection"
leaf code "${names}codeSigning"
leaf any "${names}anyExtendedKeyUsage,serverAuth,clientAuth,emailProtection,codeSigning"
leaf none "subjectAltName=DNS:localhost"
verified() { openssl verify -CAfile "$ca" -purpose "$1" "$2" 2>&1; }
for leaf in "$work"/{server,any,none,certs/server}.pem; do verified sslserver "$leaf" >/dev/null; done
# openssl looks at the CA for these, not for time stamps; 3.0 cannot be asked about code.
purposes="sslclient smimesign smimeencrypt"
if verified codesign "$work/code.pem" | grep -q 'error .*purpose'; then purposes+=" codesign"; fi
for purpose in $purposes; do
  for leaf in client mail code any none; do
    if said=$(verified "$purpose" "$work/$leaf.pem"); then echo "$leaf is good for $purpose" >&2; exit 1; fi
    case $purpose-$leaf in
      # Nothing is wrong with the certificate itself, so it is the CA that is refused.
      sslclient-client | smimesign-mail | codesign-code | *-any)
        grep -q 'error 26 at 1 depth\|error 79 at 1 depth' <<<"$said" || { echo "$leaf is refused for $purpose otherwise: $said" >&2; exit 1; } ;;
    esac
  done
done
cat >"$work/purpose.go" <<'GO'
package main

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
)

func main() {
	usages := map[string]x509.ExtKeyUsage{
		"server": x509.ExtKeyUsageServerAuth, "client": x509.ExtKeyUsageClientAuth, "code": x509.ExtKeyUsageCodeSigning,
		"mail": x509.ExtKeyUsageEmailProtection, "stamp": x509.ExtKeyUsageTimeStamping,
	}
	ca, _ := os.ReadFile(os.Args[1])
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	for _, file := range os.Args[2:] {
		text, _ := os.ReadFile(file)
		block, _ := pem.Decode(text)
		leaf, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			panic(err)
		}
		for name, usage := range usages {
			_, err := leaf.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{usage}})
			if (err == nil) != (name == "server") {
				fmt.Fprintln(os.Stderr, "go:", file, "for", name, "is taken:", err == nil, err)
				os.Exit(1)
			}
		}
	}
}
GO
go run "$work/purpose.go" "$ca" "$work/any.pem" "$work/none.pem"
# Also where nobody asks for a purpose, an address is refused for its name.
for address in boss@bank.example info@pay.esicia.com; do
  leaf address "subjectAltName=email:$address"
  if said=$(openssl verify -CAfile "$ca" "$work/address.pem" 2>&1); then echo "a certificate for $address is taken" >&2; exit 1; fi
  grep -q 'permitted subtree violation' <<<"$said" || { echo "$address is refused otherwise: $said" >&2; exit 1; }
done
echo "the CA signs for TLS servers only: openssl refuses $purposes, go also code and time stamps; no e-mail address is taken"
echo "openssl, curl, node, python, go: a certificate of the CA is taken for pay.esicia.com and refused for bank.example"
