import { useCallback, useEffect, useRef, useState } from 'preact/hooks';
import { Failure } from '../api';

const LONGEST_S = 120;
const FORBIDDEN = 'The microphone is blocked. Allow it in the address bar of the browser.';
const INSECURE = 'Browsers allow the microphone only on https addresses and on localhost.';

export interface Recording {
  isOn: boolean;
  passed_s: number;
  start: () => Promise<void>;
  stop: () => void;
}

/** Records from the microphone; `done` gets the file. */
export function useRecording(done: (file: File) => void, failed: (failure: Failure) => void): Recording {
  const recorder = useRef<MediaRecorder | null>(null);
  const [isOn, setOn] = useState(false);
  const [passed_s, setPassed] = useState(0);
  const stop = useCallback(() => recorder.current?.state === 'recording' && recorder.current.stop(), []);
  useEffect(() => {
    if (!isOn) return undefined;
    const timer = setInterval(() => setPassed((s) => s + 1), 1000);
    return () => clearInterval(timer);
  }, [isOn]);
  useEffect(() => {
    if (passed_s >= LONGEST_S) stop();
  }, [passed_s]);
  useEffect(() => () => stop(), []);
  const start = async () => {
    try {
      recorder.current = await begun((file) => {
        setOn(false);
        done(file);
      });
      setPassed(0);
      setOn(true);
    } catch {
      failed(new Failure(0, isSecureContext ? FORBIDDEN : INSECURE));
    }
  };
  return { isOn, passed_s, start, stop: () => void stop() };
}

async function begun(done: (file: File) => void): Promise<MediaRecorder> {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
  const recorder = new MediaRecorder(stream);
  const pieces: Blob[] = [];
  recorder.ondataavailable = (event) => pieces.push(event.data);
  recorder.onstop = () => {
    for (const track of stream.getTracks()) track.stop();
    const type = recorder.mimeType.split(';')[0] || 'audio/webm';
    done(new File(pieces, 'Recording', { type }));
  };
  recorder.start();
  return recorder;
}
