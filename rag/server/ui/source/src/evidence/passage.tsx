import { useState } from 'preact/hooks';
import { TriangleAlert } from 'lucide';
import { Icon } from '../parts/icon';

const LONG = 420; // characters

/** A text of the collection. Long ones are shortened at first. */
export function Passage({ text }: { text: string }) {
  const [isWhole, setWhole] = useState(false);
  if (!text.trim()) return null;
  const isLong = text.length > LONG + 80;
  const cut = isLong && !isWhole ? `${text.slice(0, text.lastIndexOf(' ', LONG))} …` : text;
  return (
    <blockquote class="passage" dir="auto">
      {cut}
      {isLong && (
        <button
          class="link link-primary mt-1 block font-sans text-sm"
          aria-expanded={isWhole}
          onClick={() => setWhole(!isWhole)}
        >
          {isWhole ? 'Show less' : 'Show all'}
        </button>
      )}
    </blockquote>
  );
}

export function Gone() {
  return (
    <p class="text-soft flex items-center gap-2 text-sm">
      <Icon of={TriangleAlert} class="size-4" />
      This cannot be shown any more: its link has expired or its file has gone. Ask again for a new one.
    </p>
  );
}
