/** NBD requests cut out of received bytes, as the server does it for every client. */
import { command, requestHeaderBytes, requestMagic } from '../../daemon/nbd/constants.ts';
import { RequestParser, type RequestSink } from '../../daemon/nbd/request-parser.ts';
import type { MicroContext, MicroFigure } from './repeat.ts';

const requests = 32;
const blockBytes = 4096;

/** Takes every request and forgets it. */
class Sink implements RequestSink {
  readonly takesRequests = true;
  seen = 0;

  onHeader({ type }: { readonly type: number }): 'keep' | 'none' {
    this.seen += 1;
    return type === command.write ? 'keep' : 'none';
  }

  onPayload(): void {}

  onDiscarded(): void {}

  onViolation(reason: string): void {
    throw new Error(reason);
  }
}

export async function measureNbd({ time }: MicroContext): Promise<MicroFigure[]> {
  const [writes, reads] = [stream(command.write), stream(command.read)];
  const figure = (name: string, bytes: Buffer, payloadBytes: number): MicroFigure => {
    const sink = new Sink();
    const parser = new RequestParser(sink);
    const found = time(name, payloadBytes, () => {
      parser.parse(bytes, 0);
    });
    if (sink.seen % requests !== 0) throw new Error('the parser has lost requests');
    return found;
  };
  return [
    figure(`NBD parse, ${requests} writes of 4 KiB in one chunk`, writes, requests * blockBytes),
    figure(`NBD parse, ${requests} reads in one chunk`, reads, 0),
  ];
}

function stream(type: number): Buffer {
  const payload = type === command.write ? Buffer.alloc(blockBytes, 0x77) : Buffer.alloc(0);
  return Buffer.concat(
    Array.from({ length: requests }, (_, index) => {
      const header = Buffer.alloc(requestHeaderBytes);
      header.writeUInt32BE(requestMagic, 0);
      header.writeUInt16BE(type, 6);
      header.writeUInt32BE(index, 12);
      header.writeUInt32BE(index * blockBytes, 20);
      header.writeUInt32BE(blockBytes, 24);
      return Buffer.concat([header, payload]);
    }),
  );
}
