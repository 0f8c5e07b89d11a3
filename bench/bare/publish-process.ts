/**
 * What any server of ours is measured against: uWebSockets.js and nothing else. Every connection subscribes
 * to one topic; the first message says the port, every further one holds bytes to publish.
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
