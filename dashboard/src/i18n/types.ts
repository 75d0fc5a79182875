/** A dictionary of the same keys as another, with texts of its own. */
export type Same<D> = { readonly [K in keyof D]: string };

/** Names between braces in a text: `{name}`, or `{n|one|many}` whose number is `n`. */
type Names<S extends string> = S extends `${string}{${infer Inner}}${infer Rest}`
  ? (Inner extends `${infer Name}|${string}` ? Name : Inner) | Names<Rest>
  : never;

/** What `t` takes after the key: nothing for a text without names, else a value for each name. */
export type Args<S extends string> = [Names<S>] extends [never]
  ? []
  : [params: Record<Names<S>, string | number>];
