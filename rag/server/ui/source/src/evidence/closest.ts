// Finds the sentence of a transcript that supports a statement. Pure functions.

import { seconds, type Span } from '../places';
import type { Shown, Word } from '../types';
import { narrowest } from './verdicts';

const STEM = 5;

/** Prefixes of words, by which words are compared: "feeds" matches "feed". */
export function stems(text: string): string[] {
  const words = text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];
  return words.filter((word) => word.length > 2 || /^\d+$/.test(word)).map((word) => word.slice(0, STEM));
}

/** The words of a statement that are not in the question, which say nothing about the place of its answer. */
export function told(statement: string, question: string): string[] {
  const asked = new Set(stems(question));
  const said = [...new Set(stems(statement))];
  const told = said.filter((stem) => !asked.has(stem));
  return told.length ? told : said;
}

type Run = [first: number, end: number];

/** The words of a recording to mark, and the second to begin at: those of the verdict, or of the closest sentence. */
export function cited(shown: Shown, span: Span): { near: Run | null; first_s: number } {
  const narrower = seconds(narrowest(shown)?.locator ?? '');
  if (narrower && narrower.start_s >= span.start_s && narrower.start_s < span.end_s) {
    return { near: spoken(shown.words, narrower), first_s: narrower.start_s };
  }
  const near = closest(shown.words, shown.wanted ?? []);
  return { near, first_s: near ? shown.words[near[0]]![1] : span.start_s };
}

/** The words whose middle lies in a span. */
function spoken(words: Word[], { start_s, end_s }: Span): Run | null {
  const isIn = ([, from_s, to_s]: Word) => (from_s + to_s) / 2 >= start_s && (from_s + to_s) / 2 <= end_s;
  const first = words.findIndex(isIn);
  return first < 0 ? null : [first, words.findLastIndex(isIn) + 1];
}

/** Start and end (exclusive) of the sentence with the most of some stems, in words; null if none has any. */
export function closest(words: Word[], wanted: string[]): Run | null {
  const sought = new Set(wanted);
  let [best, most]: [[number, number] | null, number] = [null, 0];
  for (const [first, end] of sentences(words)) {
    const said = words.slice(first, end).map(([text]) => text);
    const shared = new Set(stems(said.join(' ')).filter((stem) => sought.has(stem))).size;
    if (shared > most) [best, most] = [[first, end], shared];
  }
  return best;
}

function* sentences(words: Word[]): Generator<[number, number]> {
  let first = 0;
  for (const [n, [text]] of words.entries()) {
    if (n + 1 < words.length && !/[.!?…]["”’)]*\s*$/.test(text)) continue;
    yield [first, n + 1];
    first = n + 1;
  }
}
