// The speech of a clip as captions of the browser's player, which also shows them in full screen.

import { useEffect, useState } from 'preact/hooks';
import type { Word } from '../types';

const MOST_CHARACTERS = 70; // two lines

/** URL of the captions of a clip that begins at a second of the recording; none without speech. */
export function useCaptions(words: Word[], start_s: number): string | undefined {
  const [url, setUrl] = useState<string>();
  useEffect(() => {
    if (!words.length) return undefined;
    const made = URL.createObjectURL(new Blob([webvtt(words, start_s)], { type: 'text/vtt' }));
    setUrl(made);
    return () => URL.revokeObjectURL(made);
  }, [words, start_s]);
  return url;
}

function webvtt(words: Word[], start_s: number): string {
  const cues: Word[] = [];
  for (const [text, from_s, to_s] of words) {
    const last = cues.at(-1);
    const said = text.trim();
    if (last && last[0].length + said.length < MOST_CHARACTERS && !/[.!?]$/.test(last[0])) {
      last[0] += ` ${said}`;
      last[2] = to_s;
    } else cues.push([said, from_s, to_s]);
  }
  const shown = cues.filter(([, , to_s]) => to_s > start_s);
  const lines = shown.map(([text, from_s, to_s]) => {
    const escaped = text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
    return `${stamp(from_s - start_s)} --> ${stamp(to_s - start_s)}\n${escaped}`;
  });
  return ['WEBVTT', ...lines].join('\n\n');
}

function stamp(s: number): string {
  return new Date(Math.max(0, s) * 1000).toISOString().slice(11, 23);
}
