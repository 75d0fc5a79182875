/** The password typed at a login that asks for another one at once. Memory only, and forgotten with use. */
export const typed: { password: string | undefined } = { password: undefined };

const NAME = 'emqttd.username';

/** The user name of a login that was to be remembered; never the password. */
export const remembered = {
  name(): string {
    try {
      return localStorage.getItem(NAME) ?? '';
    } catch {
      return '';
    }
  },
  keep(name: string): void {
    try {
      if (name) localStorage.setItem(NAME, name);
      else localStorage.removeItem(NAME);
    } catch {
      // It is typed again next time.
    }
  },
};
