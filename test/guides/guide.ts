/**
 * A guide as a program: the blocks of shell commands of a Markdown file, in order, each with the
 * machines it says it is for, and what the guide shows of the output.
 *
 * A block begins with a comment such as `# on lux-1 and lux-2`. ", until it shows" at its end means
 * that a person looks again until the output is as shown; "(exit code 4)" that the script ends
 * so; "(needs nbd in the kernel)" that only `deploy/test-guides.sh` can run it. A block of kind
 * `text` right after it is what is seen: its lines one after the other, "…" in a line for anything,
 * "…" alone for any lines; blanks may differ in number.
 */

export interface GuideStep {
  /** Line of the file where the block begins. */
  readonly line: number;
  readonly machines: readonly string[];
  readonly script: string;
  readonly commandCount: number;
  /** It is run again until its output is as shown. */
  readonly until: boolean;
  /** What it takes beyond what every machine has; undefined if nothing. */
  readonly needs: string | undefined;
  /** Those that the last command may end with. */
  readonly exitCodes: readonly number[];
  /** What has to be in the output; undefined if the guide shows nothing. */
  readonly shown: string | undefined;
}

export interface Guide {
  readonly path: string;
  readonly steps: readonly GuideStep[];
  /** How many commands the guide says it takes. */
  readonly statedCount: number | undefined;
  /** Its other blocks, by their kind, such as "xml"; commands that are only shown have none. */
  readonly blocks: readonly GuideBlock[];
}

export interface GuideBlock {
  readonly kind: string;
  readonly line: number;
  readonly text: string;
}

/** All fenced blocks of a Markdown text. */
function fencedBlocks(text: string): (GuideBlock & { readonly endLine: number })[] {
  const blocks: (GuideBlock & { readonly endLine: number })[] = [];
  const lines = text.split('\n');
  for (let index = 0; index < lines.length; index += 1) {
    const kind = /^```(\w*)$/.exec(lines[index] ?? '')?.[1];
    if (kind === undefined) continue;
    const end = lines.indexOf('```', index + 1);
    if (end < 0) throw new Error(`the block at line ${index + 1} has no end`);
    const content = lines.slice(index + 1, end).join('\n');
    blocks.push({ kind, line: index + 1, endLine: end + 1, text: content });
    index = end;
  }
  return blocks;
}

const headPattern =
  /^# on (?<machines>[\w-]+(?:(?:, | and )[\w-]+)*)(?: \(needs (?<needs>[^)]+)\))?(?: \(exit code (?<codes>\d(?: or \d)*)\))?(?<until>, until it shows)?$/;

/** Commands of a script: lines that no other line goes on, and no text of a here-document. */
export function countCommands(script: string): number {
  let count = 0;
  let terminator: string | undefined;
  let continued = false;
  for (const line of script.split('\n')) {
    if (terminator !== undefined) {
      if (line === terminator) terminator = undefined;
      continue;
    }
    if (line.trim() === '' || line.startsWith('#')) continue;
    if (!continued) count += 1;
    continued = line.endsWith('\\');
    terminator = /<<'?(\w+)'?/.exec(line)?.[1];
  }
  return count;
}

/**
 * Reads a guide.
 * @throws if a block of commands does not say where it is run, or shows nothing to wait for
 */
export function parseGuide(path: string, text: string): Guide {
  const blocks = fencedBlocks(text);
  const steps = blocks.flatMap((block, index): GuideStep[] => {
    if (block.kind !== 'sh') return [];
    const [head = '', ...rest] = block.text.split('\n');
    const groups = headPattern.exec(head)?.groups;
    if (groups === undefined) {
      throw new Error(`${path}:${block.line + 1}: "${head}" does not say where this is run`);
    }
    const next = blocks[index + 1];
    const between = text.split('\n').slice(block.endLine, (next?.line ?? 0) - 1);
    const isShown = next?.kind === 'text' && between.every((line) => line.trim() === '');
    if (groups['until'] !== undefined && !isShown) {
      throw new Error(`${path}:${block.line}: what it should show does not follow`);
    }
    const script = rest.join('\n');
    return [
      {
        line: block.line,
        machines: (groups['machines'] ?? '').split(/, | and /),
        script,
        commandCount: countCommands(script),
        until: groups['until'] !== undefined,
        needs: groups['needs'],
        exitCodes: (groups['codes'] ?? '0').split(' or ').map(Number),
        shown: isShown ? next.text : undefined,
      },
    ];
  });
  const stated = /\*\*(\d+) commands?\*\*/.exec(text)?.[1];
  return {
    path,
    steps,
    statedCount: stated === undefined ? undefined : Number(stated),
    blocks: blocks.filter(({ kind }) => kind !== 'sh' && kind !== 'text'),
  };
}

/** How many commands somebody types who follows the guide. */
export function commandsOf({ steps }: Guide): number {
  return steps.reduce((sum, step) => sum + step.commandCount * step.machines.length, 0);
}

function linePattern(line: string): string {
  return line
    .trim()
    .replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&')
    .replaceAll(/\s+/g, '[^\\S\\n]+')
    .replaceAll('…', '[^\\n]*');
}

/** Whether an output is as a guide shows it. */
export function isAsShown(output: string, shown: string): boolean {
  const parts = shown.split('\n').map((line) => {
    return line.trim() === '…' ? '(?:[^\\n]*\\n)*?' : `[^\\S\\n]*${linePattern(line)}[^\\S\\n]*\\n`;
  });
  return new RegExp(`(?:^|\\n)${parts.join('')}`).test(`${output}\n`);
}
