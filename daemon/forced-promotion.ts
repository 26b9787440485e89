/**
 * Promotion by force (R35): what is known before it, and the swap by which this site becomes
 * primary whatever the other one does. Through a quorum where there is one, so that the other site
 * finds itself fenced when it returns; only where there is none does its own acceptor decide.
 */
import { createHash } from 'node:crypto';
import type { GroupConfig } from '../replication/core/config.ts';
import { ReplicationError } from '../replication/errors.ts';
import type { Register } from '../replication/register/register.ts';
import { CasemateError } from './errors.ts';
import { swapByForce } from './forced-swap.ts';
import type { PromotionEvidence } from './site-status.ts';
import type { Group } from './volume/group.ts';

/** What a forced promotion needs of the site. */
export interface ForcedPromotionHost {
  readonly siteName: string;
  readonly peerName: string;
  readonly storeId: string;
  readonly peerConnected: boolean;
  /** Who decides after a forced promotion without a quorum (R35). */
  readonly forcedAcceptors: readonly string[];
  readonly registerType: 'sites' | 'etcd';
  /** Epoch of the newest configuration that this site's acceptor has taken; 0 if none. */
  acceptedEpoch(group: Group): number;
  newConfig(config: Omit<GroupConfig, 'epochId' | 'leaseMs' | 'graceMs'>): GroupConfig;
}

/** It is primary and nothing is in its way; one that waits for a lost peer can still be forced. */
export function servesAsPrimary({ view }: Group): boolean {
  return view.reigning && view.takesWrites;
}

/** What an operator has to know before; changes nothing. */
export function promotionEvidence(
  host: ForcedPromotionHost,
  group: Group,
  volume: string,
): PromotionEvidence {
  const { view } = group;
  const inSyncHere = view.config?.inSync.includes(host.storeId) ?? false;
  const decidedElsewhere = mayBeDecidedElsewhere(host, group);
  const { oldImage } = group.resync;
  // Nothing that followed is at the other site (R27).
  const sinceAlone = view.config?.inSync.length === 1 ? group.changes.base : undefined;
  const evidence = {
    volume,
    group: group.groupName,
    thisSite: host.siteName,
    lastCommon: oldImage ?? sinceAlone ?? group.counters.committedPoint,
    lastCommonAtMs: group.counters.lastOnBothSitesMs,
    ownEnd: oldImage ?? view.end,
    inSyncHere,
    peerReachable: host.peerConnected,
    peerMayHaveAcknowledgedMore: !inSyncHere || decidedElsewhere,
    warnings: warnings(host, group, { inSyncHere, decidedElsewhere }),
  };
  return { ...evidence, confirmation: confirmationOf(evidence) };
}

/** Without this site's acceptor no configuration can have been won that leaves this site out. */
function mayBeDecidedElsewhere({ storeId }: ForcedPromotionHost, { view }: Group): boolean {
  const acceptors = view.config?.acceptors ?? [];
  return acceptors.filter((store) => store !== storeId).length * 2 > acceptors.length;
}

function warnings(
  { peerName, peerConnected }: ForcedPromotionHost,
  group: Group,
  known: { readonly inSyncHere: boolean; readonly decidedElsewhere: boolean },
): string[] {
  const found: string[] = [];
  if (servesAsPrimary(group)) found.push('this site is primary already');
  if (peerConnected) {
    found.push(`${peerName} is reachable: use \`casemate switchover\` instead`);
  }
  if (!known.inSyncHere) {
    found.push('this site is not in sync: what it lacks is lost if it is promoted');
  } else if (known.decidedElsewhere && !group.view.reigning) {
    found.push(`${peerName} may have gone on alone and acknowledged writes that are not here`);
  }
  const { oldImage } = group.resync;
  if (oldImage !== undefined) {
    found.push(
      `this site is being resynced: it goes back to record ${oldImage.sequence}, ` +
        'and what was copied is dropped',
    );
  }
  found.push(`${peerName} must not serve clients meanwhile: if it does, the copies split`);
  return found;
}

/** The last promotion of each group: the next one ends it. */
const lastPromotion = new WeakMap<Group, AbortController>();

/**
 * Makes this site primary of the group, in an epoch after `above`; gives the configuration that
 * stands then.
 * @throws {CasemateError} ERR_CONFIG_CHANGED, also if another promotion of the group was asked for
 */
export async function promoteByForce(
  host: ForcedPromotionHost,
  group: Group,
  above = 0,
): Promise<GroupConfig> {
  lastPromotion.get(group)?.abort();
  const promotion = new AbortController();
  lastPromotion.set(group, promotion);
  const replaced = promotion.signal;
  const end = new Promise<never>((_, reject) => {
    replaced.addEventListener('abort', () => reject(configChanged(group)), { once: true });
  });
  group.tell({ kind: 'forcing' });
  try {
    const config = await Promise.race([promote(host, group, above, replaced), end]);
    group.tell({ kind: 'forced', config });
    return config;
  } catch (error) {
    if (!replaced.aborted) group.tell({ kind: 'notForced' });
    throw error;
  }
}

async function promote(
  host: ForcedPromotionHost,
  group: Group,
  above: number,
  replaced: AbortSignal,
): Promise<GroupConfig> {
  // A copy that is not complete can't be promoted; the old image under it can.
  await group.resync.abandon();
  return await decideForced(host, group, above, replaced);
}

async function decideForced(
  host: ForcedPromotionHost,
  group: Group,
  above: number,
  replaced: AbortSignal,
): Promise<GroupConfig> {
  const { register } = group;
  const current = await valueOfQuorum(host, group);
  if (replaced.aborted) throw configChanged(group);
  if (current?.removed === true || group.view.config?.removed === true) throw removed(group);
  const isNewest = ({ epoch }: GroupConfig): boolean => (group.view.config?.epoch ?? 0) < epoch;
  const fields = { primary: host.storeId, inSync: [host.storeId], forced: group.view.end };
  if (current !== undefined && current.epoch >= above) {
    const { peerConnected } = host;
    const won = await swapByForce(current, {
      register,
      promoted: ({ epoch, acceptors }) =>
        host.newConfig({ ...fields, epoch: epoch + 1, acceptors }),
      isNewest,
      isOver: () => replaced.aborted || (!peerConnected && host.peerConnected),
    });
    if (won === undefined) throw configChanged(group);
    return won;
  }
  const acceptors = [...host.forcedAcceptors];
  for (;;) {
    // What this site's acceptor took may have been won: its epoch is not to be used again (I2).
    // So may what a swap that is pending asks for, though nobody has taken it yet.
    const pending = group.view.swapPending ? (group.view.config?.epoch ?? 0) + 1 : 0;
    const known = Math.max(group.view.config?.epoch ?? 0, host.acceptedEpoch(group), pending);
    const newest = Math.max(known, current?.epoch ?? 0, above);
    const alone = host.newConfig({ ...fields, epoch: newest + 1, acceptors });
    await register.force(alone);
    // An answer of the register that was on its way may have told of another epoch meanwhile.
    if (isNewest(alone)) return alone;
  }
}

/** For ever (R39): whatever is served after it would be given up. */
function removed({ groupName }: Group): CasemateError {
  return new CasemateError('ERR_GROUP_REMOVED', `group "${groupName}" has been removed`, {
    hint: 'Its data is kept in "removed" of the data directory, if it was not deleted here.',
    status: 409,
  });
}

function configChanged({ groupName }: Group): CasemateError {
  return new CasemateError(
    'ERR_CONFIG_CHANGED',
    `the configuration of "${groupName}" has just changed`,
    { hint: 'Look at the evidence again, then confirm it.', status: 409 },
  );
}

/**
 * What a quorum says, if there is one. While a swap of the group itself is pending there is none,
 * or it would be decided; that swap must not be taken from it but by force (R11).
 */
async function valueOfQuorum(
  { registerType }: ForcedPromotionHost,
  group: Group,
): Promise<GroupConfig | undefined> {
  const { view, register } = group;
  if (registerType !== 'sites' || view.swapPending) return undefined;
  const current = await readIfAvailable(register);
  // This site has known better since it was promoted by force alone: its acceptor decides still.
  return (current?.epoch ?? 0) < (group.view.config?.epoch ?? 0) ? undefined : current;
}

async function readIfAvailable(register: Register): Promise<GroupConfig | undefined> {
  try {
    return await register.read();
  } catch (error) {
    const code = error instanceof ReplicationError ? error.code : undefined;
    if (code === 'ERR_REGISTER_UNAVAILABLE') return undefined;
    throw error;
  }
}

/** What was confirmed is what was shown: a short hash over the evidence. */
function confirmationOf(evidence: Omit<PromotionEvidence, 'confirmation'>): string {
  const { lastCommonAtMs: _, ...stable } = evidence;
  return createHash('sha256').update(JSON.stringify(stable)).digest('hex').slice(0, 16);
}
