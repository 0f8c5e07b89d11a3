/** Socket.IO with its defaults: an event to all sockets of the default namespace. */
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import { serve } from './server-messages.ts';

/** The part of the package in use. Loaded at run time, so the bench compiles without development packages. */
interface SocketIo {
  Server: new (
    http: ReturnType<typeof createServer>,
    options: { transports: string[]; serveClient: boolean },
  ) => { emit(event: string, payload: string): void };
}

const require = createRequire(import.meta.url);
const { Server } = require('socket.io') as SocketIo;
const http = createServer();
const io = new Server(http, { transports: ['websocket'], serveClient: false });
http.listen({ host: '127.0.0.1', port: 0, backlog: 4_096 }, () => {
  serve((http.address() as AddressInfo).port, (payload) => io.emit('order', payload));
});
