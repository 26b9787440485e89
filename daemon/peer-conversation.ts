/**
 * This site's end of the link to the peer: hands what comes to the group it is for, answers the
 * peer's calls, and offers groups and operations the sending side. Knows whether the peer is there
 * and, if not, why.
 */
import type { PairMessage } from '../replication/core/messages.ts';
import type { ForwardReply, ForwardRequest } from '../replication/link/forward-format.ts';
import { defaultLinkLimits, defaultLinkTimeouts } from '../replication/link/limits.ts';
import {
  type PeerIdentity,
  PeerLink,
  type PeerLinkHandler,
} from '../replication/link/peer-link.ts';
import type { Frame, GroupId } from '../wal/frame.ts';
import type { AcceptorClients } from './acceptor-clients.ts';
import { CasemateError } from './errors.ts';
import { logFrameOf } from './log-repair.ts';
import type { Logger } from './logger.ts';
import {
  checked,
  type PeerCallName,
  type PeerCallParameters,
  type PeerCallResult,
  peerCalls,
} from './peer-calls.ts';
import { siteIdentity } from './site-identity.ts';
import type { PeerFigures, SiteParts } from './site-parts.ts';
import { delayOn, type SitePorts } from './site-ports.ts';
import type { SiteWitness } from './site-witness.ts';
import type { Group } from './volume/group.ts';
import type { GroupLink } from './volume/group-context.ts';
import { answerBlocks } from './volume/peer-blocks.ts';

/** Calls that change something at the other site wait for it; register rounds are quick or fail. */
const callMsMax = 30_000;
const roundMsMax = 2000;
/** A client waits for a block that is healed. */
const blocksMsMax = 5000;

type PeerCallHandlers = {
  readonly [Name in PeerCallName]: (
    parameters: PeerCallParameters<Name>,
  ) => Promise<PeerCallResult<Name>> | PeerCallResult<Name>;
};

export class PeerConversation implements GroupLink, PeerFigures {
  readonly #site: Omit<SiteParts, 'peer'>;
  readonly #logger: Logger;
  readonly #link: PeerLink;
  readonly #handlers: PeerCallHandlers;
  readonly #witness: SiteWitness;
  #acceptors: AcceptorClients | undefined;
  #peer: PeerIdentity | undefined;
  #sinceMs: number;
  #problem: string | undefined = 'not connected yet';

  constructor(options: {
    site: Omit<SiteParts, 'peer'>;
    bootId: string;
    logger: Logger;
    witness: SiteWitness;
    ports: Pick<SitePorts, 'network' | 'clock' | 'random'>;
  }) {
    const { ports } = options;
    this.#site = options.site;
    this.#logger = options.logger;
    this.#witness = options.witness;
    this.#sinceMs = this.#site.clock.wallMs();
    const { config, store } = this.#site;
    this.#link = new PeerLink({
      network: ports.network,
      clock: ports.clock,
      random: ports.random,
      handler: this.#handler(),
      own: siteIdentity(config, store.storeId, options.bootId),
      peer: { siteName: config.peer.site, address: config.peer.address },
      listen: config.replication.listen,
      acceptsPeerStore: (storeId) =>
        storeId === store.storeId
          ? `its store has the id of ours, ${storeId}: one is a copy of the other`
          : undefined,
      limits: {
        ...defaultLinkLimits,
        linkQueueBytesMax: config.replication.linkQueueBytesMax,
      },
      timeouts: defaultLinkTimeouts,
    });
    this.#handlers = this.#makeHandlers(delayOn(ports.clock));
  }

  /** The acceptors whose rounds the peer asks for. */
  serve(acceptors: AcceptorClients): void {
    this.#acceptors = acceptors;
  }

  start(): Promise<void> {
    return this.#link.start();
  }

  close(): Promise<void> {
    return this.#link.close();
  }

  get connected(): boolean {
    return this.#peer !== undefined;
  }

  get sinceMs(): number {
    return this.#sinceMs;
  }

  get problem(): string | undefined {
    return this.#problem;
  }

  stats(): ReturnType<PeerLink['stats']> {
    return this.#link.stats();
  }

  // --- calls

  /** Asks the peer; throws what it answered, or ERR_PEER_UNREACHABLE. */
  async call<Name extends PeerCallName>(
    method: Name,
    parameters: PeerCallParameters<Name>,
  ): Promise<PeerCallResult<Name>> {
    const timeoutMs = method === 'blocks' ? blocksMsMax : callMsMax;
    const result = await this.#link.call(method, parameters, timeoutMs);
    return checked(peerCalls[method].result, result, `the answer to ${method}`);
  }

  /** A question on the connection for bulk; its answer is checked by who asks. */
  bulkCall(method: string, parameters: unknown, timeoutMs: number): Promise<unknown> {
    return this.#link.bulkCall(method, parameters, timeoutMs);
  }

  /** A round of the register; its answer is checked by who asks. */
  rawCall(method: string, parameters: unknown): Promise<unknown> {
    return this.#link.call(method, parameters, roundMsMax);
  }

  // --- GroupLink

  setWilling(groupId: GroupId, willing: boolean): void {
    this.#link.setWilling(groupId, willing);
  }

  closeSession(session: number, reason: string): void {
    this.#link.closeSession(session, reason);
  }

  send(session: number, message: PairMessage): void {
    this.#link.send(session, message);
  }

  sendFrame(session: number, number: number, frame: Frame): void {
    this.#link.sendFrame(session, number, frame);
  }

  sendForward(session: number, request: ForwardRequest): void {
    this.#link.sendForward(session, request);
  }

  sendForwardReply(session: number, reply: ForwardReply): void {
    this.#link.sendForwardReply(session, reply);
  }

  // --- what comes from the peer

  #handler(): PeerLinkHandler {
    const group = (groupId: GroupId): Group | undefined => this.#site.groups.get(groupId);
    return {
      linkUp: (peer) => this.#linkUp(peer),
      linkDown: (reason) => this.#linkDown(reason),
      sessionOpened: (groupId, session) => group(groupId)?.sessionOpened(session),
      sessionClosed: (groupId, session) => group(groupId)?.sessionClosed(session),
      message: (groupId, session, message) => group(groupId)?.message(session, message),
      frame: (groupId, session, number, frame) => group(groupId)?.frame(session, number, frame),
      forward: (groupId, session, request) => group(groupId)?.forward(session, request),
      forwardReply: (groupId, session, reply) => group(groupId)?.forwardReply(session, reply),
      call: (method, parameters) => this.#answer(method, parameters),
      bulkCall: (method, parameters) => this.#site.resync.answer(method, parameters),
      notice: ({ code, text }) => this.#logger.warn({ code }, text),
    };
  }

  #linkUp(peer: PeerIdentity): void {
    const { store } = this.#site;
    const known = store.peerStoreId;
    this.#peer = peer;
    this.#problem = undefined;
    this.#sinceMs = this.#site.clock.wallMs();
    this.#site.event('info', 'peer-connected', undefined, `${peer.siteName} is connected`);
    if (known !== undefined && known !== peer.storeId) {
      const text = `${peer.siteName} has another store now (${peer.storeId}, was ${known})`;
      this.#site.event('warn', 'peer-store-changed', undefined, text);
    }
    if (known !== peer.storeId) store.setPeerStoreId(peer.storeId);
    this.#exchangeCatalog();
    this.tellWitness();
  }

  #linkDown(reason: { readonly code: string; readonly text: string }): void {
    const had = this.#peer !== undefined;
    this.#peer = undefined;
    this.#witness.peerGone();
    this.#problem = reason.text;
    this.#sinceMs = this.#site.clock.wallMs();
    const { site } = this.#site.config.peer;
    const text = `${site} is ${had ? 'lost' : 'not connected'}: ${reason.text}`;
    this.#site.event('warn', 'peer-lost', undefined, text);
  }

  /** The peer asks. Method and parameters come from outside. */
  async #answer(method: string, parameters: unknown): Promise<unknown> {
    if (this.#acceptors?.serves(method) === true) {
      return await this.#acceptors.answer(method, parameters);
    }
    if (!isCallName(method)) {
      throw new CasemateError('ERR_PEER_CALL', `this site knows no call "${method}"`, {
        hint: 'Both sites have to run the same version of Casemate.',
      });
    }
    return await this.#answerCall(method, parameters);
  }

  async #answerCall<Name extends PeerCallName>(method: Name, value: unknown): Promise<unknown> {
    const parameters = checked(peerCalls[method].parameters, value, `the call ${method}`);
    return await this.#handlers[method](parameters);
  }

  /** Both sites ask each other which groups there are, each time they meet (R39). */
  #exchangeCatalog(): void {
    this.call('catalog', {})
      .then(({ groups }) => this.#site.groups.takeCatalog(groups))
      .catch((error: unknown) => {
        this.#logger.warn({ err: error }, 'could not take over the list of groups from the peer');
      });
  }

  /** The witness has been met, or the peer: both sites have to know what the other one has. */
  tellWitness(): void {
    if (this.#peer === undefined) return;
    this.call('witness', this.#witness.view)
      .then((view) => this.#witness.peerSaid(view))
      .catch((error: unknown) => {
        this.#logger.warn({ err: error }, 'could not compare witnesses with the peer');
      });
  }

  #makeHandlers(delay: (ms: number) => Promise<void>): PeerCallHandlers {
    const site = this.#site;
    return {
      catalog: () => ({ groups: site.groups.catalog() }),
      witness: (view) => {
        this.#witness.peerSaid(view);
        return this.#witness.view;
      },
      volumeCheck: async ({ name, sizeBytes, grows }) => {
        await site.operations.checkForPeer(name, sizeBytes, grows);
        return {};
      },
      groupAnnounce: async (description) => {
        await site.groups.make(description);
        return {};
      },
      groupRemoved: async ({ groupId }) => {
        const group = site.groups.get(groupId);
        if (group !== undefined) await site.groups.drop(group, 'delete-files');
        return {};
      },
      volumeReady: async ({ name, sizeBytes }) => {
        await site.operations.ready(name, sizeBytes);
        return {};
      },
      blocks: (asked) => answerBlocks(site.groups.get(asked.groupId), asked, delay),
      logFrame: ({ groupId, after }) => logFrameOf(site.log, groupId, after),
      splitSide: ({ groupId }) => site.splits.side(groupId),
      resolveHere: ({ groupId, volume }) => site.splits.giveUpHere(groupId, volume),
      resolveWinner: async ({ groupId, above }) => {
        await site.splits.win(groupId, above);
        return {};
      },
      volumeClients: ({ name }) => ({
        connections: site.operations.find(name).volume.connections,
      }),
      operate: async ({ action, name, sizeBytes, group }) => {
        switch (action) {
          case 'switchover':
            await site.operations.switchover(name, 'peer');
            return {};
          case 'resize':
            await site.operations.resize(name, sizeBytes, 'peer');
            return {};
          case 'delete':
            await site.operations.delete(name, 'peer');
            return {};
          case 'add':
            await site.operations.addVolume(group ?? name, name, sizeBytes);
            return {};
          default: {
            const never: never = action;
            throw new Error(`no such action ${String(never)}`);
          }
        }
      },
    };
  }
}

function isCallName(method: string): method is PeerCallName {
  return Object.hasOwn(peerCalls, method);
}
