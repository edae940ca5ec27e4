import { useState } from 'preact/hooks';
import * as api from '../api';
import { ExhibitBody } from '../evidence/exhibit';
import { icon, noun } from '../evidence/kinds';
import { Dialog } from '../parts/dialog';
import { useLoaded } from '../parts/hooks';
import { Icon } from '../parts/icon';
import { asFailure, Empty, Problem } from '../parts/notice';
import { heading, placeOf } from '../search/hit';
import type { Asset } from '../types';

interface Props {
  base: string;
  asset: Asset;
  onClose: () => void;
}

/** The searchable places of a file. Each can be opened. */
export function AssetDialog({ base, asset, onClose }: Props) {
  const found = useLoaded(() => api.segments(base, asset.id), [base, asset.id]);
  const [open, setOpen] = useState<string | null>(null);
  const only = found.value?.length === 1 ? found.value[0]! : null;
  return (
    <Dialog title={asset.name} wide onClose={onClose}>
      {found.failure && <Problem failure={found.failure} onRetry={found.again} />}
      {!found.value && !found.failure && <div class="skeleton h-40" role="status" aria-label="Loading" />}
      {found.value?.length === 0 && <Empty title="Nothing in this file could be indexed" />}
      {only && <ExhibitBody shown={only} base={base} heading={asset.name} />}
      {!only && (
        <ul class="grid gap-2">
          {found.value?.map((segment) => (
            <li key={segment.id} class="rounded-box bg-base-200">
              <button
                class="flex w-full cursor-pointer items-center gap-3 px-3 py-2 text-start"
                aria-expanded={open === segment.id}
                onClick={() => setOpen(open === segment.id ? null : segment.id)}
              >
                <Icon of={icon(segment)} class="size-4 text-primary" />
                <span class="shrink-0 text-sm font-medium">{placeOf(segment) || noun(segment)}</span>
                <span class="text-soft truncate text-sm" dir="auto">
                  {segment.caption || segment.text || segment.tags.join(', ')}
                </span>
              </button>
              {open === segment.id && (
                <div class="p-3 pt-1">
                  <ExhibitBody shown={segment} base={base} heading={heading(segment)} />
                </div>
              )}
            </li>
          ))}
        </ul>
      )}
    </Dialog>
  );
}

export function DeleteDialog({ base, asset, onClose, onDeleted }: Props & { onDeleted: () => void }) {
  const [failure, setFailure] = useState<api.Failure | null>(null);
  const [isBusy, setBusy] = useState(false);
  const remove = async () => {
    setBusy(true);
    try {
      await api.remove(base, asset.id);
      onDeleted();
    } catch (error) {
      setFailure(asFailure(error));
      setBusy(false);
    }
  };
  return (
    <Dialog title={`Delete ${asset.name}?`} onClose={onClose}>
      <div class="grid gap-4">
        <p class="text-soft">
          It can no longer be found or cited, and links to it stop working. This cannot be undone.
        </p>
        {failure && <Problem failure={failure} />}
        <div class="flex justify-end gap-2">
          <button class="btn" onClick={onClose}>
            Keep it
          </button>
          <button class="btn btn-error" disabled={isBusy} onClick={() => void remove()}>
            Delete
          </button>
        </div>
      </div>
    </Dialog>
  );
}
