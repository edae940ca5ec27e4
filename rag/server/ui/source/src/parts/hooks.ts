import { useCallback, useEffect, useState } from 'preact/hooks';
import type { Failure } from '../api';
import { asFailure } from './notice';

export interface Loaded<T> {
  value: T | null;
  failure: Failure | null;
  again: () => void;
}

/** The result of a call, reloaded when one of `on` changes. The old value stays until then. */
export function useLoaded<T>(load: () => Promise<T>, on: unknown[]): Loaded<T> {
  const [state, setState] = useState<{ value: T | null; failure: Failure | null }>({ value: null, failure: null });
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    let isWanted = true;
    load().then(
      (value) => isWanted && setState({ value, failure: null }),
      (error: unknown) => isWanted && setState((before) => ({ ...before, failure: asFailure(error) })),
    );
    return () => {
      isWanted = false;
    };
  }, [...on, turn]);
  return { ...state, again: useCallback(() => setTurn((n) => n + 1), []) };
}

export function useMatches(query: string): boolean {
  const [matches, setMatches] = useState(() => matchMedia(query).matches);
  useEffect(() => {
    const media = matchMedia(query);
    const changed = () => setMatches(media.matches);
    changed(); // it may have changed before the listener was added
    media.addEventListener('change', changed);
    return () => media.removeEventListener('change', changed);
  }, [query]);
  return matches;
}

/** A value after it has been stable for a while. */
export function useSettled<T>(value: T, ms = 250): T {
  const [settled, setSettled] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(value), ms);
    return () => clearTimeout(timer);
  }, [value]);
  return settled;
}
