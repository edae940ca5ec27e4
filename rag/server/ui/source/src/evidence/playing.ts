import { useCallback, useEffect, useRef, useState } from 'preact/hooks';
import type { RefObject } from 'preact';
import type { Span } from '../places';

export interface Playing<T extends HTMLMediaElement> {
  media: RefObject<T | null>;
  now_s: number;
  end_s: number;
  isPlaying: boolean;
  hasBegun: boolean;
  hasFailed: boolean;
  seek: (to_s: number) => void;
  toggle: () => void;
}

/**
 * Plays a clip in the seconds of the recording that it was cut from: its first second is `start_s` of that.
 * @param first_s where it begins to play, unless the user looks for another second.
 */
export function usePlaying<T extends HTMLMediaElement>({ start_s, end_s: until_s }: Span, first_s: number): Playing<T> {
  const media = useRef<T>(null);
  const [now_s, setNow] = useState(first_s);
  const [end_s, setEnd] = useState(Number.isFinite(until_s) ? until_s : start_s);
  const [isPlaying, setPlaying] = useState(false);
  const [hasBegun, setBegun] = useState(false);
  const [hasFailed, setFailed] = useState(false);
  useEffect(() => {
    const element = media.current!;
    const tell = () => setNow(start_s + element.currentTime);
    const stopFollowing = followed(element, tell);
    const heard: [string, () => void][] = [
      ['play', () => (setPlaying(true), setBegun(true))],
      ['pause', () => setPlaying(false)],
      ['ended', () => setPlaying(false)],
      [
        'loadedmetadata',
        () => {
          setEnd(start_s + element.duration);
          if (first_s > start_s && element.currentTime === 0) element.currentTime = first_s - start_s;
        },
      ],
      ['error', () => setFailed(true)],
    ];
    for (const [name, react] of heard) element.addEventListener(name, react);
    return () => {
      stopFollowing();
      for (const [name, react] of heard) element.removeEventListener(name, react);
      element.pause();
    };
  }, [start_s, first_s]);
  const seek = useCallback(
    (to_s: number) => {
      media.current!.currentTime = Math.max(0, to_s - start_s);
      setNow(to_s);
      setBegun(true);
    },
    [start_s],
  );
  const toggle = useCallback(() => {
    const element = media.current!;
    if (element.paused) element.play().catch(() => setFailed(true));
    else element.pause();
  }, []);
  return { media, now_s, end_s, isPlaying, hasBegun, hasFailed, seek, toggle };
}

/** Calls back on every animation frame while it plays, because `timeupdate` is too slow for words. */
function followed(element: HTMLMediaElement, tell: () => void): () => void {
  let frame = 0;
  const run = () => {
    tell();
    frame = element.paused ? 0 : requestAnimationFrame(run);
  };
  const begin = () => {
    cancelAnimationFrame(frame);
    run();
  };
  const names = ['play', 'seeked', 'pause', 'timeupdate'];
  for (const name of names) element.addEventListener(name, begin);
  return () => {
    cancelAnimationFrame(frame);
    for (const name of names) element.removeEventListener(name, begin);
  };
}
