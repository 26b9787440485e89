/**
 * The registers that the conformance suite is run for: CASPaxos over three acceptors in memory, and
 * a key in a real etcd. Each client has a network of its own that the test controls.
 */
import { SystemHttp } from '../../daemon/system-http.ts';
import type { AcceptorClient } from '../../replication/register/acceptor.ts';
import { CasRegister } from '../../replication/register/cas-register.ts';
import { EtcdClient } from '../../replication/register/etcd-client.ts';
import { etcdAcceptor, recordKey } from '../../replication/register/etcd-record.ts';
import { EtcdRegister } from '../../replication/register/etcd-register.ts';
import type { HttpPort } from '../../replication/register/http-port.ts';
import type { Register } from '../../replication/register/register.ts';
import { RandomNumbers } from '../simulation/core-random-numbers.ts';
import { groupId, type Machine, machine } from './register-cluster.ts';
import { RegisterFaults } from './register-faults.ts';

/** One life of a client: its register, and what happens to its messages. */
export interface RegisterLife {
  readonly register: Register;
  readonly faults: RegisterFaults;
}

/** One register, empty at first, seen by several clients. */
export interface Subject {
  /** Who decides, as a configuration lists it. */
  readonly acceptors: readonly string[];
  /** No part of a write can be seen while it is on its way. */
  readonly atomic: boolean;
  /** Clients are called as the acceptors of CASPaxos are. */
  life(client: 'A0' | 'B0' | 'W'): RegisterLife;
  close(): void;
}

export type MakeSubject = (seed: number) => Subject;

const soon = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

export function casSubject(seed: number): Subject {
  const random = new RandomNumbers(seed);
  const acceptors = ['A0', 'B0', 'W'];
  const machines = acceptors.map(machine);
  let boots = 0;
  return {
    acceptors,
    atomic: false,
    life(client) {
      boots += 1;
      const faults = new RegisterFaults(random);
      const register = new CasRegister({
        groupId,
        me: client,
        bootId: `boot${boots}`,
        clients: () => machines.map((each) => acceptorClient(each, client, faults)),
        random: () => random.next(),
        delay: soon,
      });
      return { register, faults };
    },
    close: () => undefined,
  };
}

function acceptorClient(target: Machine, client: string, faults: RegisterFaults): AcceptorClient {
  const { storeId, acceptor } = target;
  const call = async <Answer>(kind: 'read' | 'write', ask: () => Answer): Promise<Answer> => {
    // A site's own acceptor is in the same process.
    if (storeId === client) return ask();
    return faults.carry(kind, async () => {
      await soon();
      return ask();
    });
  };
  return {
    storeId,
    look: (group, asker) => call('read', () => acceptor.look(group, asker)),
    prepare: (group, ballot) => call('read', () => acceptor.prepare(group, ballot)),
    accept: (group, ballot, value) => call('write', () => acceptor.accept(group, ballot, value)),
  };
}

/** Each subject has a key of its own in the cluster behind `endpoints`. */
export function etcdSubjects(endpoints: readonly string[]): MakeSubject {
  let count = 0;
  return (seed) => {
    count += 1;
    const random = new RandomNumbers(seed);
    const key = recordKey('/casemate', 'test', `group${count}`);
    const clients: EtcdClient[] = [];
    return {
      acceptors: [etcdAcceptor],
      atomic: true,
      life() {
        const faults = new RegisterFaults(random);
        const http = new FaultyHttp(faults);
        const keys = new EtcdClient({ endpoints, http, timeoutMs: 5000 });
        clients.push(keys);
        const options = { key, keys, random: () => random.next(), delay: soon };
        return { register: new EtcdRegister(options), faults };
      },
      close: () => {
        for (const client of clients) client.close();
      },
    };
  };
}

class FaultyHttp implements HttpPort {
  readonly #real = new SystemHttp();
  readonly #faults: RegisterFaults;

  constructor(faults: RegisterFaults) {
    this.#faults = faults;
  }

  post(request: Parameters<HttpPort['post']>[0]): ReturnType<HttpPort['post']> {
    const kind = request.url.endsWith('/txn') ? 'write' : 'read';
    return this.#faults.carry(kind, () => this.#real.post(request));
  }

  close(): void {
    this.#real.close();
  }
}
