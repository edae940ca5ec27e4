import { linked, segments } from '../api';
import { useLoaded } from '../parts/hooks';
import { clock, seconds, type Span } from '../places';
import type { Hit, Shown } from '../types';
import { alt } from './kinds';

const MOST = 12;
const known = new Map<string, Promise<Hit[]>>();

interface Props {
  base: string;
  shown: Shown;
  span: Span;
  now_s: number;
  onPick: (to_s: number) => void;
}

/** The frames of a video between two seconds. A click on one seeks to its second. */
export function Frames({ base, shown, span, now_s, onPick }: Props) {
  const found = useLoaded(() => framesOf(base, shown.asset_id), [base, shown.asset_id]);
  const frames = within(found.value ?? [], span);
  if (frames.length < 2) return null;
  const at = frames.findLastIndex((frame) => frame.at_s <= now_s + 0.05);
  return (
    <ol class="flex gap-2 overflow-x-auto py-1" aria-label="Frames of this moment">
      {frames.map(({ frame, at_s }, n) => (
        <li key={frame.id} class="w-28 shrink-0">
          <button
            class={`frame ${n === at ? 'on' : ''}`}
            onClick={() => onPick(at_s)}
            aria-label={`Frame at ${clock(at_s)}`}
          >
            <img src={linked(frame.views.thumbnail)} alt={alt(frame)} loading="lazy" />
            <span>{clock(at_s)}</span>
          </button>
        </li>
      ))}
    </ol>
  );
}

function framesOf(base: string, asset_id: string): Promise<Hit[]> {
  const name = `${base}/${asset_id}`;
  const asked = known.get(name) ?? segments(base, asset_id);
  known.set(name, asked);
  asked.catch(() => known.delete(name));
  return asked;
}

function within(found: Hit[], span: Span): { frame: Hit; at_s: number }[] {
  const timed = found.flatMap((frame) => {
    const place = frame.kind === 'frame' ? seconds(frame.locator) : null;
    return place ? [{ frame, at_s: place.start_s }] : [];
  });
  const inside = timed.filter(({ at_s }) => at_s >= span.start_s - 0.01 && at_s < span.end_s);
  inside.sort((one, other) => one.at_s - other.at_s);
  const step = Math.max(1, inside.length / MOST);
  return Array.from({ length: Math.min(MOST, inside.length) }, (_, n) => inside[Math.floor(n * step)]!);
}
