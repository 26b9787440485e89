/** A real Prometheus for tests: scrapes what it is told to, every half second, until stopped. */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'tap';
import { freePorts } from './pair.ts';
import { pollUntil } from './poll.ts';

export interface PrometheusOptions {
  readonly directory: string;
  /** What it scrapes: host and port of each process, or the part `scrape_configs` of its file. */
  readonly targets: readonly string[] | string;
  /** Text of the rules. */
  readonly rules: string;
}

function plainScrape(targets: readonly string[]): string {
  return `scrape_configs:
  - job_name: casemate
    static_configs: [{targets: ${JSON.stringify(targets)}}]
`;
}

export class TestPrometheus {
  readonly #child: ChildProcess;
  readonly #url: string;

  private constructor(child: ChildProcess, url: string) {
    this.#child = child;
    this.#url = url;
  }

  /** Starts it and waits until it answers; it ends with the test. */
  static async start(t: Test, options: PrometheusOptions): Promise<TestPrometheus> {
    const [port] = await freePorts(1);
    const directory = join(options.directory, 'prometheus');
    mkdirSync(directory);
    const configPath = join(directory, 'prometheus.yml');
    writeFileSync(join(directory, 'rules.yml'), options.rules);
    writeFileSync(
      configPath,
      `global: {scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 500ms}
rule_files: [rules.yml]
${typeof options.targets === 'string' ? options.targets : plainScrape(options.targets)}`,
    );
    const logPath = join(directory, 'log');
    const log = openSync(logPath, 'a');
    const parameters = [
      `--config.file=${configPath}`,
      `--storage.tsdb.path=${join(directory, 'data')}`,
      `--web.listen-address=127.0.0.1:${port}`,
    ];
    const child = spawn('prometheus', parameters, { stdio: ['ignore', log, log] });
    closeSync(log);
    const exited = new Promise((resolve) => child.once('exit', resolve));
    t.teardown(async () => {
      child.kill('SIGKILL');
      await exited;
    });
    const started = new TestPrometheus(child, `http://127.0.0.1:${port}`);
    await pollUntil('Prometheus is ready', async () => {
      if (started.#child.exitCode !== null) throw new Error(readFileSync(logPath, 'utf8'));
      return await fetch(`${started.#url}/-/ready`).then(
        ({ ok }) => ok,
        () => false,
      );
    });
    return started;
  }

  /** What a query gives: the labels and the value of each series. */
  async query(query: string): Promise<{ labels: Record<string, string>; value: number }[]> {
    const document = await this.#get(`/api/v1/query?query=${encodeURIComponent(query)}`);
    const { result } = document as {
      result: { metric: Record<string, string>; value: [number, string] }[];
    };
    return result.map(({ metric, value }) => ({ labels: metric, value: Number(value[1]) }));
  }

  /** The alerts that fire, each as "name instance". */
  async firing(): Promise<string[]> {
    const { alerts } = (await this.#get('/api/v1/alerts')) as {
      alerts: { state: string; labels: Record<string, string> }[];
    };
    return alerts
      .filter(({ state }) => state === 'firing')
      .map(({ labels }) => `${labels['alertname']} ${labels['instance'] ?? ''}`)
      .sort();
  }

  async #get(path: string): Promise<unknown> {
    const answer = await fetch(`${this.#url}${path}`, { signal: AbortSignal.timeout(5000) });
    const document = (await answer.json()) as { status: string; data: unknown };
    if (document.status !== 'success') throw new Error(JSON.stringify(document));
    return document.data;
  }
}
