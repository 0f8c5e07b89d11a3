import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readDocument } from '../make-api-reference.ts';
import { runTool } from './run-tool.ts';

/** Problems that tools would have with the OpenAPI document, by the rules of redocly.yaml. */
export async function findOpenApiProblems(root: string): Promise<string[]> {
  const folder = await mkdtemp(join(tmpdir(), 'openapi-'));
  const file = join(folder, 'openapi.json');
  try {
    await writeFile(file, JSON.stringify(await readDocument(), null, 2));
    // Otherwise it would look for a newer release and report its use.
    const env = { REDOCLY_TELEMETRY: 'off', REDOCLY_SUPPRESS_UPDATE_NOTICE: 'true' };
    return await runTool(root, 'redocly', ['lint', '--config', 'redocly.yaml', file], env);
  } finally {
    await rm(folder, { recursive: true });
  }
}
