import { seconds } from '../places';
import type { Shown } from '../types';
import { noun } from './kinds';
import { AudioExhibit } from './audio';
import { DownloadExhibit } from './download';
import { Passage } from './passage';
import { Picture } from './picture';
import { Doubts, narrowest } from './verdicts';
import { VideoExhibit } from './video';

interface Props {
  shown: Shown;
  base: string;
  heading: string;
}

/** Shows evidence: a page or picture with the place marked, a recording or video from the second on, or text. */
export function ExhibitBody({ shown, base, heading }: Props) {
  const span = seconds(shown.locator);
  return (
    <div class="grid gap-3">
      {shown.views.clip && span ? (
        shown.modality === 'video' ? (
          <VideoExhibit shown={shown} span={span} base={base} />
        ) : (
          <AudioExhibit shown={shown} span={span} />
        )
      ) : (
        <>
          <Picture shown={shown} heading={heading} />
          <Passage text={shown.text} quote={narrowest(shown)?.quote} />
        </>
      )}
      <Doubts shown={shown} />
      <About shown={shown} />
      <DownloadExhibit shown={shown} heading={heading} />
    </div>
  );
}

function About({ shown }: { shown: Shown }) {
  if (!shown.caption && !shown.tags.length) return null;
  return (
    <div class="text-soft grid gap-2 text-sm">
      {shown.caption && <p dir="auto">{shown.caption}</p>}
      {shown.tags.length > 0 && (
        <ul class="flex flex-wrap gap-1.5" aria-label={`Recognized in the ${noun(shown).toLowerCase()}`}>
          {shown.tags.slice(0, 6).map((tag) => (
            <li key={tag} class="badge badge-ghost badge-sm">
              {tag}
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}
