/** What an attack brought about that neither end made, in words; `null`: nothing. */
export type Success = string | null;
