import { Download } from 'lucide';
import { linked } from '../api';
import { Icon } from '../parts/icon';
import type { Shown, View } from '../types';

const BEST: View[] = ['clip', 'marked', 'text'];

/** Downloads evidence: the clip, the marked page or picture, or the text. */
export function DownloadExhibit({ shown, heading }: { shown: Shown; heading: string }) {
  const view = BEST.find((each) => shown.views[each]);
  if (!view) return null;
  const ending = { clip: shown.modality === 'video' ? 'mp4' : 'm4a', marked: 'jpg', text: 'txt' }[view as string];
  return (
    <a
      class="btn btn-ghost btn-xs text-soft -ms-2 justify-self-start"
      href={linked(shown.views[view])}
      download={`${heading}.${ending}`}
      aria-label={`Download ${heading}`}
    >
      <Icon of={Download} class="size-3.5" />
      Download
    </a>
  );
}
