/** The password typed at a login that asks for another one at once. Memory only, and forgotten with use. */
export const typed: { password: string | undefined } = { password: undefined };
