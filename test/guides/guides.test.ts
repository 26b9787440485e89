/**
 * The guides under deploy/guides are followed to the letter, one after the other, on machines that
 * were just made: what a guide leaves is what the next one finds. Between them the machines suffer
 * what the next guide is for. What takes long is left to `deploy/test-guides.sh`.
 */
import t, { type Test } from 'tap';
import { pollUntil } from '../support/poll.ts';
import { scratchDirectory } from '../support/scratch-directory.ts';
import { followGuide, readGuide } from './follow.ts';
import { type MachineName, Machines, whyNoMachines } from './machines.ts';
import { runInVirtualMachine } from './virtual-machine.ts';

const skip = whyNoMachines();
/** Unpacked packages for a virtual machine: then everything is done, not only what is quick. */
const files = process.env['CASEMATE_GUIDES_FILES'];
const socket = 'nbd+unix:///vm-1?socket=/run/casemate/nbd.sock';

/** Runs what is no part of a guide; throws unless it succeeds. */
async function runOn(machines: Machines, name: MachineName, script: string): Promise<string> {
  const { code, stdout, stderr } = await machines.run(name, script);
  if (code !== 0) throw new Error(`${name}: ${script}: ${stdout}${stderr}`);
  return stdout;
}

/** Writes and reads a pattern as a client of the machine's own site. */
async function blocks(machines: Machines, name: MachineName, ...commands: string[]) {
  const parts = commands.map((command) => `-c '${command}'`).join(' ');
  const output = await runOn(machines, name, `qemu-io -f raw ${parts} '${socket}' 2>&1`);
  if (/fail|error/i.test(output)) throw new Error(`${name}: ${output}`);
}

/** A client of lux-1 that writes all the time, and connects anew when it is disconnected. */
function startClient(machines: Machines): { end(): Promise<string> } {
  const image =
    'driver=nbd,server.type=unix,server.path=/run/casemate/nbd.sock,export=vm-1,reconnect-delay=60';
  const written = machines.run(
    'lux-1',
    `(while [ ! -e enough ]; do echo 'write -P 5 32M 1M'; sleep 0.1; done) |
    qemu-io --image-opts '${image}' 2>&1`,
  );
  return {
    end: async () => {
      await runOn(machines, 'lux-1', 'touch enough');
      const { code, stdout } = await written;
      return code === 0 ? stdout : `failed (${code}): ${stdout}`;
    },
  };
}

/** The machine is lost with all that was on it; there is a new one in its place. */
async function replaceMachine(machines: Machines, name: MachineName, kept = ''): Promise<void> {
  await runOn(
    machines,
    name,
    `systemctl kill -s KILL casemate casemate-witness
    dpkg --purge casemate
    rm -rf /etc/casemate /root/casemate-* ${kept === '' ? '/var/lib/casemate*' : ''}`,
  );
}

/**
 * A virtual machine has the volume as its disk, attaches it by nbd-client as well, and writes to
 * the file system on it while its site is restarted.
 */
async function kernelOnVolume(t: Test, machines: Machines, files: string): Promise<void> {
  const { steps } = readGuide('nbd-client');
  const script = `systemctl enable --now vm-1
${steps.flatMap((step) => (step.needs === undefined ? [] : [step.script])).join('\n')}
for number in $(seq 60); do
  dd if=/dev/urandom of=/srv/vm-1/$number bs=64k count=4 conv=fsync 2>/dev/null
  dd if=/dev/vda of=/dev/null bs=4k count=1 skip=$number iflag=direct 2>/dev/null
  sleep 0.2
done
(cd /srv/vm-1 && sha256sum [0-9]* >sums)
umount /srv/vm-1
mount /srv/vm-1
(cd /srv/vm-1 && sha256sum -c sums | grep -c OK)
umount /srv/vm-1
systemctl stop nbd@nbd0
`;
  const machine = runInVirtualMachine({
    machines,
    files,
    scratch: scratchDirectory(t),
    guide: readGuide('qemu'),
    script,
  });
  let ended: string | undefined;
  void machine.then((output) => {
    ended = output;
  });
  await pollUntil('its disk and its device are attached', async () => {
    if (ended !== undefined) throw new Error(`it has ended too early: ${ended.slice(-3000)}`);
    return /clients +3/.test((await machines.run('lux-1', 'casemate volume show vm-1')).stdout);
  });
  await runOn(machines, 'lux-1', 'systemctl restart casemate');
  const output = await machine;
  t.match(output, /^60\r?$/m, 'every file is as it was written');
  t.match(output.slice(-3000), /ALL IS WELL/, 'the script has gone to its end');
  await blocks(machines, 'lux-1', 'write -P 3 0 16M', 'write -P 7 0 1M', 'write -P 8 8M 1M');
}

t.test('the guides, on three machines', { skip }, async (t) => {
  const machines = await Machines.start(scratchDirectory(t));
  t.teardown(() => machines.stop());
  const guide = async (name: string, check?: (t: Test) => Promise<void>): Promise<void> => {
    await t.test(name, async (t) => {
      await followGuide(t, machines, name);
      await check?.(t);
    });
    if (!t.passing()) throw new Error(`what follows needs what ${name} leaves`);
  };

  await guide('install', async () => {
    await blocks(machines, 'lux-1', 'read -P 7 0 1M', 'write -P 8 8M 1M');
  });

  await guide('qemu', async () => {
    await blocks(machines, 'lux-1', 'read -P 3 0 16M', 'write -P 7 0 1M', 'write -P 8 8M 1M');
  });

  await guide('nbd-client');
  if (files !== undefined) {
    await t.test('in a virtual machine', (t) => kernelOnVolume(t, machines, files));
    if (!t.passing()) throw new Error('what follows needs the volume');
  }

  const client = startClient(machines);
  await guide('upgrade', async (t) => {
    t.notMatch(await client.end(), /fail|error/i, 'a client has waited, and seen no error');
    await blocks(machines, 'lux-2', 'read -P 7 0 1M', 'read -P 5 32M 1M');
    await runOn(machines, 'lux-1', 'casemate switchover vm-1');
  });

  await guide('kubernetes');
  if (files !== undefined) await guide('tune');

  await replaceMachine(machines, 'lux-2');
  await guide('replace-a-site', async (t) => {
    for (const name of ['lux-1', 'lux-2'] as const) {
      await blocks(machines, name, 'read -P 7 0 1M', 'read -P 8 8M 1M');
    }
    t.pass('both sites have what was written');
    await blocks(machines, 'lux-2', 'write -P 9 16M 1M');
  });

  await replaceMachine(machines, 'lux-2');
  await replaceMachine(machines, 'lux-w');
  await replaceMachine(machines, 'lux-1', 'the disk');
  await guide('disaster-recovery', async (t) => {
    for (const name of ['lux-1', 'lux-2'] as const) {
      await blocks(machines, name, 'read -P 7 0 1M', 'read -P 8 8M 1M', 'read -P 9 16M 1M');
    }
    t.pass('both sites have what was written');
    await runOn(machines, 'lux-1', "qemu-io -f raw -r -c 'read -P 9 16M 1M' vm-1.raw");
    t.pass('and so has the copy');
  });
});
