/**
 * Which clients may attach to which export, and which of them may only read: the lists of the
 * configuration's tables `access`, and the exports as one client sees them. To a client that is not
 * on an export's lists there is no such export.
 */
import { BlockList, isIP } from 'node:net';
import type { BlockDevice, BlockRequest, ExportDirectory } from './block-device.ts';

/** Who is at the other end, as far as it is known. */
export interface ClientIdentity {
  /** Undefined on a Unix socket. */
  readonly address: string | undefined;
  /** The names of its certificate; none without TLS. */
  readonly names: readonly string[];
}

export type Access = 'write' | 'read' | 'none';

/** Each entry is "unix", an address, a network such as "10.0.0.0/8", or a certificate's name. */
export interface AccessLists {
  readonly write: readonly string[];
  readonly read: readonly string[];
}

class ClientList {
  readonly #unix: boolean;
  readonly #addresses = new BlockList();
  readonly #names: ReadonlySet<string>;

  constructor(entries: readonly string[]) {
    const names = new Set<string>();
    for (const entry of entries) {
      const network = parseNetwork(entry);
      if (network === undefined) names.add(entry);
      else this.#addresses.addSubnet(network.address, network.bits, network.family);
    }
    this.#unix = names.delete('unix');
    this.#names = names;
  }

  has({ address, names }: ClientIdentity): boolean {
    if (names.some((name) => this.#names.has(name))) return true;
    if (address === undefined) return this.#unix;
    const plain = address.replace(/^::ffff:(?=[0-9.]+$)/i, '');
    return this.#addresses.check(plain, isIP(plain) === 6 ? 'ipv6' : 'ipv4');
  }
}

interface ParsedNetwork {
  readonly address: string;
  readonly bits: number;
  readonly family: 'ipv4' | 'ipv6';
}

/** An address or a network in the form of CIDR; undefined for anything else. */
function parseNetwork(entry: string): ParsedNetwork | undefined {
  const [, address = '', bitsText] = /^([^/]+)(?:\/([0-9]{1,3}))?$/.exec(entry) ?? [];
  const version = isIP(address);
  if (version === 0) return undefined;
  const bitsMax = version === 6 ? 128 : 32;
  const bits = bitsText === undefined ? bitsMax : Number(bitsText);
  if (bits > bitsMax) return undefined;
  return { address, bits, family: version === 6 ? 'ipv6' : 'ipv4' };
}

/** Whether it can be an entry of a list. */
export function isAccessEntry(entry: string): boolean {
  return parseNetwork(entry) !== undefined || /^[A-Za-z0-9][A-Za-z0-9.-]{0,62}$/.test(entry);
}

/** Whether an entry is the name of a certificate. */
export function isClientName(entry: string): boolean {
  return entry !== 'unix' && parseNetwork(entry) === undefined;
}

/** What each client may do with each export; an export without lists is open to all. */
export class ClientAccess {
  readonly #lists = new Map<string, { write: ClientList; read: ClientList }>();

  constructor(exports: Readonly<Record<string, AccessLists>>) {
    for (const [name, { write, read }] of Object.entries(exports)) {
      this.#lists.set(name, { write: new ClientList(write), read: new ClientList(read) });
    }
  }

  of(exportName: string, client: ClientIdentity): Access {
    const lists = this.#lists.get(exportName);
    if (lists === undefined || lists.write.has(client)) return 'write';
    return lists.read.has(client) ? 'read' : 'none';
  }
}

/** The exports that one client sees. `client` is asked each time: STARTTLS tells its names. */
export class ClientExports implements ExportDirectory {
  readonly #all: ExportDirectory;
  readonly #access: ClientAccess;
  readonly #client: () => ClientIdentity;
  readonly #refused: (exportName: string) => void;
  /** One for each, so that an export is the same whenever this client asks for it. */
  readonly #readOnly = new Map<BlockDevice, BlockDevice>();

  /** `refused` hears of an export that was asked for by name, and is not for this client. */
  constructor(options: {
    readonly all: ExportDirectory;
    readonly access: ClientAccess;
    readonly client: () => ClientIdentity;
    readonly refused: (exportName: string) => void;
  }) {
    this.#all = options.all;
    this.#access = options.access;
    this.#client = options.client;
    this.#refused = options.refused;
  }

  find(name: string): BlockDevice | undefined {
    const device = this.#all.find(name);
    if (device === undefined) return undefined;
    const view = this.#view(device);
    if (view === undefined) this.#refused(device.name);
    return view;
  }

  list(): readonly BlockDevice[] {
    return this.#all.list().flatMap((device) => this.#view(device) ?? []);
  }

  #view(device: BlockDevice): BlockDevice | undefined {
    const access = this.#access.of(device.name, this.#client());
    if (access === 'none') return undefined;
    if (access === 'write') return device;
    const known = this.#readOnly.get(device) ?? new ReadOnlyDevice(device);
    this.#readOnly.set(device, known);
    return known;
  }
}

/** A device as a client sees it that may only read; `request-check.ts` refuses the rest. */
class ReadOnlyDevice implements BlockDevice {
  readonly readOnly = true;
  readonly #device: BlockDevice;

  constructor(device: BlockDevice) {
    this.#device = device;
  }

  get name(): string {
    return this.#device.name;
  }

  get description(): string {
    return this.#device.description;
  }

  get sizeBytes(): number {
    return this.#device.sizeBytes;
  }

  get congested(): boolean {
    return this.#device.congested;
  }

  submit(request: BlockRequest): void {
    this.#device.submit(request);
  }

  readNow(target: Buffer, offsetBytes: number): boolean {
    return this.#device.readNow(target, offsetBytes);
  }

  whenRoom(resume: () => void): void {
    this.#device.whenRoom(resume);
  }

  attached(): void {
    this.#device.attached();
  }

  detached(): void {
    this.#device.detached();
  }
}
