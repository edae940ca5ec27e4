import type { Hit } from '../types';

/** Why a hit was found: its channels with their confidence, the matching words, and the verdict. */
export function WhyFound({ hit }: { hit: Hit }) {
  const { lanes, matched, against } = hit.why;
  return (
    <details class="text-soft mt-4 text-sm">
      <summary class="w-fit cursor-pointer">Why it was found</summary>
      <dl class="mt-3 grid grid-cols-[auto_minmax(4rem,12rem)_1fr] items-center gap-x-3 gap-y-1.5">
        {lanes.map(({ name, rank, belief }) => (
          <Row key={name} name={name} share={belief} note={`place ${rank}`} />
        ))}
        {against > 0 && <Row name="not wanted" share={against} note="lowers the score" />}
        {hit.relevance !== null && (
          <Row name="verdict" share={1 / (1 + Math.exp(-hit.relevance))} note="of the language model" />
        )}
        <Row name="score" share={hit.score} note={hit.score.toFixed(2)} />
      </dl>
      {matched.length > 0 && <p class="mt-2">{`Matching words: ${matched.join(', ')}`}</p>}
    </details>
  );
}

function Row({ name, share, note }: { name: string; share: number; note: string }) {
  return (
    <>
      <dt>{name}</dt>
      <dd>
        <progress class="progress progress-primary" value={share} max={1} aria-label={name} />
      </dd>
      <dd>{note}</dd>
    </>
  );
}
