/** Points of small order, as raw public keys; computed from the curves' equations, not copied from a list. */
const P = (1n << 255n) - 19n;

const mod = (n: bigint): bigint => ((n % P) + P) % P;

function power(base: bigint, exponent: bigint): bigint {
  let result = 1n;
  for (let [b, e] = [mod(base), exponent]; e > 0n; e >>= 1n, b = mod(b * b)) {
    if (e & 1n) result = mod(result * b);
  }
  return result;
}

const inverse = (n: bigint): bigint => power(n, P - 2n);
const D = mod(-121_665n * inverse(121_666n));

/** The square root, or `null`; p is 5 mod 8. */
function root(square: bigint): bigint | null {
  const candidate = power(square, (P + 3n) / 8n);
  for (const r of [candidate, mod(candidate * power(2n, (P - 1n) / 4n))]) {
    if (mod(r * r) === mod(square)) return r;
  }
  return null;
}

export function littleEndian(number: bigint): Uint8Array {
  return Uint8Array.from({ length: 32 }, (_, at) => Number((number >> BigInt(8 * at)) & 255n));
}

/** The y whose doubled point has y = 0 and order 4: there -x² = y² on the curve -x² + y² = 1 + dx²y². */
function orderEight(): bigint[] {
  // With x² = -y²: 2y² = 1 - dy⁴, so dy⁴ + 2y² - 1 = 0.
  const s = root(mod(1n + D));
  if (s === null) throw new Error('no points of order 8');
  return [s, mod(-s)].flatMap((sign) => {
    const y = root(mod((sign - 1n) * inverse(D)));
    return y === null ? [] : [y, mod(-y)];
  });
}

const SIGN = 1n << 255n;
const ys = [0n, 1n, P - 1n, ...orderEight()];

export const SMALL_ORDER_ED25519 = ys.flatMap((y) => [littleEndian(y), littleEndian(y | SIGN)]);

/** Birational: u = (1 + y) / (1 - y); and u = -1, of order 4 on the twist. */
export const SMALL_ORDER_X25519 = [
  ...new Set([...ys.filter((y) => y !== 1n).map((y) => mod((1n + y) * inverse(1n - y))), P - 1n]),
].map(littleEndian);

/** Above p - 1, so that each is another name of a smaller number; bit 255 is the sign, or ignored. */
export const NOT_CANONICAL = [
  ...Array.from({ length: 19 }, (_, n) => littleEndian(P + BigInt(n))),
  ...Array.from({ length: 19 }, (_, n) => littleEndian((P + BigInt(n)) | SIGN)),
];
