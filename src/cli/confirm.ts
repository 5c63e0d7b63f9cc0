import { SaeLensError } from '../errors.ts';

/**
 * Whether a person says yes; without a terminal nobody can.
 *
 * @throws SaeLensError USAGE when there is nobody to ask, INTERRUPTED when the person leaves
 */
export async function confirmed(question: string, yes: boolean): Promise<boolean> {
  if (yes) return true;
  if (!process.stdin.isTTY || !process.stdout.isTTY) {
    throw new SaeLensError('USAGE', `Cannot ask "${question}": this is no terminal`, { hint: 'say so beforehand: -y' });
  }
  const { confirm, isCancel } = await import('@clack/prompts');
  const answer = await confirm({ message: question, initialValue: false });
  if (isCancel(answer)) throw new SaeLensError('INTERRUPTED', 'Nothing was removed');
  return answer;
}
