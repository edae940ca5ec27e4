import { useState } from 'preact/hooks';
import { linked } from '../api';
import { Dialog } from '../parts/dialog';
import type { Shown } from '../types';
import { alt } from './kinds';
import { Gone } from './passage';

/** A page, picture or frame with the cited place marked. A click enlarges it. */
export function Picture({ shown, heading }: { shown: Shown; heading: string }) {
  const [isLarge, setLarge] = useState(false);
  const [hasFailed, setFailed] = useState(false);
  const url = linked(shown.views.marked ?? shown.views.crop ?? shown.views.thumbnail);
  if (!url) return null;
  if (hasFailed) return <Gone />;
  return (
    <>
      <button class="enlarge" onClick={() => setLarge(true)} aria-label={`Enlarge: ${alt(shown)}`}>
        <img src={url} alt={alt(shown)} onError={() => setFailed(true)} />
      </button>
      {isLarge && (
        <Dialog title={heading} wide onClose={() => setLarge(false)}>
          <img class="mx-auto rounded-box" src={url} alt={alt(shown)} />
        </Dialog>
      )}
    </>
  );
}
