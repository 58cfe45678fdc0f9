#!/bin/sh
# Lays out the root of an image: the binary, the libraries that it was linked with and their loader, certificates, and
# a directory for its data. Usage: stage.sh BINARY ROOT
#
# There is no shell, no package manager and no other program in it, so there is nothing to be started in it but Vertice.
set -eu

binary=$1
root=$2

install -D -m 0755 "$binary" "$root/usr/bin/vertice"

# The loader is named by its path, the others by what they are found as ("libc.so.6 => /lib/…/libc.so.6 (0x…)").
ldd "$binary" | awk '$2 == "=>" { print $3 } $1 ~ /^\// { print $1 }' | while read -r library; do
    install -D -m 0755 "$(readlink -f "$library")" "$root$library"
done

install -d -m 0755 "$root/etc/ssl/certs"
if [ -f /etc/ssl/certs/ca-certificates.crt ]; then
    install -m 0644 /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
fi
printf 'vertice:x:65532:65532:Vertice:/var/lib/vertice:/sbin/nologin\n' > "$root/etc/passwd"
printf 'vertice:x:65532:\n' > "$root/etc/group"
# Names are looked up in /etc/hosts and by DNS, which the C library does by itself.
printf 'passwd: files\ngroup: files\nhosts: files dns\n' > "$root/etc/nsswitch.conf"

install -d -m 1777 "$root/tmp"
install -d -m 0700 "$root/var/lib/vertice"
