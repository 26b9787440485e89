/**
 * A cable for tests, between whoever dials it and what is behind it: whole, cut (connections end at
 * once, new ones are refused), or silent (nothing comes through either way, and nobody is told).
 */
import { connect, createServer, type Server, type Socket } from 'node:net';

type State = 'whole' | 'cut' | 'silent';

export class TcpProxy {
  /** The port of loopback that is behind it. */
  upstreamPort = 0;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #state: State = 'whole';

  private constructor(server: Server) {
    this.#server = server;
  }

  static async listen(port: number): Promise<TcpProxy> {
    const server = createServer();
    const proxy = new TcpProxy(server);
    server.on('connection', (socket) => proxy.#take(socket));
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(port, '127.0.0.1', resolve);
    });
    return proxy;
  }

  /** What was sent into a silent cable is lost with its connections, as behind a dead switch. */
  become(state: State): void {
    const before = this.#state;
    this.#state = state;
    for (const socket of this.#sockets) {
      if (state === 'cut' || before === 'silent') socket.destroy();
      else if (state === 'silent') socket.pause();
    }
  }

  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  #take(near: Socket): void {
    this.#add(near);
    if (this.#state === 'cut') {
      near.destroy();
      return;
    }
    if (this.#state === 'silent') {
      near.pause();
      return;
    }
    const far = connect(this.upstreamPort, '127.0.0.1');
    this.#add(far);
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      from.on('data', (chunk) => {
        if (this.#state === 'whole') to.write(chunk);
      });
      from.on('close', () => {
        if (this.#state !== 'silent') to.destroy();
      });
    }
  }

  #add(socket: Socket): void {
    this.#sockets.add(socket);
    socket.setNoDelay(true);
    socket.on('error', () => {
      // 'close' follows.
    });
    socket.once('close', () => this.#sockets.delete(socket));
  }
}
