/**
 * A virtual machine on `vm-host`, for what a guide does with a kernel: QEMU with the very options
 * of its guide, Debian's own kernel with its nbd module, the real nbd-client. It runs from memory;
 * its only disk is the volume. CASEMATE_GUIDES_FILES names a directory with the unpacked packages
 * (`deploy/test-guides.sh`).
 */
import { cpSync, mkdirSync, readdirSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { runOk } from '../support/run-command.ts';
import type { Guide } from './guide.ts';
import type { Machines } from './machines.ts';

/** In the order in which one needs the other. */
const modules = [
  'virtio_ring',
  'virtio',
  'virtio_pci_modern_dev',
  'virtio_pci_legacy_dev',
  'virtio_pci',
  'failover',
  'net_failover',
  'virtio_net',
  'virtio_blk',
  'nbd',
];

const init = `#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin:/sbin LD_LIBRARY_PATH=/lib
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
for module in $(cat /modules/order); do insmod /modules/$module.ko; done
ip link set lo up
ip link set eth0 up
ip addr add 10.0.2.15/24 dev eth0
ip route add default via 10.0.2.2
dash -ex /work.sh && echo 'ALL IS WELL'
sync
poweroff -f
`;

/** Stands in for systemctl: runs what a unit runs. */
const systemctl = `#!/bin/sh
for last; do :; done
case $last in
nbd@*) unit=/lib/systemd/system/nbd@.service ;;
*) unit=/etc/systemd/system/$last.service ;;
esac
case $1 in
enable | start) command=$(sed -n 's/^ExecStart=//p' $unit) ;;
stop) command=$(sed -n 's/^ExecStop=//p' $unit) ;;
*) exit 0 ;;
esac
mkdir -p /run/$(sed -n 's/^RuntimeDirectory=//p' $unit)
device=\${last#nbd@}
exec $(echo "$command" | sed "s/%i/\${device%.service}/")
`;

/** Programs of this machine with the libraries they need. */
async function addPrograms(root: string, programs: readonly string[]): Promise<void> {
  for (const program of programs) {
    const target = join(root, 'bin', program.slice(program.lastIndexOf('/') + 1));
    cpSync(program, target, { dereference: true });
    const needed = await runOk('ldd', [program]);
    for (const [path] of needed.matchAll(/\/\S+(?= \(0x)/g)) {
      const place = join(root, path.startsWith('/lib64') ? path : `lib/${path.split('/').at(-1)}`);
      mkdirSync(dirname(place), { recursive: true });
      cpSync(path, place, { dereference: true });
    }
  }
}

function addModules(root: string, files: string): void {
  const directory = join(files, 'lib/modules');
  const found = readdirSync(directory, { recursive: true, encoding: 'utf8' });
  mkdirSync(join(root, 'modules'));
  for (const name of modules) {
    const path = found.find((each) => each.endsWith(`/${name}.ko`));
    if (path !== undefined) cpSync(join(directory, path), join(root, 'modules', `${name}.ko`));
  }
  writeFileSync(join(root, 'modules/order'), modules.join('\n'));
}

/** The command that the guide for QEMU has for this host, with what makes a machine of it. */
function commandOf(guide: Guide, rest: string): string {
  const shown = guide.blocks.find(({ text }) => /^qemu-system.*tls-creds=/s.test(text));
  if (shown === undefined) throw new Error('the guide for QEMU has no command for another host');
  return shown.text.replace('...', rest);
}

export interface VirtualMachineOptions {
  readonly machines: Machines;
  /** Unpacked packages. */
  readonly files: string;
  /** A directory to build its files in. */
  readonly scratch: string;
  readonly guide: Guide;
  /** What is run in it, as root; fails as a whole if a command fails. */
  readonly script: string;
}

/** Boots it, runs the script in it, and gives what it printed; it ends by itself. */
export async function runInVirtualMachine(options: VirtualMachineOptions): Promise<string> {
  const { machines, files, scratch, guide, script } = options;
  const root = join(scratch, 'root');
  for (const name of ['bin', 'sbin', 'lib', 'proc', 'sys', 'dev', 'etc/pki', 'srv', 'run', 'tmp']) {
    mkdirSync(join(root, name), { recursive: true });
  }
  mkdirSync(join(root, 'lib/systemd/system'), { recursive: true });
  process.env['LD_LIBRARY_PATH'] = join(files, 'lib/x86_64-linux-gnu');
  try {
    await addPrograms(root, [
      '/usr/sbin/mkfs.ext4',
      '/usr/bin/dash',
      '/usr/bin/install',
      '/usr/bin/mount',
      '/usr/bin/qemu-nbd',
      join(files, 'sbin/nbd-client'),
    ]);
  } finally {
    delete process.env['LD_LIBRARY_PATH'];
  }
  cpSync('/usr/bin/busybox', join(root, 'bin/busybox'));
  cpSync(join(root, 'bin/nbd-client'), join(root, 'sbin/nbd-client'));
  mkdirSync(join(root, 'usr/bin'), { recursive: true });
  renameSync(join(root, 'bin/qemu-nbd'), join(root, 'usr/bin/qemu-nbd'));
  cpSync(
    join(files, 'lib/systemd/system/nbd@.service'),
    join(root, 'lib/systemd/system/nbd@.service'),
  );
  addModules(root, files);
  const executable = { mode: 0o755 };
  writeFileSync(join(root, 'init'), init, executable);
  writeFileSync(join(root, 'sbin/systemctl'), systemctl, executable);
  writeFileSync(join(root, 'work.sh'), script);
  // What following the guides has left on the host.
  const host = await machines.run(
    'vm-host',
    'tar -C / -cf - etc/nbdtab etc/systemd/system/vm-1.service etc/pki/casemate | base64',
  );
  writeFileSync(join(scratch, 'host.tar'), Buffer.from(host.stdout, 'base64'));
  await runOk('tar', ['-C', root, '-xf', join(scratch, 'host.tar')]);
  const home = machines.homeOf('vm-host');
  const pack = 'cd "$1" && find . | cpio --quiet -o -H newc >"$2"';
  await runOk('sh', ['-c', pack, 'pack', root, join(home, 'initrd')]);
  const [kernel] = readdirSync(join(files, 'boot')).filter((name) => name.startsWith('vmlinuz'));
  cpSync(join(files, 'boot', kernel ?? ''), join(home, 'kernel'));
  const command = commandOf(
    guide,
    `-accel tcg -m 512 -display none -serial stdio -monitor none -no-reboot -nic user,model=virtio-net-pci \\
    -kernel kernel -initrd initrd -append 'console=ttyS0 quiet panic=-1'`,
  );
  const { stdout, stderr } = await machines.run(
    'vm-host',
    `timeout 200 ${command} </dev/null >console 2>&1; cat console`,
  );
  return `${stdout}${stderr}`;
}
