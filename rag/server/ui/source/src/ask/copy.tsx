import { useState } from 'preact/hooks';
import { Check, Copy } from 'lucide';
import { titleOf } from '../evidence/kinds';
import { doubtsAbout } from '../evidence/verdicts';
import { withoutAppendix } from '../markdown';
import { Icon } from '../parts/icon';
import type { Turn } from './chats';

/** Copies an answer with its sources. Browsers allow the clipboard only on secure addresses. */
export function CopyAnswer({ turn }: { turn: Turn }) {
  const [said, setSaid] = useState('Copy');
  if (!isSecureContext || !turn.answer) return null;
  const copy = async () => {
    const sources = turn.cited.map((exhibit) => [`[${exhibit.number}] ${titleOf(exhibit)}`, ...doubtsAbout(exhibit)].join(' · '));
    const text = [withoutAppendix(turn.answer), sources.join('\n')].filter(Boolean).join('\n\n');
    setSaid(
      await navigator.clipboard.writeText(text).then(
        () => 'Copied',
        () => 'Blocked by the browser',
      ),
    );
  };
  return (
    <button
      class="btn btn-ghost btn-sm text-soft"
      aria-live="polite"
      onClick={() => void copy()}
      onBlur={() => setSaid('Copy')}
    >
      <Icon of={said === 'Copied' ? Check : Copy} class="size-4" />
      {said}
    </button>
  );
}
