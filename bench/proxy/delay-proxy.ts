/** The delaying proxy as the suite uses it: started, told distances, ended. */
import { fileURLToPath } from 'node:url';
import { pollUntil } from '../../test/support/poll.ts';
import { ServerProcess } from '../processes.ts';

const programPath = fileURLToPath(new URL('./delay-proxy-program.js', import.meta.url));

export interface Route {
  readonly listenPort: number;
  readonly targetPort: number;
}

export class DelayProxy {
  readonly #server: ServerProcess;

  private constructor(server: ServerProcess) {
    this.#server = server;
  }

  /** Listens on every route's port when this resolves; there is no delay yet. */
  static async start(routes: readonly Route[]): Promise<DelayProxy> {
    const parameters = routes.map(({ listenPort, targetPort }) => `${listenPort}=${targetPort}`);
    const server = new ServerProcess(process.execPath, [programPath, ...parameters]);
    try {
      for (const { listenPort } of routes) {
        await server.listens({ port: listenPort, host: '127.0.0.1' });
      }
    } catch (error) {
      await server.stop();
      throw error;
    }
    return new DelayProxy(server);
  }

  /** Every byte from now on takes half of the round trip in either direction. */
  async setRoundTrip(milliseconds: number): Promise<void> {
    const answers = this.#answers;
    this.#server.send(String(milliseconds / 2));
    await pollUntil('the proxy has taken the delay', () => {
      this.#server.check();
      return this.#answers > answers;
    });
  }

  get #answers(): number {
    return this.#server.output.split('delay ').length;
  }

  stop(): Promise<void> {
    return this.#server.stop();
  }
}
