import { useState } from 'preact/hooks';
import { TriangleAlert, X } from 'lucide';
import * as api from '../api';
import { useLoaded } from '../parts/hooks';
import { Icon } from '../parts/icon';
import { asFailure, Problem } from '../parts/notice';
import { count } from '../places';
import type { Base } from '../types';

/** The files that could not be added, each with its reason. */
export function Failures({ base, onChanged }: { base: Base; onChanged: () => void }) {
  const known = useLoaded(() => api.base(base.name), [base.name, base.assets.failed]);
  const [failure, setFailure] = useState<api.Failure | null>(null);
  const failed = known.value?.failed ?? [];
  if (!failed.length) return null;
  const forget = (id: string) =>
    api.remove(base.name, id).then(onChanged, (error: unknown) => setFailure(asFailure(error)));
  return (
    <details class="alert alert-warning alert-soft block">
      <summary class="flex w-fit cursor-pointer items-center gap-2">
        <Icon of={TriangleAlert} class="size-4" />
        {`${count(failed.length, 'file')} could not be added`}
      </summary>
      <ul class="mt-3 grid gap-1.5 text-sm">
        {failed.map(({ id, name, reason }) => (
          <li key={id} class="flex items-start gap-2">
            <span class="min-w-0 flex-1 break-words">
              <span class="font-medium">{name}</span>: {reason}
            </span>
            {base.may_write && (
              <button
                class="btn btn-ghost btn-circle btn-xs"
                aria-label={`Remove ${name}`}
                onClick={() => void forget(id)}
              >
                <Icon of={X} class="size-3.5" />
              </button>
            )}
          </li>
        ))}
      </ul>
      {failure && <Problem failure={failure} />}
    </details>
  );
}
