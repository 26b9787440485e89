/**
 * The sites' connections to a witness: each says in the handshake which cluster and site it is, and
 * is answered only if the configuration has that pair. What the sites ask in one turn of the event
 * loop, all of them together, is carried out in one transaction with one sync (R4).
 */
import { Acceptor as LinkAcceptor } from '../../replication/link/acceptor.ts';
import { Calls } from '../../replication/link/calls.ts';
import type { Clock } from '../../replication/link/clock.ts';
import { Connection } from '../../replication/link/connection.ts';
import type { CompleteHandshake } from '../../replication/link/connector.ts';
import type { LinkReason } from '../../replication/link/errors.ts';
import type { HandshakeRules } from '../../replication/link/handshake.ts';
import type { Greeting } from '../../replication/link/handshake-format.ts';
import type { LinkLimits } from '../../replication/link/limits.ts';
import { defaultLinkTimeouts } from '../../replication/link/limits.ts';
import type { LinkMessage } from '../../replication/link/message-reader.ts';
import type { Network, Stream } from '../../replication/link/network.ts';
import { Acceptor } from '../../replication/register/acceptor.ts';
import { AcceptorBatch } from '../acceptor-batch.ts';
import { CasemateError } from '../errors.ts';
import type { Logger } from '../logger.ts';
import { answerRegisterCall, isRegisterCall } from '../register-calls.ts';
import { softwareVersion } from '../version.ts';
import { witnessLinkLimits } from '../witness-link-limits.ts';
import type { WitnessConfig } from './witness-config.ts';
import type { WitnessStore } from './witness-store.ts';

export interface WitnessServerOptions {
  readonly config: WitnessConfig;
  readonly store: WitnessStore;
  readonly network: Network;
  readonly clock: Clock;
  readonly bootId: string;
  readonly logger: Logger;
  /** Runs it when what has arrived by now has been looked at. */
  readonly later: (run: () => void) => void;
}

interface SiteConnection {
  readonly cluster: string;
  readonly site: string;
  readonly connection: Connection;
  readonly sinceMs: number;
}

/** What the API and the metrics show of one site of one cluster. */
export interface WitnessClientFigures {
  readonly cluster: string;
  readonly site: string;
  readonly connected: boolean;
  readonly answered: number;
}

export class WitnessServer {
  /** Why it promises nothing any more (I8), if so. */
  failure: string | undefined;
  readonly #options: WitnessServerOptions;
  readonly #limits: LinkLimits;
  readonly #listener: LinkAcceptor;
  readonly #acceptors = new Map<string, Acceptor>();
  /** By `cluster/site`: a site that connects anew takes the place of its older connection. */
  readonly #sites = new Map<string, SiteConnection>();
  readonly #answered = new Map<string, number>();
  #streams = 0;
  readonly #batch: AcceptorBatch;

  constructor(options: WitnessServerOptions) {
    const { config, store, network, clock } = options;
    this.#options = options;
    this.#limits = {
      ...witnessLinkLimits,
      pendingCallsMax: config.limits.callsMax,
    };
    this.#batch = new AcceptorBatch({
      commit: (run) => store.commit(run),
      later: options.later,
      failed: (error) => this.#fail(error),
    });
    for (const cluster of Object.keys(config.clusters)) {
      const acceptor = new Acceptor({ storeId: store.storeId, store: store.cluster(cluster) });
      this.#acceptors.set(cluster, acceptor);
    }
    this.#listener = new LinkAcceptor({
      network,
      clock,
      limits: this.#limits,
      timeouts: defaultLinkTimeouts,
      rules: this.#rules('', ''),
      choose: (peer) => this.#choose(peer),
      address: config.listen,
      admit: (peer) => this.#admit(peer),
      established: (stream, result) => this.#established(stream, result),
      failed: ({ code, text }, known) => {
        if (known) options.logger.warn({ code }, text);
        else options.logger.debug({ code }, text);
      },
    });
  }

  /** @throws LinkStartError ERR_LINK_LISTEN when it cannot listen. */
  start(): Promise<void> {
    return this.#listener.start();
  }

  /** The address that is listened on, with its real port. */
  get address(): string | undefined {
    return this.#listener.address;
  }

  async close(): Promise<void> {
    this.#batch.close();
    for (const { connection } of this.#sites.values()) connection.end('flush');
    this.#sites.clear();
    await this.#listener.close();
  }

  /** Every site that is configured, connected or not. */
  clients(): WitnessClientFigures[] {
    const { clusters } = this.#options.config;
    return Object.entries(clusters).flatMap(([cluster, { sites }]) =>
      sites.map((site) => {
        const key = `${cluster}/${site}`;
        const connected = this.#sites.has(key);
        return { cluster, site, connected, answered: this.#answered.get(key) ?? 0 };
      }),
    );
  }

  // --- who is talked to

  #choose(peer: Greeting): HandshakeRules | LinkReason {
    const { name, clusters } = this.#options.config;
    const known = Object.hasOwn(clusters, peer.clusterId) ? clusters[peer.clusterId] : undefined;
    if (known === undefined) {
      const names = Object.keys(clusters).join('", "');
      const text = `witness ${name} does not serve cluster "${peer.clusterId}", but "${names}"`;
      return { code: 'cluster-id', text };
    }
    if (peer.purpose !== 'witness') {
      const text = `${name} is a witness, not a site: ${peer.siteName} asks for "${peer.purpose}"`;
      return { code: 'purpose', text };
    }
    if (!known.sites.includes(peer.siteName)) {
      const text =
        `cluster "${peer.clusterId}" has the sites "${known.sites.join('" and "')}" at witness ` +
        `${name}, not "${peer.siteName}"`;
      return { code: 'site-name', text };
    }
    return this.#rules(peer.clusterId, peer.siteName);
  }

  #rules(clusterId: string, peerSiteName: string): HandshakeRules {
    const { config, store, bootId } = this.#options;
    return {
      own: { clusterId, siteName: config.name, storeId: store.storeId, bootId, softwareVersion },
      peerSiteName,
      acceptsPeerStore: () => undefined,
      lastSession: () => 0,
    };
  }

  #admit(peer: Greeting): LinkReason | undefined {
    const { config } = this.#options;
    const { connectionsMax } = config.limits;
    const replaces = this.#sites.has(`${peer.clusterId}/${peer.siteName}`);
    if (replaces || this.#streams < connectionsMax) return undefined;
    const text = `witness ${config.name} has ${connectionsMax} connections (limits.connectionsMax)`;
    return { code: 'too-many-connections', text };
  }

  // --- connections

  #established(stream: Stream, { peer, rest }: CompleteHandshake): void {
    const { clock, logger } = this.#options;
    const { clusterId: cluster, siteName: site } = peer;
    const key = `${cluster}/${site}`;
    const calls = new Calls({
      clock,
      limits: this.#limits,
      peerSiteName: site,
      answer: (method, parameters) => this.#ask(key, cluster, method, parameters),
    });
    this.#sites.get(key)?.connection.end('drop');
    this.#streams += 1;
    const connection: Connection = new Connection({
      stream,
      clock,
      purpose: 'witness',
      limits: this.#limits,
      timeouts: defaultLinkTimeouts,
      received: rest,
      counters: newCounters(),
      events: {
        message: (message) => takeMessage(calls, connection, message),
        drained: () => undefined,
        closed: ({ code, text }) => {
          calls.disconnected();
          if (this.#sites.get(key)?.connection === connection) this.#sites.delete(key);
          logger.info({ code, cluster, site }, `site disconnected: ${text}`);
        },
        released: () => {
          this.#streams -= 1;
        },
      },
    });
    this.#sites.set(key, { cluster, site, connection, sinceMs: clock.nowMs() });
    calls.connected(connection);
    logger.info({ cluster, site, store: peer.storeId }, 'site connected');
    connection.start();
  }

  // --- questions

  async #ask(key: string, cluster: string, method: string, parameters: unknown): Promise<unknown> {
    if (!isRegisterCall(method)) {
      throw new CasemateError('ERR_PEER_CALL', `a witness knows no call "${method}"`);
    }
    const acceptor = this.#acceptors.get(cluster);
    if (acceptor === undefined) throw new Error(`no cluster ${cluster}`);
    const answer = await this.#batch.ask(() => answerRegisterCall(acceptor, method, parameters));
    this.#answered.set(key, (this.#answered.get(key) ?? 0) + 1);
    return answer;
  }

  /** I8: after a failed sync nothing on this disk is known; it promises nothing until restarted. */
  #fail(error: unknown): void {
    this.failure = error instanceof Error ? error.message : String(error);
    this.#options.logger.fatal({ err: error }, 'the disk failed; this witness answers nobody');
  }
}

function takeMessage(calls: Calls, connection: Connection, message: LinkMessage): void {
  if (message.kind === 'call') {
    calls.onCall(connection, message.id, message.method, message.parameters);
  } else {
    connection.violated(`a witness is not sent a "${message.kind}"`);
  }
}

function newCounters() {
  return {
    bytesIn: 0,
    bytesOut: 0,
    messagesIn: 0,
    messagesOut: 0,
    framesIn: 0,
    framesOut: 0,
    roundTripMs: undefined,
  };
}
