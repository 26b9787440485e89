/**
 * The witness as this site has it: the connection, what is remembered of it, and what the peer says
 * of its own (R5). A site without one has this object as well, for the peer may have one.
 */
import type { OwnIdentity } from '../replication/link/handshake.ts';
import type { AcceptorClient } from '../replication/register/acceptor.ts';
import type { StoreId } from '../wal/frame.ts';
import type { Config } from './config/schema.ts';
import { remoteAcceptor } from './register-calls.ts';
import type { SitePorts } from './site-ports.ts';
import type { WitnessTable } from './store/witness-table.ts';
import { Voters, type WitnessView } from './voters.ts';
import { type WitnessFigures, WitnessLink } from './witness-link.ts';

export interface SiteWitnessOptions {
  readonly config: Config;
  readonly own: OwnIdentity;
  readonly table: WitnessTable;
  readonly ports: Pick<SitePorts, 'network' | 'clock' | 'random' | 'wallMs'>;
  readonly event: (level: 'info' | 'warn', code: string, text: string) => void;
  /** What the peer was told last is no longer so. */
  readonly changed: () => void;
}

export class SiteWitness {
  readonly voters: Voters;
  readonly #options: SiteWitnessOptions;
  readonly #name: string | undefined;
  readonly #link: WitnessLink | undefined;
  #saidDifference: string | undefined;

  constructor(options: SiteWitnessOptions) {
    const { config, own, table, ports } = options;
    const { witness } = config;
    this.#options = options;
    this.#name = witness?.name;
    this.voters = new Voters({
      siteName: config.site,
      peerName: config.peer.site,
      own: () => this.view,
      reachable: () => this.#link?.connected === true,
      isWitnessStore: (storeId) => table.nameOf(storeId) !== undefined,
    });
    if (witness === undefined) return;
    this.#link = new WitnessLink({
      ...witness,
      ...ports,
      own,
      connected: (storeId) => this.#connected(witness.name, storeId),
      lost: ({ text }) => options.event('warn', 'witness-lost', text),
    });
  }

  start(): void {
    this.#link?.start();
  }

  async close(): Promise<void> {
    await this.#link?.close();
  }

  /** How the witness is; undefined if the configuration has none. */
  get figures(): WitnessFigures | undefined {
    return this.#link?.figures;
  }

  /** What the peer is told. */
  get view(): WitnessView {
    const name = this.#name;
    if (name === undefined) return { name: null, storeId: null };
    return { name, storeId: this.#options.table.newest(name) ?? null };
  }

  /** Its acceptor, to be asked for votes; it may not answer. */
  acceptor(): AcceptorClient | undefined {
    const link = this.#link;
    const { storeId } = this.view;
    if (link === undefined || storeId === null) return undefined;
    return remoteAcceptor(storeId, (method, parameters) => link.call(method, parameters));
  }

  peerSaid(view: WitnessView): void {
    this.voters.peer = view;
    const { difference } = this.voters;
    if (difference !== undefined && difference !== this.#saidDifference) {
      this.#options.event('warn', 'witness-differs', difference);
    }
    this.#saidDifference = difference;
  }

  peerGone(): void {
    this.voters.peer = undefined;
  }

  #connected(name: string, storeId: StoreId): void {
    const { table, event, changed } = this.#options;
    const known = table.newest(name);
    event('info', 'witness-connected', `witness ${name} is connected`);
    if (known === storeId) return;
    if (known !== undefined) {
      const text = `witness ${name} has another store now (${storeId}, was ${known})`;
      event('warn', 'witness-store-changed', text);
    }
    table.note(name, storeId);
    changed();
  }
}
