#!/usr/bin/env bash
# `hosts --write` on a full disk and on a file that is mounted, as in a container: the file is written whole or stays as it is.
# Mounts need root and a mount namespace of our own; without them this says that it checks nothing.
set -euo pipefail
cd "$(dirname "$0")/../.."
program=$(realpath "${KPAY_SANDBOX:-target/debug/kpay-sandbox}")
if [ "${1:-}" != inside ]; then
  if [ "$(id -u)" != 0 ] || ! unshare --mount --propagation private true 2>/dev/null; then
    echo "SKIPPED: the hosts file on a full disk and on a mount: that needs root and unshare --mount" >&2
    exit 0
  fi
  export KPAY_SANDBOX=$program
  exec unshare --mount --propagation private bash "$0" inside
fi
work=$(mktemp -d)
trap 'umount "$work/disk" 2>/dev/null || true; rm -rf "$work"' EXIT
fail() { echo "$*" >&2; exit 1; }
write() { "$program" hosts --write --file "$1" 2>"$work/said"; }
mkdir "$work/disk"
line="127.0.0.1 pay.esicia.rw pay.esicia.com esicia.rw # kpay-sandbox"

# A disk of 16 pages, with a file of exactly one page on it: one more byte takes another page.
mount -t tmpfs -o size=64k tmpfs "$work/disk"
own=$(printf '127.0.0.1 localhost\n#%4074s' '')
printf '%s\n' "$own" >"$work/disk/hosts"
cp "$work/disk/hosts" "$work/before"
[ "$(stat -c %s "$work/before")" = 4096 ] || fail "the file has another size than a page"
fill() { dd if=/dev/zero of="$work/disk/filler" bs=4096 2>/dev/null || true; }
fill
if write "$work/disk/hosts"; then fail "it has been written to a full disk"; fi
grep -q "unchanged" "$work/said" || fail "a full disk: $(cat "$work/said")"
cmp "$work/disk/hosts" "$work/before"
[ "$(find "$work/disk" -type f | wc -l)" = 2 ] || fail "a full disk: a temporary file is left: $(ls -A "$work/disk")"
rm "$work/disk/filler"

# A file that is mounted cannot be renamed over.
printf '127.0.0.1 localhost\n' >"$work/mounted"
touch "$work/hosts"
mount --bind "$work/mounted" "$work/hosts"
write "$work/hosts" || fail "a mounted file: $(cat "$work/said")"
[ "$(cat "$work/mounted")" = "$(printf '%s\n127.0.0.1 localhost' "$line")" ] || fail "a mounted file: $(cat "$work/mounted")"
"$program" hosts --remove --file "$work/hosts" 2>/dev/null
[ "$(cat "$work/mounted")" = "127.0.0.1 localhost" ] || fail "a mounted file: the line is left"
umount "$work/hosts"

# Both: mounted from a full disk.
mount --bind "$work/disk/hosts" "$work/hosts"
fill
if write "$work/hosts"; then fail "it has been written to a full disk through a mount"; fi
grep -q "unchanged" "$work/said" || fail "a mount of a full disk: $(cat "$work/said")"
cmp "$work/disk/hosts" "$work/before"
umount "$work/hosts"
echo "hosts: a full disk leaves the file as it is, a mounted file is written in place"
