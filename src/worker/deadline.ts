/** `promise`, or what `late` says when it takes longer. */
export async function within<T, L>(promise: Promise<T>, ms: number, late: () => L): Promise<T | Awaited<L>> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), ms);
  });
  const token = {};
  const first = await Promise.race([promise, timeout.then(() => token)]).finally(() => clearTimeout(timer));
  return first === token ? await late() : (first as T);
}
