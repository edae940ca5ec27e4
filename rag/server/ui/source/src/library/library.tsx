import { useEffect, useRef, useState } from 'preact/hooks';
import { CloudUpload, Search } from 'lucide';
import * as api from '../api';
import { useSettled } from '../parts/hooks';
import { Icon } from '../parts/icon';
import { asFailure, Empty, Problem } from '../parts/notice';
import { count } from '../places';
import type { Asset, Base, Medium } from '../types';
import { AssetDialog, DeleteDialog } from './asset';
import { Failures } from './failures';
import type { Jobs } from './jobs';
import { AssetRow } from './row';
import { Uploads } from './uploads';

const MEDIA: [Medium | '', string][] = [
  ['', 'All'],
  ['document', 'Documents'],
  ['image', 'Images'],
  ['audio', 'Audio'],
  ['video', 'Video'],
];

interface Props {
  base: Base;
  jobs: Jobs;
  onChanged: () => void;
}

/** The files of a knowledge base: add, open and delete them; and the files that failed, with the reasons. */
export function Library({ base, jobs, onChanged }: Props) {
  const [q, setQ] = useState('');
  const [medium, setMedium] = useState<Medium | ''>('');
  const [opened, setOpened] = useState<Asset | null>(null);
  const [doomed, setDoomed] = useState<Asset | null>(null);
  useEffect(() => jobs.find(base.name), [base.name]);
  const files = base.assets.indexed + base.assets.empty + base.assets.failed;
  const listed = useListed(base.name, useSettled(q), medium, files);
  const mine = jobs.uploads.filter((upload) => upload.base === base.name);
  return (
    <div class="h-full overflow-y-auto">
      <div class="mx-auto grid max-w-5xl grid-cols-[minmax(0,1fr)] gap-5 px-4 py-6">
        <Summary base={base} />
        {base.may_write && <DropZone onFiles={(chosen) => jobs.start(base.name, chosen)} />}
        <Uploads uploads={mine} jobs={jobs} />
        <Failures base={base} onChanged={onChanged} />
        <div class="flex flex-wrap gap-3">
          <label class="input min-w-0 flex-1 basis-56">
            <Icon of={Search} class="size-4 opacity-60" />
            <input
              type="search"
              placeholder="Find by name"
              aria-label="Find by name"
              value={q}
              onInput={(event) => setQ(event.currentTarget.value)}
            />
          </label>
          <select
            class="select w-40"
            aria-label="Medium"
            value={medium}
            onChange={(event) => setMedium(event.currentTarget.value as Medium | '')}
          >
            {MEDIA.map(([value, name]) => (
              <option key={value} value={value}>
                {name}
              </option>
            ))}
          </select>
        </div>
        {listed.failure && <Problem failure={listed.failure} onRetry={listed.again} />}
        {listed.assets === null && !listed.failure && <div class="skeleton h-48" role="status" aria-label="Loading" />}
        {listed.assets?.length === 0 && <Nothing isFiltered={Boolean(q || medium)} mayWrite={base.may_write} />}
        {listed.assets && listed.assets.length > 0 && (
          <ul class="list rounded-box bg-base-100 shadow-sm" aria-label="Files">
            {listed.assets.map((asset) => (
              <AssetRow
                key={asset.id}
                asset={asset}
                onOpen={() => setOpened(asset)}
                onDelete={base.may_write ? () => setDoomed(asset) : undefined}
              />
            ))}
          </ul>
        )}
        {listed.more && (
          <button class="btn justify-self-center" onClick={listed.more}>
            Show more
          </button>
        )}
      </div>
      {opened && <AssetDialog base={base.name} asset={opened} onClose={() => setOpened(null)} />}
      {doomed && (
        <DeleteDialog
          base={base.name}
          asset={doomed}
          onClose={() => setDoomed(null)}
          onDeleted={() => {
            listed.forget(doomed.id);
            setDoomed(null);
            onChanged();
          }}
        />
      )}
    </div>
  );
}

function Summary({ base }: { base: Base }) {
  const places = Object.values(base.segments).reduce((sum, n) => sum + n, 0);
  const told = [count(base.assets.indexed, 'file'), `${count(places, 'place')} that can be searched and cited`];
  return (
    <div>
      <h1 class="heading text-3xl">{base.name}</h1>
      <p class="text-soft">{told.join(', ')}</p>
    </div>
  );
}

function Nothing({ isFiltered, mayWrite }: { isFiltered: boolean; mayWrite: boolean }) {
  if (isFiltered) return <Empty title="No matching files">Try another name, or all media.</Empty>;
  return (
    <Empty title="No files yet">
      {mayWrite ? 'Drop files above. You can ask about them as soon as they are added.' : ''}
    </Empty>
  );
}

function DropZone({ onFiles }: { onFiles: (files: File[]) => void }) {
  const input = useRef<HTMLInputElement>(null);
  const [isOver, setOver] = useState(false);
  const take = (files: FileList | null | undefined) => files?.length && onFiles([...files]);
  return (
    <div
      class={`drop-zone ${isOver ? 'dropping' : ''}`}
      onDragOver={(event) => {
        event.preventDefault();
        setOver(true);
      }}
      onDragLeave={() => setOver(false)}
      onDrop={(event) => {
        event.preventDefault();
        setOver(false);
        take(event.dataTransfer?.files);
      }}
    >
      <Icon of={CloudUpload} class="size-7 text-primary" />
      <p class="min-w-0 flex-1 basis-40">
        <span class="font-medium">Add files</span>
        <span class="text-soft block text-sm">Documents, pictures, recordings and videos</span>
      </p>
      <input
        ref={input}
        type="file"
        multiple
        class="hidden"
        aria-label="Files to add"
        onChange={(event) => {
          take(event.currentTarget.files);
          event.currentTarget.value = '';
        }}
      />
      <button class="btn btn-primary" onClick={() => input.current!.click()}>
        Choose files
      </button>
    </div>
  );
}

interface Listed {
  assets: Asset[] | null;
  failure: api.Failure | null;
  more: (() => void) | null;
  again: () => void;
  forget: (id: string) => void;
}

function useListed(base: string, q: string, medium: Medium | '', files: number): Listed {
  const [assets, setAssets] = useState<Asset[] | null>(null);
  const [next, setNext] = useState<string | null>(null);
  const [failure, setFailure] = useState<api.Failure | null>(null);
  const asking = useRef<AbortController | null>(null);
  const load = async (after: string | null) => {
    asking.current?.abort();
    const stopping = (asking.current = new AbortController());
    try {
      const page = await api.assets(base, { limit: 50, after: after ?? '', q, medium }, stopping.signal);
      setAssets((before) => [...((after && before) || []), ...page.assets]);
      setNext(page.next);
      setFailure(null);
    } catch (error) {
      if (!stopping.signal.aborted) setFailure(asFailure(error));
    }
  };
  useEffect(() => {
    void load(null);
    return () => asking.current?.abort();
  }, [base, q, medium, files]);
  return {
    assets,
    failure,
    more: next ? () => void load(next) : null,
    again: () => void load(null),
    forget: (id) => setAssets((before) => before?.filter((asset) => asset.id !== id) ?? null),
  };
}
