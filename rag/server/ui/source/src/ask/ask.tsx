import { useEffect, useRef, useState } from 'preact/hooks';
import { ArrowUp, History as HistoryIcon, SquarePen } from 'lucide';
import { assets, linked } from '../api';
import { ExhibitBody } from '../evidence/exhibit';
import { MODALITY_ICONS, titleOf } from '../evidence/kinds';
import { Dialog } from '../parts/dialog';
import { useLoaded, useMatches } from '../parts/hooks';
import { Icon } from '../parts/icon';
import { Problem } from '../parts/notice';
import { count } from '../places';
import { MODALITIES, type Base, type Exhibit } from '../types';
import type { Chat } from './chats';
import { History } from './history';
import { Panel } from './panel';
import { Question, type Asked } from './question';
import { suggestions } from './suggestions';
import { TurnView } from './turn';

interface Props {
  base: Base;
  chat: Chat;
  onSearch: (asked: Asked) => void;
}

/** The chat and, where there is room, the evidence of the selected answer beside it. */
export function Ask({ base, chat, onSearch }: Props) {
  const isWide = useMatches('(min-width: 64rem)');
  const [lookedAt, setLookedAt] = useState<string | null>(null);
  const [opened, setOpened] = useState<Exhibit | null>(null);
  const [isListing, setListing] = useState(false);
  const [lit, setLit] = useState<number | null>(null);
  const shown = chat.turns.find(({ id }) => id === lookedAt) ?? chat.turns.findLast(({ cited }) => cited.length);
  useEffect(() => setLookedAt(null), [chat.turns.length]);
  const isNew = chat.turns.length === 0 && !chat.isOpening && !chat.failure;
  const begin = () => {
    chat.clear();
    document.querySelector('textarea')!.focus(); // the button is gone that had the focus
  };
  const open = (turn: string, exhibit: Exhibit) => {
    setLookedAt(turn);
    if (isWide) requestAnimationFrame(() => reveal(exhibit.number));
    else setOpened(exhibit);
  };
  return (
    <div class={`ask ${isWide && shown?.cited.length ? 'beside' : ''}`}>
      <section class="flex min-h-0 min-w-0 flex-col" aria-label="Chat">
        <div class="min-h-0 flex-1 overflow-y-auto" ref={useFollowed(chat.turns.length)}>
          <div class="column grid gap-10 py-6">
            {chat.failure && <Problem failure={chat.failure} onRetry={() => chat.open(chat.id)} />}
            {chat.isOpening && <div class="skeleton h-40" role="status" aria-label="Loading" />}
            {isNew && <Welcome base={base} onAsk={(words) => chat.ask({ words, attached: [] })} />}
            {!isNew && <h1 class="sr-only">{`Chat with ${base.name}`}</h1>}
            {chat.turns.map((turn, n) => (
              <TurnView
                key={turn.id}
                turn={turn}
                lit={turn === shown ? lit : null}
                onLit={setLit}
                onCite={(exhibit) => open(turn.id, exhibit)}
                onSearch={() => onSearch({ words: turn.words, attached: turn.attached })}
                onAgain={n === chat.turns.length - 1 ? chat.again : undefined}
              />
            ))}
          </div>
        </div>
        <div class="column pt-1 pb-[max(1rem,env(safe-area-inset-bottom))]">
          <div class="-ms-3 mb-1 flex">
            {!isNew && (
              <button class="btn btn-ghost btn-sm text-soft" onClick={begin}>
                <Icon of={SquarePen} class="size-4" />
                New chat
              </button>
            )}
            <button class="btn btn-ghost btn-sm text-soft" onClick={() => setListing(true)}>
              <Icon of={HistoryIcon} class="size-4" />
              Chats
            </button>
          </div>
          <Question
            draft={`ask ${base.name}`}
            label="Your question"
            placeholder={`Ask ${base.name}`}
            isBusy={chat.isBusy}
            onAsk={chat.ask}
            onStop={chat.stop}
            send={
              <>
                <Icon of={ArrowUp} />
                Ask
              </>
            }
          />
        </div>
      </section>
      {isWide && shown && shown.cited.length > 0 && <Panel base={base.name} turn={shown} lit={lit} onLit={setLit} />}
      {isListing && (
        <History
          base={base.name}
          current={chat.id}
          onOpen={(id) => {
            chat.open(id);
            setListing(false);
          }}
          onForgotten={(id) => id === chat.id && chat.clear()}
          onClose={() => setListing(false)}
        />
      )}
      {opened && (
        <Dialog title={`${opened.number}. ${titleOf(opened)}`} onClose={() => setOpened(null)}>
          <ExhibitBody shown={opened} base={base.name} heading={titleOf(opened)} />
        </Dialog>
      )}
    </div>
  );
}

/** Scrolls to an exhibit of the panel and focuses it. */
function reveal(number: number): void {
  const card = document.getElementById(`exhibit-${number}`);
  const isStill = matchMedia('(prefers-reduced-motion: reduce)').matches;
  card?.scrollIntoView({ block: 'nearest', behavior: isStill ? 'auto' : 'smooth' });
  card?.focus({ preventScroll: true });
}

/** Keeps the end of the answer in sight, unless the reader has scrolled away. */
function useFollowed(turns: number) {
  const box = useRef<HTMLDivElement>(null);
  const isAtEnd = useRef(true);
  const hasTurns = useRef(false); // a welcome begins at its top
  useEffect(() => {
    const element = box.current!;
    const scrolled = () => {
      isAtEnd.current = element.scrollHeight - element.scrollTop - element.clientHeight < 120;
    };
    element.addEventListener('scroll', scrolled, { passive: true });
    const grown = new ResizeObserver(() => hasTurns.current && isAtEnd.current && element.scrollTo({ top: element.scrollHeight }));
    grown.observe(element.firstElementChild!);
    return () => {
      element.removeEventListener('scroll', scrolled);
      grown.disconnect();
    };
  }, []);
  useEffect(() => {
    isAtEnd.current = true;
    hasTurns.current = turns > 0;
    box.current!.scrollTo({ top: turns ? box.current!.scrollHeight : 0 });
  }, [turns]);
  return box;
}

function Welcome({ base, onAsk }: { base: Base; onAsk: (words: string) => void }) {
  const first = useLoaded(async () => (await assets(base.name, { limit: 50 })).assets, [base.name]);
  const some = useLoaded(async () => suggestions(base.name, first.value ?? []), [base.name, first.value]);
  const seen = first.value?.filter(({ thumbnail }) => thumbnail).slice(0, 6) ?? [];
  const files = base.assets.indexed;
  if (!files) {
    return (
      <div class="grid gap-3 pt-[12vh]">
        <h1 class="heading text-4xl">There is nothing in {base.name} yet</h1>
        <p class="text-soft text-lg">
          Put documents, pictures, recordings and films into the{' '}
          <a class="link link-primary" href="#library">
            library
          </a>
          , then ask here.
        </p>
      </div>
    );
  }
  return (
    <div class="grid gap-6 pt-[8vh]">
      <div class="grid gap-3">
        <h1 class="heading text-4xl">Ask {base.name}</h1>
        <p class="text-soft text-lg">
          {`Answers come from ${count(files, 'file')}, and every statement cites its evidence: the page, the picture, the second.`}
        </p>
      </div>
      <ul class="flex flex-wrap gap-x-5 gap-y-2" aria-label="Contents">
        {MODALITIES.filter((modality) => base.segments[modality] > 0).map((modality) => (
          <li key={modality} class="text-soft flex items-center gap-2">
            <Icon of={MODALITY_ICONS[modality]} class="size-4" />
            {count(base.segments[modality], NOUNS[modality])}
          </li>
        ))}
      </ul>
      {seen.length > 0 && (
        <a class="grid grid-cols-3 gap-2 sm:grid-cols-6" href="#library" aria-label="Open the library">
          {seen.map((asset) => (
            <img
              key={asset.id}
              src={linked(asset.thumbnail)}
              alt={asset.name}
              class="aspect-square w-full rounded-box object-cover"
            />
          ))}
        </a>
      )}
      {some.value && some.value.length > 0 && (
        <ul class="flex flex-wrap gap-2" aria-label="Suggested questions">
          {some.value.map((question) => (
            <li key={question}>
              <button class="suggestion" dir="auto" onClick={() => onAsk(question)}>
                {question}
              </button>
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}

const NOUNS = { text: 'passage', image: 'picture', audio: 'sound passage', video: 'film scene' } as const;
