// The chats of this tab, one for each knowledge base; they last as long as the tab, without the media asked with.

import { useCallback, useEffect, useRef, useState } from 'preact/hooks';
import * as api from '../api';
import { withoutAppendix } from '../markdown';
import { freshId } from '../parts/ids';
import { asFailure } from '../parts/notice';
import type { Exhibit, Message, Part, Told } from '../types';
import { parts, type Attached } from './media';
import type { Asked } from './question';

export interface Turn {
  id: string;
  words: string;
  attached: Attached[];
  answer: string;
  cited: Exhibit[];
  told: Told | null;
  state: 'waiting' | 'writing' | 'done' | 'stopped' | 'failed';
  failure: api.Failure | null;
}

export interface Chat {
  turns: Turn[];
  isBusy: boolean;
  ask: (asked: Asked) => void;
  again: () => void;
  stop: () => void;
  clear: () => void;
}

const KEPT = 'exhibit-chat-';

export function useChat(base: string): Chat {
  const [turns, setTurns] = useState<Turn[]>(() => kept(base));
  const asking = useRef<AbortController | null>(null);
  const change = (id: string, how: (turn: Turn) => Partial<Turn>) =>
    setTurns((all) => all.map((turn) => (turn.id === id ? { ...turn, ...how(turn) } : turn)));

  const run = useCallback(
    async (turn: Turn, before: Turn[]) => {
      const stopping = new AbortController();
      asking.current = stopping;
      try {
        const question = await parts(turn.words, turn.attached);
        for await (const piece of api.ask(base, messages(before, question), stopping.signal)) {
          change(turn.id, (now) => ({
            state: piece.told ? 'done' : 'writing',
            answer: now.answer + piece.text,
            cited: piece.cited.length ? piece.cited : now.cited,
            told: piece.told ?? now.told,
          }));
        }
      } catch (error) {
        if (stopping.signal.aborted) change(turn.id, () => ({ state: 'stopped' }));
        else change(turn.id, () => ({ state: 'failed', failure: asFailure(error) }));
      }
    },
    [base],
  );

  useEffect(() => keep(base, turns), [base, turns]);
  useEffect(() => () => asking.current?.abort(), []);
  const isBusy = turns.some(({ state }) => state === 'waiting' || state === 'writing');
  const start = (asked: Asked, before: Turn[]) => {
    const turn = fresh(asked);
    setTurns([...before, turn]);
    void run(turn, before);
  };
  return {
    turns,
    isBusy,
    ask: (asked) => start(asked, turns),
    again: () => turns.length && start(turns.at(-1)!, turns.slice(0, -1)),
    stop: () => asking.current?.abort(),
    clear: () => {
      asking.current?.abort();
      setTurns([]);
    },
  };
}

/** What was said, and the question. Media are sent once: what they showed stands in the question as it was understood. */
function messages(before: Turn[], question: string | Part[]): Message[] {
  const said = before.flatMap((turn): Message[] => {
    const asked = turn.attached.length ? turn.told?.question || turn.words : turn.words;
    if (turn.state !== 'done' || !asked) return [];
    return [
      { role: 'user', content: asked },
      { role: 'assistant', content: withoutAppendix(turn.answer) },
    ];
  });
  return [...said, { role: 'user', content: question }];
}

function fresh({ words, attached }: Asked): Turn {
  return { id: freshId(), words, attached, answer: '', cited: [], told: null, state: 'waiting', failure: null };
}

function keep(base: string, turns: Turn[]): void {
  const done = turns.filter(({ state }) => state === 'done');
  const light = done.map((turn) => ({
    ...turn,
    attached: turn.attached.map((one) => ({ ...one, url: '', file: null })),
  }));
  try {
    sessionStorage.setItem(KEPT + base, JSON.stringify(light));
  } catch {
    sessionStorage.removeItem(KEPT + base); // longer than the browser keeps
  }
}

function kept(base: string): Turn[] {
  try {
    return JSON.parse(sessionStorage.getItem(KEPT + base) ?? '[]') as Turn[];
  } catch {
    return [];
  }
}
