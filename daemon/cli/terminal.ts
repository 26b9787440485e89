/** What a command has of the outside world: its output, its environment, and a person to ask. */
import { createInterface } from 'node:readline/promises';

export interface Terminal {
  write(text: string): void;
  writeError(text: string): void;
  /** A person can be asked: input and output are a terminal. */
  readonly interactive: boolean;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Shows the question and gives the line that was typed. */
  ask(question: string): Promise<string>;
}

/** The terminal that this process was started in. */
export const systemTerminal: Terminal = {
  write: (text) => void process.stdout.write(text),
  writeError: (text) => void process.stderr.write(text),
  interactive: process.stdin.isTTY === true && process.stdout.isTTY === true,
  environment: process.env,
  ask: async (question) => {
    const lines = createInterface({ input: process.stdin, output: process.stdout });
    try {
      return await lines.question(question);
    } finally {
      lines.close();
    }
  },
};
