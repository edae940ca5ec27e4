import { useState } from 'preact/hooks';
import { Dialog } from './parts/dialog';

interface Props {
  message: string;
  onKey: (key: string) => void;
  onClose: () => void;
}

/** Asks for the API key, which is kept only in this tab. */
export function KeyDialog({ message, onKey, onClose }: Props) {
  const [key, setKey] = useState('');
  return (
    <Dialog title="A key is needed" onClose={onClose}>
      <form
        class="grid gap-4"
        onSubmit={(event) => {
          event.preventDefault();
          onKey(key.trim());
        }}
      >
        <p class="text-soft text-sm">
          {message} Ask the operator of this server for one. It is kept until you close this tab.
        </p>
        <label class="grid gap-1.5">
          <span class="text-sm font-medium">API key</span>
          <input
            class="input w-full"
            type="password"
            autoComplete="off"
            placeholder="exhibit-…"
            required
            value={key}
            onInput={(event) => setKey(event.currentTarget.value)}
          />
        </label>
        <button class="btn btn-primary">Use this key</button>
      </form>
    </Dialog>
  );
}
