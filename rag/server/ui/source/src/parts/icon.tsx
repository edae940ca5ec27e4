import { createElement } from 'preact';
import type { IconNode } from 'lucide';

/** A decorative icon, hidden from screen readers. */
export function Icon({ of, class: style = 'size-5' }: { of: IconNode; class?: string }) {
  return (
    <svg
      class={`${style} shrink-0`}
      viewBox="0 0 24 24"
      fill="none"
      stroke="currentColor"
      stroke-width="2"
      stroke-linecap="round"
      stroke-linejoin="round"
      aria-hidden="true"
    >
      {of.map(([tag, attributes]) => createElement(tag, attributes))}
    </svg>
  );
}
