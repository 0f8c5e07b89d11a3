/** `ws` as its documentation says to broadcast: a loop over the server's clients. */
import type { AddressInfo } from 'node:net';
import { WebSocketServer } from 'ws';
import { serve } from './server-messages.ts';

const server = new WebSocketServer({ host: '127.0.0.1', port: 0, backlog: 4_096 });
server.on('listening', () => {
  serve((server.address() as AddressInfo).port, (payload) => {
    for (const client of server.clients) client.send(payload);
  });
});
