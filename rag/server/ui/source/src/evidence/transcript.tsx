import { useEffect, useRef } from 'preact/hooks';
import { spokenAt } from '../places';
import type { Word } from '../types';

interface Props {
  words: Word[];
  now_s: number;
  isRunning: boolean;
  onPick: (to_s: number) => void;
}

/** What is said, the word that is being said marked; a click on a word plays from it. */
export function Transcript({ words, now_s, isRunning, onPick }: Props) {
  const box = useRef<HTMLParagraphElement>(null);
  const at = isRunning ? spokenAt(words, now_s) : -1;
  useEffect(() => {
    const word = box.current?.children[at] as HTMLElement | undefined;
    if (!word || !box.current) return;
    const top = word.offsetTop - box.current.offsetTop;
    const isOut = top < box.current.scrollTop || top > box.current.scrollTop + box.current.clientHeight - 40;
    if (isOut) box.current.scrollTo({ top: top - 24 });
  }, [at]);
  return (
    <p ref={box} class="transcript" tabIndex={0} role="region" aria-label="Transcript">
      {words.map(([text, start_s], n) => (
        <span
          key={n}
          class={n === at ? 'on' : n < at ? 'said' : undefined}
          aria-current={n === at ? 'true' : undefined}
          onClick={() => onPick(start_s)}
        >
          {text.trim()}{' '}
        </span>
      ))}
    </p>
  );
}
