// Suggested questions, made from some files: a heading, a spoken name, a recognized object.

import { segments } from '../api';
import type { Asset, Hit, Medium } from '../types';

const MOST_SEGMENTS = 60; // of a file that is looked into: a book has thousands
const LOOKED_INTO: Record<Medium, number> = { document: 2, image: 6, audio: 1, video: 1 };
const NAME = /(?<=[\p{Ll},;] )\p{Lu}\p{Ll}+ \p{Lu}\p{Ll}+/gu; // within a sentence

/** At most one question for each medium. */
export async function suggestions(base: string, assets: Asset[]): Promise<string[]> {
  const media = Object.keys(LOOKED_INTO) as Medium[];
  const made = media.map(async (medium) => {
    const fitting = assets.filter((asset) => asset.medium === medium && asset.segments <= MOST_SEGMENTS);
    const chosen = fitting.slice(0, LOOKED_INTO[medium]);
    const hits = await Promise.all(chosen.map(({ id }) => segments(base, id)));
    return QUESTIONS[medium](hits.flat());
  });
  return (await Promise.all(made)).filter((question) => question !== null);
}

const QUESTIONS: Record<Medium, (hits: Hit[]) => string | null> = {
  document: (hits) => {
    const headings = hits.map(({ meta }) => String(meta.heading ?? '').split(' › ').at(-1)!);
    return headings.find((heading) => /\p{L}\?$/u.test(heading)) ?? about(headings.findLast((heading) => heading));
  },
  image: (hits) => {
    const seen = rarest(hits);
    return seen ? `Which picture shows ${one(seen)}?` : null;
  },
  audio: (hits) => about(commonest(hits.flatMap(({ text }) => text.match(NAME) ?? []))),
  video: (hits) => {
    const seen = rarest(hits);
    return seen ? `Where in the video is ${one(seen)}?` : null;
  },
};

function about(what: string | undefined): string | null {
  return what ? `What is said about ${what}?` : null;
}

/** Prefers what is recognized in few places. */
function rarest(hits: Hit[]): string | undefined {
  const seen = hits.flatMap(({ tags }) => tags.slice(0, 1));
  return [...new Set(seen)].sort((one, other) => times(one, seen) - times(other, seen))[0];
}

function commonest(names: string[]): string | undefined {
  return [...new Set(names)].sort((one, other) => times(other, names) - times(one, names))[0];
}

function times(name: string, names: string[]): number {
  return names.filter((other) => other === name).length;
}

function one(noun: string): string {
  return `${/^[aeiou]/i.test(noun) ? 'an' : 'a'} ${noun}`;
}
