import { useEffect, useState } from 'preact/hooks';
import {
  Library as LibraryIcon,
  MessageSquareText,
  Monitor,
  Moon,
  Search as SearchIcon,
  Sun,
  type IconNode,
} from 'lucide';
import * as api from './api';
import { Ask } from './ask/ask';
import { useChat } from './ask/chats';
import { KeyDialog } from './key';
import { Library } from './library/library';
import { useJobs, type Jobs } from './library/jobs';
import mark from './mark.svg';
import { useLoaded } from './parts/hooks';
import { Icon } from './parts/icon';
import { Empty, Problem } from './parts/notice';
import { useRoute, VIEWS, type ViewName } from './route';
import { Search, useSearch } from './search/search';
import { applyTheme, rememberedTheme, type Theme } from './theme';
import type { Base } from './types';

const CHOSEN = 'exhibit-base';
const VIEW_NAMES: Record<ViewName, [string, IconNode]> = {
  ask: ['Ask', MessageSquareText],
  search: ['Search', SearchIcon],
  library: ['Library', LibraryIcon],
};

export function App() {
  const view = useRoute();
  const loaded = useLoaded(api.bases, []);
  const [chosen, setChosen] = useState(localStorage.getItem(CHOSEN));
  const [needsKey, setNeedsKey] = useState(false);
  const jobs = useJobs(loaded.again);
  useEffect(() => {
    const needed = () => setNeedsKey(true);
    window.addEventListener('exhibit-key-needed', needed);
    return () => window.removeEventListener('exhibit-key-needed', needed);
  }, []);
  const all = loaded.value?.bases ?? [];
  const base = all.find(({ name }) => name === chosen) ?? all[0];
  useEffect(() => {
    document.title = base ? `${VIEW_NAMES[view][0]} · ${base.name} · Exhibit` : 'Exhibit';
  }, [base?.name, view]);
  const choose = (name: string) => {
    localStorage.setItem(CHOSEN, name);
    setChosen(name);
  };
  return (
    <div class="frame-of-page">
      <a class="skip" href="#main" onClick={focusMain}>
        Skip to the content
      </a>
      <Header view={view} all={all} base={base} onChoose={choose} />
      <main id="main" tabIndex={-1} class="min-h-0 outline-none">
        {loaded.failure && !loaded.value && !needsKey && (
          <div class="column py-6">
            <Problem failure={loaded.failure} onRetry={loaded.again} />
          </div>
        )}
        {!loaded.value && !loaded.failure && <Loading />}
        {loaded.value && !base && (
          <Empty title="No knowledge base">This key is not valid for any knowledge base on this server.</Empty>
        )}
        {base && <View key={base.name} view={view} base={base} jobs={jobs} onChanged={loaded.again} />}
      </main>
      {needsKey && (
        <KeyDialog
          message={loaded.failure?.status === 401 ? loaded.failure.message : 'The server no longer accepts this key.'}
          onClose={() => setNeedsKey(false)}
          onKey={(key) => {
            api.rememberKey(key);
            setNeedsKey(false);
            loaded.again();
          }}
        />
      )}
    </div>
  );
}

interface ViewProps {
  view: ViewName;
  base: Base;
  jobs: Jobs;
  onChanged: () => void;
}

/** One view of a knowledge base. Its chat and its search continue while another view is open. */
function View({ view, base, jobs, onChanged }: ViewProps) {
  const chat = useChat(base.name);
  const searching = useSearch(base.name);
  if (view === 'search') return <Search base={base} searching={searching} />;
  if (view === 'library') return <Library base={base} jobs={jobs} onChanged={onChanged} />;
  return <Ask base={base} chat={chat} onSearch={searching.search} />;
}

function focusMain(event: Event): void {
  event.preventDefault();
  document.getElementById('main')!.focus();
}

interface HeaderProps {
  view: ViewName;
  all: Base[];
  base: Base | undefined;
  onChoose: (name: string) => void;
}

function Header({ view, all, base, onChoose }: HeaderProps) {
  return (
    <header class="top">
      <a href="#ask" class="flex shrink-0 items-center gap-2.5" aria-label="Exhibit">
        <img src={mark} alt="" class="size-8 shrink-0" />
        <span class="heading hidden text-xl md:block">Exhibit</span>
      </a>
      {all.length > 1 && base ? (
        <select
          class="select select-sm w-auto max-w-44 min-w-0 text-ellipsis"
          aria-label="Knowledge base"
          value={base.name}
          onChange={(event) => onChoose(event.currentTarget.value)}
        >
          {all.map(({ name }) => (
            <option key={name} value={name}>
              {name}
            </option>
          ))}
        </select>
      ) : (
        <span class="text-soft min-w-0 truncate">{base?.name}</span>
      )}
      <nav class="ms-auto flex sm:gap-1" aria-label="Views">
        {VIEWS.map((name) => {
          const [words, icon] = VIEW_NAMES[name];
          return (
            <a
              key={name}
              href={`#${name}`}
              class="tab-of-view"
              aria-current={name === view ? 'page' : undefined}
              aria-label={words}
            >
              <Icon of={icon} class="size-4.5" />
              <span class="hidden sm:inline">{words}</span>
            </a>
          );
        })}
      </nav>
      <ThemeButton />
    </header>
  );
}

const THEMES: Record<Theme, [IconNode, Theme]> = {
  system: [Monitor, 'light'],
  light: [Sun, 'dark'],
  dark: [Moon, 'system'],
};

function ThemeButton() {
  const [theme, setTheme] = useState(rememberedTheme);
  const [icon, next] = THEMES[theme];
  useEffect(() => applyTheme(theme), [theme]);
  return (
    <button
      class="btn btn-ghost btn-circle btn-sm"
      aria-label={`Colours: ${theme}. Change to ${next}`}
      title={`Colours: ${theme}`}
      onClick={() => setTheme(next)}
    >
      <Icon of={icon} class="size-4.5" />
    </button>
  );
}

function Loading() {
  return (
    <div class="column grid gap-4 py-10" role="status" aria-label="Loading">
      <div class="skeleton h-10 w-2/3" />
      <div class="skeleton h-5 w-full" />
      <div class="skeleton h-5 w-4/5" />
    </div>
  );
}
