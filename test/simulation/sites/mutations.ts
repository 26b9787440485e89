/**
 * Mutations: each takes one rule out of the production code, as it is compiled, while it is loaded
 * (`mutation-hooks.ts`). The simulator has to notice every one of them.
 */

/** The text has to be there exactly once: code that has changed asks for another mutation. */
export interface MutationEdit {
  /** Compiled file, from the root of the repository. */
  readonly file: string;
  readonly find: string;
  readonly replace: string;
}

export interface Mutation {
  readonly name: string;
  /** Where to begin to look, if that is known to save time; the first seed if absent. */
  readonly from?: number;
  /** A story that shows it, if chance does so too seldom. */
  readonly scenario?: string;
  /** The rule, and what is done instead. */
  readonly breaks: string;
  readonly edits: readonly MutationEdit[];
}

const core = 'replication/core/';

export const mutations: readonly Mutation[] = [
  {
    name: 'reads-without-lease',
    from: 692,
    breaks: 'R19: reads are answered without a lease',
    edits: [
      {
        file: `${core}view.js`,
        find: 'return !needsPeer(state, role) || nowMs < state.leaseUntilMs;',
        replace: 'return true;',
      },
    ],
  },
  {
    name: 'lease-from-arrival',
    scenario: 'a primary that stood still with answers on their way to it shows nothing stale',
    breaks: 'R19: a lease counts from when the acknowledgement came, not from what it answers',
    edits: [
      {
        file: `${core}steady.js`,
        find: 'Math.max(state.leaseUntilMs, sentAtMs + role.config.leaseMs)',
        replace: 'Math.max(state.leaseUntilMs, state.nowMs + role.config.leaseMs)',
      },
    ],
  },
  {
    name: 'answers-before-the-peer',
    breaks: 'R16: acknowledges a write before the peer has it',
    edits: [
      {
        file: `${core}steady.js`,
        find: 'Math.min(state.durable, countedPeerDurable(state, role))',
        replace: 'state.durable',
      },
    ],
  },
  {
    name: 'acks-before-sync',
    from: 18,
    breaks: 'R16: the secondary acknowledges what it has not synced',
    edits: [
      {
        file: `${core}steady.js`,
        find: 'durable: state.durable,',
        replace: 'durable: state.end.sequence,',
      },
    ],
  },
  {
    name: 'applies-before-commit',
    from: 120,
    breaks: 'R18: the secondary applies what is durable, committed or not',
    edits: [
      {
        file: `${core}steady.js`,
        find: 'Math.min(state.link.announcedCommit, state.durable)',
        replace: 'state.durable',
      },
    ],
  },
  {
    name: 'cut-not-kept',
    from: 88,
    breaks: 'R29: the cut of a tail is not written to the log',
    edits: [
      {
        file: 'daemon/volume/group-appender.js',
        find:
          'this.#epochStart = undefined;\n        ' +
          "this.#ready.push({ kind: 'cut', groupId: this.groupId, to });",
        replace: '',
      },
    ],
  },
  {
    name: 'no-cut',
    from: 88,
    breaks: 'R22: the joining site keeps its tail',
    edits: [
      {
        file: `${core}join.js`,
        find: 'if (fork.sequence < state.end.sequence)',
        replace: 'if (fork.sequence < 0)',
      },
    ],
  },
  {
    name: 'forgets-grace',
    breaks: 'R14: takes over and restarts without waiting for the grace',
    edits: [
      {
        file: `${core}timers.js`,
        find: 'return state.nowMs - state.lastAcknowledgedAtMs > config.graceMs;',
        replace: 'return true;',
      },
    ],
  },
  {
    name: 'reuses-an-epoch',
    breaks: 'R10: what follows a lost peer is the same epoch, not the next',
    edits: [
      {
        file: `${core}swaps.js`,
        find: 'epoch: expected.epoch + 1,',
        replace: "epoch: expected.epoch + (name === 'takeover' ? 0 : 1),",
      },
      {
        file: 'replication/register/cas-register.js',
        find: 'next.epoch === (expected?.epoch ?? 0) + 1',
        replace: 'true',
      },
    ],
  },
  {
    name: 'serves-before-epoch-start',
    from: 66,
    breaks: 'R15: serves before its epoch start is committed',
    edits: [
      {
        file: `${core}view.js`,
        find: "if (role.phase !== 'open' && role.phase !== 'draining')",
        replace: "if (role.phase === 'appending-start')",
      },
      {
        file: `${core}view.js`,
        find: 'return !needsPeer(state, role) || nowMs < state.leaseUntilMs;',
        replace: "return role.phase === 'committing-start' || nowMs < state.leaseUntilMs;",
      },
    ],
  },
  {
    name: 'joins-without-waiting',
    from: 532,
    breaks: 'R17: a joining peer is swapped in before its answers are waited for',
    edits: [
      {
        file: `${core}state.js`,
        find: "role.config.inSync.length > 1 || state.wait.kind === 'waiting'",
        replace: 'role.config.inSync.length > 1',
      },
    ],
  },
  {
    name: 'goes-on-while-dropping',
    breaks: 'R11: commits alone before the drop of the peer has won',
    edits: [
      {
        file: `${core}state.js`,
        find: 'return role.config.inSync.length > 1 ||',
        replace: "return (role.config.inSync.length > 1 && state.swap?.name !== 'drop') ||",
      },
    ],
  },
  {
    name: 'acceptor-forgets',
    breaks: 'R4: an acceptor does not keep what it has accepted',
    edits: [
      {
        file: 'replication/register/acceptor.js',
        find: 'store.save(groupId, { promised: ballot, acceptedBallot: ballot, value });',
        replace:
          'if (state.value === undefined) ' +
          'store.save(groupId, { promised: ballot, acceptedBallot: ballot, value });',
      },
    ],
  },
  {
    name: 'checkpoint-without-sync',
    breaks: 'R18: a checkpoint is kept before the data files are synced',
    edits: [
      {
        file: 'daemon/volume/group-volumes.js',
        find: 'volume.store.sync()',
        replace: 'Promise.resolve()',
      },
    ],
  },
  {
    name: 'done-twice',
    from: 46,
    breaks: 'R37: a write whose answer was lost is not looked for before it is done again',
    edits: [
      {
        file: 'daemon/volume/request-desk.js',
        find: 'if (this.#unresolved.size === 0)',
        replace: 'if (this.#unresolved.size >= 0)',
      },
    ],
  },
  {
    name: 'reads-before-in-effect',
    scenario: 'a new primary that has no room for a new volume shows nothing stale of the others',
    breaks: 'R40: reads do not wait for a record that changes volumes',
    edits: [
      {
        file: 'daemon/volume/group-volumes.js',
        find: 'return this.#processed >= commit;',
        replace: 'return true;',
      },
    ],
  },
  {
    name: 'read-unchecked',
    from: 241,
    breaks: 'I7: what is read from a data file is not checked',
    edits: [
      {
        file: 'wal/data-reader.js',
        find: 'if (crc32c(bytes) === expected)',
        replace: 'if (bytes.length > 0)',
      },
    ],
  },
  {
    name: 'serves-after-a-disk-error',
    from: 114,
    breaks: 'I8: a failed log does not end the reign',
    edits: [
      {
        file: 'daemon/volume/group.js',
        find: "this.#dispatch({ kind: 'logFailed' });",
        replace: '',
      },
    ],
  },
];
