import { useState } from 'preact/hooks';
import { Check, Copy } from 'lucide';
import { titleOf } from '../evidence/kinds';
import { withoutAppendix } from '../markdown';
import { Icon } from '../parts/icon';
import type { Turn } from './chats';

/** Copies an answer with what its numbers stand for. Browsers lend the clipboard to secure addresses alone. */
export function CopyAnswer({ turn }: { turn: Turn }) {
  const [said, setSaid] = useState('Copy');
  if (!isSecureContext || !turn.answer) return null;
  const copy = async () => {
    const sources = turn.cited.map((exhibit) => `[${exhibit.number}] ${titleOf(exhibit)}`);
    const text = [withoutAppendix(turn.answer), sources.join('\n')].filter(Boolean).join('\n\n');
    setSaid(
      await navigator.clipboard.writeText(text).then(
        () => 'Copied',
        () => 'The browser does not allow it',
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
