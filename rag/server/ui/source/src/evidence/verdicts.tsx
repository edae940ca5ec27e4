// What the server says of each statement: a sign for the eye and words for everyone. A supported statement has neither.

import type { Shown, Verdict } from '../types';

const DOUBTS: Record<string, [sign: string, words: string]> = {
  unchecked: ['?', 'Not checked'],
  misattributed: ['⇄', 'Only other evidence says this'],
  contradicted: ['≠', 'The evidence says otherwise'],
  unsupported: ['✗', 'The evidence does not say this'],
};

/** A doubt in words, with its reason. Null if the statement is supported, or was answered before there were verdicts. */
export function doubtIn(verdict: Verdict | null | undefined): string | null {
  const [, words] = (verdict && DOUBTS[verdict.name]) ?? [];
  if (!verdict || !words) return null;
  return verdict.reason ? `${words}: ${verdict.reason}` : words;
}

/** The doubts about the statements that cite an exhibit, each once. */
export function doubtsAbout(shown: Shown): string[] {
  return [...new Set(shown.verdicts?.map(doubtIn).filter((words) => words !== null))];
}

/** The verdict that knows best where an exhibit says it: a supported one with a place or a quote, or else another. */
export function narrowest(shown: Shown): Verdict | undefined {
  const placed = shown.verdicts?.filter((verdict) => verdict && (verdict.locator || verdict.quote)) ?? [];
  return placed.find((verdict) => verdict!.name === 'supported') ?? placed[0] ?? undefined;
}

/** The sign behind a citation. */
export function Sign({ verdict }: { verdict: Verdict | null | undefined }) {
  const words = doubtIn(verdict);
  if (!words) return null;
  return (
    <span class={`doubt ${verdict!.name}`} title={words}>
      <span aria-hidden="true">{DOUBTS[verdict!.name]![0]}</span>
      <span class="sr-only">{` (${words})`}</span>
    </span>
  );
}

/** The doubts below an exhibit, in words. */
export function Doubts({ shown }: { shown: Shown }) {
  const verdicts = shown.verdicts?.filter((verdict) => doubtIn(verdict)) ?? [];
  return (
    <>
      {doubtsAbout(shown).map((words) => {
        const { name } = verdicts.find((verdict) => doubtIn(verdict) === words)!;
        return (
          <p key={words} class="doubted" dir="auto">
            <span class={`doubt ${name}`} aria-hidden="true">
              {DOUBTS[name]![0]}
            </span>
            <span class="min-w-0">{words}</span>
          </p>
        );
      })}
    </>
  );
}
