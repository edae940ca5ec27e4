import { useState } from 'preact/hooks';
import { TriangleAlert } from 'lucide';
import { Icon } from '../parts/icon';

const LONG = 420; // characters
const LEAD = 120; // characters before the quote

/** A text of the collection, with the supporting words marked. Long ones are shortened at first. */
export function Passage({ text, quote = '' }: { text: string; quote?: string }) {
  const [isWhole, setWhole] = useState(false);
  if (!text.trim()) return null;
  const isLong = text.length > LONG + 80;
  const at = found(text, quote);
  const [first, end] = isLong && !isWhole ? around(text, at) : [0, text.length];
  const [from, to] = at && at[0] < end ? [at[0], Math.min(at[1], end)] : [end, end];
  return (
    <blockquote class="passage" dir="auto">
      {first > 0 && '… '}
      {text.slice(first, from)}
      {to > from && <mark>{text.slice(from, to)}</mark>}
      {text.slice(to, end)}
      {end < text.length && ' …'}
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

/** Start and end of a quote in a text, whatever the space between its words. */
function found(text: string, quote: string): [start: number, end: number] | null {
  const words = quote.split(/\s+/).filter(Boolean);
  if (!words.length) return null;
  const escaped = words.map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  const match = new RegExp(escaped.join('\\s+'), 'u').exec(text);
  return match && [match.index, match.index + match[0].length];
}

/** The beginning of a long text, or the part of it that begins shortly before the quote. */
function around(text: string, at: [start: number, end: number] | null): [first: number, end: number] {
  const first = at && at[1] > LONG ? text.lastIndexOf(' ', Math.max(0, at[0] - LEAD)) + 1 : 0;
  const end = text.lastIndexOf(' ', first + LONG);
  return [first, end > first && first + LONG < text.length ? end : text.length];
}

export function Gone() {
  return (
    <p class="text-soft flex items-center gap-2 text-sm">
      <Icon of={TriangleAlert} class="size-4" />
      This cannot be shown any more: its link has expired or its file has gone. Ask again for a new one.
    </p>
  );
}
