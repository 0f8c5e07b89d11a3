import { enroll, PushpointDevice, Rejected, WebStore } from '@pushpoint/device';

const query = new URLSearchParams(location.search);
const state = document.querySelector('#state');
const messages = document.querySelector('#messages');

// The key and everything that must outlive the page are in IndexedDB of this origin.
const store = await WebStore.open('pushpoint');
await enroll({
  server: query.get('server') ?? location.origin,
  token: query.get('token') ?? '',
  store,
  name: `page on ${location.host}`,
});

const device = new PushpointDevice({ store, software: 'page/1.0' });

device.handle('message', ({ args: { topic, body } }) => {
  if (topic !== 'show') throw new Rejected(`no such topic: ${topic}`);
  const item = document.createElement('li');
  item.textContent = String(body);
  messages.append(item);
  return { shown: messages.children.length };
});

device.on('connected', ({ gateway }) => {
  state.textContent = `connected to ${gateway.name}`;
});
device.on('disconnected', ({ reason }) => {
  state.textContent = `not connected: ${reason || 'the connection was lost'}`;
});

await device.start();
