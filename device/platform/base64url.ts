export { fromBase64url, toBase64url } from '../../protocol/index.ts';
