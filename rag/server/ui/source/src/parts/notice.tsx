import type { ComponentChildren } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { RotateCw, TriangleAlert } from 'lucide';
import { Failure } from '../api';
import { Icon } from './icon';

export function asFailure(error: unknown): Failure {
  return error instanceof Failure ? error : new Failure(0, error instanceof Error ? error.message : String(error));
}

/** A failure with a button to retry, enabled once the server's waiting time is over. */
export function Problem({ failure, onRetry }: { failure: Failure; onRetry?: () => void }) {
  const wait_s = useCountdown(failure);
  return (
    <div role="alert" class="alert alert-error alert-soft items-start">
      <Icon of={TriangleAlert} class="size-5 mt-0.5" />
      <p class="min-w-0 break-words">{failure.message}</p>
      {onRetry && (
        <button class="btn btn-sm" disabled={wait_s > 0} onClick={onRetry}>
          <Icon of={RotateCw} class="size-4" />
          {wait_s > 0 ? `Try again in ${wait_s} s` : 'Try again'}
        </button>
      )}
    </div>
  );
}

export function Empty({ title, children }: { title: string; children?: ComponentChildren }) {
  return (
    <div class="flex flex-col items-center gap-2 px-4 py-14 text-center">
      <p class="heading text-xl">{title}</p>
      <div class="text-soft max-w-prose">{children}</div>
    </div>
  );
}

function useCountdown(failure: Failure): number {
  const [left, setLeft] = useState(failure.retry_s);
  useEffect(() => {
    setLeft(failure.retry_s);
    const timer = setInterval(() => setLeft((s) => Math.max(0, s - 1)), 1000);
    return () => clearInterval(timer);
  }, [failure]);
  return left;
}
