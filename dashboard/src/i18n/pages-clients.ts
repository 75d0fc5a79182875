import type { Same } from './types';

export const en = {} as const;

export const zh: Same<typeof en> = {};
