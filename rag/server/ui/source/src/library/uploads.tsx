import { CircleCheck, CircleMinus, CircleX, X, type IconNode } from 'lucide';
import { Icon } from '../parts/icon';
import { Problem } from '../parts/notice';
import { count } from '../places';
import type { JobResult } from '../types';
import { isOver, type Jobs, type Upload } from './jobs';

/** The progress of uploads, and the result of each file. */
export function Uploads({ uploads, jobs }: { uploads: Upload[]; jobs: Jobs }) {
  if (!uploads.length) return null;
  return (
    <section class="grid gap-3" aria-label="Uploads">
      {uploads.map((upload) => (
        <UploadView key={upload.key} upload={upload} jobs={jobs} />
      ))}
    </section>
  );
}

function UploadView({ upload, jobs }: { upload: Upload; jobs: Jobs }) {
  const { job } = upload;
  const over = isOver(upload);
  const [value, max] = job ? [job.done, Math.max(job.total, 1)] : [upload.sent, 1];
  return (
    <div class="exhibit gap-3">
      <div class="flex items-center gap-3">
        <p class="min-w-0 flex-1 truncate font-medium" role="status">
          {told(upload)}
        </p>
        {over ? (
          <button class="btn btn-ghost btn-circle btn-sm" aria-label="Dismiss" onClick={() => jobs.dismiss(upload)}>
            <Icon of={X} class="size-4" />
          </button>
        ) : (
          job && (
            <button class="btn btn-sm" onClick={() => jobs.cancel(upload)}>
              Cancel
            </button>
          )
        )}
      </div>
      {!over && <progress class="progress progress-primary w-full" value={value} max={max} aria-label={told(upload)} />}
      {upload.failure && <Problem failure={upload.failure} />}
      {job?.error && <p class="text-error text-sm">{job.error}</p>}
      {job && job.results.length > 0 && (
        <ul class="grid max-h-60 gap-1.5 overflow-y-auto text-sm">
          {job.results.map((result, n) => (
            <Result key={n} result={result} />
          ))}
        </ul>
      )}
    </div>
  );
}

const STATES: Record<string, [IconNode, string]> = {
  failed: [CircleX, 'text-error'],
  empty: [CircleMinus, 'text-warning'],
  unchanged: [CircleMinus, 'text-soft'],
};

function Result({ result }: { result: JobResult }) {
  const [icon, colour] = STATES[result.state] ?? [CircleCheck, 'text-success'];
  const said = result.reason || (result.state === 'indexed' ? count(result.segments, 'place') : result.state);
  return (
    <li class="flex gap-2">
      <Icon of={icon} class={`mt-0.5 size-4 ${colour}`} />
      <span class="min-w-0 break-words">
        <span class="font-medium">{result.name}</span> <span class="text-soft">{said}</span>
      </span>
    </li>
  );
}

function told({ files, job, failure, sent, isAway }: Upload): string {
  const names = files.length === 1 ? files[0]! : count(files.length, 'file');
  if (failure) return `${names} could not be added`;
  if (!job) return sent < 1 ? `Sending ${names}` : `Waiting to add ${names}`;
  if (job.state === 'queued') return `${names}: waiting for its turn`;
  if (job.state === 'done') return `${names}: done`;
  if (job.state === 'failed') return `${names}: stopped`;
  if (job.state.startsWith('cancel')) return `${names}: cancelled`;
  if (isAway) return `${names}: waiting for the server`;
  return `Adding ${job.current || names} (${job.done} of ${job.total})`;
}
