/** Follows a guide: runs its commands one after the other and looks at what they show. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Test } from 'tap';
import { pollUntil } from '../support/poll.ts';
import type { CommandResult } from '../support/run-command.ts';
import { commandsOf, type Guide, type GuideStep, isAsShown, parseGuide } from './guide.ts';
import { isMachineName, type Machines } from './machines.ts';

const guidesDirectory = fileURLToPath(new URL('../../../deploy/guides/', import.meta.url));

/** How long somebody looks again and again for what a guide shows. */
const patienceMs = 30_000;

/** Reads one of the guides under deploy/guides, by its name without ".md". */
export function readGuide(name: string): Guide {
  const path = `deploy/guides/${name}.md`;
  return parseGuide(path, readFileSync(join(guidesDirectory, `${name}.md`), 'utf8'));
}

/** What is wrong with the end of a step; undefined if it is as the guide has it. */
function complaint(step: GuideStep, { code, stdout, stderr }: CommandResult): string | undefined {
  const all = `${stdout}${stderr}`;
  if (!step.exitCodes.includes(code)) return `exit code ${code}:\n${all}`;
  if (step.shown !== undefined && !isAsShown(all, step.shown)) {
    return `shows\n${all}\nwhere the guide has\n${step.shown}`;
  }
  return undefined;
}

async function runStep(machines: Machines, step: GuideStep, name: string): Promise<void> {
  if (!isMachineName(name)) throw new Error(`there is no machine ${name}`);
  let last: string | undefined;
  const isDone = async (): Promise<boolean> => {
    last = complaint(step, await machines.run(name, step.script));
    return last === undefined;
  };
  if (!step.until) {
    if (!(await isDone())) throw new Error(`on ${name}:\n${step.script}\n${last}`);
    return;
  }
  await pollUntil(`${name}: ${step.script}`, isDone, patienceMs).catch((cause: unknown) => {
    throw new Error(`on ${name}, at last:\n${step.script}\n${last}`, { cause });
  });
}

/** Follows a guide to its end, or throws at the first step that is not as the guide has it. */
export async function followGuide(t: Test, machines: Machines, name: string): Promise<Guide> {
  const guide = readGuide(name);
  for (const step of guide.steps) {
    if (step.needs !== undefined) {
      t.comment(`${guide.path}:${step.line} needs ${step.needs}: deploy/test-guides.sh has it`);
      continue;
    }
    for (const machine of step.machines) {
      try {
        await runStep(machines, step, machine);
      } catch (cause) {
        const text = cause instanceof Error ? cause.message : String(cause);
        throw new Error(`${guide.path}:${step.line} ${text}`, { cause });
      }
    }
    t.pass(`${guide.path}:${step.line} on ${step.machines.join(', ')}`);
  }
  t.equal(commandsOf(guide), guide.statedCount, 'as many commands as the guide says');
  return guide;
}
