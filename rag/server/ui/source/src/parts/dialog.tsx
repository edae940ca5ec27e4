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

/** A dialog of the browser's own: it holds the focus, closes with Escape and gives the focus back. */
export function Dialog({ title, onClose, children, wide }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  const isLeaving = useRef(false);
  const id = useId();
  useEffect(() => {
    const element = dialog.current!;
    element.showModal();
    return () => {
      isLeaving.current = true; // its `close` event comes when another dialog may be open already
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
