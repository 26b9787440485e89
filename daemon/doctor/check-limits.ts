/** What the kernel lets the daemon have, against what its configuration may take. */
import { formatSize } from '../config/sizes.ts';
import { type KernelLimits, kernelLimits } from '../system-host.ts';
import { daemonProcess } from './check-ports.ts';
import { type Finding, findingsOf } from './finding.ts';
import type { Running } from './running.ts';
import type { Subject } from './subject.ts';

const { ok, warning, error } = findingsOf('limits');

/** Of asynchronous writes that the log and the data files have under way. */
const aioNeeded = 2048;

export function checkLimits(subject: Subject, running: Running): Finding[] {
  return judgeLimits(subject, kernelLimits(daemonProcess(subject, running)));
}

export function judgeLimits(
  { descriptors, memoryBytes }: Pick<Subject, 'descriptors' | 'memoryBytes'>,
  limits: KernelLimits,
): Finding[] {
  const found: Finding[] = [];
  if (limits.openFilesMax < descriptors) {
    const text = `${whose(limits)} may open ${limits.openFilesMax} files, the configuration can need ${descriptors}`;
    const advice =
      'Set LimitNOFILE in the service (its unit has 65536), or `ulimit -n`; or lower nbd.connectionsMax and volumes.countMax.';
    found.push(error(text, advice));
  }
  const { aioMax, aioTaken = 0 } = limits;
  if (aioMax !== undefined && aioMax - aioTaken < aioNeeded) {
    const text = `${aioMax - aioTaken} asynchronous writes are left of ${aioMax}: commits take longer without`;
    found.push(warning(text, `Run: sysctl -w fs.aio-max-nr=${Math.max(aioMax * 2, 1_048_576)}`));
  }
  if (memoryBytes > limits.memoryBytes) {
    const text = `the memory limits of the configuration are ${formatSize(memoryBytes)}, this machine has ${formatSize(limits.memoryBytes)}`;
    const advice = 'Lower volumes.memoryBytesMax and replication.linkQueueBytesMax.';
    found.push(error(text, advice));
  }
  if (found.length > 0) return found;
  const { openFilesMax } = limits;
  const files = openFilesMax === Number.MAX_SAFE_INTEGER ? 'any number of' : openFilesMax;
  return [
    ok(`${whose(limits)} may open ${files} files; ${formatSize(limits.memoryBytes)} of memory`),
  ];
}

function whose({ processId }: KernelLimits): string {
  return processId === undefined ? 'what is started from here' : 'the running daemon';
}
