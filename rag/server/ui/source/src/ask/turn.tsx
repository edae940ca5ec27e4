import { useEffect, useState } from 'preact/hooks';
import { Info, Search } from 'lucide';
import { linked } from '../api';
import { alt, icon, noun, titleOf } from '../evidence/kinds';
import { doubtIn, Sign } from '../evidence/verdicts';
import { Markdown } from '../markdown';
import { Icon } from '../parts/icon';
import { Problem } from '../parts/notice';
import { count } from '../places';
import type { Exhibit } from '../types';
import type { Turn } from './chats';
import { CopyAnswer } from './copy';
import { Attachments } from './question';

interface Props {
  turn: Turn;
  lit: number | null;
  onCite: (exhibit: Exhibit) => void;
  onLit: (number: number | null) => void;
  onAgain?: () => void;
  onSearch: () => void;
}

/** A question and its answer, with a button for each exhibit that it cites. */
export function TurnView({ turn, lit, onCite, onLit, onAgain, onSearch }: Props) {
  const cite = (number: number, nth: number) => {
    const exhibit = turn.cited.find((one) => one.number === number);
    const verdict = exhibit?.verdicts?.[Math.min(nth, exhibit.verdicts.length - 1)];
    const button = (
      <button
        class={`cite ${lit === number ? 'lit' : ''}`}
        disabled={!exhibit}
        title={verdict?.name === 'supported' && verdict.quote ? `“${verdict.quote}”` : undefined}
        aria-label={`Exhibit ${number}${exhibit ? `: ${titleOf(exhibit)}` : ''}`}
        onClick={() => exhibit && onCite(exhibit)}
        onMouseEnter={() => onLit(number)}
        onMouseLeave={() => onLit(null)}
      >
        {number}
      </button>
    );
    return (
      <>
        {button}
        <Sign verdict={verdict} />
      </>
    );
  };
  const isOpen = turn.state === 'waiting' || turn.state === 'writing';
  return (
    <article class="grid gap-4" aria-busy={isOpen} aria-label={`Question: ${turn.words || 'with media'}`}>
      <div class="asked">
        <Attachments attached={turn.attached} />
        {turn.words && <p class="px-4 py-2.5 break-words whitespace-pre-line" dir="auto">{turn.words}</p>}
      </div>
      <Understood turn={turn} />
      {turn.told?.declined && (
        <p class="badge badge-warning badge-soft">
          <Icon of={Info} class="size-4" />
          Not in the collection
        </p>
      )}
      <div class="answer empty:hidden" aria-live="polite" aria-busy={isOpen}>
        {turn.answer && <Markdown text={turn.answer} cite={cite} />}
      </div>
      {turn.state === 'waiting' && <Waiting />}
      {turn.state === 'stopped' && <p class="text-soft text-sm">Stopped.</p>}
      {turn.failure && <Problem failure={turn.failure} onRetry={onAgain} />}
      {turn.told?.warnings.map((warning) => (
        <p key={warning} class="alert alert-warning alert-soft text-sm">
          <Icon of={Info} class="size-4" />
          {warning}
        </p>
      ))}
      <Sources turn={turn} lit={lit} onCite={onCite} onLit={onLit} />
      {turn.state === 'done' && (
        <div class="-ms-3 flex flex-wrap">
          <CopyAnswer turn={turn} />
          {turn.told?.declined && (
            <a class="btn btn-ghost btn-sm text-soft" href="#search" onClick={onSearch}>
              <Icon of={Search} class="size-4" />
              Search for it
            </a>
          )}
        </div>
      )}
      <p class="sr-only" role="status">
        {turn.state === 'done' ? `Answered with ${count(turn.cited.length, 'exhibit')}.${doubtful(turn)}` : ''}
      </p>
    </article>
  );
}

function doubtful(turn: Turn): string {
  const doubts = turn.cited.flatMap(({ verdicts }) => verdicts ?? []).filter(doubtIn);
  return doubts.length ? ` ${count(doubts.length, 'statement')} not checked or not supported.` : '';
}

function Sources({ turn, lit, onCite, onLit }: Omit<Props, 'onAgain' | 'onSearch'>) {
  if (!turn.cited.length) return null;
  return (
    <ul class="flex flex-wrap gap-2" aria-label="Exhibits of this answer">
      {turn.cited.map((exhibit) => (
        <li key={exhibit.number} class="w-full min-w-0 sm:w-72">
          <button
            class={`source ${lit === exhibit.number ? 'lit' : ''}`}
            onClick={() => onCite(exhibit)}
            onMouseEnter={() => onLit(exhibit.number)}
            onMouseLeave={() => onLit(null)}
          >
            <Small exhibit={exhibit} />
            <span class="min-w-0 text-start">
              <span class="block truncate font-medium" dir="auto">{titleOf(exhibit)}</span>
              <span class="text-soft block text-xs">{`${exhibit.number} · ${noun(exhibit)}`}</span>
            </span>
          </button>
        </li>
      ))}
    </ul>
  );
}

function Small({ exhibit }: { exhibit: Exhibit }) {
  const url = exhibit.kind === 'passage' ? undefined : linked(exhibit.views.thumbnail);
  if (url) return <img src={url} alt={alt(exhibit)} class="size-11 shrink-0 rounded-field object-cover" />;
  return (
    <span class="grid size-11 shrink-0 place-items-center rounded-field bg-base-200">
      <Icon of={icon(exhibit)} />
    </span>
  );
}

/** The question as understood, if it differs from the typed one: after a follow-up, a picture or a recording. */
function Understood({ turn }: { turn: Turn }) {
  const question = turn.told?.question ?? '';
  if (!question || question === turn.words) return null;
  return <p class="text-soft line-clamp-3 text-sm" dir="auto" title={question}>{`Understood as: ${question}`}</p>;
}

function Waiting() {
  const [passed_s, setPassed] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => setPassed((s) => s + 1), 1000);
    return () => clearInterval(timer);
  }, []);
  return (
    <p class="text-soft flex items-center gap-3" role="status">
      <span class="loading loading-dots loading-sm text-primary" />
      <span>Searching the collection</span>
      {passed_s >= 3 && <span class="tabular-nums" aria-hidden="true">{`${passed_s} s`}</span>}
    </p>
  );
}
