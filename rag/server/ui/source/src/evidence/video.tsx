import { linked } from '../api';
import { clock, type Span } from '../places';
import type { Shown } from '../types';
import { Frames } from './frames';
import { useCaptions } from './captions';
import { Gone, Passage } from './passage';
import { cited } from './closest';
import { usePlaying } from './playing';
import { Transcript } from './transcript';
import { narrowest } from './verdicts';

/** A video from the cited second on, with the frames of the moment and its transcript. */
export function VideoExhibit({ shown, span, base }: { shown: Shown; span: Span; base: string }) {
  const { near, first_s } = cited(shown, span);
  const playing = usePlaying<HTMLVideoElement>(span, first_s);
  const { now_s, end_s } = playing;
  const captions = useCaptions(shown.words, span.start_s);
  return (
    <div class="grid gap-3">
      {playing.hasFailed && <Gone />}
      <video
        ref={playing.media}
        src={linked(shown.views.clip)}
        poster={linked(shown.views.marked ?? shown.views.thumbnail)}
        controls
        playsInline
        preload="metadata"
        class="aspect-video w-full rounded-box bg-black"
        aria-label={`Video from ${clock(span.start_s)}`}
      >
        {captions && <track kind="captions" src={captions} label="What is said" />}
      </video>
      <p class="text-soft text-sm tabular-nums">
        {`In the video: ${clock(now_s)}, from ${clock(span.start_s)} to ${clock(end_s)}`}
      </p>
      <Frames base={base} shown={shown} span={{ ...span, end_s }} now_s={now_s} onPick={playing.seek} />
      {shown.words.length > 0 ? (
        <Transcript words={shown.words} now_s={now_s} near={near} isRunning={playing.hasBegun} onPick={playing.seek} />
      ) : (
        <Passage text={shown.text} quote={narrowest(shown)?.quote} />
      )}
    </div>
  );
}
