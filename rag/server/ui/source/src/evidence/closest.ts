// Which sentence of a transcript a statement rests on; pure functions.

import type { Word } from '../types';

const STEM = 5;

/** The beginnings of words, by which they are compared: "feeds" finds "feed". */
export function stems(text: string): string[] {
  const words = text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];
  return words.filter((word) => word.length > 2 || /^\d+$/.test(word)).map((word) => word.slice(0, STEM));
}

/** What a statement tells: words of the question say nothing about where its answer stands. */
export function told(statement: string, question: string): string[] {
  const asked = new Set(stems(question));
  const said = [...new Set(stems(statement))];
  const told = said.filter((stem) => !asked.has(stem));
  return told.length ? told : said;
}

/** First word, and the one after the last, of the sentence that holds most of some stems; null where none holds any. */
export function closest(words: Word[], wanted: string[]): [first: number, end: number] | null {
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
