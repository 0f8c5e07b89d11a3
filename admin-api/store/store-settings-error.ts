/**
 * The database cannot be used as configured: restarting does not help, a person must change something. The
 * message contains no secret.
 */
export class StoreSettingsError extends Error {
  override readonly name = 'StoreSettingsError';
}
