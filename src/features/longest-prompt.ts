/** Letters of a prompt, at most; of its tokens, as many as the context has are read. */
export const LONGEST_PROMPT = 10_000;
