/** The state of a simulated world in words, for a run that did not end as it should. */
import type { Site } from '../../../daemon/site.ts';
import type { World } from './world.ts';

/** Both sites with their logs and groups, and the requests that wait, a line each. */
export function stateText(world: Pick<World, 'machines' | 'clients'>): string {
  const lines = [...world.machines.values()].flatMap((machine) => {
    const { name, site, startProblem, lives } = machine;
    const head = `  ${name}: life ${lives}, ${site === undefined ? 'not open' : 'open'}`;
    const groups = [...(site?.groups.all ?? [])].map(({ view, groupName, volumes }) => {
      const { waitReason, peer, config, end, commit, durable } = view;
      const state = { waitReason, peer, config, end, commit, durable };
      return `    ${groupName} applied ${volumes.appliedThrough} ${JSON.stringify(state)}`;
    });
    const more = [site?.failure, startProblem, site?.peer.problem, logText(site)].filter(
      (text) => text,
    );
    return [head, ...more.map((text) => `    ${text}`), ...groups];
  });
  const waiting = [...world.clients.waiting].map(
    ({ command, machineName, sentAtMs }) =>
      `  waits: ${command} at ${machineName} since ${sentAtMs}`,
  );
  return [...lines, ...waiting].join('\n');
}

function logText(site: Site | undefined): string | undefined {
  if (site === undefined) return undefined;
  const { usedBytes, limitBytes, segments, spareSegments, waitsForRoom } = site.log.stats();
  const waits = waitsForRoom ? ', waits for room' : '';
  return `log: ${usedBytes} of ${limitBytes} bytes, ${segments} + ${spareSegments} segments${waits}`;
}
