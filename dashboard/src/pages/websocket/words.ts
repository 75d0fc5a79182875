import { useT } from '../../i18n';
import { connackWord, disconnectWord } from './session';
import type { Note, Trouble } from './tool';

/** Says in words why there is no connection. */
export function useTrouble(): (trouble: Trouble) => string {
  const t = useT();
  return (trouble) => {
    switch (trouble.kind) {
      case 'lost':
        return t('ws.lost');
      case 'mixed':
        return t('ws.mixed');
      case 'noTool':
        return t('ws.noTool');
      case 'lostBefore':
        return trouble.address.startsWith('wss:')
          ? t('ws.lostBeforeSsl', { address: trouble.address, page: trouble.address.replace(/^wss/, 'https') })
          : t('ws.lostBefore', { address: trouble.address });
      case 'timeout':
        return t('ws.timeout', { n: trouble.seconds });
      case 'refused':
        return t('ws.refused', { why: t(`ws.connack.${connackWord(trouble.version, trouble.code)}`), code: trouble.code });
      case 'ended': {
        const word = disconnectWord(trouble.code);
        return t('ws.ended', { why: word === 'other' ? t('ws.end.other', { code: trouble.code }) : t(`ws.end.${word}`) });
      }
      case 'other':
        return trouble.text;
    }
  };
}

/** Says in words what became of the last thing that was done. */
export function useNote(): (note: Note) => string {
  const t = useT();
  return (note) => {
    switch (note.kind) {
      case 'subscribed':
        return note.granted === note.asked
          ? t('ws.subscribed', { topic: note.filter, qos: note.granted })
          : t('ws.subscribedLess', { topic: note.filter, qos: note.granted });
      case 'subRefused':
        return t('ws.subRefused', { topic: note.filter, code: note.code });
      case 'pubRefused':
        return t('ws.pubRefused', { why: note.text });
    }
  };
}
