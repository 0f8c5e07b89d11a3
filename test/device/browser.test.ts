import { existsSync, readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { webDial } from '../../device/index.browser.ts';
import { nodeCrypto } from '../../device/index.ts';
import { webCrypto } from '../../device/platform/crypto-web.ts';
import { lockStore } from '../../device/storage/web-lock.ts';
import { fixture } from './fixture.ts';

/** What a compiled file imports when it is loaded. */
function imports(file: string): string[] {
  const text = readFileSync(file, 'utf8');
  return [
    ...text.matchAll(/^\s*(?:import|export)\s[^'"]*?from\s*['"]([^'"]+)['"]|^\s*import\s*['"]([^'"]+)['"]/gm),
  ].map((match) => (match[1] ?? match[2]) as string);
}

test('the entry point for browsers reaches no module of Node and no package', () => {
  const folder = dirname(fileURLToPath(import.meta.url));
  const start = resolve(folder, '../../device/index.browser.js');
  assert.ok(existsSync(start));
  const seen = new Set([start]);
  const packages = new Set<string>();
  for (const file of seen) {
    for (const specifier of imports(file)) {
      if (specifier.startsWith('.')) seen.add(resolve(dirname(file), specifier));
      else if (specifier === '#msgpack') seen.add(resolve(folder, '../../protocol/msgpack-web.js'));
      else packages.add(specifier);
    }
    assert.not.match(readFileSync(file, 'utf8'), /\b(Buffer|process|require)[.(]/, file);
  }
  assert.ok(seen.size > 20, 'the graph was followed');
  assert.equal([...packages], []);
});

test('keys and signatures of one crypto work in the other', async () => {
  const bytes = new TextEncoder().encode('order');
  for (const [make, use] of [
    [nodeCrypto, webCrypto],
    [webCrypto, nodeCrypto],
  ] as const) {
    const key = await make.generate();
    const signature = await use.sign(key.privateKey, bytes);
    assert.equal(signature, await make.sign(key.privateKey, bytes));
    assert.ok(await make.verify(key.publicKey, bytes, signature));
    assert.ok(await use.verify(key.publicKey, bytes, signature));
    signature[0] = (signature[0] as number) ^ 1;
    assert.not(await use.verify(key.publicKey, bytes, signature));
    assert.not(await use.verify(new Uint8Array(5), bytes, signature));
  }
});

test('a device connects with WebCrypto and a WebSocket of the platform', async () => {
  // The ws package's class has a browser's interface.
  const { WebSocket } = await import('ws');
  const dial = webDial(WebSocket as unknown as Parameters<typeof webDial>[0]);
  const f = await fixture({ options: { crypto: webCrypto, dial } });
  await f.gateway.sendCommand('c1');
  assert.is((await f.gateway.last.first('result', 'c1')).state, 'succeeded');
  f.gateway.last.socket.send('text');
  await f.gateway.session(2);
  await f.device.stop({ abrupt: true });
  await f.end();
});

test('a browser without Web Locks says that a second tab would not be noticed', async () => {
  const error = await lockStore('kiosk', {}, null).catch((why) => why);
  assert.match(error.message, /no Web Locks .* \{ lock: false \}/);
});

test.run();
