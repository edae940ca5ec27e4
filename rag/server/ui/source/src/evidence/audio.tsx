import { Pause, Play } from 'lucide';
import { linked } from '../api';
import { Icon } from '../parts/icon';
import { clock, type Span } from '../places';
import type { Shown } from '../types';
import { cited } from './closest';
import { usePlaying } from './playing';
import { Gone, Passage } from './passage';
import { Transcript } from './transcript';
import { narrowest } from './verdicts';

/** A recording from the cited second on: its waveform, which also seeks, and a transcript that follows along. */
export function AudioExhibit({ shown, span }: { shown: Shown; span: Span }) {
  const { near, first_s } = cited(shown, span);
  const playing = usePlaying<HTMLAudioElement>(span, first_s);
  const { now_s, end_s, isPlaying } = playing;
  const share = end_s > span.start_s ? (now_s - span.start_s) / (end_s - span.start_s) : 0;
  return (
    <div class="grid gap-3">
      <audio ref={playing.media} src={linked(shown.views.clip)} preload="metadata" />
      {playing.hasFailed ? (
        <Gone />
      ) : (
        <div class="player">
          <button
            class="btn btn-primary btn-circle"
            aria-label={isPlaying ? 'Pause' : `Play from ${clock(now_s)}`}
            onClick={playing.toggle}
          >
            <Icon of={isPlaying ? Pause : Play} />
          </button>
          <div
            class="wave"
            style={{ '--wave': `url("${linked(shown.views.waveform) ?? ''}")`, '--share': `${100 * share}%` }}
          >
            <i />
            <input
              type="range"
              aria-label="Position in the recording"
              aria-valuetext={clock(now_s)}
              min={span.start_s}
              max={end_s}
              step={0.1}
              value={now_s}
              onInput={(event) => playing.seek(Number(event.currentTarget.value))}
            />
          </div>
          <span class="text-soft text-sm tabular-nums">{`${clock(now_s)} / ${clock(end_s)}`}</span>
        </div>
      )}
      {shown.words.length > 0 ? (
        <Transcript words={shown.words} now_s={now_s} near={near} isRunning={playing.hasBegun} onPick={playing.seek} />
      ) : (
        <Passage text={shown.text} quote={narrowest(shown)?.quote} />
      )}
    </div>
  );
}
