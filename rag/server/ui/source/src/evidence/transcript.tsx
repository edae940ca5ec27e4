import { useEffect, useRef } from 'preact/hooks';
import { spokenAt } from '../places';
import type { Word } from '../types';

interface Props {
  words: Word[];
  near: [first: number, end: number] | null;
  now_s: number;
  isRunning: boolean;
  onPick: (to_s: number) => void;
}

/** A transcript with the relevant sentence and the current word marked. A click on a word plays from it. */
export function Transcript({ words, near, now_s, isRunning, onPick }: Props) {
  const box = useRef<HTMLParagraphElement>(null);
  const at = isRunning ? spokenAt(words, now_s) : -1;
  const sought = isRunning ? at : (near?.[0] ?? 0);
  useEffect(() => {
    const word = box.current?.children[sought] as HTMLElement | undefined;
    if (!word || !box.current) return;
    const top = word.offsetTop;
    const isOut = top < box.current.scrollTop || top > box.current.scrollTop + box.current.clientHeight - 40;
    if (isOut) box.current.scrollTo({ top: top - 24 });
  }, [sought]);
  return (
    <p ref={box} class="transcript" dir="auto" tabIndex={0} role="region" aria-label="Transcript">
      {words.map(([text, start_s], n) => (
        <span
          key={n}
          class={look(n, at, near)}
          aria-current={n === at ? 'true' : undefined}
          onClick={() => onPick(start_s)}
        >
          {text.trim()}{' '}
        </span>
      ))}
    </p>
  );
}

function look(n: number, at: number, near: Props['near']): string | undefined {
  if (n === at) return 'on';
  return near && n >= near[0] && n < near[1] ? 'near' : undefined;
}
