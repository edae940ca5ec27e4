import { useRef, useState } from 'preact/hooks';
import { Search as SearchIcon } from 'lucide';
import * as api from '../api';
import { parts } from '../ask/media';
import { putDraft, Question, type Asked } from '../ask/question';
import { ExhibitBody } from '../evidence/exhibit';
import { MODALITY_ICONS, MODALITY_NAMES } from '../evidence/kinds';
import { Dialog } from '../parts/dialog';
import { Icon } from '../parts/icon';
import { asFailure, Empty, Problem } from '../parts/notice';
import { MODALITIES, type Base, type Hit, type Modality } from '../types';
import { heading, HitCard } from './hit';
import { WhyFound } from './why';

const MOST = 24;

type Found =
  | { state: 'none' }
  | { state: 'searching' }
  | { state: 'failed'; failure: api.Failure }
  | { state: 'found'; hits: Hit[] };

export interface Searching {
  to: Modality[];
  rerank: boolean;
  found: Found;
  search: (asked: Asked) => void;
  again: () => void;
  lookIn: (to: Modality[]) => void;
  judge: (rerank: boolean) => void;
}

/** The last search and its hits, kept while another view is open. */
export function useSearch(base: string): Searching {
  const [to, setTo] = useState<Modality[]>([]);
  const [rerank, setRerank] = useState(false);
  const [asked, setAsked] = useState<Asked | null>(null);
  const [found, setFound] = useState<Found>({ state: 'none' });
  const searching = useRef<AbortController | null>(null);

  const run = async (question: Asked | null, where: Modality[], read: boolean) => {
    if (!question) return;
    searching.current?.abort();
    const stopping = (searching.current = new AbortController());
    setAsked(question);
    setFound({ state: 'searching' });
    try {
      const query = await parts(question.words, question.attached);
      const hits = await api.search(base, { query, to: where, top_k: MOST, rerank: read }, stopping.signal);
      if (!stopping.signal.aborted) setFound({ state: 'found', hits });
    } catch (error) {
      if (!stopping.signal.aborted) setFound({ state: 'failed', failure: asFailure(error) });
    }
  };
  return {
    to,
    rerank,
    found,
    search: (question) => {
      putDraft(`search ${base}`, question);
      void run(question, to, rerank);
    },
    again: () => void run(asked, to, rerank),
    lookIn: (where) => {
      setTo(where);
      void run(asked, where, rerank);
    },
    judge: (read) => {
      setRerank(read);
      void run(asked, to, read);
    },
  };
}

/** A search over all media or some, by words, pictures and sound. */
export function Search({ base, searching }: { base: Base; searching: Searching }) {
  const [opened, setOpened] = useState<Hit | null>(null);
  const { to, rerank, found } = searching;
  return (
    <div class="h-full overflow-y-auto">
      <div class="mx-auto grid max-w-5xl gap-5 px-4 py-6">
        <h1 class="sr-only">Search</h1>
        <Question
          draft={`search ${base.name}`}
          label="What to search for"
          placeholder={`Search ${base.name}`}
          isBusy={found.state === 'searching'}
          keeps
          onAsk={searching.search}
          send={
            <>
              <Icon of={SearchIcon} class="size-4.5" />
              Search
            </>
          }
        />
        <div class="flex flex-wrap items-center gap-x-4 gap-y-2">
          <Media base={base} to={to} onChange={searching.lookIn} />
          <label class="ms-auto flex cursor-pointer items-center gap-2 text-sm">
            <input
              type="checkbox"
              class="toggle toggle-primary toggle-sm"
              checked={rerank}
              onChange={(event) => searching.judge(event.currentTarget.checked)}
            />
            Judge each hit (slower)
          </label>
        </div>
        <Results found={found} onOpen={setOpened} onAgain={searching.again} />
      </div>
      {opened && (
        <Dialog title={heading(opened)} wide={opened.modality !== 'audio'} onClose={() => setOpened(null)}>
          <ExhibitBody shown={opened} base={base.name} heading={heading(opened)} />
          <WhyFound hit={opened} />
        </Dialog>
      )}
    </div>
  );
}

function Media({ base, to, onChange }: { base: Base; to: Modality[]; onChange: (to: Modality[]) => void }) {
  return (
    <fieldset class="flex flex-wrap gap-2">
      <legend class="sr-only">Media to search</legend>
      {MODALITIES.filter((modality) => base.segments[modality] > 0).map((modality) => (
        <label key={modality} class="chip">
          <input
            type="checkbox"
            class="sr-only"
            checked={to.includes(modality)}
            onChange={(event) =>
              onChange(event.currentTarget.checked ? [...to, modality] : to.filter((one) => one !== modality))
            }
          />
          <Icon of={MODALITY_ICONS[modality]} class="size-4" />
          {MODALITY_NAMES[modality]}
        </label>
      ))}
    </fieldset>
  );
}

function Results({ found, onOpen, onAgain }: { found: Found; onOpen: (hit: Hit) => void; onAgain: () => void }) {
  if (found.state === 'none') {
    return (
      <Empty title="Find the place itself">
        Words, a picture or a sound find pages, pictures, seconds of speech and moments of films.
      </Empty>
    );
  }
  if (found.state === 'searching') {
    return (
      <div class="hits" role="status" aria-label="Searching">
        {Array.from({ length: 6 }, (_, n) => (
          <div key={n} class="skeleton h-56" />
        ))}
      </div>
    );
  }
  if (found.state === 'failed') return <Problem failure={found.failure} onRetry={onAgain} />;
  const believed = found.hits.filter((hit) => hit.is_believed);
  const others = found.hits.filter((hit) => !hit.is_believed);
  if (!found.hits.length) return <Empty title="Nothing found">Try other words, or search more media.</Empty>;
  return (
    <div class="grid gap-6">
      <p class="sr-only" role="status">{`${believed.length} found`}</p>
      {believed.length > 0 ? (
        <Hits hits={believed} onOpen={onOpen} label="Found" />
      ) : (
        <p class="text-soft">No clear match.</p>
      )}
      {others.length > 0 && (
        <>
          <h2 class="divider text-soft text-sm">Weaker matches</h2>
          <Hits hits={others} onOpen={onOpen} label="Weaker matches" />
        </>
      )}
    </div>
  );
}

function Hits({ hits, onOpen, label }: { hits: Hit[]; onOpen: (hit: Hit) => void; label: string }) {
  return (
    <ol class="hits" aria-label={label}>
      {hits.map((hit) => (
        <li key={hit.id}>
          <HitCard hit={hit} onOpen={() => onOpen(hit)} />
        </li>
      ))}
    </ol>
  );
}
