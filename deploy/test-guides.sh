#!/bin/sh
# Follows every guide under deploy/guides to its end, also where it takes a kernel: a virtual machine
# that has a volume as its disk, and attaches it by nbd-client, while its site is restarted. Checks
# units and libvirt's XML with the tools that read them. `npm test` does the rest without all that.
#
# deploy/test-guides.sh
#
# Needs root, a Debian mirror, and the packages qemu-system-x86, busybox-static, cpio, libvirt-clients, libxml2-utils,
# curl, fio and qemu-utils. The kernel and nbd-client are unpacked, not installed. About three minutes.
set -eu

cd "$(dirname "$0")/.."
sh deploy/set-up.sh --test

say() {
  printf 'test-guides: %s\n' "$*" >&2
}

for command in qemu-system-x86_64 busybox cpio virt-xml-validate xmllint curl fio qemu-nbd; do
  command -v "$command" >/dev/null || {
    say "$command is missing; the packages it takes are named in this script"
    exit 1
  }
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

say 'unpacking a kernel and nbd-client'
kernel=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
mkdir "$work/packages" "$work/files"
(cd "$work/packages" && apt-get download "$kernel" nbd-client libnl-genl-3-200 >apt.log 2>&1) || {
  cat "$work/packages/apt.log" >&2
  exit 1
}
for package in "$work"/packages/*.deb; do dpkg-deb -x "$package" "$work/files"; done

# The blocks of a guide that go into files: from the here-document of that name to its end.
document() {
  awk -v start="$2" 'index($0, start) && /<</ { inside = 1; next } $0 == "END" { inside = 0 } inside' "$1"
}

say 'units: systemd-analyze verify'
units=$work/units
mkdir -p "$units/nbd@nbd0.service.d"
document deploy/guides/nbd-client.md vm-1.service >"$units/vm-1.service"
document deploy/guides/nbd-client.md vm-1.conf >"$units/nbd@nbd0.service.d/vm-1.conf"
# Programs that are not installed here are not looked for.
sed 's#^Exec\(Start\|Stop\)=//sbin/nbd-client.*#Exec\1=/bin/true#' \
  "$work/files/lib/systemd/system/nbd@.service" >"$units/nbd@.service"
sed 's#/usr/bin/casemate#/bin/true#' deploy/systemd/casemate.service >"$units/casemate.service"
for unit in vm-1.service nbd@nbd0.service; do
  # What the package's own unit says of a device is not ours.
  said=$(SYSTEMD_UNIT_PATH="$units:" systemd-analyze verify --man=no "$units/$unit" 2>&1 |
    grep -F -e vm-1 -e nbd@nbd0 | grep -v 'Before=dev-nbd0.device' || true)
  [ -z "$said" ] || {
    say "$unit: $said"
    exit 1
  }
done

say 'domains: virt-xml-validate'
awk '/^```xml$/ { inside = 1; next } /^```$/ { inside = 0 } inside' deploy/guides/qemu.md >"$work/disks.xml"
{
  echo "<domain type='kvm'><name>vm-1</name><memory>1</memory><os><type>hvm</type></os><devices>"
  # The second disk has the first one's name in the guide: they are two ways to have the same.
  awk '/<target/ && seen++ { sub("vda", "vdb") } { print }' "$work/disks.xml"
  echo '</devices></domain>'
} >"$work/domain.xml"
virt-xml-validate "$work/domain.xml" domain >&2

if command -v kubectl >/dev/null; then
  say 'manifest: kubectl'
  document deploy/guides/kubernetes.md vm-1.yaml >"$work/vm-1.yaml"
  [ "$(kubectl label --local --dry-run=client -f "$work/vm-1.yaml" -o name read=yes | wc -l)" -eq 3 ]
else
  say 'manifest: no kubectl here, not read'
fi

say 'the guides'
TAP_TIMEOUT=600 CASEMATE_GUIDES_FILES=$work/files node --enable-source-maps dist/test/guides/guides.test.js >"$work/output" || {
  cat "$work/output" >&2
  exit 1
}
grep -E '^ +ok [0-9]+ - [^/]+ # time' "$work/output" >&2
say 'all is well'
