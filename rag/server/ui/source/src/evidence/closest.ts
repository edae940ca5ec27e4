// Finds the sentence of a transcript that supports a statement. Pure functions.

import type { Word } from '../types';

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

/** Start and end (exclusive) of the sentence with the most of some stems, in words; null if none has any. */
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
