import { useEffect, useState } from 'preact/hooks';

export const VIEWS = ['ask', 'search', 'library'] as const;
export type ViewName = (typeof VIEWS)[number];

/** The view named after `#` in the address, such as `#library`. */
export function useRoute(): ViewName {
  const [view, setView] = useState(read);
  useEffect(() => {
    const changed = () => setView(read());
    window.addEventListener('hashchange', changed);
    return () => window.removeEventListener('hashchange', changed);
  }, []);
  return view;
}

function read(): ViewName {
  return VIEWS.find((view) => location.hash === `#${view}`) ?? 'ask';
}
