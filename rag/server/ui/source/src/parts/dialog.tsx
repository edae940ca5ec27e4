import type { ComponentChildren } from 'preact';
import { useEffect, useId, useRef } from 'preact/hooks';
import { X } from 'lucide';
import { Icon } from './icon';

interface Props {
  title: string;
  onClose: () => void;
  children: ComponentChildren;
  wide?: boolean;
}

/** The browser's own dialog: it keeps the focus, closes with Escape and returns the focus. */
export function Dialog({ title, onClose, children, wide }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  const isLeaving = useRef(false);
  const id = useId();
  useEffect(() => {
    const element = dialog.current!;
    element.showModal();
    return () => {
      isLeaving.current = true; // another dialog may be open when its `close` event arrives
      element.close();
    };
  }, []);
  return (
    <dialog
      ref={dialog}
      class="modal modal-bottom sm:modal-middle"
      aria-labelledby={id}
      onClose={() => isLeaving.current || onClose()}
      onClick={(event) => event.target === dialog.current && dialog.current?.close()}
    >
      <div class={`modal-box max-h-[92dvh] ${wide ? 'sm:max-w-3xl' : 'sm:max-w-md'}`}>
        <div class="mb-4 flex items-start gap-3">
          <h2 id={id} class="heading min-w-0 flex-1 text-lg" dir="auto">
            {title}
          </h2>
          <button
            class="btn btn-ghost btn-sm btn-circle -mt-1 -me-2"
            aria-label="Close"
            onClick={() => dialog.current!.close()}
          >
            <Icon of={X} />
          </button>
        </div>
        {children}
      </div>
    </dialog>
  );
}
