const LONE_SURROGATE = /[\uD800-\uDBFF](?![\uDC00-\uDFFF])|(?<![\uD800-\uDBFF])[\uDC00-\uDFFF]/g;

/**
 * Text as it may travel (F-6): well-formed, without NUL, which databases refuse, and at most `max`
 * characters.
 */
export function clip(text: string, max = Number.POSITIVE_INFINITY): string {
  const cut = text.replaceAll('\0', '');
  return (cut.length > max ? `${cut.slice(0, max - 1)}…` : cut).replace(LONE_SURROGATE, '\uFFFD');
}
