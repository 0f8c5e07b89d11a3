/** Waits until `probe` gives something; fails after the deadline, naming `what`. */
export async function until<T>(
  probe: () => T | Promise<T>,
  what: string,
  deadlineMs = 10_000,
): Promise<Exclude<T, undefined | null | false>> {
  const end = performance.now() + deadlineMs;
  for (;;) {
    const value = await probe();
    if (value !== undefined && value !== null && value !== false) {
      return value as Exclude<T, undefined | null | false>;
    }
    if (performance.now() > end) throw new Error(`waited in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
