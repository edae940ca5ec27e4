import { linked } from '../api';
import { alt, icon, noun } from '../evidence/kinds';
import { Icon } from '../parts/icon';
import type { Hit } from '../types';

export function heading(hit: Hit): string {
  return placeOf(hit) ? `${placeOf(hit)} of ${hit.name}` : hit.name;
}

/** Its place in the file. Character positions are left out, because they mean nothing to a reader. */
export function placeOf(hit: Hit): string {
  return hit.locator.startsWith('#char=') ? '' : hit.place;
}

/** A hit as a card, which opens it. */
export function HitCard({ hit, onOpen }: { hit: Hit; onOpen: () => void }) {
  const words = hit.caption || hit.text;
  return (
    <button class="hit" onClick={onOpen}>
      <Glance hit={hit} />
      <span class="grid gap-1 p-3">
        <span class="flex items-center gap-1.5 text-sm font-semibold">
          <Icon of={icon(hit)} class="size-4 text-primary" />
          <span class="truncate" dir="auto">{hit.name}</span>
        </span>
        <span class="text-soft text-xs">{[noun(hit), placeOf(hit)].filter(Boolean).join(' · ')}</span>
        {hit.modality === 'image' && words && <span class="line-clamp-2 text-sm" dir="auto">{words}</span>}
      </span>
    </button>
  );
}

function Glance({ hit }: { hit: Hit }) {
  const url = hit.kind === 'passage' ? undefined : linked(hit.views.thumbnail);
  if (url) return <img src={url} alt={alt(hit)} loading="lazy" class="h-40 w-full bg-base-200 object-cover" />;
  const wave = linked(hit.views.waveform);
  return (
    <span class="grid h-40 content-center gap-3 overflow-hidden bg-base-200 px-4">
      {wave && <span class="glance-wave" style={{ '--wave': `url("${wave}")` }} />}
      <span dir="auto" class={`font-serif text-sm leading-relaxed ${wave ? 'line-clamp-2' : 'line-clamp-5'}`}>
        {hit.text || hit.tags.slice(0, 4).join(', ')}
      </span>
    </span>
  );
}
