/**
 * Machines to follow a guide on: three that are to become sites and witness, and one of a client,
 * in a network of their own. Each is a set of namespaces with its own network, processes, /etc,
 * /var/lib and /root; `systemctl`, `dpkg` and `scp` have stand-ins there (`test/guides/stand-ins`),
 * all else is what is on this machine. It takes root.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { pollUntil } from '../support/poll.ts';
import { type CommandResult, run, runOk } from '../support/run-command.ts';

const repositoryDirectory = fileURLToPath(new URL('../../..', import.meta.url));

/** The addresses that the guides use. */
const addresses = {
  'lux-1': '10.20.0.1',
  'lux-2': '10.20.0.2',
  'lux-w': '10.20.0.3',
  'vm-host': '10.20.0.9',
} as const;

const namespaces = ['--mount', '--net', '--pid', '--uts', '--ipc', '--fork', '--kill-child'];

export type MachineName = keyof typeof addresses;

export function isMachineName(name: string): name is MachineName {
  return Object.hasOwn(addresses, name);
}

/** The first process of a machine, by its number here. */
interface Machine {
  readonly pid: number;
  readonly process: ChildProcess;
}

export class Machines {
  readonly #machines = new Map<string, Machine>();
  #network: ChildProcess | undefined;

  /** Versions of the package that can be installed, as `dpkg -i casemate_VERSION_amd64.deb`. */
  static readonly versions = ['0.1.0', '0.1.1'] as const;

  /** Machines as they are after Debian was installed; `directory` keeps their disks. */
  static async start(directory: string): Promise<Machines> {
    const machines = new Machines();
    await machines.#make(directory);
    return machines;
  }

  /** Runs a script as root of a machine, as a login there would. */
  run(name: MachineName, script: string): Promise<CommandResult> {
    const { pid } = this.#machine(name);
    const path = '/opt/bin:/opt/stand-ins:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin';
    return run('nsenter', [
      ...['--target', `${pid}`, '--mount', '--net', '--pid', '--uts', '--ipc'],
      ...['env', '-i', `PATH=${path}:/sbin:/bin`],
      ...['HOME=/root', 'LANG=C.UTF-8', 'DEBIAN_FRONTEND=noninteractive'],
      ...['sh', '-ec', `cd /root\n${script}`],
    ]);
  }

  /** Where the home directory of a machine's root is seen from here. */
  homeOf(name: MachineName): string {
    return `/proc/${this.#machine(name).pid}/root/root`;
  }

  /** Ends everything on all machines. */
  async stop(): Promise<void> {
    const own = [...this.#machines.values()].map(({ process: child }) => child);
    for (const child of [...own, this.#network]) {
      if (child === undefined || child.exitCode !== null) continue;
      const ended = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGKILL');
      await ended;
    }
    this.#machines.clear();
  }

  #machine(name: MachineName): Machine {
    const machine = this.#machines.get(name);
    if (machine === undefined) throw new Error(`there is no machine ${name}`);
    return machine;
  }

  async #make(directory: string): Promise<void> {
    const bridge = 'ip link add switch type bridge; ip link set switch up';
    this.#network = spawn('unshare', ['--net', 'sh', '-ec', `${bridge}; echo ready; cat`], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const network = await firstProcess(this.#network, false);
    for (const [name, address] of Object.entries(addresses)) {
      const own = join(directory, name);
      mkdirSync(own);
      const child = startMachine(own);
      const pid = await firstProcess(child, true);
      this.#machines.set(name, { pid, process: child });
      await connect({ name, pid, network, address });
    }
  }
}

function startMachine(directory: string): ChildProcess {
  const setUp = join(repositoryDirectory, 'test/guides/stand-ins/machine');
  const values = [directory, repositoryDirectory, process.execPath, ...Machines.versions];
  return spawn('unshare', [...namespaces, 'sh', setUp, ...values], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
}

/** Waits until the process says that it is ready; gives its number, or that of its only child. */
async function firstProcess(child: ChildProcess, forked: boolean): Promise<number> {
  let said = '';
  child.stdout?.on('data', (text: Buffer) => {
    said += text.toString();
  });
  await pollUntil('a machine is ready', () => {
    if (child.exitCode !== null) throw new Error(`a machine could not be made: ${said}`);
    return said.includes('ready');
  });
  const { pid } = child;
  if (pid === undefined) throw new Error('the machine has no process');
  if (!forked) return pid;
  return Number(readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim());
}

/** Plugs a machine into the network, under its address. */
async function connect(machine: {
  readonly name: string;
  readonly pid: number;
  readonly network: number;
  readonly address: string;
}): Promise<void> {
  const { name, pid, network, address } = machine;
  const port = ['peer', 'name', name, 'netns', `${network}`];
  await runOk('ip', ['link', 'add', 'eth0', 'netns', `${pid}`, 'type', 'veth', ...port]);
  const inside = [
    `hostname ${name}`,
    'ip link set lo up',
    'ip link set eth0 up',
    `ip addr add ${address}/24 dev eth0`,
  ].join('\n');
  await runOk('nsenter', ['-t', `${pid}`, '--net', '--uts', 'sh', '-ec', inside]);
  const plug = `ip link set ${name} master switch; ip link set ${name} up`;
  await runOk('nsenter', ['-t', `${network}`, '--net', 'sh', '-ec', plug]);
}

/** Why no machines can be made here; undefined if they can. */
export function whyNoMachines(): string | false {
  if (process.getuid?.() !== 0) return 'namespaces for the machines take root';
  const tried = spawnSync('unshare', [...namespaces, 'mount', '-t', 'proc', 'proc', '/proc']);
  return tried.status === 0 ? false : 'no namespaces can be made here';
}
