import { Trash2 } from 'lucide';
import { linked } from '../api';
import { MEDIUM_ICONS } from '../evidence/kinds';
import { Icon } from '../parts/icon';
import { bytes, count } from '../places';
import type { Asset } from '../types';

interface Props {
  asset: Asset;
  onOpen: () => void;
  onDelete?: () => void;
}

export function AssetRow({ asset, onOpen, onDelete }: Props) {
  const url = linked(asset.thumbnail);
  return (
    <li class="list-row items-center gap-3 p-2 sm:px-3">
      <button class="list-col-grow flex min-w-0 cursor-pointer items-center gap-3 text-start" onClick={onOpen}>
        {url ? (
          <img src={url} alt="" loading="lazy" class="size-12 shrink-0 rounded-field object-cover" />
        ) : (
          <span class="grid size-12 shrink-0 place-items-center rounded-field bg-base-200">
            <Icon of={MEDIUM_ICONS[asset.medium]} />
          </span>
        )}
        <span class="min-w-0">
          <span class="block truncate font-medium" dir="auto">{asset.name}</span>
          <span class="text-soft block text-xs">
            {[asset.medium, bytes(asset.size), count(asset.segments, 'place')].join(' · ')}
          </span>
        </span>
        {asset.state !== 'indexed' && <span class="badge badge-warning badge-soft badge-sm">{asset.state}</span>}
      </button>
      {onDelete && (
        <button class="btn btn-ghost btn-circle btn-sm" aria-label={`Delete ${asset.name}`} onClick={onDelete}>
          <Icon of={Trash2} class="size-4" />
        </button>
      )}
    </li>
  );
}
