#!/bin/sh
# Tests the Debian package as an operator has it: two machines and a witness, booted with systemd in
# containers of Debian 12. Installs, starts, breaks, upgrades one site after the other, purges.
#
# deploy/test-package.sh [PACKAGE]
#
# Needs root, a Debian mirror, and the packages debootstrap, systemd-container and qemu-utils. Takes about
# five minutes. Without PACKAGE it builds one. The mirror is $CASEMATE_MIRROR or deb.debian.org.
set -eu

cd "$(dirname "$0")/.."
mirror=${CASEMATE_MIRROR:-http://deb.debian.org/debian}
package=${1-}
[ -n "$package" ] || package=$(sh deploy/build-package.sh)

work=$(mktemp -d)
machines=''

say() {
  printf 'test-package: %s\n' "$*" >&2
}

fail() {
  say "FAILED: $*"
  for each in one two; do
    [ ! -f "$work/$each.pid" ] || inside "$each" journalctl --no-pager -n 30 -u 'casemate*' >&2 || true
  done
  exit 1
}

# Runs a command in a booted machine.
inside() {
  machine=$1
  shift
  nsenter --target "$(cat "$work/$machine.pid")" --mount --uts --ipc --pid --root --wd=/ \
    env PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive "$@"
}

# Waits, for a minute and a half at most, until a command succeeds.
wait_until() {
  what=$1
  shift
  deadline=$(($(date +%s) + 90))
  until "$@" >/dev/null 2>&1; do
    [ "$(date +%s)" -lt "$deadline" ] || fail "waited in vain: $what"
    sleep 0.25
  done
  say "ok: $what"
}

expect() {
  what=$1
  shift
  "$@" >/dev/null 2>&1 || fail "$what"
  say "ok: $what"
}

clean_up() {
  for machine in $machines; do
    kill -TERM "$(cat "$work/$machine.container")" 2>/dev/null || true
    wait "$(cat "$work/$machine.container")" 2>/dev/null || true
  done
  rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

# The container's first process is the child of systemd-nspawn.
find_leader() {
  leader=$(pgrep -P "$(cat "$work/$1.container")" | head -n 1)
  [ -n "$leader" ] && echo "$leader" >"$work/$1.pid"
}

is_booted() {
  find_leader "$1" && inside "$1" systemctl is-active multi-user.target
}

boot() {
  systemd-nspawn --quiet --directory "$work/$1" --machine "casemate-$1-$$" --register=no \
    --keep-unit --boot --console=pipe </dev/null >"$work/$1.console" 2>&1 &
  echo $! >"$work/$1.container"
  machines="$machines $1"
  wait_until "machine $1 has booted" is_booted "$1"
}

# site NAME REPLICATION-PORT API-PORT NBD-PORT PEER PEER-PORT
site_configuration() {
  cat <<EOF
cluster = "test"
site = "$1"
dataDirectory = "/var/lib/casemate"
[peer]
site = "$5"
address = "127.0.0.1:$6"
[witness]
name = "lux-w"
address = "127.0.0.1:29629"
[replication]
listen = "127.0.0.1:$2"
[log]
sizeBytes = "512MiB"
[nbd]
unix = "/run/casemate/nbd.sock"
listen = "127.0.0.1:$4"
[api]
listen = "127.0.0.1:$3"
EOF
}

casemate() {
  machine=$1
  shift
  inside "$machine" casemate "$@" --config /etc/casemate/site.toml
}

status_has() {
  casemate "$1" status --json | grep -q "$2"
}

in_sync() {
  for each in one two; do
    casemate "$each" status --json >"$work/status" || return 1
    grep -q '"inSync": *true' "$work/status" && grep -q '"serves": *true' "$work/status" || return 1
  done
}

service_text_has() {
  inside "$1" systemctl show -p StatusText "$2" | grep -q "$3"
}

# The page of a daemon, and all that it refers to, as a browser on that machine gets them.
page_is_whole() {
  inside "$1" sh -c 'cd / && exec "$@"' sh /usr/lib/casemate/bin/node --input-type=module -e '
    const page = new URL(process.argv[1]);
    const get = async (url) => {
      const answer = await fetch(url);
      if (!answer.ok) throw new Error(`${url}: ${answer.status}`);
      return await answer.text();
    };
    const text = await get(page);
    const parts = [...text.matchAll(/(?:src|href)="([^"#]+)"/g)].map(([, path]) => new URL(path, page));
    if (!/<title>[^<]*Casemate/i.test(text) || parts.length < 2) throw new Error(text);
    for (const part of parts) await get(part);
  ' "$2"
}

# doctor MACHINE KIND SAID: it finds no error, and says this
doctor_is_content() {
  inside "$1" casemate doctor --config "/etc/casemate/$2.toml" >"$work/doctor" 2>&1 || [ $? -eq 5 ] || {
    cat "$work/doctor" >&2
    return 1
  }
  grep -q "$3" "$work/doctor"
}

main_pid() {
  inside "$1" systemctl show -p MainPID --value casemate.service
}

is_restarted() {
  [ "$(main_pid "$1")" != "$2" ] && [ "$(main_pid "$1")" != 0 ] && in_sync
}

# pattern PORT read|write BYTE MEBIBYTE: one mebibyte of it at that place
pattern() {
  qemu-io -f raw -c "$2 -P $3 ${4}M 1M" "nbd://127.0.0.1:$1/disk" | tee "$work/output" &&
    ! grep -q 'verification failed' "$work/output"
}

say 'making machines (debootstrap)'
base=${CASEMATE_TEST_BASE:-$work/base}
[ -d "$base" ] || debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,adduser,procps,man-db \
  bookworm "$base" "$mirror" >"$work/debootstrap.log" 2>&1 || fail 'debootstrap'
for machine in one two; do
  cp -a "$base" "$work/$machine"
  cp "$package" "$work/$machine/old.deb"
  boot "$machine"
done

# The next version: the same, but for its number.
dpkg-deb -R "$package" "$work/next"
sed -i 's/^Version: .*/&+next/' "$work/next/DEBIAN/control"
sed -i 's/"version": "[^"]*/&+next/' "$work/next/usr/lib/casemate/package.json"
dpkg-deb --root-owner-group -Znone --build "$work/next" "$work/next.deb" >/dev/null
for machine in one two; do cp "$work/next.deb" "$work/$machine/next.deb"; done

say 'installing'
for machine in one two; do
  expect "it installs on $machine" inside "$machine" dpkg -i /old.deb
  expect 'the user is there' inside "$machine" getent passwd casemate
  expect 'the unit is enabled' inside "$machine" systemctl is-enabled casemate.service
  inside "$machine" systemctl is-active --quiet casemate.service && fail 'it runs without a configuration'
  expect 'the command answers' inside "$machine" casemate --version
  expect 'the manual has it' inside "$machine" man casemate
done

site_configuration lux-1 29618 29617 29809 lux-2 29718 >"$work/one/etc/casemate/site.toml"
site_configuration lux-2 29718 29717 29909 lux-1 29618 >"$work/two/etc/casemate/site.toml"
cat >"$work/one/etc/casemate/witness.toml" <<'EOF'
name = "lux-w"
dataDirectory = "/var/lib/casemate-witness"
listen = "127.0.0.1:29629"
[clusters.test]
sites = ["lux-1", "lux-2"]
[api]
listen = "127.0.0.1:29619"
EOF

say 'starting'
wait_until 'the doctor finds no error at the witness' doctor_is_content one witness 'is not running'
for machine in one two; do
  inside "$machine" casemate doctor --config /etc/casemate/site.toml >"$work/doctor" &&
    fail 'the doctor does not miss peer and witness'
  expect 'the doctor misses the witness' grep -q '^ERROR .*lux-w' "$work/doctor"
done
expect 'the witness starts' inside one systemctl start casemate-witness.service
for machine in one two; do
  # A test should not wait for half a minute until a daemon counts as hung.
  mkdir -p "$work/$machine/etc/systemd/system/casemate.service.d"
  printf '[Service]\nWatchdogSec=3s\n' >"$work/$machine/etc/systemd/system/casemate.service.d/test.conf"
  inside "$machine" systemctl daemon-reload
  expect "the site starts on $machine" inside "$machine" systemctl start casemate.service
done
wait_until 'a volume is created' casemate one volume create disk --size 64MiB
wait_until 'it is in sync' in_sync
expect 'clients write' pattern 29809 write 11 1
wait_until 'systemd knows how the site is' service_text_has one casemate.service 'All is well'
wait_until 'and the witness' service_text_has one casemate-witness.service '2 of 2 sites connected'
expect 'members of the group reach the socket' \
  test "$(stat -c '%A %G' "$work/one/run/casemate" 2>/dev/null || inside one stat -c '%A %G' /run/casemate)" = 'drwxr-x--- casemate'
expect 'systemd rates it as OK' inside one sh -c "systemd-analyze security casemate.service | grep -q 'OK'"

for machine in one two; do
  wait_until "the doctor finds no error on $machine" doctor_is_content "$machine" site 'is running'
done
wait_until 'nor at the witness' doctor_is_content one witness 'is running'
page_is_whole one http://127.0.0.1:29617/ || fail 'the page is not served on one'
page_is_whole two http://127.0.0.1:29717/ || fail 'nor on two'
say 'ok: the page is served'

say 'breaking'
pid=$(main_pid one)
inside one kill -STOP "$pid"
wait_until 'a daemon that hangs is started again' is_restarted one "$pid"
pid=$(main_pid two)
inside two kill -KILL "$pid"
wait_until 'a daemon that was killed is started again' is_restarted two "$pid"
pid=$(main_pid one)
sed -i 's/^\[log\]/[logging]\nlevel = "debug"\n&/' "$work/one/etc/casemate/site.toml"
expect 'it reloads' inside one systemctl reload casemate.service
wait_until 'and serves on' in_sync
[ "$(main_pid one)" = "$pid" ] || fail 'a reload ended the daemon'
inside one journalctl -u casemate.service | grep -q 'configuration reloaded' || fail 'nothing was reloaded'
expect 'clients read what they wrote' pattern 29909 read 11 1

say 'upgrading'
for machine in two one; do
  pid=$(main_pid "$machine")
  expect "the next version installs on $machine" inside "$machine" dpkg -i /next.deb
  [ "$(main_pid "$machine")" = "$pid" ] || fail 'the upgrade ended the daemon'
  expect 'it restarts' inside "$machine" systemctl restart casemate.service
  wait_until "$machine runs the next version" status_has "$machine" '+next'
  wait_until 'both are in sync' in_sync
  expect 'clients write' pattern 29809 write 22 2
done
for port in 29809 29909; do
  expect 'what was written before the upgrade is there' pattern "$port" read 11 1
  expect 'what was written since is there' pattern "$port" read 22 2
done

say 'removing'
inside two rm -r /etc/systemd/system/casemate.service.d
expect 'it is removed' inside two dpkg -r casemate
inside two pgrep -u casemate && fail 'a daemon still runs'
expect 'the configuration is left' test -f "$work/two/etc/casemate/site.toml"
expect 'it is installed again' inside two dpkg -i /next.deb
wait_until 'both are in sync' in_sync
expect 'it is purged' inside two dpkg -P casemate
[ ! -e "$work/two/etc/casemate" ] || fail 'the configuration is left'
expect 'volumes are left' test -n "$(find "$work/two/var/lib/casemate" -name '*.data')"
rm -rf "$work/two/var/lib/casemate"
expect 'it is installed and purged without volumes' inside two sh -c 'dpkg -i /next.deb && dpkg -P casemate'
left=$(inside two sh -c "find / -xdev -name '*casemate*' ! -path '/proc/*' ! -path '/sys/*' ! -path '/tmp/*' \
  ! -path '/var/lib/systemd/deb-systemd-helper*' ! -path '/var/log/*' ! -path '/var/cache/man/*'; getent passwd casemate" || true)
[ -z "$left" ] || fail "left after the purge: $left"
say 'ok: nothing is left'
say 'all is well'
