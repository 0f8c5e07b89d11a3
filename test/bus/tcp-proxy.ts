import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

export interface TcpProxy {
  readonly port: number;
  /** New connections go there from now on. */
  leadTo(port: number): void;
  /**
   * Connections open now, of which `matches` is true of what their client sent, pass nothing on any more, and
   * stay open.
   */
  freeze(matches: (sent: string) => boolean): void;
  stop(): Promise<void>;
}

/** On 127.0.0.1, in front of another port of it. */
export async function startProxy(target: number): Promise<TcpProxy> {
  let leadsTo = target;
  const pairs = new Set<{ client: Socket; server: Socket; sent: string }>();
  const proxy = createServer((client) => {
    const server = connect(leadsTo, '127.0.0.1');
    const pair = { client, server, sent: '' };
    pairs.add(pair);
    client.on('data', (data) => {
      if (pair.sent.length < 100_000) pair.sent += data.toString('latin1');
    });
    client.pipe(server);
    server.pipe(client);
    const end = () => {
      pairs.delete(pair);
      client.destroy();
      server.destroy();
    };
    for (const socket of [client, server]) {
      socket.on('error', end);
      socket.on('close', end);
    }
  });
  proxy.listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  return {
    port: (proxy.address() as AddressInfo).port,
    leadTo(port) {
      leadsTo = port;
    },
    freeze(matches) {
      for (const { client, server, sent } of pairs) {
        if (!matches(sent)) continue;
        client.unpipe(server);
        server.unpipe(client);
        client.pause();
        server.pause();
      }
    },
    async stop() {
      for (const { client, server } of pairs) {
        client.destroy();
        server.destroy();
      }
      proxy.close();
      await once(proxy, 'close');
    },
  };
}
