/**
 * Whether a WebSocket can be opened to it: RFC 6455, 3 knows no fragment, and clients throw for one;
 * credentials are not sent.
 */
export function dialable(url: string): boolean {
  if (url.includes('#') || !URL.canParse(url)) return false;
  const { protocol, username, password } = new URL(url);
  return (protocol === 'ws:' || protocol === 'wss:') && username === '' && password === '';
}
