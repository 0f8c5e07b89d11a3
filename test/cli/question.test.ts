/** Questions on a real terminal (`script` of util-linux makes one). */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { json, smallServer } from './small-server.ts';

const main = fileURLToPath(new URL('../../cli/main.js', import.meta.url));

for (const [what, typed, code, done] of [
  ['Ctrl-C', '\u0003', 130, []],
  ['no', 'n\r', 130, []],
  ['yes', 'y\r', 0, ['DELETE /v1/devices/d1']],
] as const) {
  test(`a question answered with ${what} ends with ${code}`, async () => {
    const server = await smallServer((request, response) => {
      if (request.method === 'DELETE') response.writeHead(204).end();
      else json(response, 200, { id: 'd1' });
    });
    const command = `${process.execPath} ${main} devices delete d1`;
    const env = { ...process.env, PUSHPOINT_TOKEN: 'ppt_x', PUSHPOINT_SERVER: server.url, TERM: 'xterm' };
    const terminal = spawn('script', ['-qec', command, '/dev/null'], { env });
    let shown = '';
    terminal.stdout.on('data', (text) => {
      const asked = shown.includes('[y/N]');
      shown += text;
      if (!asked && shown.includes('[y/N]')) terminal.stdin.write(typed);
    });
    const [exit] = await once(terminal, 'close');
    assert.is(exit, code, shown);
    assert.not.match(shown, /fault|AbortError/);
    assert.equal(
      server.asked.filter((line) => !line.startsWith('GET')),
      done,
    );
    await server.stop();
  });
}

test.run();
