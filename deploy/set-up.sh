#!/bin/sh
# Sets up whatever is missing on this machine and nothing that is there: compilers, npm packages,
# the build. With --test also the NBD clients, file system tools, promtool and the browser that the
# tests use; with --bench the load generator and the peers of the benchmarks.
#
# Downloads come from the Debian archive and the npm registry only. Install scripts of npm packages
# never run: the one package without a binary for this Node inside it (better-sqlite3) is compiled
# here, against the headers that came with this Node.
set -eu

PATH="$PATH:/usr/sbin:/sbin"
cd "$(dirname "$0")/.."

say() {
  printf 'set-up: %s\n' "$*" >&2
}

fail() {
  say "$@"
  exit 1
}

usage() {
  printf 'Usage: deploy/set-up.sh [--test | --bench]\n' >&2
  exit 2
}

# The commands that each Debian package is needed for, as "package command".
build_packages='python3 python3
make make
g++ g++'
test_packages='qemu-utils qemu-io
libnbd-bin nbdinfo
nbdkit nbdkit
fio fio
fuse3 fusermount3
xfsprogs mkfs.xfs
e2fsprogs mkfs.ext4
prometheus promtool
etcd-server etcd
openssl openssl
iproute2 ip
socat socat
chromium chromium
systemd systemd-analyze'
bench_packages='fio fio
nbdkit nbdkit
qemu-utils qemu-nbd
qemu-system-common qemu-storage-daemon'

# Prints the packages of a list whose command is not on this machine.
missing_of() {
  printf '%s\n' "$1" | while read -r package command; do
    command -v "$command" >/dev/null || printf '%s ' "$package"
  done
}

check_node() {
  command -v node >/dev/null || fail 'Node.js is missing: install version 20.12 or newer.'
  command -v npm >/dev/null || fail 'npm is missing: it comes with Node.js, or as Debian package npm.'
  node -e '
    const [major, minor] = process.versions.node.split(".").map(Number);
    process.exit(major > 20 || (major === 20 && minor >= 12) ? 0 : 1);
  ' || fail "Node.js $(node --version) is too old: install version 20.12 or newer."
}

# Installs Debian packages. No service of theirs starts now or at the next boot: promtool comes in
# the package of the Prometheus server, which nobody asked to run here, and tests run their own etcd.
install_packages() {
  if [ "$(id -u)" -ne 0 ]; then
    fail "Debian packages are missing. Run as root: apt-get install --no-install-recommends $*"
  fi
  command -v apt-get >/dev/null || fail "No apt-get here. Install what gives: $*"
  say "installing Debian packages: $*"
  policy=/usr/sbin/policy-rc.d
  own_policy=no
  if [ ! -e "$policy" ]; then
    own_policy=yes
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    trap 'exit 130' INT TERM
  fi
  log=$(mktemp)
  if ! {
    apt-get update &&
      DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "$@"
  } >"$log" 2>&1 </dev/null; then
    cat "$log" >&2
    rm -f "$log"
    fail 'apt-get failed, see above.'
  fi
  rm -f "$log"
  if [ "$own_policy" = yes ]; then
    rm -f "$policy"
    trap - EXIT INT TERM
  fi
  for package in prometheus etcd-server; do
    case " $* " in
    *" $package "*) disable_service "${package%-server}" ;;
    esac
  done
}

disable_service() {
  if command -v systemctl >/dev/null; then
    systemctl disable "$1.service" >/dev/null 2>&1 ||
      say "note: $1.service could not be disabled; it may start at the next boot."
  fi
}

# Installs what is missing for compiling, or for a purpose.
set_up_packages() {
  missing=''
  case $1 in
  compile) modules_are_current || missing=$(missing_of "$build_packages") ;;
  test)
    missing=$(missing_of "$test_packages")
    /usr/bin/python3 -c 'import nbd' 2>/dev/null || missing="$missing python3-libnbd"
    ;;
  bench) missing=$(missing_of "$bench_packages") ;;
  esac
  # Benchmarks go on without a peer that is missing, and say so.
  if [ "$1" = bench ] && [ -n "$missing" ] && [ "$(id -u)" -ne 0 ]; then
    say "not root, so not installed: $missing"
    return
  fi
  # The names are split into words on purpose.
  # shellcheck disable=SC2086
  [ -z "$missing" ] || install_packages $missing
}

# What the installed packages depend on: the lock file and this Node's binary interface.
modules_state() {
  printf '%s %s\n' "$(cksum <package-lock.json)" \
    "$(node -p '[process.platform, process.arch, process.versions.modules].join(" ")')"
}

modules_stamp=node_modules/.set-up

modules_are_current() {
  [ -f "$modules_stamp" ] && [ "$(modules_state)" = "$(cat "$modules_stamp")" ]
}

set_up_modules() {
  if modules_are_current; then
    return
  fi
  prefix=$(node -p 'path.dirname(path.dirname(fs.realpathSync(process.execPath)))')
  [ -f "$prefix/include/node/node.h" ] || fail "the C++ headers of Node.js $(node --version) are" \
    "missing: $prefix/include/node/node.h. They come with Node's own packages (with Debian's: libnode-dev)."
  # npm empties the folder first: behind a link, that would be another tree's.
  [ ! -L node_modules ] || rm node_modules
  say 'installing npm packages'
  npm ci --ignore-scripts --no-audit --no-fund --loglevel=error </dev/null >&2
  # -O2 is what SQLite's authors recommend; the package's own -O3 takes a quarter longer.
  say 'compiling better-sqlite3 (about a minute)'
  node_gyp=$(dirname "$(realpath "$(command -v npm)")")/../node_modules/node-gyp/bin/node-gyp.js
  [ -f "$node_gyp" ] || node_gyp=$(command -v node-gyp) || fail 'node-gyp, a part of npm, is missing.'
  log=$(mktemp)
  if ! (
    cd node_modules/better-sqlite3
    CFLAGS=-O2 CXXFLAGS=-O2 node "$node_gyp" rebuild --release --nodedir="$prefix" --jobs=max
  ) >"$log" 2>&1 </dev/null; then
    cat "$log" >&2
    rm -f "$log"
    fail 'better-sqlite3 could not be compiled, see above.'
  fi
  rm -f "$log"
  modules_state >"$modules_stamp"
}

sources='daemon replication wal metrics test bench'
build_stamp=dist/.set-up

# True when no source, and no folder of sources (a file was removed), is newer than the build.
build_is_current() {
  [ -f "$build_stamp" ] || return 1
  # shellcheck disable=SC2086
  [ -z "$(find $sources tsconfig.json "$modules_stamp" -newer "$build_stamp" -print \
    2>/dev/null | head -n 1)" ]
}

# Outputs whose source is gone would still be found, imported and tested.
remove_stale_outputs() {
  find dist -type f \( -name '*.js' -o -name '*.js.map' \) | while read -r output; do
    source=${output#dist/}
    source=${source%.map}
    [ -f "${source%.js}.ts" ] || rm -f "$output"
  done
}

set_up_build() {
  if build_is_current; then
    return
  fi
  say 'building'
  mkdir -p dist
  # Made before the compiler starts: a source saved meanwhile is newer than it.
  touch dist/.set-up-started
  node_modules/.bin/tsc --project tsconfig.json >&2 || fail 'the build failed, see above.'
  remove_stale_outputs
  mv dist/.set-up-started "$build_stamp"
}

purpose='run'
case "$#:${1-}" in
0:) ;;
1:--test) purpose='test' ;;
1:--bench) purpose='bench' ;;
*) usage ;;
esac

check_node
set_up_packages compile
# Packages that only tests or benchmarks use come in while the modules are compiled.
set_up_packages "$purpose" &
packages=$!
trap 'wait "$packages"' EXIT
set_up_modules
set_up_build
trap - EXIT
wait "$packages"
