import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';

interface OpenApi {
  paths: Record<string, Record<string, { responses: Record<string, { content?: Record<string, unknown> }> }>>;
}

/** Holds answers against the OpenAPI document: status, media type and every member must be as it says. */
export class AnswerChecker {
  readonly #ajv = new Ajv2020({ strict: false, formats: { 'date-time': true } });
  readonly #document: OpenApi;
  readonly #validators = new Map<string, ValidateFunction>();

  constructor(document: unknown) {
    this.#document = document as OpenApi;
    this.#ajv.addSchema(document as object, 'openapi.json');
  }

  check(method: string, route: string, answer: { status: number; headers: Headers; body: unknown }): void {
    const path = (route.split('?')[0] ?? '').replace(/\/$/, '');
    const template = Object.keys(this.#document.paths).find((candidate) =>
      new RegExp(`^${candidate.replace(/\{\w+\}/g, '[^/]+')}$`).test(path),
    );
    if (template === undefined || method === 'HEAD') return;
    const operation = this.#document.paths[template]?.[method.toLowerCase()];
    if (!operation) return;
    const what = `${method} ${template} ${answer.status}`;
    const response = operation.responses[answer.status];
    if (!response) throw new Error(`${what} is not in the OpenAPI document: ${JSON.stringify(answer.body)}`);
    const media = Object.keys(response.content ?? {})[0];
    if (media === undefined) {
      if (answer.body !== '') throw new Error(`${what} has a body`);
      return;
    }
    const type = answer.headers.get('content-type') ?? 'none';
    if (!type.startsWith(media)) throw new Error(`${what} is ${type}, not ${media}`);
    if (!media.includes('json')) return;
    const validate = this.#validator(template, method, answer.status, media);
    if (!validate(answer.body)) {
      throw new Error(`${what} is not as documented: ${this.#ajv.errorsText(validate.errors)}`);
    }
  }

  /** The same for an event as the stream shows it. */
  checkEvent(data: { event: string; at?: string }): void {
    const schema = `openapi.json#/components/schemas/Event_${data.event}`;
    const validate = this.#ajv.getSchema(schema);
    if (!validate) throw new Error(`there is no schema of the event ${data.event}`);
    if (!validate(data)) {
      throw new Error(
        `the event ${JSON.stringify(data)} is not as documented: ${this.#ajv.errorsText(validate.errors)}`,
      );
    }
  }

  #validator(template: string, method: string, status: number, media: string): ValidateFunction {
    const pointer = [
      'paths',
      template,
      method.toLowerCase(),
      'responses',
      String(status),
      'content',
      media,
      'schema',
    ]
      .map((part) => encodeURIComponent(part.replace(/~/g, '~0').replace(/\//g, '~1')))
      .join('/');
    let validator = this.#validators.get(pointer);
    if (!validator) {
      validator = this.#ajv.compile({ $ref: `openapi.json#/${pointer}` });
      this.#validators.set(pointer, validator);
    }
    return validator;
  }
}
