/** PROTOCOL.md says what the code does, as far as a program can tell. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { COMMAND_TYPE_NAMES, COMMAND_TYPES } from '../../protocol/command-types.ts';
import {
  COMPLIANCE,
  decodeDeviceMessage,
  decodeGatewayMessage,
  LIMITS,
  REDIRECT_REASONS,
  REPORTABLE_STATES,
  SERVER_LIMITS,
  SUBPROTOCOL,
} from '../../protocol/index.ts';
import { documentText, fromHex, toView, vectors } from './vectors-file.ts';

/** The text of a section, from its heading to the next of the same level. */
function section(heading: string): string {
  const start = documentText.indexOf(`\n## ${heading}\n`);
  assert.ok(start >= 0, heading);
  const end = documentText.indexOf('\n## ', start + 1);
  return documentText.slice(start, end < 0 ? undefined : end);
}

test('F-2, H-2, H-3, H-6, D-3, R-5, R-6: the walkthroughs show the frames of the vectors, in order', () => {
  const shown = [...section('Walkthroughs').matchAll(/```hex\n([^`]*)```/g)].map((block) =>
    (block[1] ?? '').replaceAll(/\s/g, ''),
  );
  const frames = vectors.walkthroughs.flatMap((walkthrough) => walkthrough.frames);
  for (const { name, from, hex, message } of frames) {
    const decode = from === 'device' ? decodeDeviceMessage : decodeGatewayMessage;
    assert.equal(toView(decode(fromHex(hex))), message, name);
  }
  let last = -1;
  for (const hex of shown) {
    last = frames.findIndex((frame, index) => index > last && frame.hex === hex);
    assert.ok(last >= 0, hex);
  }
  assert.ok(shown.length >= 8);
});

test('the table of limits has the limits of the code', () => {
  const limits = section('Limits').replaceAll(',', '');
  const { frameBytes, argsBytes, resultBytes, depth, reasonLength, noteLength, policyLength } = LIMITS;
  const rows = [
    `| message | ${frameBytes} bytes |`,
    `| answer to \`POST /v1/enroll\` or \`/v1/locate\` | ${LIMITS.answerBytes} bytes |`,
    `| nesting of a frame its own map counted | ${depth + 1} |`,
    `| identifier | ${SERVER_LIMITS.idLength} characters |`,
    `| \`args\` encoded | ${argsBytes} bytes nested ${depth} deep |`,
    `| \`body\` of a result; \`data\` in it | ${resultBytes} bytes; nested ${depth} deep |`,
    `| \`reason\` | ${reasonLength} characters |`,
    `| \`t\` \`kind\` \`state\` of \`settled\` \`reason\` of \`redirect\` | ${LIMITS.wordLength} ` +
      'characters |',
    `| \`note\` | ${noteLength} characters |`,
    `| \`body\` of a status | ${LIMITS.statusBytes} bytes |`,
    `| \`policy\` | ${policyLength} characters |`,
    `| \`settled\` of \`beat\` | ${LIMITS.settled} identifiers |`,
    `| \`caps\` | ${SERVER_LIMITS.capabilities} of ${SERVER_LIMITS.capabilityLength} characters |`,
    `| \`software\` | ${LIMITS.softwareLength} characters |`,
    `| \`name\` | ${LIMITS.nameLength} characters |`,
    `| gateways that a message names | ${LIMITS.gateways} |`,
    `| signed list of gateways; gateways in it; a url | ${SERVER_LIMITS.gatewaysBytes} bytes; ` +
      `${LIMITS.listedGateways}; ${LIMITS.urlLength} characters |`,
    `| groups of a device | ${LIMITS.groups} |`,
    `| nonce; public key; signature | ${LIMITS.nonceBytes}; ${LIMITS.publicKeyBytes}; ` +
      `${LIMITS.signatureBytes} bytes |`,
    `| heartbeat interval | ${LIMITS.heartbeatMinMs / 1_000} s to ${LIMITS.heartbeatMaxMs / 60_000} min |`,
    `| \`retryMs\` of \`keep\` | ${LIMITS.retryMinMs / 1_000} s to ${LIMITS.retryMaxMs / 60_000} min |`,
    `| deliver by | ${SERVER_LIMITS.ttlMaxMs / 86_400_000} days after issue |`,
    `| finish by | ${LIMITS.timeoutMaxMs / 86_400_000} days |`,
  ];
  for (const row of rows) assert.ok(limits.includes(row), row);
});

test('V-1: the document names the subprotocol, and every word of the closed sets', () => {
  assert.ok(section('H Handshake').includes(`Sec-WebSocket-Protocol: ${SUBPROTOCOL}`));
  for (const word of COMPLIANCE) assert.ok(section('B Heartbeats').includes(`\`${word}\``), word);
  for (const word of REDIRECT_REASONS) assert.ok(section('G Gateways').includes(`\`${word}\``), word);
  for (const word of REPORTABLE_STATES) assert.ok(section('R Results').includes(`| \`${word}\` |`), word);
});

test('D-1: the table of command types has every type, its arguments and its time', () => {
  const table = section('Command types');
  for (const type of COMMAND_TYPE_NAMES) {
    const row = table.split('\n').find((line) => line.startsWith(`| \`${type}\` |`));
    assert.ok(row, type);
    assert.ok(row.endsWith(`| ${COMMAND_TYPES[type].timeoutMs / 60_000} min |`), row);
    const { args, result } = COMMAND_TYPES[type];
    const fields = [args, result].flatMap((schema) =>
      Object.keys('properties' in schema ? schema.properties : {}),
    );
    for (const field of fields) assert.ok(row.includes(`\`${field}\``), `${type} ${field}`);
  }
});

test.run();
