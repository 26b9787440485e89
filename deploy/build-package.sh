#!/bin/sh
# Builds the Debian package dist/casemate_VERSION_ARCH.deb: compiled code, the npm packages it needs,
# units, man page, completion, examples, and the Node.js that runs this.
#
# Node.js is inside because Debian 12 has version 18, which is too old, because the compiled parts
# fit one version of it only, and because a machine that is cut off should need nothing else.
set -eu

cd "$(dirname "$0")/.."
sh deploy/set-up.sh

say() {
  printf 'package: %s\n' "$*" >&2
}

version=$(node -p 'require("./package.json").version')
architecture=$(dpkg --print-architecture)
output=dist/casemate_${version}_$architecture.deb
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
trap 'exit 130' INT TERM
umask 022
# mktemp's own mode would become that of the package's root.
chmod 755 "$root"

# Copies files below a folder to the same places below another.
copy_tree() {
  from=$1
  to=$2
  shift 2
  mkdir -p "$to"
  (cd "$from" && find . -type f "$@" -print | tar -cf - -T -) | tar -xf - -C "$to" --no-same-owner
}

library=$root/usr/lib/casemate
node_binary=$(node -p 'fs.realpathSync(process.execPath)')
install -D -m 755 "$node_binary" "$library/bin/node"
install -m 644 package.json "$library/package.json"
for folder in daemon replication wal metrics; do
  copy_tree "dist/$folder" "$library/dist/$folder" '(' -name '*.js' -o -name '*.cjs' ')'
done

# The page is what the browser gets, as it is.
copy_tree daemon/page "$library/daemon/page" ! -name '*.ts'

node deploy/package/modules.mjs | while read -r module; do
  copy_tree "$module" "$library/$module" ! -path './node_modules/*' \
    ! -path './test/*' ! -path './tests/*' ! -path './benchmark*/*' ! -path './.github/*' \
    ! -path './deps/*' ! -path './build/Release/obj*' ! -path './build/koffi/*' \
    ! -name '*.map' ! -name '*.ts' ! -name '*.mts' ! -name '*.cts' ! -iname 'readme*' \
    ! -name '*.[ch]' ! -name '*.[ch]pp' ! -name '*.cc' ! -name '*.hh' ! -name '*.inc' ! -name '*.a' \
    ! -name '*.gyp' ! -name '*.mk' ! -name 'Makefile' ! -name 'test_extension.node'
done
# koffi brings binaries for every machine; one is for this.
koffi=build/koffi/$(node -p 'process.platform + "_" + process.arch')
install -D -m 644 "node_modules/koffi/$koffi/koffi.node" "$library/node_modules/koffi/$koffi/koffi.node"

install -D -m 755 deploy/package/casemate.sh "$root/usr/bin/casemate"
install -D -m 644 -t "$root/lib/systemd/system" deploy/systemd/*.service
documents=$root/usr/share/doc/casemate
node deploy/package/documents.mjs "$documents"
install -m 644 deploy/package/copyright "$documents/copyright"
for licence in "$(dirname "$node_binary")/../LICENSE" "$(dirname "$node_binary")/../share/doc/nodejs/LICENSE"; do
  [ ! -f "$licence" ] || gzip -9nc "$licence" >"$documents/node-LICENSE.gz"
done
[ -f "$documents/node-LICENSE.gz" ] || {
  say 'the licence of Node.js is not where its packages have it'
  exit 1
}
mkdir -p "$root/usr/share/man/man1" "$root/usr/share/bash-completion/completions"
node deploy/package/documentation.mjs man | gzip -9n >"$root/usr/share/man/man1/casemate.1.gz"
node deploy/package/documentation.mjs completion >"$root/usr/share/bash-completion/completions/casemate"

libc=$(dpkg-query -W -f '${Version}' libc6 | sed 's/-.*//')
libstdc=$(dpkg-query -W -f '${Version}' libstdc++6 | sed 's/-.*//')
mkdir "$root/DEBIAN"
cat >"$root/DEBIAN/control" <<EOF
Package: casemate
Version: $version
Architecture: $architecture
Maintainer: The authors of Casemate <casemate@localhost>
Installed-Size: $(du -sk --exclude=DEBIAN "$root" | cut -f 1)
Depends: libc6 (>= $libc), libstdc++6 (>= $libstdc), adduser, init-system-helpers
Suggests: nbd-client, qemu-utils, prometheus
Section: admin
Priority: optional
Description: block volumes that are on two sites at once
 Casemate replicates NBD block volumes synchronously between two sites: every
 write is on stable storage on both before it is answered, and either site
 goes on when the other one is lost. This package has the daemon of a site and
 the witness, which is the third voter, with the Node.js they run on.
EOF
for script in postinst prerm postrm; do
  install -m 755 "deploy/package/$script" "$root/DEBIAN/$script"
done
(cd "$root" && find . -type f ! -path './DEBIAN/*' -printf '%P\0' | sort -z | xargs -0 md5sum) \
  >"$root/DEBIAN/md5sums"

# The same commit gives the same package.
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || date +%s)
export SOURCE_DATE_EPOCH
find "$root" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
say 'packing'
dpkg-deb --root-owner-group -Zzstd --build "$root" "$output" >&2
printf '%s\n' "$output"
