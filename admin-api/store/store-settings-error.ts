/**
 * The database cannot be used as it is configured: another start changes nothing, a person must. Repeats no
 * secret.
 */
export class StoreSettingsError extends Error {
  override readonly name = 'StoreSettingsError';
}
