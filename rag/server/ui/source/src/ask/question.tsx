// The question box for words, pictures and recordings. Chat and search share it.

import type { ComponentChildren } from 'preact';
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { AudioLines, Mic, Paperclip, Square, X } from 'lucide';
import { Failure } from '../api';
import { Icon } from '../parts/icon';
import { asFailure, Problem } from '../parts/notice';
import { clock } from '../places';
import { attach, type Attached } from './media';
import { useRecording } from './recording';

export interface Asked {
  words: string;
  attached: Attached[];
}

interface Props {
  draft: string;
  label: string;
  placeholder: string;
  isBusy: boolean;
  keeps?: boolean;
  onAsk: (asked: Asked) => void;
  send: ComponentChildren;
  onStop?: () => void;
}

const drafts = new Map<string, Asked>();

/** Puts a question into a box that is not visible yet. */
export function putDraft(draft: string, asked: Asked): void {
  drafts.set(draft, asked);
}

/** An unfinished question, kept under the name `draft` while another view is open. */
export function Question({ draft, label, placeholder, isBusy, keeps, onAsk, send, onStop }: Props) {
  const [words, setWords] = useState(drafts.get(draft)?.words ?? '');
  const [attached, setAttached] = useState<Attached[]>(drafts.get(draft)?.attached ?? []);
  const [failure, setFailure] = useState<Failure | null>(null);
  const box = useRef<HTMLTextAreaElement>(null);
  const add = (files: File[]) => {
    if (!files.length) return;
    try {
      setAttached(attach(files, attached));
      setFailure(null);
    } catch (error) {
      setFailure(asFailure(error));
    }
    box.current?.focus();
  };
  useEffect(() => void drafts.set(draft, { words, attached }), [words, attached]);
  const isDropping = useDropped(add);
  const recording = useRecording((file) => add([file]), setFailure);
  useFitted(box, words);
  useSlash(box);
  const isEmpty = !words.trim() && !attached.length;
  const ask = () => {
    if (isEmpty || isBusy || recording.isOn) return;
    onAsk({ words: words.trim(), attached });
    setFailure(null);
    if (keeps) return;
    setWords('');
    setAttached([]);
  };
  return (
    <form
      class="grid gap-2"
      onSubmit={(event) => {
        event.preventDefault();
        ask();
      }}
    >
      {failure && <Problem failure={failure} />}
      <div class={`ask-box ${isDropping ? 'dropping' : ''}`}>
        <Attachments attached={attached} onRemove={(id) => setAttached(attached.filter((one) => one.id !== id))} />
        <textarea
          ref={box}
          rows={1}
          dir="auto"
          class="w-full resize-none bg-transparent px-4 pt-3 pb-1 outline-none"
          aria-label={label}
          placeholder={recording.isOn ? 'Listening …' : placeholder}
          value={words}
          onInput={(event) => setWords(event.currentTarget.value)}
          onPaste={(event) => add([...(event.clipboardData?.files ?? [])])}
          onKeyDown={(event) => {
            if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
            event.preventDefault();
            ask();
          }}
        />
        <div class="flex items-center gap-1 px-2 pb-2">
          <Pick onPick={add} />
          <Record recording={recording} />
          <span class="text-soft hidden flex-1 px-2 text-xs sm:block">
            {isDropping ? 'Drop it here' : 'You can also drop or paste pictures and recordings'}
          </span>
          <span class="flex-1 sm:hidden" />
          {isBusy && onStop ? (
            <button type="button" class="btn btn-neutral btn-circle" aria-label="Stop" onClick={onStop}>
              <Icon of={Square} class="size-4 fill-current" />
            </button>
          ) : (
            <button type="submit" class="btn btn-primary" disabled={isEmpty || isBusy || recording.isOn}>
              {send}
            </button>
          )}
        </div>
      </div>
    </form>
  );
}

/** Pictures and recordings of a question, small. */
export function Attachments({ attached, onRemove }: { attached: Attached[]; onRemove?: (id: string) => void }) {
  if (!attached.length) return null;
  return (
    <ul class="flex flex-wrap gap-2 px-3 pt-3" aria-label="Attachments">
      {attached.map(({ id, name, kind, url }) => (
        <li key={id} class="attached">
          {kind === 'image' && url ? (
            <img src={url} alt={name} class="size-16 rounded-field object-cover" />
          ) : kind === 'audio' && url ? (
            <audio controls src={url} aria-label={name} class="h-10 w-56 max-w-full" />
          ) : (
            <span class="flex items-center gap-2 px-2 text-sm">
              <Icon of={AudioLines} class="size-4" />
              {name}
            </span>
          )}
          {onRemove && (
            <button
              type="button"
              class="btn btn-neutral btn-circle btn-xs"
              aria-label={`Remove ${name}`}
              onClick={() => onRemove(id)}
            >
              <Icon of={X} class="size-3" />
            </button>
          )}
        </li>
      ))}
    </ul>
  );
}

function Pick({ onPick }: { onPick: (files: File[]) => void }) {
  const input = useRef<HTMLInputElement>(null);
  return (
    <>
      <input
        ref={input}
        type="file"
        class="hidden"
        accept="image/*,audio/*"
        multiple
        aria-label="Pictures and recordings"
        onChange={(event) => {
          onPick([...(event.currentTarget.files ?? [])]);
          event.currentTarget.value = '';
        }}
      />
      <button
        type="button"
        class="btn btn-ghost btn-circle"
        aria-label="Add a picture or recording"
        onClick={() => input.current!.click()}
      >
        <Icon of={Paperclip} />
      </button>
    </>
  );
}

function Record({ recording }: { recording: ReturnType<typeof useRecording> }) {
  if (recording.isOn) {
    return (
      <button type="button" class="btn btn-error btn-soft" onClick={recording.stop}>
        <span class="size-2.5 animate-pulse rounded-full bg-current" />
        {`Stop recording, ${clock(recording.passed_s)}`}
      </button>
    );
  }
  return (
    <button
      type="button"
      class="btn btn-ghost btn-circle"
      aria-label="Record a question"
      onClick={() => void recording.start()}
    >
      <Icon of={Mic} />
    </button>
  );
}

/** Accepts files dropped anywhere in the window. Returns whether files are being dragged over it. */
function useDropped(take: (files: File[]) => void): boolean {
  const [isOver, setOver] = useState(false);
  useEffect(() => {
    const over = (event: DragEvent) => {
      if (!event.dataTransfer?.types.includes('Files')) return;
      event.preventDefault();
      setOver(true);
    };
    const left = (event: DragEvent) => event.relatedTarget === null && setOver(false);
    const drop = (event: DragEvent) => {
      event.preventDefault();
      setOver(false);
      take([...(event.dataTransfer?.files ?? [])]);
    };
    window.addEventListener('dragover', over);
    window.addEventListener('dragleave', left);
    window.addEventListener('drop', drop);
    return () => {
      window.removeEventListener('dragover', over);
      window.removeEventListener('dragleave', left);
      window.removeEventListener('drop', drop);
    };
  }, [take]);
  return isOver;
}

/** Grows the box with its text, up to a third of the window. */
function useFitted(box: { current: HTMLTextAreaElement | null }, words: string): void {
  useEffect(() => {
    const element = box.current!;
    element.style.height = 'auto';
    element.style.height = `${Math.min(element.scrollHeight, window.innerHeight / 3)}px`;
  }, [words]);
}

/** The key `/` focuses the box from anywhere. */
function useSlash(box: { current: HTMLTextAreaElement | null }): void {
  // Before the page is drawn, so that the user can type at once.
  useLayoutEffect(() => {
    const pressed = (event: KeyboardEvent) => {
      const isTyping = event.target instanceof Element && event.target.closest('input, textarea, select, dialog');
      if (event.key !== '/' || isTyping || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      box.current?.focus();
    };
    window.addEventListener('keydown', pressed);
    return () => window.removeEventListener('keydown', pressed);
  }, []);
}
