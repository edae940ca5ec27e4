import { noun, titleOf } from '../evidence/kinds';
import { ExhibitBody } from '../evidence/exhibit';
import type { Exhibit } from '../types';
import type { Turn } from './chats';

interface Props {
  base: string;
  turn: Turn;
  lit: number | null;
  onLit: (number: number | null) => void;
}

/** The evidence of one answer. */
export function Panel({ base, turn, lit, onLit }: Props) {
  return (
    <aside class="panel" aria-label="Evidence">
      <header class="px-1">
        <h2 class="heading text-lg">Evidence</h2>
        {turn.words && <p class="text-soft truncate text-sm" dir="auto">{`for “${turn.words}”`}</p>}
      </header>
      {turn.cited.map((exhibit) => (
        <div
          key={`${turn.id}-${exhibit.number}`}
          onMouseEnter={() => onLit(exhibit.number)}
          onMouseLeave={() => onLit(null)}
        >
          <ExhibitCard base={base} exhibit={exhibit} isLit={lit === exhibit.number} />
        </div>
      ))}
    </aside>
  );
}

function ExhibitCard({ base, exhibit, isLit }: { base: string; exhibit: Exhibit; isLit: boolean }) {
  return (
    <section
      id={`exhibit-${exhibit.number}`}
      tabIndex={-1}
      class={`exhibit ${isLit ? 'lit' : ''}`}
      aria-label={`Exhibit ${exhibit.number}: ${titleOf(exhibit)}`}
    >
      <header class="flex items-start gap-3">
        <span class="number" aria-hidden="true">
          {exhibit.number}
        </span>
        <div class="min-w-0">
          <h3 class="font-semibold break-words" dir="auto">{titleOf(exhibit)}</h3>
          <p class="text-soft text-sm">{noun(exhibit)}</p>
        </div>
      </header>
      <ExhibitBody shown={exhibit} base={base} heading={titleOf(exhibit)} />
    </section>
  );
}
