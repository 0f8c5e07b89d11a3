/**
 * The yardstick for Pushpoint: bare uWebSockets.js. Every connection subscribes to one topic. The first
 * message gives the port, every further one the bytes to publish.
 */
import uWS from 'uWebSockets.js';

const TOPIC = 'all';

export type BareOrder = { port: number } | { publish: Uint8Array };

const app = uWS.App();
app.ws('/', {
  compression: uWS.DISABLED,
  idleTimeout: 120,
  maxBackpressure: 1024 * 1024,
  open: (ws) => {
    ws.subscribe(TOPIC);
  },
  message: () => {},
});

process.on('message', (order: BareOrder) => {
  if ('publish' in order) app.publish(TOPIC, order.publish, true);
  else {
    app.listen(order.port, (socket) => {
      process.send?.({ listening: Boolean(socket) });
    });
  }
});
process.on('disconnect', () => process.exit());
