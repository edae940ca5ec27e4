// The chat of each knowledge base. The server stores the words, without media; the tab remembers which chat is open.

import { useCallback, useEffect, useRef, useState } from 'preact/hooks';
import * as api from '../api';
import { freshId } from '../parts/ids';
import { asFailure } from '../parts/notice';
import type { Exhibit, Said, Told } from '../types';
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
  id: string;
  turns: Turn[];
  isBusy: boolean;
  isOpening: boolean;
  failure: api.Failure | null;
  ask: (asked: Asked) => void;
  again: () => void;
  stop: () => void;
  clear: () => void;
  open: (id: string) => void;
}

const KEPT = 'exhibit-chat-';

export function useChat(base: string): Chat {
  const [id, setId] = useState(() => sessionStorage.getItem(KEPT + base) ?? '');
  const [turns, setTurns] = useState<Turn[]>([]);
  const [failure, setFailure] = useState<api.Failure | null>(null);
  const [isOpening, setOpening] = useState(id !== '');
  const working = useRef(new AbortController());
  const current = useRef(id);

  /** Stops the answer under way and hides it. */
  const begin = (chat: string, shown: Turn[]): AbortSignal => {
    working.current.abort();
    working.current = new AbortController();
    remember(chat);
    setTurns(shown);
    setFailure(null);
    setOpening(false);
    return working.current.signal;
  };
  const remember = (chat: string) => {
    current.current = chat;
    setId(chat);
    if (chat) sessionStorage.setItem(KEPT + base, chat);
    else sessionStorage.removeItem(KEPT + base);
  };

  const open = useCallback(async (chat: string) => {
    const signal = begin(chat, []);
    setOpening(true);
    try {
      const said = await api.said(chat, signal);
      if (signal.aborted) return;
      setTurns(said.map(recalled));
    } catch (error) {
      if (signal.aborted) return;
      if (asFailure(error).status === 404) remember(''); // deleted elsewhere, or made way for newer ones
      else setFailure(asFailure(error));
    }
    setOpening(false);
  }, []);

  const run = async (turn: Turn, before: Turn[]) => {
    const signal = begin(current.current, [...before, turn]);
    const change = (how: (turn: Turn) => Partial<Turn>) =>
      setTurns((all) => all.map((one) => (one.id === turn.id ? { ...one, ...how(one) } : one)));
    try {
      const question = await parts(turn.words, turn.attached);
      if (!current.current) {
        const begun = await api.beginChat(signal);
        signal.throwIfAborted();
        remember(begun);
      }
      for await (const piece of api.ask(base, current.current, question, signal)) {
        if (typeof piece === 'string') change(({ answer }) => ({ state: 'writing', answer: answer + piece }));
        else change(() => ({ state: 'done', ...piece }));
      }
    } catch (error) {
      if (signal.aborted) return change(() => ({ state: 'stopped' }));
      if (asFailure(error).status === 404) remember(''); // the next question begins a new one
      change(() => ({ state: 'failed', failure: asFailure(error) }));
    }
  };

  useEffect(() => {
    if (id) void open(id);
    return () => working.current.abort();
  }, []);
  return {
    id,
    turns,
    isOpening,
    failure,
    isBusy: turns.some(({ state }) => state === 'waiting' || state === 'writing'),
    ask: (asked) => void run(fresh(asked), turns),
    again: () => void run(fresh(turns.at(-1)!), turns.slice(0, -1)),
    stop: () => working.current.abort(),
    clear: () => void begin('', []),
    open: (chat) => void open(chat),
  };
}

function fresh({ words, attached }: Asked): Turn {
  return { id: freshId(), words, attached, answer: '', cited: [], told: null, state: 'waiting', failure: null };
}

function recalled({ id, words, written }: Said): Turn {
  return { ...fresh({ words, attached: [] }), id, state: written ? 'done' : 'stopped', ...written };
}
