import type { Schemas } from '../../api/types';

export type Step = Schemas['VerdictStep'];
export type Verdict = Schemas['Verdict'];

export type AnswerWord = 'allow' | 'superuser' | 'deny' | 'ignore' | 'unavailable';

/** What a module's answer means; `undefined` for one that is not known here. */
export function answerWord(answer: string): AnswerWord | undefined {
  if (answer.startsWith('allow')) return answer.includes('superuser') ? 'superuser' : 'allow';
  return (['deny', 'ignore', 'unavailable'] as const).find((word) => word === answer);
}

export const isAllowed = (verdict: Verdict): boolean => verdict.result === 'allow';

/** Whether no access rule would be asked: the login made it a superuser. */
export const isSuperuser = (verdict: Verdict): boolean => verdict.steps.some((step) => answerWord(step.answer) === 'superuser');
